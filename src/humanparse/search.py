"""Searching folders for photos, in the same way for every command that does so.

Hidden files and folders are left out. So is whatever must not be taken for a photo: files that
humanparse wrote itself; pipes, sockets and devices, which may never end when they are read; and
folders behind links, which might lead back to where the search came from. A search counts what the
user would miss, so that nothing is left out silently.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from glob import has_magic
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from humanparse.errors import OptionError
from humanparse.vocabulary import EDITED_SUFFIX, FORMAT_SUFFIXES, PICTURE_ENDINGS

SORTED_NAMES = 100_000  # above this, names come in the file system's order, to save memory
SHOWN_SOURCES = 5  # in a message
OWN, SPECIAL, LINKED, OUTPUT = "own", "special", "linked", "output"  # why something is left out
_OWN_SUFFIXES = (
    *FORMAT_SUFFIXES.values(),
    *(EDITED_SUFFIX + ending for ending in PICTURE_ENDINGS),
)
_WORDS = {  # singular and plural
    OWN: ("file that humanparse wrote itself", "files that humanparse wrote itself"),
    SPECIAL: ("pipe, socket or device", "pipes, sockets or devices"),
    LINKED: (
        "linked folder, which is searched if you name it",
        "linked folders, which are searched if you name them",
    ),
    OUTPUT: ("folder or file of the output", "folders or files of the output"),
}

Name = TypeVar("Name")
One = TypeVar("One")


@dataclass
class LeftOut:
    """What a search left out.

    Attributes:
        found: For each reason, how many files or folders there were, and the first of them.
        unreadable: The folders that cannot be read, each with its error.
    """

    found: dict[str, tuple[int, str]] = field(default_factory=dict)
    unreadable: list[tuple[str, OSError]] = field(default_factory=list)

    def add(self, reason: str, path: str) -> None:
        """Count a file or folder that is left out for this reason."""
        number, first = self.found.get(reason, (0, path))
        self.found[reason] = number + 1, first

    def notes(self, reasons: Iterable[str] = (SPECIAL, LINKED)) -> list[str]:
        """Return a line for each of the reasons that occurred.

        Args:
            reasons: The reasons to report. By default those that users do not expect, which are
                all except our own files and the output.
        """
        return [f"left out: {self._words(one)}" for one in reasons if one in self.found]

    def __str__(self) -> str:
        """Return everything that was left out, for an error that nothing was found."""
        return "; ".join(self.notes(_WORDS))

    def _words(self, reason: str) -> str:
        number, first = self.found[reason]
        which = f"{first} and others" if number > 1 else first
        return f"{number} {_WORDS[reason][number > 1]} ({which})"


def nothing_found(
    sources: Sequence[str], left_out: LeftOut, endings: Sequence[str] = PICTURE_ENDINGS
) -> OptionError:
    """Return the error for sources without a single photo.

    Args:
        sources: The names that the user gave.
        left_out: What the search left out, which may explain why nothing was found.
        endings: The endings of file names that were looked for.
    """
    shown, more = ", ".join(sources[:SHOWN_SOURCES]), len(sources) - SHOWN_SOURCES
    if more > 0:
        shown += f" and {more} more"
    why = str(left_out) or f"looked for {' '.join(endings)}"
    return OptionError(f"nothing to parse: no pictures in {shown} ({why})")


def no_match(pattern: str, left_out: LeftOut) -> OptionError:
    """Return the error for a pattern that no photo matches."""
    why = f" ({left_out})" if left_out.found else ""
    return OptionError(f"no pictures match {pattern!r}{why}")


def no_such_source(name: str) -> OptionError:
    """Return the error for a source that does not exist."""
    return OptionError(f"there is no file or folder {name!r}")


def is_picture(name: str) -> bool:
    """Return whether the name of a file ends like that of a picture."""
    return name.lower().endswith(PICTURE_ENDINGS)


def is_own(name: str) -> bool:
    """Return whether a file is named like those that humanparse writes."""
    return name.lower().endswith(_OWN_SUFFIXES)


def is_special(path: str | Path) -> bool:
    """Return whether the path exists but is neither an ordinary file nor a folder."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _never(path: str) -> bool:
    return False


def photos_below(
    folder: str,
    left_out: LeftOut,
    wanted: Callable[[str], bool] = is_picture,
    skip: Callable[[str], bool] = _never,
) -> Iterator[str]:
    """Yield the photos in a folder and its subfolders, ordered by name within each folder.

    Args:
        folder: The folder to search.
        left_out: Gets what the search leaves out.
        wanted: Tells by the name of a file whether it is looked for.
        skip: Tells by the path of a file or folder whether it belongs to the output.
    """
    for path in walk(folder, left_out, wanted, skip):
        if is_own(path):
            left_out.add(OWN, path)
        else:
            yield path


