"""What the first bytes of a clip's file say: whether it is one, and whether its end is missing."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from humanparse.errors import NotAVideo

ACCEPTED = "MP4, MOV, WebM, Matroska, AVI, MPEG, FLV, Ogg, WMV, IVF, Y4M or GIF"

_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # of WebM and Matroska
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # that MP4 and MOV begin with
_OTHERS = (
    b"\x00\x00\x01\xba",  # MPEG
    b"\x00\x00\x01\xb3",
    b"FLV\x01",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",  # WMV
    b"DKIF",  # IVF
    b"YUV4MPEG2",
    b"GIF8",
)
_TS_PACKET, _TS_SYNC = 188, b"G"  # an MPEG transport stream repeats its sign


def check_signature(path: Path) -> None:
    """Raise NotAVideo unless a file begins like a clip of a type that is accepted."""
    with path.open("rb") as file:
        head = file.read(2 * _TS_PACKET)
    known = (
        head.startswith((_EBML, *_OTHERS))
        or head[4:8] in _BOXES
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[:1] == head[_TS_PACKET : _TS_PACKET + 1] == _TS_SYNC
    )
    if not known:
        what = "is not a clip of a type that is read" if head else "is empty"
        raise NotAVideo(f"{path.name} {what}; give a file of {ACCEPTED}")


def missing_bytes(path: Path) -> int:
    """Return how many bytes a file lacks of the length that its container tells; 0 if it does not
    tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith(_EBML):
            end = _end_of_segment(file)
        elif head[4:8] in _BOXES:
            end = _end_of_boxes(file, size)
        elif head[:4] == b"RIFF":
            end = 8 + int.from_bytes(head[4:8], "little")
        else:
            end = 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 ends: beyond the file if it was cut."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:  # too long for four bytes
            length = int.from_bytes(head[8:16])
        if length == 0:  # up to the end, wherever it is
            return size
        at += max(8, length)
    return at


def _end_of_segment(file: BinaryIO) -> int:
    """Where the one segment of a WebM ends; 0 if it has no length, as in a stream."""
    file.seek(4)
    file.seek(_length(file) or 0, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _length(file)
    return file.tell() + length if length is not None else 0


def _length(file: BinaryIO) -> int | None:
    """An EBML length, whose first byte says how many bytes it has; None for unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    length = int.from_bytes(first + file.read(more)) & ((1 << 7 * (more + 1)) - 1)
    return None if length == (1 << 7 * (more + 1)) - 1 else length
