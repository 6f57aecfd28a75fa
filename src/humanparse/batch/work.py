"""One picture → its outcome: the work that is done many times, in threads and on other machines."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from humanparse.batch.slices import SourceItem
from humanparse.batch.storage import text, why
from humanparse.errors import HumanParseError, ModelError
from humanparse.formats import FORMATS, to_dict

if TYPE_CHECKING:
    from humanparse.parser import HumanParser
    from humanparse.result import Parsing

PARQUET = "parquet"
# Codes of failures that are not errors of humanparse.
UNREADABLE, UNWRITABLE, UNFORESEEN = "cannot_read", "cannot_write", "error"
LONGEST_MESSAGE = 500  # characters of a failure's message that are kept
LONGEST_NAME = 200  # bytes of a name among the results; with digits and ending at most 255

# What the output's folder holds besides results.
_RESERVED = re.compile(r"_(unfinished|failures|lock|manifest)\b", re.IGNORECASE)
_SUFFIXES = tuple(one.suffix for one in FORMATS.values())
_INNER_SUFFIXES = tuple(inner for one in _SUFFIXES if (inner := one.rpartition(".")[0]))


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        key: Key of the picture.
        blobs: The row as JSON, or the contents of the files in the order of the formats; empty if
            the picture failed.
        people: Number of people found.
        code: Code of the failure; "" if the picture was parsed.
        message: Why the picture failed.
        slice: Name of the picture's slice.
    """

    key: str
    blobs: tuple[bytes, ...] = ()
    people: int = 0
    code: str = ""
    message: str = ""
    slice: str = ""

    def could_not_be_written(self, error: OSError) -> Outcome:
        """Return the failure of this picture whose files cannot be written."""
        message = text(f"{error.strerror or error}: {error.filename2 or error.filename}")
        message = message[:LONGEST_MESSAGE]
        return replace(self, blobs=(), people=0, code=UNWRITABLE, message=message)


@dataclass(frozen=True)
class SliceDone:
    """Says that all outcomes of the slice with this name have come."""

    name: str


@dataclass(frozen=True)
class Work:
    """What is wanted of every picture. It travels to workers.

    Attributes:
        formats: (PARQUET,), or names of `humanparse.formats.FORMATS`.
        palette: Palette of the pictures.
        model: Name or file of the model; None is the built-in one.
        options: Further arguments of `HumanParser`.
    """

    formats: tuple[str, ...] = (PARQUET,)
    palette: str = "clear"
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def parser(self, threads: int) -> HumanParser:
        """Return a parser with these options and this number of threads."""
        from humanparse.parser import HumanParser

        return HumanParser(self.model, threads=threads, **self.options)

    def outcome(self, parser: HumanParser, item: SourceItem, slice_name: str = "") -> Outcome:
        """Load, parse and encode one picture.

        Whatever goes wrong with the picture is an outcome with a code.

        Raises:
            ModelError: The model does not work, so that every other picture would fail as well.
            MemoryError: There is not enough memory.
        """
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
            where = "" if place == item.key else f": {place}"  # the key of a URL is the URL
            return _failed(item, UNREADABLE, f"{why(error)}{where}", slice_name)
        except Exception as error:
            return _failed(item, UNFORESEEN, f"{type(error).__name__}: {error}", slice_name)

    def _encoded(self, parsing: Parsing, item: SourceItem) -> tuple[bytes, ...]:
        if self.formats == (PARQUET,):
            return (json.dumps(row(parsing, item)).encode(),)
        contents = []
        for name in self.formats:
            file = io.BytesIO()
            FORMATS[name].write(parsing, file, self.palette)
            contents.append(file.getvalue())
        return tuple(contents)


def row(parsing: Parsing, item: SourceItem) -> dict[str, Any]:
    """Return the row of docs/batch.md in plain Python values.

    It is the JSON of docs/json.md without what is the same in every row.
    """
    data = to_dict(parsing)
    wanted = ("width", "height", "model", "label_set", "people", "loose_parts")
    return {"key": item.key, "uri": item.uri, **{name: data[name] for name in wanted}}


def result_name(key: str) -> str:
    """Return the last part of a key as a name for files: "a/x.jpg" → "x.jpg"."""
    return result_path(key).rpartition("/")[2]


def result_path(key: str) -> str:
    """Return the path of a picture's results below the output's folder, without their endings.

    It is the key, made safe to be a path. The picture's ending is kept, so that the results of
    x.jpg and x.png do not clash. A key is changed if it has odd characters or names of more than
    LONGEST_NAME bytes, or if its results would clash with other files of the output; eight digits
    of its hash then tell it from all other keys.
    """
    path = _safe_path(key)
    return path if path == key else _with_hash(path, key)


def hashed_path(key: str) -> str:
    """Return `result_path` with the digits of the hash in any case, for a name that is taken."""
    return _with_hash(_safe_path(key), key)


def _with_hash(path: str, key: str) -> str:
    return f"{path}-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _safe_path(key: str) -> str:
    *folders, name = re.sub(r"^([A-Za-z][\w+.-]*):/+", r"\1/", key).split("/")
    names = [_apart(_safe(one), _SUFFIXES) for one in folders if one]
    names.append(_apart(_safe(name), _INNER_SUFFIXES))
    if len(names) > 1 and _RESERVED.match(names[0]):
        names[0] += "_"
    return "/".join(one for one in names if one) or "_"


def _safe(name: str) -> str:
    """Return a name of ordinary characters that hides no file and is not too long."""
    name = re.sub(r"[^\w .,()+=@~-]", "_", name)
    if name.startswith("."):
        name = "_" + name[1:]
    return name.encode("utf-8", "surrogateescape")[:LONGEST_NAME].decode("utf-8", "ignore")


def _apart(name: str, endings: tuple[str, ...]) -> str:
    """Return the name, changed if it has one of these endings.

    The folder "x.jpg.json" would clash with a result of x.jpg, and the results of "x.coco" with one
    of x.
    """
    return name + "_" if name.lower().endswith(endings) else name


def _failed(item: SourceItem, code: str, message: str, slice_name: str) -> Outcome:
    return Outcome(item.key, code=code, message=text(message)[:LONGEST_MESSAGE], slice=slice_name)