def photos_matching(
    folder: str,
    pattern: str,
    left_out: LeftOut,
    wanted: Callable[[str], bool] = is_picture,
    skip: Callable[[str], bool] = _never,
) -> Iterator[str]:
    """Yield the photos below a folder that match a pattern, ordered by their paths.

    Args:
        folder: The folder in which the pattern begins; "" is the current one.
        pattern: A pattern such as "**/*.jpg", in which ** stands for any number of folders that
            are neither hidden nor links.
        left_out: Gets what matches but is left out.
        wanted: Tells by the name of a file whether it is looked for.
        skip: Tells by the path of a file whether it belongs to the output.
    """
    for path in sorted_if_few(
        _matches(folder, Path(pattern).parts), key=lambda path: Path(path).parts
    ):
        inside = Path(path).parts[len(Path(folder).parts) :]
        if any(part.startswith(".") for part in inside) or not wanted(inside[-1]):
            continue
        if os.path.isdir(path):
            continue
        reason = OUTPUT if skip(path) else OWN if is_own(path) else None
        if reason or is_special(path):
            left_out.add(reason or SPECIAL, path)
        else:
            yield path


def _matches(folder: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield the files and folders below a folder that match the parts of a pattern."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _matches(folder, rest or ("*",))
        for path in _visible(folder):
            if os.path.isdir(path) and not os.path.islink(path):
                yield from _matches(path, parts)
    elif has_magic(first):
        for path in _visible(folder):
            if fnmatch(os.path.basename(path), first):
                yield from _rest_of_match(path, rest)
    elif os.path.lexists(path := os.path.join(folder, first)):
        yield from _rest_of_match(path, rest)


def _rest_of_match(path: str, parts: Sequence[str]) -> Iterator[str]:
    if not parts:
        yield path
    elif os.path.isdir(path):
        yield from _matches(path, parts)


def _visible(folder: str) -> Iterator[str]:
    """Yield the paths of what is in a folder, without hidden files and folders."""
    try:
        entries = os.scandir(folder or ".")
    except OSError:
        return  # nothing in it can match
    with entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield os.path.join(folder, entry.name)


def walk(
    folder: str,
    left_out: LeftOut,
    wanted: Callable[[str], bool],
    skip: Callable[[str], bool] = _never,
) -> Iterator[str]:
    """Yield the files below a folder by name, those of a folder before those of its subfolders.

    A link that leads nowhere counts as a file, since reading it says what is wrong.

    Args:
        folder: The folder to search.
        left_out: Gets what the search leaves out.
        wanted: Tells by the name of a file whether it is looked for.
        skip: Tells by the path of a file or folder whether it belongs to the output.
    """
    folders = [folder]
    while folders:
        below: list[str] = []
        yield from _files_in(folders.pop(), below, left_out, wanted, skip)
        folders += reversed(below)


def _files_in(
    folder: str,
    below: list[str],
    left_out: LeftOut,
    wanted: Callable[[str], bool],
    skip: Callable[[str], bool],
) -> Iterator[str]:
    """Yield the files of one folder, and add its subfolders to `below`, in order."""
    try:
        entries = os.scandir(folder)
    except OSError as error:
        left_out.unreadable.append((folder, error))
        return
    with entries:
        for entry in sorted_if_few(entries, key=lambda one: one.name):
            if entry.name.startswith("."):
                continue
            if skip(entry.path):
                left_out.add(OUTPUT, entry.path)
            elif entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
            elif os.path.isdir(entry.path):
                left_out.add(LINKED, entry.path)
            elif not wanted(entry.name):
                continue
            elif is_special(entry.path):
                left_out.add(SPECIAL, entry.path)
            else:
                yield entry.path


def spread(found: Sequence[One], most: int) -> list[One]:
    """Return at most this many of a list, evenly spread over it."""
    import numpy as np

    if len(found) <= most:
        return list(found)
    return [found[place] for place in np.linspace(0, len(found) - 1, most).astype(int)]


def sorted_if_few(names: Iterator[Name], key: Callable[[Name], Any]) -> Iterator[Name]:
    """Return names in order, or as they come if there are more than SORTED_NAMES.

    Args:
        names: Read as far as necessary.
        key: What to sort by.
    """
    first = list(islice(names, SORTED_NAMES + 1))
    return iter(sorted(first, key=key)) if len(first) <= SORTED_NAMES else chain(first, names)


def pattern_in(source: str) -> tuple[str, str] | None:
    """Split a source into a folder and a pattern: "photos/**/*.jpg" → ("photos", "**/*.jpg").

    What exists is not a pattern, whatever characters its name has: neither a file called
    "a[1].jpg" nor the folder in "photos [2024]/*.jpg".

    Returns:
        The folder, "" for the current one, and the pattern below it; None if the source is not a
        pattern.
    """
    if os.path.lexists(source):
        return None
    parts = Path(source).parts
    for number, part in enumerate(parts):
        if has_magic(part) and not os.path.lexists(os.path.join(*parts[: number + 1])):
            return os.path.join(*parts[:number]) if number else "", os.path.join(*parts[number:])
    return None
