"""From what the user named to a stream of slices, never held as a whole.

A source is a folder, a pattern, a picture, a tar file, a Parquet file, or a text file with one of
these a line; on this machine, or wherever fsspec reads ("s3://bucket/photos/"). Braces are
expanded: "shard-{000..009}.tar" are ten.

Every picture has a key that is its own in the run and stays the same in the next one: where it lies
below what is common to all sources, "a/x.jpg", "shard-000.tar/0001.jpg", or "table.parquet/17" for
row 17.
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from enum import Enum
from glob import has_magic, iglob
from http.client import responses as HTTP_REASONS
from itertools import product, takewhile
from typing import BinaryIO, NamedTuple

from humanparse import search
from humanparse.errors import BrokenImage, ImageTooLarge, MissingExtra, OptionError
from humanparse.search import (
    OUTPUT,
    OWN,
    SPECIAL,
    LeftOut,
    is_own,
    is_picture,
    is_special,
    no_match,
    nothing_found,
    pattern_in,
)
from humanparse.system.text import lines_of
from humanparse.vocabulary import PICTURE_ENDINGS

TARS = (".tar", ".tar.gz", ".tgz")
PARQUET = (".parquet", ".pq")
LISTS = (".txt", ".lst", ".list")
HTTP = ("http://", "https://")
COLUMNS = (
    "image",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_bytes",
    "bytes",
    "content",
    "data",
    "uri",
    "url",
    "image_uri",
    "image_url",
    "path",
    "image_path",
    "file",
    "file_name",
)  # of a Parquet file, looked for in this order where none is named
LISTED_TOGETHER = 64  # pictures in a slice of a list
MOST_NAMES = 1_000_000  # that braces may stand for
MAX_BYTES = 100_000_000  # of one picture's file
ROWS_AT_A_TIME = 16  # of Parquet, in memory

Known = Callable[[str], bool]  # whether a key needs no work any more


class Item(NamedTuple):
    """One picture. key: see above. uri: where it lies. load: its bytes; raises OSError, ImageError,
    MissingExtra, TarError."""

    key: str
    uri: str
    load: Callable[[], bytes]


@dataclass(frozen=True)
class Slice:
    """A piece of the work that one worker reads by itself: some listed pictures, a tar file, or a
    row group of Parquet.

    name: of a tar file or row group, the same in every run; "" for a list. size: pictures in it,
    None where it is not known.
    """

    name: str = ""
    listed: tuple[tuple[str, str], ...] = ()  # (key, URL) of pictures
    url: str = ""  # of the tar or Parquet file
    group: int = 0  # row group
    first_row: int = 0  # its number in the file
    column: str = ""
    size: int | None = None
    trouble: str = ""  # why it cannot be read; its only item fails with that

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Slice:
        data = json.loads(text)
        return cls(**data | {"listed": tuple((key, url) for key, url in data["listed"])})

    def items(self, known: Known) -> Iterator[Item]:
        """The pictures that are not known yet, read one after the other. What cannot be read comes
        as an item whose `load` raises the reason. Close it (`contextlib.closing`)."""
        if self.trouble:
            return _trouble_items(self, known)
        if self.listed:
            return _listed_items(self.listed, known)
        return _row_items(self, known) if self.column else _tar_items(self, known)


class _Kind(Enum):
    """What a source is."""

    PATTERN, FOLDER, LIST, FILE = range(4)


class _Source(NamedTuple):
    """One name of the user's.

    base: the folder below which its keys begin, with a slash. pattern: below it, on this machine.
    """

    name: str
    kind: _Kind
    base: str
    pattern: str = ""


class Sources:
    """The pictures that `names` stand for.

    column: of Parquet files, with pictures or where they lie; None looks for one of COLUMNS.
    leave_out: a local folder whose files are no sources (that of the output). left_out: what the
    last search did not take. Raises OptionError for a source that does not exist, a pattern without
    match, or sources without any file to read, and MissingExtra for one that needs a package.
    """

    def __init__(self, names: Iterable[str], column: str | None = None, leave_out: str = ""):
        given = [name for one in names for name in _meant(one)]
        if not given:
            raise OptionError(
                "nothing to parse; name a folder, a pattern, a list, tar or Parquet files"
            )
        self.names = [absolute(name) for name in given]
        self.left_out = LeftOut()
        self._column = column
        self._column_found = False
        self._leave_out = os.path.abspath(leave_out) if leave_out else None
        self._sources = [_source(name) for name in self.names]
        bases = [one.base for one in self._sources]
        self._base = _common_base(bases) if len(bases) > 1 else bases[0]
        self._refuse_nothing()

    def slices(self) -> Iterator[Slice]:
        """All of the work, as it is found."""
        self.left_out = LeftOut()
        yield from self._slices(self.left_out)

    def _slices(self, left_out: LeftOut) -> Iterator[Slice]:
        waiting: list[tuple[str, str]] = []
        for key, url, trouble in self._entries(left_out):
            if trouble:
                yield Slice(name=key, url=url, size=1, trouble=trouble)
            elif _ends(url, TARS):
                yield Slice(name=key, url=url)
            elif _ends(url, PARQUET):
                yield from self._row_groups(key, url)
            else:
                waiting.append((key, url))
                if len(waiting) == LISTED_TOGETHER:
                    yield Slice(listed=tuple(waiting), size=len(waiting))
                    waiting = []
        if waiting:
            yield Slice(listed=tuple(waiting), size=len(waiting))

    def counts(self) -> Iterator[int | None]:
        """How many pictures there are, a number for every slice: None for those that would have to
        be read to know it."""
        for one in self._slices(LeftOut()):
            local_tar = one.size is None and one.url.endswith(".tar") and not is_remote(one.url)
            yield sum(1 for _ in _members(one)) if local_tar else one.size

    def nothing_found(self) -> OptionError:
        """The error for sources without a single picture."""
        return nothing_found(self.names, self.left_out, (*PICTURE_ENDINGS, *TARS))

    def _refuse_nothing(self) -> None:
        """Look for the first file of every pattern, and of all sources together."""
        for one in self._sources:
            left_out = LeftOut()
            if one.kind is _Kind.PATTERN and next(self._files_of(one, left_out), None) is None:
                raise no_match(one.name, left_out)
        if next(self._entries(self.left_out), None) is None:
            raise self.nothing_found()

    def _entries(self, left_out: LeftOut) -> Iterator[tuple[str, str, str]]:
        """(key, URL, why it cannot be read) of every picture, tar and Parquet file."""
        for one in self._sources:
            told = len(left_out.unreadable)
            for url in self._files_of(one, left_out):
                yield self._key(url), url, ""
            for folder, error in left_out.unreadable[told:]:
                reason = f"the folder cannot be read: {why(error)}"
                yield self._key(folder) or text(folder), folder, reason

    def _files_of(self, one: _Source, left_out: LeftOut) -> Iterator[str]:
        if one.kind is _Kind.PATTERN:
            endings = (*PICTURE_ENDINGS, *TARS, *PARQUET)
            found = (url for url in _matches(one, left_out) if _ends(url, endings))
            yield from self._others(found, left_out)
        elif one.kind is _Kind.FOLDER:
            found = walk(one.name, left_out, _is_picture_or_tar, self._is_ours)
            yield from self._others(found, left_out)
        elif one.kind is _Kind.LIST:
            yield from _lines(one.name)
        else:
            yield one.name

    def _others(self, urls: Iterable[str], left_out: LeftOut) -> Iterator[str]:
        """Those that are neither of the output nor written by humanparse."""
        for url in urls:
            reason = OUTPUT if self._is_ours(url) else OWN if is_own(url) else None
            if reason:
                left_out.add(reason, url)
            else:
                yield url

    def _is_ours(self, url: str) -> bool:
        ours = self._leave_out
        return ours is not None and (url == ours or url.startswith(ours + os.sep))

    def _key(self, url: str) -> str:
        return text(
            url[len(self._base) :].lstrip("/") if self._base and url.startswith(self._base) else url
        )

    def _row_groups(self, key: str, url: str) -> Iterator[Slice]:
        """A slice for every row group. Raises OptionError if the first Parquet file has no such
        column."""
        import_parquet()
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile

        try:
            with opened(url) as file, closing(ParquetFile(file)) as table:
                column = _picture_column(table.schema_arrow.names, self._column, url)
                self._column_found = True
                first = 0
                for group in range(table.metadata.num_row_groups):
                    rows = table.metadata.row_group(group).num_rows
                    yield Slice(f"{key}:{group}", (), url, group, first, column, rows)
                    first += rows
        except OptionError as error:
            if not self._column_found:
                raise
            yield Slice(name=key, url=url, size=1, trouble=str(error))
        except (OSError, ArrowInvalid) as error:
            reason = why(error) if isinstance(error, OSError) else error
            trouble = f"the Parquet file cannot be read: {reason}"
            yield Slice(name=key, url=url, size=1, trouble=trouble)


def _meant(name: str) -> list[str]:
    """The names that one stands for: itself if it exists, else what its braces stand for."""
    return [name] if not is_remote(name) and os.path.lexists(name) else expand_braces(name)


def _source(name: str) -> _Source:
    """What a name stands for. Raises OptionError for one that stands for nothing."""
    if is_remote(name):
        # The question mark of a URL is another.
        if has_magic(name) and not name.startswith(HTTP) and not _exists(name):
            fixed = re.split(r"[*?\[]", name, maxsplit=1)[0]
            return _Source(name, _Kind.PATTERN, fixed[: fixed.rfind("/") + 1])
    elif found := pattern_in(name):
        return _Source(name, _Kind.PATTERN, found[0].rstrip("/") + "/", found[1])
    if not _exists(name):
        raise OptionError(f"there is no file or folder {name!r}")
    if _is_folder(name):
        return _Source(name, _Kind.FOLDER, name.rstrip("/") + "/")
    return _Source(name, _Kind.LIST if _ends(name, LISTS) else _Kind.FILE, _folder(name) + "/")


def expand_braces(text: str) -> list[str]:
    """ "s-{00..02}.tar" → three names; "{a,b}/x" → two; also several braces. Raises OptionError for
    more than MOST_NAMES."""
    pieces = re.split(r"\{([^{}]*(?:\.\.|,)[^{}]*)\}", text)
    choices = [_choices(piece) if number % 2 else [piece] for number, piece in enumerate(pieces)]
    total = 1
    for one in choices:
        total *= len(one)
    if total > MOST_NAMES:
        raise OptionError(f"{text!r} stands for {total} names; the limit is {MOST_NAMES}")
    return ["".join(one) for one in product(*choices)]


def _choices(inside: str) -> list[str]:
    if span := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
        first, last = int(span[1]), int(span[2])
        if last - first >= MOST_NAMES:
            raise OptionError(
                f"{{{inside}}} stands for {last - first + 1} names; the limit is {MOST_NAMES}"
            )
        digits = len(span[1]) if span[1].startswith("0") else 0
        return [str(number).zfill(digits) for number in range(first, last + 1)]
    return inside.split(",") if "," in inside else ["{" + inside + "}"]


# Where files lie


def is_remote(name: str) -> bool:
    """Whether fsspec reads it."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name) is not None


