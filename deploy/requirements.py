"""Print what pip has to install for humanparse with some extras, without humanparse itself.

This makes an image layer that seldom changes.

    python requirements.py redis,heif > requirements.txt

It reads the pyproject.toml next to it, or in the folder above.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: dict, extras: list[str]) -> list[str]:
    """Return the dependencies of a project and of some of its extras.

    Args:
        project: The table [project] of a pyproject.toml.
        extras: The names of the extras.

    Raises:
        SystemExit: For an extra that does not exist.
    """
    known = project.get("optional-dependencies", {})
    if unknown := [extra for extra in extras if extra not in known]:
        raise SystemExit(
            f"there is no extra {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    found = list(project["dependencies"])
    for extra in extras:
        for line in known[extra]:  # an extra may contain others: "humanparse[torch]"
            inner = (
                line.removeprefix(f"{project['name']}[").removesuffix("]")
                if line.startswith(f"{project['name']}[")
                else ""
            )
            found += (
                requirements(project | {"dependencies": []}, inner.split(",")) if inner else [line]
            )
    return list(dict.fromkeys(found))


def main() -> None:
    here = Path(__file__).resolve().parent
    file = next(
        path for folder in (here, here.parent) if (path := folder / "pyproject.toml").exists()
    )
    extras = [extra.strip() for extra in ",".join(sys.argv[1:]).split(",") if extra.strip()]
    print("\n".join(requirements(tomllib.loads(file.read_text())["project"], extras)))


if __name__ == "__main__":
    main()
