"""One picture → its outcome. The only work that is done many times, in threads, processes and on
other machines."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from humanparse.batch.sources import Item, text, why
from humanparse.errors import HumanParseError, ModelError
from humanparse.formats import FORMATS, to_dict

if TYPE_CHECKING:
    from humanparse.parser import HumanParser
    from humanparse.result import Parsing

PARQUET = "parquet"
# Codes of failures that no error of ours describes.
UNREADABLE, UNWRITABLE, UNFORESEEN = "cannot_read", "cannot_write", "error"
LONGEST_MESSAGE = 500  # characters of a failure's reason that are kept
LONGEST_NAME = 200  # bytes of a name in the results' tree: with digits and ending at most 255

# What the output's folder holds besides results.
_RESERVED = re.compile(r"_(unfinished|failures|lock|manifest)\b", re.IGNORECASE)
_SUFFIXES = tuple(one.suffix for one in FORMATS.values())
_INNER_SUFFIXES = tuple(inner for one in _SUFFIXES if (inner := one.rpartition(".")[0]))


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    blobs: the row as JSON, or the contents of the files, in the order of the formats; empty if it
    failed.
    code, message: why it failed; code is "" if it did not. slice: the name of the slice that it is
    of.
    """

    key: str
    blobs: tuple[bytes, ...] = ()
    people: int = 0
    code: str = ""
    message: str = ""
    slice: str = ""

    def could_not_be_written(self, error: OSError) -> Outcome:
        """The same picture, failed, because its own names cannot be written."""
        message = text(f"{error.strerror or error}: {error.filename2 or error.filename}")
        message = message[:LONGEST_MESSAGE]
        return replace(self, blobs=(), people=0, code=UNWRITABLE, message=message)


@dataclass(frozen=True)
class SliceDone:
    """All outcomes of the slice of that name have come."""

    name: str


@dataclass(frozen=True)
class Work:
    """What is wanted of every picture. Travels to workers.

    formats: (PARQUET,) or names of `humanparse.formats.FORMATS`. options: of HumanParser.
    """

    formats: tuple[str, ...] = (PARQUET,)
    palette: str = "clear"
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def parser(self, threads: int) -> HumanParser:
        from humanparse.parser import HumanParser

        return HumanParser(self.model, threads=threads, **self.options)

    def outcome(self, parser: HumanParser, item: Item, slice_name: str = "") -> Outcome:
        """Load, parse and encode one picture. Raises ModelError and MemoryError; what else goes
        wrong is a failed picture."""
        try:
            parsing = parser.parse(item.load(), name=result_name(item.key))
            parsing = replace(parsing, file_name=item.key)
            return Outcome(
                item.key, self._encoded(parsing, item), len(parsing.people), slice=slice_name
            )
        except (ModelError, MemoryError):
            raise
        except HumanParseError as error:
            return _failed(item, error.code, str(error), slice_name)
        except OSError as error:
            place = error.filename or item.uri
            where = "" if place == item.key else f": {place}"  # a URL is its own key
            return _failed(item, UNREADABLE, f"{why(error)}{where}", slice_name)
        except Exception as error:
            return _failed(item, UNFORESEEN, f"{type(error).__name__}: {error}", slice_name)

    def _encoded(self, parsing: Parsing, item: Item) -> tuple[bytes, ...]:
        if self.formats == (PARQUET,):
            return (json.dumps(row(parsing, item)).encode(),)
        contents = []
        for name in self.formats:
            file = io.BytesIO()
            FORMATS[name].write(parsing, file, self.palette)
            contents.append(file.getvalue())
        return tuple(contents)


def row(parsing: Parsing, item: Item) -> dict[str, Any]:
    """The row of docs/batch.md, in plain Python values: the JSON of docs/json.md without what is
    the same in every row."""
    data = to_dict(parsing)
    wanted = ("width", "height", "model", "label_set", "people", "loose_parts")
    return {"key": item.key, "uri": item.uri, **{name: data[name] for name in wanted}}


def result_name(key: str) -> str:
    """The last part of the key, as a name for files: "a/x.jpg" → "x.jpg"."""
    return result_path(key).rpartition("/")[2]


def result_path(key: str) -> str:
    """Where the results of a picture go below the output's folder: its key, made safe to be a path.

    The picture's ending is kept, so that x.jpg and x.png do not meet. A key that had to be changed
    is told from all others by eight digits of its hash: one with odd characters or names of more
    than LONGEST_NAME bytes, and one whose results would meet other files of the output.
    """
    *folders, name = re.sub(r"^([A-Za-z][\w+.-]*):/+", r"\1/", key).split("/")
    names = [_apart(_safe(one), _SUFFIXES) for one in folders if one]
    names.append(_apart(_safe(name), _INNER_SUFFIXES))
    if len(names) > 1 and _RESERVED.match(names[0]):
        names[0] += "_"
    path = "/".join(one for one in names if one) or "_"
    if path == key:
        return path
    return f"{path}-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _safe(name: str) -> str:
    """A name of ordinary characters that hides no file, leads nowhere else and is not too long."""
    name = re.sub(r"[^\w .,()+=@~-]", "_", name)
    if name.startswith("."):
        name = "_" + name[1:]
    return name.encode("utf-8", "surrogateescape")[:LONGEST_NAME].decode("utf-8", "ignore")


def _apart(name: str, endings: tuple[str, ...]) -> str:
    """The name, changed if it has one of these endings.

    The folder "x.jpg.json" would meet a result of x.jpg, and those of "x.coco" a result of x.
    """
    return name + "_" if name.lower().endswith(endings) else name


def _failed(item: Item, code: str, message: str, slice_name: str) -> Outcome:
    return Outcome(item.key, code=code, message=text(message)[:LONGEST_MESSAGE], slice=slice_name)