def absolute(name: str) -> str:
    """The one spelling of a file or folder in a run."""
    if not is_remote(name):
        return os.path.abspath(name)
    if name.startswith(HTTP) or "::" in name:  # fsspec's chains of file systems
        return name
    system, path = _file_system(name)
    return system.unstrip_protocol(path)


def opened(url: str) -> BinaryIO:
    """The file, open for reading. Raises OSError."""
    if not is_remote(url):
        if is_special(url):  # whose reading may never end
            what = "this is no ordinary file but a pipe, socket or device"
            raise OSError(errno.EINVAL, what, url)
        return open(url, "rb")
    system, path = _file_system(url)
    return system.open(path, "rb")


def read_picture(url: str) -> bytes:
    """Raises OSError, and ImageTooLarge for files of more than MAX_BYTES."""
    with opened(url) as file:
        return _limited(file.read(MAX_BYTES + 1))


def why(error: OSError) -> str:
    """Why a file cannot be read, in words.

    fsspec's errors carry the URL alone: the reason is in what they came from.
    """
    if error.errno and error.strerror:
        return error.strerror
    cause = error.__cause__
    if status := getattr(cause, "status", None):  # of HTTP
        return f"{HTTP_REASONS.get(status, 'the server refuses')} ({status})"
    cause = getattr(cause, "os_error", cause)  # the system's error, plainer than aiohttp's
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)
    if isinstance(cause or error, TimeoutError):
        return "no answer in time"
    if cause is None and isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT)
    return getattr(cause, "strerror", None) or str(cause or error) or type(error).__name__


