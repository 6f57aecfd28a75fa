"""Rows → Parquet files that appear whole, such as part-000012.parquet; docs/batch.md describes
their schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanparse.errors import OptionError
from humanparse.system.files import sync_folder, whole_file

if TYPE_CHECKING:
    import pyarrow as pa

PART = "part-{:06d}.parquet"
ROWS_PER_GROUP = 1000
IDENTITY = b"humanparse.run"  # key in the metadata
_NAMED = re.compile(r"part-(\d{6,})\.parquet")


def schema() -> pa.Schema:
    """Return pyarrow's schema of a part."""
    import pyarrow as pa

    mask = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    region = [
        ("score", pa.float32()),
        ("box", pa.list_(pa.int32())),
        ("area", pa.int64()),
        ("mask", mask),
    ]
    part = pa.struct([("label", pa.string()), ("class_id", pa.int32()), *region])
    person = pa.struct([("id", pa.int32()), *region, ("parts", pa.list_(part))])
    return pa.schema(
        [
            ("key", pa.string()),
            ("uri", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("model", pa.string()),
            ("label_set", pa.string()),
            ("people", pa.list_(person)),
            ("loose_parts", pa.list_(part)),
        ]
    )


def write(folder: Path, number: int, rows: Sequence[bytes], metadata: Mapping[str, str]) -> None:
    """Write a part durably.

    Args:
        folder: Folder of the output.
        number: Number of the part.
        rows: The rows, as JSON.
        metadata: Metadata of the file, in addition to the schema.

    Raises:
        OSError: The part cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kept = {name.encode(): value.encode() for name, value in metadata.items()}
    table = pa.Table.from_pylist([json.loads(row) for row in rows], schema().with_metadata(kept))
    with whole_file(folder / PART.format(number)) as passing, open(passing, "xb") as file:
        parquet.write_table(table, file, compression="zstd", row_group_size=ROWS_PER_GROUP)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def present(folder: Path) -> dict[int, Path]:
    """Return the parts in the folder, by number."""
    found = {
        int(match[1]): path for path in folder.iterdir() if (match := _NAMED.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def identity(path: Path) -> dict[str, Any]:
    """Return the identity of the run that wrote a part; see `Manifest`.

    Raises:
        OptionError: The file is not a part that humanparse wrote.
    """
    from pyarrow import ArrowInvalid, parquet

    try:
        return json.loads(parquet.read_schema(path).metadata[IDENTITY])
    except (ArrowInvalid, OSError, KeyError, TypeError, ValueError):
        raise OptionError(
            f"{path} was not written by this command; move it away, "
            "or choose another folder with -o"
        ) from None


def keys(path: Path) -> Iterator[str]:
    """Yield the keys of the rows of a part."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["key"]):
            yield from batch.column(0).to_pylist()
