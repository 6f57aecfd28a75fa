"""Frames arrive as they were sent; anything else is recognised as invalid."""

import asyncio
import io

import pytest

from humanparse.service.work import wire


def frame(head: dict, blob: bytes = b"") -> bytes:
    file = io.BytesIO()
    wire.send_frame(file, head, blob)
    return file.getvalue()


def read(data: bytes, frames: int = 1) -> list[wire.Frame]:
    """Return what the server reads from these bytes."""

    async def read_all():
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return [await wire.read_frame(reader) for _ in range(frames)]

    return asyncio.run(read_all())


def test_two_frames_in_a_row_arrive_as_they_were_sent():
    data = frame({"do": "parse", "name": "Åsa", "none": None}, bytes(range(256))) + frame({})
    frames = [({"do": "parse", "name": "Åsa", "none": None}, bytes(range(256))), ({}, b"")]
    assert read(data, 2) == frames
    file = io.BytesIO(data)
    assert [wire.receive_frame(file), wire.receive_frame(file)] == frames


def test_layout_is_4_bytes_8_bytes_head_blob():
    assert frame({"a": 1}, b"xyz") == b"\0\0\0\x07" + b"\0\0\0\0\0\0\0\x03" + b'{"a":1}' + b"xyz"


class Pipe:
    def __init__(self):
        self.pieces = []

    def write(self, data):
        self.pieces.append(data)

    async def drain(self):
        pass


def test_server_and_worker_send_the_same_bytes():
    pipe = Pipe()
    asyncio.run(wire.write_frame(pipe, {"a": 1}, b"xyz"))
    assert b"".join(pipe.pieces) == frame({"a": 1}, b"xyz")


def test_a_small_frame_is_one_piece_and_a_large_blob_is_not_copied():
    pipe, large = Pipe(), bytes(wire.JOINED_BYTES)
    asyncio.run(wire.write_frame(pipe, {}, b"xyz"))
    asyncio.run(wire.write_frame(pipe, {}, large))
    assert pipe.pieces[0] == frame({}, b"xyz") and pipe.pieces[2] is large


@pytest.mark.parametrize("length", range(len(frame({"a": 1}, b"xyz"))))
def test_frame_that_breaks_off_is_an_end(length):
    data = frame({"a": 1}, b"xyz")[:length]
    with pytest.raises(EOFError):
        read(data)
    with pytest.raises(EOFError):
        wire.receive_frame(io.BytesIO(data))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        wire.LENGTHS.pack(wire.MAX_HEAD_BYTES + 1, 0),
        wire.LENGTHS.pack(2, wire.MAX_BLOB_BYTES + 1) + b"{}",
        wire.LENGTHS.pack(4, 0) + b"null",
        wire.LENGTHS.pack(2, 0) + b"[]",
        wire.LENGTHS.pack(1, 0) + b"{",
        wire.LENGTHS.pack(2, 0) + b"\xff\xfe",
        wire.LENGTHS.pack(100_000, 0) + b"[" * 100_000,
    ],
)
def test_invalid_data_is_recognised(data):
    with pytest.raises(wire.WireError):
        read(data)
    with pytest.raises(wire.WireError):
        wire.receive_frame(io.BytesIO(data))


def test_what_the_other_side_would_refuse_is_not_sent():
    file = io.BytesIO()
    with pytest.raises(wire.WireError, match="the maximum is"):
        wire.send_frame(file, {"text": "x" * wire.MAX_HEAD_BYTES})
    assert file.getvalue() == b""