def walk(
    folder: str, left_out: LeftOut, wanted: Callable[[str], bool], skip: Callable[[str], bool]
) -> Iterator[str]:
    """`search.walk`, here or elsewhere."""
    if is_remote(folder):
        return _walk_remote(folder, wanted)
    return search.walk(folder, left_out, wanted, skip)


def _walk_remote(folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    system, path = _file_system(folder)
    for here, _, files in system.walk(path):
        if not any(part.startswith(".") for part in here[len(path) :].split("/")):
            names = (one for one in sorted(files) if wanted(one) and not one.startswith("."))
            yield from (system.unstrip_protocol(_join(here, one)) for one in names)


def _lines(url: str) -> Iterator[str]:
    """The files that a list names, relative to its own folder."""
    try:
        with opened(url) as file:
            for line in filter(None, lines_of(file, url)):
                yield line if is_remote(line) else _join(_folder(url), line)
    except OSError as error:
        raise OptionError(f"the list {url} cannot be read: {why(error)}") from error


def _matches(one: _Source, left_out: LeftOut) -> Iterator[str]:
    if is_remote(one.name):
        system, path = _file_system(one.name)
        yield from (system.unstrip_protocol(found) for found in sorted(system.glob(path)))
        return
    for found in search.sorted_if_few(
        iglob(one.pattern, root_dir=one.base, recursive=True), key=str
    ):
        path = one.base + found
        if is_special(path):
            left_out.add(SPECIAL, path)
        elif not os.path.isdir(path):
            yield path


def _exists(url: str) -> bool:
    if not is_remote(url):
        return os.path.exists(url)
    if url.startswith(HTTP):
        return True  # servers that answer GET alone are common
    system, path = _file_system(url)
    return system.exists(path)


def _is_folder(url: str) -> bool:
    if not is_remote(url):
        return os.path.isdir(url)
    if _ends(url, (*PICTURE_ENDINGS, *TARS, *PARQUET, *LISTS)) or url.startswith(HTTP):
        return False
    system, path = _file_system(url)
    return system.isdir(path)


def _file_system(url: str):
    """fsspec's file system for a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        if "fsspec" in str(error):
            raise MissingExtra(f"reading {url} needs fsspec", "batch") from None
        raise OptionError(f"reading {url} needs a package of its own: {error}") from None
    except ValueError as error:
        raise OptionError(f"{url} cannot be read: {error}") from None


def _common_base(bases: list[str]) -> str:
    # to the end of the shortest
    split = zip(*(base.split("/")[:-1] for base in bases), strict=False)
    common = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, split)]
    return "/".join(common) + "/" if common else ""


def _folder(url: str) -> str:
    return url[: url.rfind("/")] if "/" in url else ""


def _is_picture_or_tar(name: str) -> bool:
    return _ends(name, (*PICTURE_ENDINGS, *TARS))


def _join(folder: str, name: str) -> str:
    return (
        posixpath.normpath(posixpath.join(folder, name))
        if not is_remote(folder)
        else f"{folder.rstrip('/')}/{name}"
    )


def _ends(url: str, endings: tuple[str, ...]) -> bool:
    return url.lower().endswith(endings)


def _limited(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(
            f"image has more than {MAX_BYTES // 1_000_000} MB, the limit of one picture's file"
        )
    return data


# What is in a slice


def text(name: str) -> str:
    """A name that may be stored: bytes of a file's name that are no UTF-8 are written \\xff."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _fails(error: Exception) -> Callable[[], bytes]:
    def load() -> bytes:
        raise error

    return load


def _trouble_items(one: Slice, known: Known) -> Iterator[Item]:
    if not known(one.name):
        yield Item(one.name, text(one.url), _fails(BrokenImage(one.trouble)))


def _listed_items(listed: Iterable[tuple[str, str]], known: Known) -> Iterator[Item]:
    for key, url in listed:
        if not known(key):
            yield Item(key, text(url), lambda url=url: read_picture(url))


def _members(one: Slice) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The pictures in a tar file, in order; streamed where it is packed or elsewhere."""
    seekable = one.url.endswith(".tar") and not is_remote(one.url)
    with (
        opened(one.url) as file,
        tarfile.open(fileobj=file, mode="r:" if seekable else "r|*") as tar,
    ):
        while (member := tar.next()) is not None:
            tar.members.clear()  # it would remember them all
            if member.isfile() and _is_photo(member.name):
                yield tar, member


def _is_photo(name: str) -> bool:
    return is_picture(name) and not is_own(name) and not posixpath.basename(name).startswith(".")


def _tar_items(one: Slice, known: Known) -> Iterator[Item]:
    try:
        with closing(_members(one)) as members:
            for tar, member in members:
                key = text(f"{one.name}/{member.name}")
                if known(key):
                    continue
                uri = text(f"{one.url}#{member.name}")
                if member.size > MAX_BYTES:
                    yield Item(key, uri, lambda: _limited(b" " * (MAX_BYTES + 1)))
                    continue
                data = tar.extractfile(member).read()
                yield Item(key, uri, lambda data=data: data)
    except FileNotFoundError as error:
        yield Item(one.name, text(one.url), _fails(error))
    except (OSError, tarfile.TarError, zlib.error, EOFError) as error:
        reason = (
            error
            if isinstance(error, OSError) and error.errno
            else BrokenImage(f"the tar file breaks off: {error}")
        )
        yield Item(one.name, text(one.url), _fails(reason))
    except Exception as error:  # tarfile raises many kinds for headers that it does not expect
        yield Item(one.name, text(one.url), _fails(_damaged("tar", error)))


def _picture_column(names: list[str], wanted: str | None, url: str) -> str:
    if wanted in names:
        return wanted
    if wanted:
        raise OptionError(
            f"{url} has no column {wanted!r} but {', '.join(names)}; choose one with --column"
        )
    found = {name.lower(): name for name in names}
    for likely in COLUMNS:
        if likely in found:
            return found[likely]
    raise OptionError(
        f"{url} has none of the columns {', '.join(COLUMNS)} but {', '.join(names)}; choose one with --column"
    )


def import_parquet() -> None:
    """Raises MissingExtra without pyarrow."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingExtra("Parquet needs pyarrow", "batch") from None


def _row_items(one: Slice, known: Known) -> Iterator[Item]:
    """The pictures of a row group: bytes, {"bytes", "path"} as Hugging Face's data sets have them,
    or where they lie."""
    import_parquet()
    from pyarrow.parquet import ParquetFile

    number, file_key = one.first_row, one.name.rpartition(":")[0]
    try:
        # buffered, so that a large row group is read piece by piece
        with (
            opened(one.url) as file,
            closing(ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)) as table,
        ):
            for batch in table.iter_batches(
                ROWS_AT_A_TIME, row_groups=[one.group], columns=[one.column]
            ):
                for value in batch.column(0):
                    key = f"{file_key}/{number}"
                    number += 1
                    if not known(key):
                        yield _row_item(key, one.url, value)
    except Exception as error:  # Arrow has many, by codec and type
        reason = error if isinstance(error, OSError) and error.errno else _damaged("Parquet", error)
        yield Item(one.name, text(one.url), _fails(reason))


def _damaged(kind: str, error: Exception) -> BrokenImage:
    return BrokenImage(f"the {kind} file is damaged: {error or type(error).__name__}")


def _row_item(key: str, url: str, scalar) -> Item:
    where = text(f"{url}#{key.rpartition('/')[2]}")
    try:
        value = scalar.as_py()
    except ValueError as error:  # a text that is no UTF-8
        return Item(key, where, _fails(BrokenImage(f"the row cannot be read: {error}")))
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return Item(key, where, lambda: _limited(value))
    if isinstance(value, str) and value:
        uri = value if is_remote(value) else _join(_folder(url), value)
        return Item(key, text(uri), lambda: read_picture(uri))
    return Item(
        key, where, _fails(BrokenImage("the row holds no picture, neither bytes nor where it lies"))
    )
