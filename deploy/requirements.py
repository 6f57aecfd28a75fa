"""What pip has to install for humanparse with some extras, without humanparse itself: a layer that
changes seldom.

    python requirements.py redis,heif > requirements.txt        reads pyproject.toml beside it, or in the folder above
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: dict, extras: list[str]) -> list[str]:
    """The dependencies of [project] and of these extras. Raises SystemExit for an extra that there
    is not."""
    known = project.get("optional-dependencies", {})
    if unknown := [extra for extra in extras if extra not in known]:
        raise SystemExit(
            f"there is no extra {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    found = list(project["dependencies"])
    for extra in extras:
        for line in known[extra]:  # an extra may be made of others: "humanparse[torch]"
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
