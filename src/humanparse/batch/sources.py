"""From what the user named to a stream of slices, which is never held as a whole.

A source is a folder, a pattern, a picture, a tar file, a Parquet file, or a text file that lists
any of these, one on each line; on this machine, or wherever fsspec reads ("s3://bucket/photos/").
Braces are expanded: "shard-{000..009}.tar" stands for ten names.

Every picture has a key, which is unique in the run and the same in the next run. It is the path
below what is common to all sources: "a/x.jpg", "shard-000.tar/0001.jpg", or "table.parquet/17" for
row 17.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from enum import Enum
from glob import has_magic
from itertools import product, takewhile
from typing import NamedTuple

from humanparse.batch.slices import Slice, import_parquet
from humanparse.batch.storage import (
    HTTP,
    LISTS,
    PARQUET,
    TARS,
    absolute,
    ends,
    exists,
    folder_of,
    is_folder,
    is_remote,
    listed_files,
    opened,
    remote_files_below,
    remote_matches,
    text,
    why,
)
from humanparse.errors import OptionError
from humanparse.search import (
    OWN,
    LeftOut,
    is_own,
    no_match,
    no_such_source,
    nothing_found,
    pattern_in,
    photos_below,
    photos_matching,
)
from humanparse.vocabulary import PICTURE_ENDINGS

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
)  # of a Parquet file, looked for in this order if no column is named
LISTED_TOGETHER = 64  # pictures in a slice of a list
MOST_NAMES = 1_000_000  # that braces may stand for


class _Kind(Enum):
    """What a source is."""

    PATTERN, FOLDER, LIST, FILE = range(4)


class _Source(NamedTuple):
    """One name that the user gave.

    base: the folder below which its keys begin, with a slash. pattern: below it, on this machine.
    """

    name: str
    kind: _Kind
    base: str
    pattern: str = ""


class Sources:
    """The pictures that some names stand for.

    Attributes:
        names: The names in full, with their braces expanded.
        left_out: What the latest search left out.
    """

    def __init__(self, names: Iterable[str], column: str | None = None, leave_out: str = ""):
        """Check the names, without reading a picture.

        Args:
            names: What the user named.
            column: The column of Parquet files that holds the pictures, or where they lie; None
                looks for one of COLUMNS.
            leave_out: A local folder whose files are not sources, which is that of the output.

        Raises:
            OptionError: A source does not exist, a pattern matches nothing, or no source holds a
                file to read.
            MissingExtra: A source needs a package that is not installed.
        """
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
        """Yield all of the work, as it is found."""
        self.left_out = LeftOut()
        yield from self._slices(self.left_out)

    def _slices(self, left_out: LeftOut) -> Iterator[Slice]:
        waiting: list[tuple[str, str]] = []
        for key, url, trouble in self._entries(left_out):
            if trouble:
                yield Slice(name=key, url=url, size=1, trouble=trouble)
            elif ends(url, TARS):
                yield Slice(name=key, url=url)
            elif ends(url, PARQUET):
                yield from self._row_groups(key, url)
            else:
                waiting.append((key, url))
                if len(waiting) == LISTED_TOGETHER:
                    yield Slice(listed=tuple(waiting), size=len(waiting))
                    waiting = []
        if waiting:
            yield Slice(listed=tuple(waiting), size=len(waiting))

    def counts(self) -> Iterator[int | None]:
        """Yield the number of pictures of every slice; None if that would mean reading it."""
        for one in self._slices(LeftOut()):
            yield one.count()

    def nothing_found(self) -> OptionError:
        """Return the error for sources without a single picture."""
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
        """Yield (key, URL, why it cannot be read) of every picture, tar and Parquet file."""
        for one in self._sources:
            already = len(left_out.unreadable)
            for url in self._files_of(one, left_out):
                yield self._key(url), url, ""
            for folder, error in left_out.unreadable[already:]:
                reason = f"the folder cannot be read: {why(error)}"
                yield self._key(folder) or text(folder), folder, reason

    def _files_of(self, one: _Source, left_out: LeftOut) -> Iterator[str]:
        remote = is_remote(one.name)
        if one.kind is _Kind.LIST:
            yield from listed_files(one.name)
        elif one.kind is _Kind.FILE:
            yield one.name
        elif one.kind is _Kind.FOLDER and remote:
            yield from _not_own(remote_files_below(one.name, _is_picture_or_tar), left_out)
        elif one.kind is _Kind.FOLDER:
            yield from photos_below(one.name, left_out, _is_picture_or_tar, self._is_output)
        elif remote:
            found = (url for url in remote_matches(one.name) if _can_be_opened(url))
            yield from _not_own(found, left_out)
        else:
            yield from photos_matching(
                one.base, one.pattern, left_out, _can_be_opened, self._is_output
            )

    def _is_output(self, path: str) -> bool:
        folder = self._leave_out
        return folder is not None and (path == folder or path.startswith(folder + os.sep))

    def _key(self, url: str) -> str:
        below = bool(self._base) and url.startswith(self._base)
        return text(url[len(self._base) :].lstrip("/") if below else url)

    def _row_groups(self, key: str, url: str) -> Iterator[Slice]:
        """Yield a slice for every row group.

        Raises OptionError if the first Parquet file has no such column.
        """
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
    """Return the name itself if it exists, else the names that its braces stand for."""
    return [name] if not is_remote(name) and os.path.lexists(name) else expand_braces(name)


def _source(name: str) -> _Source:
    """Return what a name stands for. Raises OptionError if it stands for nothing."""
    if is_remote(name):
        # A question mark in an HTTP URL begins its query.
        if has_magic(name) and not name.startswith(HTTP) and not exists(name):
            fixed = re.split(r"[*?\[]", name, maxsplit=1)[0]
            return _Source(name, _Kind.PATTERN, fixed[: fixed.rfind("/") + 1])
    elif found := pattern_in(name):
        return _Source(name, _Kind.PATTERN, found[0].rstrip("/") + "/", found[1])
    if not exists(name):
        raise no_such_source(name)
    if is_folder(name):
        return _Source(name, _Kind.FOLDER, name.rstrip("/") + "/")
    return _Source(name, _Kind.LIST if ends(name, LISTS) else _Kind.FILE, folder_of(name) + "/")


def _not_own(urls: Iterable[str], left_out: LeftOut) -> Iterator[str]:
    """Yield the files that humanparse did not write itself."""
    for url in urls:
        if is_own(url):
            left_out.add(OWN, url)
        else:
            yield url


def expand_braces(text: str) -> list[str]:
    """Return the names that a name with braces stands for, with one or several pairs.

    "s-{00..02}.tar" stands for three names, "{a,b}/x" for two.

    Raises:
        OptionError: The braces stand for more than MOST_NAMES names.
    """
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


def _common_base(bases: list[str]) -> str:
    # only as far as the shortest of them
    split = zip(*(base.split("/")[:-1] for base in bases), strict=False)
    common = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, split)]
    return "/".join(common) + "/" if common else ""


def _is_picture_or_tar(name: str) -> bool:
    return ends(name, (*PICTURE_ENDINGS, *TARS))


def _can_be_opened(name: str) -> bool:
    return ends(name, (*PICTURE_ENDINGS, *TARS, *PARQUET))


def _picture_column(names: list[str], wanted: str | None, url: str) -> str:
    """Return the name of the column with the pictures, or raise OptionError."""
    columns = ", ".join(names)
    if wanted in names:
        return wanted
    if wanted:
        raise OptionError(f"{url} has no column {wanted!r} but {columns}; choose one with --column")
    found = {name.lower(): name for name in names}
    for likely in COLUMNS:
        if likely in found:
            return found[likely]
    raise OptionError(
        f"{url} has none of the columns {', '.join(COLUMNS)} but {columns}; "
        "choose one with --column"
    )
