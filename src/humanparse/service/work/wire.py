"""Frames between the server and its workers, over two pipes.

    4 bytes   length of the head, big-endian
    8 bytes   length of the blob, big-endian
    head      a JSON object in UTF-8
    blob      bytes: a picture on the way in, a finished response body on the way out

Only JSON and bytes are sent, never pickles: a worker that a hostile picture took over can send a
wrong reply, but cannot make the server execute anything.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # workers import this module, and do without asyncio
    import asyncio

LENGTHS = struct.Struct(">IQ")
MAX_HEAD_BYTES = 4_000_000
# far above the largest reply; a damaged length must not make anyone wait for 2**60 bytes
MAX_BLOB_BYTES = 2**30
# A frame with a smaller blob is written in one piece, which wakes the reader once instead of twice.
# Copying a larger blob would take longer than that.
JOINED_BYTES = 2**20

Frame = tuple[dict[str, Any], bytes]


class WireError(Exception):
    """What arrived is not a frame, or breaks off in the middle; nothing after it can be trusted."""


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Return the next head and blob.

    Raises:
        EOFError: If the other side has ended.
        WireError: For a damaged frame.
    """
    try:
        num_head, num_blob = _lengths(await reader.readexactly(LENGTHS.size))
        return _head(await reader.readexactly(num_head)), await reader.readexactly(num_blob)
    except EOFError as error:  # asyncio's own, which also holds what came of the frame
        raise EOFError("the other side ended") from error


async def write_frame(
    writer: asyncio.StreamWriter, head: Mapping[str, Any], blob: bytes = b""
) -> None:
    """Send a frame, and wait until the pipe accepts more.

    Raises:
        ConnectionError: If the pipe has no reader any more.
        WireError: For a frame that the other side would refuse.
    """
    for piece in _pieces(head, blob):
        writer.write(piece)
    await writer.drain()


def receive_frame(file: BinaryIO) -> Frame:
    """Return the next head and blob from a buffered binary file, as `read_frame` does."""
    num_head, num_blob = _lengths(_exactly(file, LENGTHS.size))
    return _head(_exactly(file, num_head)), _exactly(file, num_blob)


def send_frame(file: BinaryIO, head: Mapping[str, Any], blob: bytes = b"") -> None:
    """Write a frame to a buffered binary file.

    Raises:
        BrokenPipeError: If the pipe has no reader any more.
        WireError: For a frame that the other side would refuse.
    """
    for piece in _pieces(head, blob):
        file.write(piece)
    file.flush()


def _pieces(head: Mapping[str, Any], blob: bytes) -> tuple[bytes, ...]:
    """The frame in the pieces to be written. Raises WireError if the other side would refuse it."""
    data = json.dumps(head, separators=(",", ":")).encode()
    lengths = LENGTHS.pack(len(data), len(blob))
    _lengths(lengths)
    if len(blob) < JOINED_BYTES:
        return (b"".join((lengths, data, blob)),)
    return lengths + data, blob


def _lengths(data: bytes) -> tuple[int, int]:
    num_head, num_blob = LENGTHS.unpack(data)
    if num_head > MAX_HEAD_BYTES or num_blob > MAX_BLOB_BYTES:
        raise WireError(
            f"a frame of {num_head} + {num_blob} bytes; "
            f"the maximum is {MAX_HEAD_BYTES} + {MAX_BLOB_BYTES}"
        )
    return num_head, num_blob


def _head(data: bytes) -> dict[str, Any]:
    try:
        head = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the head of a frame is not JSON: {error}") from error
    if not isinstance(head, dict):
        raise WireError(f"the head of a frame is a {type(head).__name__}; expected a JSON object")
    return head


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the other side ended")
    return data
