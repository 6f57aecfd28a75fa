"""Names of clients' files, shown to people to tell pictures apart. No file of ours uses them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

MAX_NAME = 200
_DRIVE = re.compile(r"[A-Za-z]:")


def clean_name(name: str) -> str:
    r"""Return a file's path as its client knows it: "C:\photos\..\a.jpg" becomes "photos/a.jpg".

    The result leads nowhere, holds nothing that could upset a terminal or a log, and has at most
    MAX_NAME characters, of which the last ones are kept.
    """
    steps = _DRIVE.sub("", name, count=1) if _DRIVE.match(name) else name
    kept = [step for step in steps.replace("\\", "/").split("/") if step not in ("", ".", "..")]
    shown = "".join(letter if letter.isprintable() else "_" for letter in "/".join(kept))
    return shown if len(shown) <= MAX_NAME else "…" + shown[1 - MAX_NAME :]


def tell_apart(names: Sequence[str]) -> list[str]:
    """Make names unique: the second a.jpg becomes a-2.jpg, or the next name that is free.

    Args:
        names: The names, in order.

    Returns:
        The names in the same order, each used once. An empty name, "", stays empty.
    """
    taken = set(names)
    seen: set[str] = set()
    apart = []
    for name in names:
        if name in seen:
            name = _next_free(name, taken)
            taken.add(name)
        elif name:
            seen.add(name)
        apart.append(name)
    return apart


def _next_free(name: str, taken: set[str]) -> str:
    path = PurePosixPath(name)
    number = 2
    while (other := str(path.with_name(f"{path.stem}-{number}{path.suffix}"))) in taken:
        number += 1
    return other
