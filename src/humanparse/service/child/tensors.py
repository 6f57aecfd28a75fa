"""Inside a worker: a result → output tensors of the Open Inference Protocol, named in api/v2.py.

The body is the length of the JSON in 8 bytes, big-endian; then the JSON list of the outputs; then
the bytes of those that are binary.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from humanparse import formats
from humanparse.result import Parsing

LENGTH = struct.Struct(">Q")
BYTES_LENGTH = struct.Struct("<I")  # before every element of a binary BYTES tensor
ROWS_AT_ONCE = 256  # rows of a map that are written as text at once, to limit memory


def encode(parsing: Parsing, wanted: Sequence[str]) -> bytes:
    """Encode the outputs of one picture.

    Args:
        parsing: The result.
        wanted: Any of labels, people and result; "labels:binary" requests bytes instead of numbers
            in JSON.

    Returns:
        The body, as described at the top of this file.
    """
    described: list[bytes] = []
    tail: list[bytes] = []
    for one in wanted:
        name, _, form = one.partition(":")
        datatype, shape, value = _tensor(parsing, name)
        head: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if form == "binary":
            data = _as_bytes(value)
            head["parameters"] = {"binary_data_size": len(data)}
            described.append(json.dumps(head, separators=(",", ":")).encode())
            tail.append(data)
        else:
            described.append(
                json.dumps(head, separators=(",", ":")).encode()[:-1]
                + b',"data":['
                + _as_text(value)
                + b"]}"
            )
    text = b"[" + b",".join(described) + b"]"
    return b"".join([LENGTH.pack(len(text)), text, *tail])


def _tensor(parsing: Parsing, name: str) -> tuple[str, list[int], np.ndarray | str]:
    if name == "result":
        return "BYTES", [1], formats.to_json(parsing)
    shape = [1, *parsing.size_hw]
    return (
        ("UINT8", shape, parsing.label_map)
        if name == "labels"
        else ("UINT16", shape, parsing.person_map)
    )


def _as_bytes(value: np.ndarray | str) -> bytes:
    if isinstance(value, str):
        data = value.encode()
        return BYTES_LENGTH.pack(len(data)) + data
    return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def _as_text(value: np.ndarray | str) -> bytes:
    if isinstance(value, str):
        return json.dumps(value).encode()
    return b",".join(_numbers(value))


def _numbers(value: np.ndarray) -> Iterator[bytes]:
    for first in range(0, len(value), ROWS_AT_ONCE):
        yield ",".join(map(str, value[first : first + ROWS_AT_ONCE].ravel().tolist())).encode()
