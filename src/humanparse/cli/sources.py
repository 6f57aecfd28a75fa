"""From what the user typed to the photos to parse, and where the results of each go.

A source is a file, a folder (searched through, hidden files left out), a pattern such as
"photos/**/*.jpg", or "-" for a picture on stdin. Results lie beside the photo, or below the output
folder, where the sub-folders of a folder or pattern are kept. Photos that would write the same
files are told apart before anything starts.
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
    OWN,
    SPECIAL,
    LeftOut,
    is_own,
    is_picture,
    is_special,
    no_match,
    nothing_found,
    pattern_in,
    photos_below,
)


@dataclass(frozen=True)
class Photo:
    """One photo to parse."""

    source: Path | bytes  # bytes: the picture itself, from stdin
    folder: Path  # of the results
    name: str  # of the results, without their endings
    file_name: str = ""  # of the photo, with the folders that its results keep; "" for its own

    @property
    def shown(self) -> str:
        """How messages call it."""
        return "stdin" if isinstance(self.source, bytes) else str(self.source)


@dataclass
class Found:
    """The photos in order, what the reader should know, and (folder, error) of folders that could
    not be read."""

    photos: list[Photo] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, OSError]] = field(default_factory=list)


def find(sources: Sequence[str], output: Path | None) -> Found:
    """The photos that `sources` name, each once; search.py says what is left out of folders.

    output: the folder for results; None puts them beside each photo (for stdin: into the current
    folder). Raises OptionError for a source that does not exist, a pattern without match, or
    nothing to parse at all.
    """
    if not sources:
        raise OptionError(
            "nothing to parse; name photos, folders or patterns: humanparse parse street.jpg"
        )
    search = _Search(output)
    photos: dict[str, Photo] = {}
    for source in sources:
        for photo in search.photos_of(source):
            photos.setdefault(_identity(photo), photo)
    if not photos and not search.left_out.unreadable:
        raise nothing_found(sources, search.left_out)
    settled, notes = tell_apart(list(photos.values()))
    if output:
        settled = [replace(photo, file_name=_file_name(photo, output)) for photo in settled]
    return Found(settled, [*search.left_out.notes(), *notes], search.left_out.unreadable)


@dataclass
class _Search:
    output: Path | None
    left_out: LeftOut = field(default_factory=LeftOut)

    def photos_of(self, source: str) -> list[Photo]:
        path = Path(source)
        if source == "-":
            return [Photo(_stdin(), self.output or Path(), "stdin")]
        if os.path.isdir(path):  # not path.is_dir(), which raises an error for too long a name
            found = photos_below(str(path), self.left_out)
            return [self._below(path, Path(file)) for file in found]
        if os.path.exists(path):
            return [Photo(path, self.output or path.parent, _name(path.stem))]
        if pattern := pattern_in(source):
            return self._matches(source, *pattern)
        raise OptionError(f"there is no file or folder {source!r}")

    def _below(self, base: Path, file: Path) -> Photo:
        folder = self.output / file.parent.relative_to(base) if self.output else file.parent
        return Photo(file, folder, _name(file.stem))

    def _matches(self, source: str, folder: str, pattern: str) -> list[Photo]:
        base = Path(folder)
        try:
            files = [file for file in sorted(base.glob(pattern)) if self._is_wanted(file, base)]
        except ValueError as error:
            raise OptionError(f"{source!r} is not a pattern: {error}") from None
        if not files:
            raise no_match(source, self.left_out)
        return [self._below(base, file) for file in files]

    def _is_wanted(self, file: Path, base: Path) -> bool:
        hidden = any(part.startswith(".") for part in file.relative_to(base).parts)
        if hidden or not is_picture(file.name) or file.is_dir():
            return False
        reason = OWN if is_own(file.name) else SPECIAL if is_special(file) else None
        if reason:
            self.left_out.add(reason, str(file))
        return reason is None


def tell_apart(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Photos whose results would have the same names get different ones; the notes say so.

    Those from different folders go into sub-folders named after these. Then x.jpg and x.png of one
    folder keep their endings (x.jpg.overlay.png). Neither depends on the order of the photos.
    Raises OptionError if names still meet.
    """
    notes = []
    photos, changed = _rename_clashing(photos, _keep_folders)
    if changed:
        notes.append(
            f"{len(changed)} photos from different folders share their names ({' and '.join(_two(changed))}), "
            f"so their results go into sub-folders: {changed[0].folder / changed[0].name}.*"
        )
    photos, changed = _rename_clashing(photos, _keep_endings)
    if changed:
        notes.append(
            f"{len(changed)} photos share their name with another ({' and '.join(_two(changed))}), "
            f"so their results keep the ending: {changed[0].folder / changed[0].name}.*"
        )
    for clash in _clashes(photos):
        raise OptionError(
            f"{' and '.join(_two(clash))} would write the same files; parse them into different folders with -o"
        )
    return photos, notes


def _rename_clashing(
    photos: list[Photo], rename: Callable[[list[Photo]], Iterable[Photo]]
) -> tuple[list[Photo], list[Photo]]:
    """All photos, those whose results meet renamed; and the renamed ones by themselves."""
    new = {
        old: now
        for clash in _clashes(photos)
        for old, now in zip(clash, rename(clash), strict=True)
        if now != old
    }
    return [new.get(photo, photo) for photo in photos], list(new.values())


def _clashes(photos: list[Photo]) -> list[list[Photo]]:
    groups = defaultdict(list)
    for photo in photos:
        groups[_fold_case(os.path.abspath(photo.folder / photo.name))].append(photo)
    return [group for group in groups.values() if len(group) > 1]


def _keep_folders(clash: list[Photo]) -> list[Photo]:
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


def _keep_endings(clash: list[Photo]) -> list[Photo]:
    return [
        replace(photo, name=_name(photo.source.name)) if isinstance(photo.source, Path) else photo
        for photo in clash
    ]


def _file_name(photo: Photo, output: Path) -> str:
    """Different for any two photos of a run: the results of one name lie in different folders."""
    if isinstance(photo.source, bytes):
        return ""
    return (photo.folder.relative_to(output) / photo.source.name).as_posix()


def _name(text: str) -> str:
    """The name of the results: a backslash is an ordinary letter on Linux and macOS, but results
    should travel."""
    return text.replace("\\", "_")


def _two(photos: list[Photo]) -> list[str]:
    return [photo.shown for photo in photos[:2]]


def _identity(photo: Photo) -> str:
    return "-" if isinstance(photo.source, bytes) else _fold_case(os.path.abspath(photo.source))


def _fold_case(path: str) -> str:
    """Equal for paths that name the same file: Windows and macOS do not tell capitals apart."""
    return path.lower() if sys.platform in ("win32", "darwin") else path


def _stdin() -> bytes:
    if sys.stdin is None:
        raise OptionError(
            "- reads a picture from stdin, but stdin is closed: humanparse parse - < street.jpg"
        )
    if sys.stdin.isatty():
        raise OptionError(
            "- reads a picture from stdin, but stdin is the terminal: humanparse parse - < street.jpg"
        )
    return sys.stdin.buffer.read()
