"""What is in a slice: its pictures, read one after the other by the worker that parses them."""

from __future__ import annotations

import json
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from humanparse.batch import storage
from humanparse.batch.storage import (
    folder_of,
    is_remote,
    join,
    limited,
    opened,
    read_picture,
    text,
    too_large,
)
from humanparse.errors import BrokenImage, MissingExtra
from humanparse.search import is_own, is_picture

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_A_TIME = 16  # rows of a Parquet file in memory at the same time

Known = Callable[[str], bool]  # whether the picture with this key needs no more work


class SourceItem(NamedTuple):
    """One picture of the sources.

    Attributes:
        key: The name that is unique in the run and the same in the next run; see sources.py.
        uri: Where the picture lies.
        load: Returns the bytes of the picture; raises OSError, ImageError, MissingExtra or
            TarError.
    """

    key: str
    uri: str
    load: Callable[[], bytes]


@dataclass(frozen=True)
class Slice:
    """A piece of work that one worker reads by itself.

    It is a number of listed pictures, a tar file, or a row group of a Parquet file.

    Attributes:
        name: Name of a tar file or row group, the same in every run; "" for a list.
        listed: (key, URL) of each listed picture.
        url: URL of the tar or Parquet file.
        group: Number of the row group.
        first_row: Number of the row group's first row in the file.
        column: Name of the column with the pictures.
        size: Number of pictures; None if it is not known.
        trouble: Why the slice cannot be read; its only picture fails with this reason.
    """

    name: str = ""
    listed: tuple[tuple[str, str], ...] = ()
    url: str = ""
    group: int = 0
    first_row: int = 0
    column: str = ""
    size: int | None = None
    trouble: str = ""

    def to_json(self) -> str:
        """Return the slice as JSON, in which form it travels to workers."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Slice:
        """Return the slice that `to_json` has written."""
        data = json.loads(text)
        return cls(**data | {"listed": tuple((key, url) for key, url in data["listed"])})

    def items(self, known: Known) -> Generator[SourceItem, None, None]:
        """Yield the pictures that are not known yet, read one after the other.

        What cannot be read comes as an item whose `load` raises the reason. Close the iterator
        (`contextlib.closing`), since it holds a file open.

        Args:
            known: Tells by its key whether a picture needs no more work.
        """
        if self.trouble:
            return _trouble_items(self, known)
        if self.listed:
            return _listed_items(self.listed, known)
        return _row_items(self, known) if self.column else _tar_items(self, known)

    def count(self) -> int | None:
        """Return the number of pictures if it is known or cheap to find out, else None."""
        if self.size is None and self.url.endswith(".tar") and not is_remote(self.url):
            return sum(1 for _ in _members(self))
        return self.size


def import_parquet() -> None:
    """Import pyarrow's Parquet, or raise MissingExtra."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingExtra("Parquet needs pyarrow", "batch") from None


def _fails(error: Exception) -> Callable[[], bytes]:
    def load() -> bytes:
        raise error

    return load


def _trouble_items(one: Slice, known: Known) -> Generator[SourceItem, None, None]:
    if not known(one.name):
        yield SourceItem(one.name, text(one.url), _fails(BrokenImage(one.trouble)))


def _listed_items(
    listed: Iterable[tuple[str, str]], known: Known
) -> Generator[SourceItem, None, None]:
    for key, url in listed:
        if not known(key):
            yield SourceItem(key, text(url), partial(read_picture, url))


def _members(one: Slice) -> Generator[tuple[tarfile.TarFile, tarfile.TarInfo], None, None]:
    """Yield the pictures in a tar file, in order; a packed or remote file is streamed."""
    seekable = one.url.endswith(".tar") and not is_remote(one.url)
    with (
        opened(one.url) as file,
        tarfile.open(fileobj=file, mode="r:" if seekable else "r|*") as tar,
    ):
        while (member := tar.next()) is not None:
            # Or it would remember all of them. Its types lack this documented attribute.
            tar.members.clear()  # type: ignore[attr-defined]
            if member.isfile() and _is_photo(member.name):
                yield tar, member


def _is_photo(name: str) -> bool:
    return is_picture(name) and not is_own(name) and not posixpath.basename(name).startswith(".")


def _tar_items(one: Slice, known: Known) -> Generator[SourceItem, None, None]:
    try:
        with closing(_members(one)) as members:
            for tar, member in members:
                key = text(f"{one.name}/{member.name}")
                if known(key):
                    continue
                uri = text(f"{one.url}#{member.name}")
                if member.size > storage.MAX_BYTES:
                    yield SourceItem(key, uri, _fails(too_large()))
                    continue
                file = tar.extractfile(member)
                data = file.read() if file else b""
                yield SourceItem(key, uri, partial(limited, data))
    except FileNotFoundError as error:
        yield SourceItem(one.name, text(one.url), _fails(error))
    except (OSError, tarfile.TarError, zlib.error, EOFError) as error:
        reason = (
            error
            if isinstance(error, OSError) and error.errno
            else BrokenImage(f"the tar file breaks off: {error}")
        )
        yield SourceItem(one.name, text(one.url), _fails(reason))
    except Exception as error:  # tarfile raises many kinds for headers that it does not expect
        yield SourceItem(one.name, text(one.url), _fails(_damaged("tar", error)))


def _row_items(one: Slice, known: Known) -> Generator[SourceItem, None, None]:
    """Yield the pictures of a row group.

    A row holds bytes, {"bytes", "path"} as in Hugging Face's data sets, or where the picture lies.
    """
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
    except Exception as error:  # Arrow has many kinds, which depend on codec and type
        reason = error if isinstance(error, OSError) and error.errno else _damaged("Parquet", error)
        yield SourceItem(one.name, text(one.url), _fails(reason))


def _damaged(kind: str, error: Exception) -> BrokenImage:
    return BrokenImage(f"the {kind} file is damaged: {error or type(error).__name__}")


def _row_item(key: str, url: str, scalar: pa.Scalar) -> SourceItem:
    where = text(f"{url}#{key.rpartition('/')[2]}")
    try:
        value = scalar.as_py()
    except ValueError as error:  # text that is not UTF-8
        return SourceItem(key, where, _fails(BrokenImage(f"the row cannot be read: {error}")))
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return SourceItem(key, where, lambda: limited(value))
    if isinstance(value, str) and value:
        uri = value if is_remote(value) else join(folder_of(url), value)
        return SourceItem(key, text(uri), lambda: read_picture(uri))
    return SourceItem(
        key, where, _fails(BrokenImage("the row holds neither a picture nor where one lies"))
    )
