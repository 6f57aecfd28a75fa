"""From what the user typed to the photos to parse, and where the results of each go.

A source is a file, a folder (searched through, hidden files left out), a pattern such as "photos/**/*.jpg", or "-"
for a picture on stdin. Results lie beside the photo, or below the output folder, where the sub-folders of a folder
or pattern are kept. Photos that would write the same files are told apart before anything starts.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from glob import has_magic
from pathlib import Path

from humanparse.errors import OptionError

PICTURE_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ppm",
)


@dataclass(frozen=True)
class Photo:
    """One photo to parse."""

    source: Path | bytes  # bytes: the picture itself, from stdin
    folder: Path          # of the results
    name: str             # of the results, without their endings

    @property
    def shown(self) -> str:
        """How messages call it."""
        return "stdin" if isinstance(self.source, bytes) else str(self.source)


@dataclass
class Found:
    """The photos in order, what the reader should know, and (folder, error) of folders that could not be read."""

    photos: list[Photo] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, OSError]] = field(default_factory=list)


def find(sources: Sequence[str], output: Path | None, own_endings: Sequence[str]) -> Found:
    """The photos that `sources` name, each once.

    output: the folder for results; None puts them beside each photo (for stdin: into the current folder).
    own_endings: endings of files that we write, such as ".overlay.png"; folders and patterns leave these out.
    Raises OptionError for a source that does not exist, a pattern without match, or nothing to parse at all.
    """
    if not sources:
        raise OptionError("nothing to parse; name photos, folders or patterns: humanparse parse street.jpg")
    search = _Search(output, tuple(ending.lower() for ending in own_endings))
    photos: dict[str, Photo] = {}
    for source in sources:
        for photo in search.photos_of(source):
            photos.setdefault(_identity(photo), photo)
    if not photos and not search.unreadable:
        raise OptionError(f"nothing to parse: no pictures in {', '.join(sources)} (looked for {' '.join(PICTURE_ENDINGS)})")
    settled, notes = tell_apart(list(photos.values()))
    return Found(settled, notes, search.unreadable)


@dataclass
class _Search:
    output: Path | None
    own_endings: tuple[str, ...]
    unreadable: list[tuple[str, OSError]] = field(default_factory=list)

    def photos_of(self, source: str) -> list[Photo]:
        path = Path(source)
        if source == "-":
            return [Photo(_stdin(), self.output or Path(), "stdin")]
        if os.path.isdir(path):  # not path.is_dir(), which raises an error for too long a name
            return [self._below(path, file) for file in self._walk(path)]
        if os.path.exists(path):
            return [Photo(path, self.output or path.parent, _name(path.stem))]
        if has_magic(source):
            return self._matches(path)
        raise OptionError(f"there is no file or folder {source!r}")

    def _below(self, base: Path, file: Path) -> Photo:
        folder = self.output / file.parent.relative_to(base) if self.output else file.parent
        return Photo(file, folder, _name(file.stem))

    def _walk(self, base: Path) -> Iterator[Path]:
        def unreadable(error: OSError) -> None:
            self.unreadable.append((str(error.filename), error))

        for folder, folders, files in os.walk(base, onerror=unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(files) if self._is_photo(name))

    def _matches(self, pattern: Path) -> list[Photo]:
        fixed = next(i for i, part in enumerate(pattern.parts) if has_magic(part))
        base, rest = Path(*pattern.parts[:fixed]), Path(*pattern.parts[fixed:])
        try:
            files = sorted(file for file in base.glob(str(rest)) if self._is_photo(file.name) and file.is_file())
        except ValueError as error:
            raise OptionError(f"{str(pattern)!r} is not a pattern: {error}") from None
        files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(base).parts)]
        if not files:
            raise OptionError(f"no pictures match {str(pattern)!r}")
        return [self._below(base, file) for file in files]

    def _is_photo(self, name: str) -> bool:
        low = name.lower()
        return low.endswith(PICTURE_ENDINGS) and not low.endswith(self.own_endings) and not low.startswith(".")


def tell_apart(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Photos whose results would have the same names get different ones; the notes say so.

    Those from different folders go into sub-folders named after these. Then x.jpg and x.png of one folder keep their
    endings (x.jpg.overlay.png). Neither depends on the order of the photos. Raises OptionError if names still meet.
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
        raise OptionError(f"{' and '.join(_two(clash))} would write the same files; parse them into different folders with -o")
    return photos, notes


def _rename_clashing(photos: list[Photo], rename: Callable[[list[Photo]], Iterable[Photo]]) -> tuple[list[Photo], list[Photo]]:
    """All photos, those whose results meet renamed; and the renamed ones by themselves."""
    new = {old: now for clash in _clashes(photos) for old, now in zip(clash, rename(clash), strict=True) if now != old}
    return [new.get(photo, photo) for photo in photos], list(new.values())


def _clashes(photos: list[Photo]) -> list[list[Photo]]:
    groups = defaultdict(list)
    for photo in photos:
        groups[_fold_case(os.path.abspath(photo.folder / photo.name))].append(photo)
    return [group for group in groups.values() if len(group) > 1]


def _keep_folders(clash: list[Photo]) -> list[Photo]:
    folders = [os.path.abspath(photo.source.parent) for photo in clash if isinstance(photo.source, Path)]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # on different drives
        return clash
    return [
        replace(photo, folder=photo.folder / os.path.relpath(photo.source.parent, common))
        if isinstance(photo.source, Path) else photo
        for photo in clash
    ]


def _keep_endings(clash: list[Photo]) -> list[Photo]:
    return [replace(photo, name=_name(photo.source.name)) if isinstance(photo.source, Path) else photo for photo in clash]


def _name(text: str) -> str:
    """The name of the results: a backslash is an ordinary letter on Linux and macOS, but results should travel."""
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
        raise OptionError("- reads a picture from stdin, but stdin is closed: humanparse parse - < street.jpg")
    if sys.stdin.isatty():
        raise OptionError("- reads a picture from stdin, but stdin is the terminal: humanparse parse - < street.jpg")
    return sys.stdin.buffer.read()
