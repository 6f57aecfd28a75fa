"""Searching folders for photos: one way for every command that does it.

Hidden files and folders are left out, and so is what must not be taken for a photo: files that
humanparse wrote itself, pipes, sockets and devices, which may be endless to read, and folders
behind links, which might lead back. A search counts what a user would miss, so that nothing is left
out silently.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import has_magic
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from humanparse.errors import OptionError
from humanparse.vocabulary import EDITED_SUFFIX, FORMAT_SUFFIXES, PICTURE_ENDINGS

SORTED_NAMES = 100_000  # in a folder; more come in the file system's order, which saves memory
SHOWN_SOURCES = 5  # in a message
OWN, SPECIAL, LINKED, OUTPUT = "own", "special", "linked", "output"  # why something is left out
_OWN_SUFFIXES = (
    *FORMAT_SUFFIXES.values(),
    *(EDITED_SUFFIX + ending for ending in PICTURE_ENDINGS),
)
_WORDS = {  # singular, plural
    OWN: ("file that humanparse wrote itself", "files that humanparse wrote itself"),
    SPECIAL: ("pipe, socket or device", "pipes, sockets or devices"),
    LINKED: (
        "linked folder, which is searched if you name it",
        "linked folders, which are searched if you name them",
    ),
    OUTPUT: ("folder or file of the output", "folders or files of the output"),
}

Name = TypeVar("Name")


@dataclass
class LeftOut:
    """What a search left out.

    Attributes:
        found: By reason, how many there were and the first.
        unreadable: Folders that cannot be read, and why.
    """

    found: dict[str, tuple[int, str]] = field(default_factory=dict)
    unreadable: list[tuple[str, OSError]] = field(default_factory=list)

    def add(self, reason: str, path: str) -> None:
        """Count a path as left out; reason: OWN, SPECIAL, LINKED or OUTPUT."""
        number, first = self.found.get(reason, (0, path))
        self.found[reason] = number + 1, first

    def notes(self, reasons: Iterable[str] = (SPECIAL, LINKED)) -> list[str]:
        """Return a line for each reason; by default not for those that users expect."""
        return [f"left out: {self._words(one)}" for one in reasons if one in self.found]

    def __str__(self) -> str:
        """Everything, for the error that nothing was found."""
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
        sources: What the user gave.
        left_out: What the search left out.
        endings: The endings of names that were searched for.
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


def is_picture(name: str) -> bool:
    """Return whether a file's name ends like that of a picture."""
    return name.lower().endswith(PICTURE_ENDINGS)


def is_own(name: str) -> bool:
    """Return whether a file is named like one that humanparse writes."""
    return name.lower().endswith(_OWN_SUFFIXES)


def is_special(path: str | Path) -> bool:
    """Return whether something exists there that is neither an ordinary file nor a folder."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def photos_below(folder: str, left_out: LeftOut) -> Iterator[str]:
    """Yield the photos in a folder and its subfolders, sorted by name within each folder.

    Args:
        folder: Where to search.
        left_out: Gets what is left out.
    """
    for path in walk(folder, left_out, is_picture):
        if is_own(path):
            left_out.add(OWN, path)
        else:
            yield path


def walk(
    folder: str,
    left_out: LeftOut,
    wanted: Callable[[str], bool],
    skip: Callable[[str], bool] = lambda path: False,
) -> Iterator[str]:
    """Yield the files below a folder by name, those of a folder before those of its subfolders.

    A link that leads nowhere counts as a file; reading it will report the reason.

    Args:
        folder: Where to search.
        left_out: Gets what is left out.
        wanted: Called with the name of a file: whether to yield it.
        skip: Called with the path of a file or folder: whether it is part of the output.
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
    """The files of one folder. below: gets its subfolders, in order."""
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


def sorted_if_few(names: Iterator[Name], key: Callable[[Name], Any]) -> Iterator[Name]:
    """Return names in order, or as they come if there are more than SORTED_NAMES.

    Args:
        names: Read as far as necessary.
        key: What to sort by.
    """
    first = list(islice(names, SORTED_NAMES + 1))
    return iter(sorted(first, key=key)) if len(first) <= SORTED_NAMES else chain(first, names)


def pattern_in(source: str) -> tuple[str, str] | None:
    """Split a pattern into a folder and the pattern below it.

    Args:
        source: What the user gave, such as "photos/**/*.jpg".

    Returns:
        ("photos", "**/*.jpg"), or None if it is not a pattern. A path that exists is not one,
        whatever characters its name has: neither a file called "a[1].jpg" nor the folder of
        "photos [2024]/*.jpg".
    """
    if os.path.lexists(source):
        return None
    parts = Path(source).parts
    for number, part in enumerate(parts):
        if has_magic(part) and not os.path.lexists(os.path.join(*parts[: number + 1])):
            return os.path.join(*parts[:number]) if number else "", os.path.join(*parts[number:])
    return None
