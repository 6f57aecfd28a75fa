"""A form (multipart/form-data), read as its bytes arrive: files go where the caller says.

The other fields are kept as texts. A form is never in memory as a whole, unless the caller keeps
its files there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from humanparse.service.problems import Problem

FORM = "multipart/form-data"
FILE_FIELDS = ("image", "file")  # what clients call a picture: the first is ours
MAX_FIELD_BYTES = 4096
PIECE = 262_144  # bytes parsed at a time, in a thread
_EVENTS = (
    "part_begin",
    "part_data",
    "part_end",
    "header_field",
    "header_value",
    "header_end",
    "headers_finished",
    "end",
)


class Sink(Protocol):
    """Where the bytes of one file go. Each method may raise Problem or OSError."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes."""

    def end(self) -> None:
        """Keep the file: all of it has come."""

    def close(self) -> None:
        """Let go of it, whether all of it has come or not."""


async def read_form(
    request: Request,
    open_file: Callable[[str, str], Sink],
    *,
    max_fields: int,
    how: str,
    file_fields: tuple[str, ...] = FILE_FIELDS,
) -> dict[str, list[str]]:
    """Read the request's body, which is a form, and return its fields: the texts by name.

    open_file: gives the sink of a file, by its field and its name, "" if it has none; called in a
        thread, as are the sinks.
    file_fields: parts of these names are files, also where no file name says so; others must not
    be.
    how: what to send, for the details of problems. Raises Problem bad_request, starlette's
    ClientDisconnect, and whatever open_file and sinks raise.
    """
    form = _Form(_boundary(request), open_file, max_fields, how, file_fields)
    try:
        piece = bytearray()
        async for chunk in request.stream():
            piece += chunk
            if len(piece) >= PIECE:
                await asyncio.to_thread(form.feed, bytes(piece))
                piece.clear()
        await asyncio.to_thread(form.feed, bytes(piece))
        return form.finished()
    finally:
        form.close()


def kind_of(request: Request) -> str:
    """The media type of the body, in small letters; "" if none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(request: Request, how: str) -> Problem:
    """The Problem for a body of a kind that is not taken. how: what to send instead."""
    return Problem("unsupported_media_type", f"the body is {kind_of(request)[:100]!r}; {how}")


def _boundary(request: Request) -> bytes:
    _, parameters = parse_options_header(request.headers.get("content-type"))
    if not parameters.get(b"boundary"):
        raise Problem(
            "bad_request", "the header Content-Type names no boundary; let your client set it"
        )
    return parameters[b"boundary"]


class _Form:
    """The parser's callbacks: one part after the other, into a sink or a field."""

    def __init__(
        self,
        boundary: bytes,
        open_file: Callable[[str, str], Sink],
        max_fields: int,
        how: str,
        file_fields: tuple[str, ...],
    ):
        self._open_file, self._max_fields = open_file, max_fields
        self._how, self._file_fields = how, file_fields
        self._fields: dict[str, list[str]] = {}
        self._num_fields = 0
        self._header, self._disposition = (bytearray(), bytearray()), b""
        self._name, self._size = "", 0
        self._file: Sink | None = None
        self._text: bytearray | None = None
        self._ended = False
        callbacks = {f"on_{name}": getattr(self, f"_{name}") for name in _EVENTS}
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            detail = "the header Content-Type names a boundary that is too long"
            raise Problem("bad_request", detail) from None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise self._refused("the form cannot be read") from None

    def finished(self) -> dict[str, list[str]]:
        """The fields, once all has arrived."""
        if not self._ended:
            raise Problem("bad_request", "the form breaks off; send it again")
        return self._fields

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _refused(self, why: str) -> Problem:
        return Problem("bad_request", f"{why}; {self._how}")

    # A part's head

    def _part_begin(self) -> None:
        self._disposition, self._size = b"", 0
        self._file = self._text = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = (bytes(piece) for piece in self._header)
        self._header = (bytearray(), bytearray())
        if name.lower() == b"content-disposition":
            self._disposition = value

    def _headers_finished(self) -> None:
        kind, parameters = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in parameters:
            raise self._refused("a part of the form has no name")
        self._name = parameters[b"name"].decode("utf-8", "replace")
        if self._name in self._file_fields:
            file_name = parameters.get(b"filename", b"").decode("utf-8", "replace")
            self._file = self._open_file(self._name, file_name)
        elif b"filename" in parameters:
            raise self._refused(f"there is a file in the field {self._name[:60]!r}")
        else:
            self._begin_field()

    def _begin_field(self) -> None:
        self._num_fields += 1
        if self._num_fields > self._max_fields:
            raise Problem("bad_request", f"the form holds more than {self._max_fields} fields")
        self._text = bytearray()

    # A part's body

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
        elif self._text is not None:
            if self._size > MAX_FIELD_BYTES:
                raise self._refused(
                    f"the field {self._name[:60]!r} is longer than {MAX_FIELD_BYTES} bytes"
                )
            self._text.extend(data[start:end])

    def _part_end(self) -> None:
        if self._file is not None:
            self._end_file(self._file)
            self._file = None
        elif self._text is not None:
            text = self._text.decode("utf-8", "replace")
            self._fields.setdefault(self._name, []).append(text)

    def _end_file(self, file: Sink) -> None:
        if not self._size:
            raise self._refused(f"the file in the field {self._name!r} is empty")
        file.end()
        file.close()

    def _end(self) -> None:
        self._ended = True
