"""From what the user typed to the photos to parse, and where the results of each go.

A source is a file, a folder (which is searched, without hidden files), a pattern such as
"photos/**/*.jpg", or "-" for a picture on stdin. Results lie beside the photo, or below the output
folder, where the sub-folders of a folder or pattern are kept. Photos whose results would have the
same names are told apart before anything starts.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from humanparse.errors import OptionError
from humanparse.search import (
    LeftOut,
    no_match,
    no_such_source,
    nothing_found,
    pattern_in,
    photos_below,
    photos_matching,
)


@dataclass(frozen=True)
class InputPhoto:
    """One photo to parse.

    Attributes:
        source: Path of the photo, or the picture itself if it came on stdin.
        folder: Folder of the results.
        name: Name of the results, without their endings.
        file_name: Name of the photo, with the folders that its results keep; "" for its own name.
    """

    source: Path | bytes
    folder: Path
    name: str
    file_name: str = ""

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return "stdin" if isinstance(self.source, bytes) else str(self.source)


@dataclass
class InputPhotos:
    """The photos of a run.

    Attributes:
        photos: The photos, in order.
        notes: What the user should know about them, a line each.
        unreadable: The folders that cannot be read, each with its error.
    """

    photos: list[InputPhoto] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, OSError]] = field(default_factory=list)


def find(sources: Sequence[str], output: Path | None, *, expected: bool = True) -> InputPhotos:
    """Return the photos that the sources name, each once; search.py says what is left out.

    Args:
        sources: Files, folders, patterns, or "-" for stdin.
        output: Folder for the results; None puts them beside each photo, and those of stdin into
            the current folder.
        expected: Whether it is an error that there are no photos.

    Raises:
        OptionError: A source does not exist, a pattern matches nothing, or there is nothing to
            parse at all.
    """
    if not sources:
        raise OptionError(
            "nothing to parse; name photos, folders or patterns: humanparse parse street.jpg"
        )
    search = _Search(output)
    photos: dict[str, InputPhoto] = {}
    for source in sources:
        for photo in search.photos_of(source):
            photos.setdefault(_identity(photo), photo)
    if expected and not photos and not search.left_out.unreadable:
        raise nothing_found(sources, search.left_out)
    settled, notes = tell_apart(list(photos.values()))
    if output:
        settled = [replace(photo, file_name=_file_name(photo, output)) for photo in settled]
    return InputPhotos(settled, [*search.left_out.notes(), *notes], search.left_out.unreadable)


@dataclass
class _Search:
    output: Path | None
    left_out: LeftOut = field(default_factory=LeftOut)

    def photos_of(self, source: str) -> list[InputPhoto]:
        path = Path(source)
        if source == "-":
            return [InputPhoto(_stdin(), self.output or Path(), "stdin")]
        if os.path.isdir(path):  # not path.is_dir(), which raises an error if the name is too long
            return self._below(path, photos_below(str(path), self.left_out))
        if os.path.exists(path):
            return [InputPhoto(path, self.output or path.parent, _name(path.stem))]
        if pattern := pattern_in(source):
            return self._matching(source, *pattern)
        raise no_such_source(source)

    def _below(self, base: Path, files: Iterable[str]) -> list[InputPhoto]:
        photos = []
        for file in map(Path, files):
            folder = self.output / file.parent.relative_to(base) if self.output else file.parent
            photos.append(InputPhoto(file, folder, _name(file.stem)))
        return photos

    def _matching(self, source: str, folder: str, pattern: str) -> list[InputPhoto]:
        if any("**" in part and part != "**" for part in Path(pattern).parts):
            raise OptionError(
                f"{source!r} is not a pattern: ** stands for whole folders, as in photos/**/*.jpg"
            )
        photos = self._below(Path(folder), photos_matching(folder, pattern, self.left_out))
        if not photos:
            raise no_match(source, self.left_out)
        return photos


def tell_apart(photos: list[InputPhoto]) -> tuple[list[InputPhoto], list[str]]:
    """Give different names to photos whose results would have the same names.

    Photos from different folders go into sub-folders named after these. Then x.jpg and x.png of one
    folder keep their endings (x.jpg.overlay.png). Neither depends on the order of the photos.

    Returns:
        All photos, in the same order, and a note for each kind of change.

    Raises:
        OptionError: Two photos would still write the same files.
    """
    notes = []
    photos, changed = _rename_clashing(photos, _keep_folders)
    if changed:
        notes.append(
            f"{len(changed)} photos from different folders have the same names "
            f"({_two(changed)}), so their results go into sub-folders: {_results(changed[0])}"
        )
    photos, changed = _rename_clashing(photos, _keep_endings)
    if changed:
        notes.append(
            f"{len(changed)} photos share their name with another ({_two(changed)}), "
            f"so their results keep the ending: {_results(changed[0])}"
        )
    for clash in _clashes(photos):
        raise OptionError(
            f"{_two(clash)} would write the same files; parse them into different folders with -o"
        )
    return photos, notes


def _rename_clashing(
    photos: list[InputPhoto], rename: Callable[[list[InputPhoto]], Iterable[InputPhoto]]
) -> tuple[list[InputPhoto], list[InputPhoto]]:
    """Return all photos, with those renamed whose results clash; and the renamed ones alone."""
    new = {
        old: now
        for clash in _clashes(photos)
        for old, now in zip(clash, rename(clash), strict=True)
        if now != old
    }
    return [new.get(photo, photo) for photo in photos], list(new.values())


def _clashes(photos: list[InputPhoto]) -> list[list[InputPhoto]]:
    groups = defaultdict(list)
    for photo in photos:
        groups[_fold_case(os.path.abspath(photo.folder / photo.name))].append(photo)
    return [group for group in groups.values() if len(group) > 1]


def _keep_folders(clash: list[InputPhoto]) -> list[InputPhoto]:
    folders = [
        os.path.abspath(photo.source.parent) for photo in clash if isinstance(photo.source, Path)
    ]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # on different drives
        return clash
    return [
        replace(photo, folder=photo.folder / os.path.relpath(photo.source.parent, common))
        if isinstance(photo.source, Path)
        else photo
        for photo in clash
    ]


def _keep_endings(clash: list[InputPhoto]) -> list[InputPhoto]:
    return [
        replace(photo, name=_name(photo.source.name)) if isinstance(photo.source, Path) else photo
        for photo in clash
    ]


def _file_name(photo: InputPhoto, output: Path) -> str:
    """Return a name that no other photo of the run has: results of one name differ in folder."""
    if isinstance(photo.source, bytes):
        return ""
    return (photo.folder.relative_to(output) / photo.source.name).as_posix()


def _name(text: str) -> str:
    """Return the name of the results, without backslashes, which other systems take for slashes."""
    return text.replace("\\", "_")


def _two(photos: list[InputPhoto]) -> str:
    return " and ".join(photo.shown for photo in photos[:2])


def _results(photo: InputPhoto) -> str:
    return f"{photo.folder / photo.name}.*"


def _identity(photo: InputPhoto) -> str:
    return "-" if isinstance(photo.source, bytes) else _fold_case(os.path.abspath(photo.source))


def _fold_case(path: str) -> str:
    """Make paths of the same file equal: Windows and macOS do not tell capitals apart."""
    return path.lower() if sys.platform in ("win32", "darwin") else path


def _stdin() -> bytes:
    if sys.stdin is None:
        raise OptionError(
            "- reads a picture from stdin, but stdin is closed: humanparse parse - < street.jpg"
        )
    if sys.stdin.isatty():
        raise OptionError(
            "- reads a picture from stdin, but stdin is the terminal: "
            "humanparse parse - < street.jpg"
        )
    return sys.stdin.buffer.read()
