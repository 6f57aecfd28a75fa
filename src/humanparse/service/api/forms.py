"""Reads a form (multipart/form-data) as its bytes arrive; the caller says where files go.

The other fields are kept as strings. A form is never in memory as a whole, unless the caller keeps
its files there. Pictures (uploads.py) and jobs (jobs/upload.py) share it, so that a form means the
same for both.
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
FILE_FIELDS = ("image", "file")  # what clients call a picture; we document the first
MAX_FIELD_BYTES = 4096
PIECE_BYTES = 262_144  # parsed per call, in a thread


class Sink(Protocol):
    """Receives the bytes of one file. Each method may raise Problem or OSError."""

    def write(self, data: memoryview) -> None:
        """Receive the next bytes."""

    def end(self) -> None:
        """Keep the file, since it has arrived completely."""

    def close(self) -> None:
        """Release the file, whether it has arrived completely or not."""


async def read_form(
    request: Request,
    open_file: Callable[[str, str], Sink],
    *,
    max_fields: int,
    how: str,
    file_fields: tuple[str, ...] = FILE_FIELDS,
) -> dict[str, list[str]]:
    """Read a request whose body is a form.

    Args:
        request: Its body is read to the end.
        open_file: Returns the sink for a file, from the name of its field and the file's own name,
            "" if it has none. It is called in a thread, and so are the sinks.
        max_fields: The most fields that are not files.
        how: What to send instead, for the details of problems.
        file_fields: Parts with these names are files, even without a file name; other parts must
            not be files.

    Returns:
        The values of the other fields, by name.

    Raises:
        Problem: bad_request for a malformed form, and what open_file and the sinks raise.
        OSError: What open_file and the sinks raise.
        ClientDisconnect: Starlette's, if the client closes the connection.
    """
    form = _Form(_boundary(request), open_file, max_fields, how, file_fields)
    try:
        piece = bytearray()
        async for chunk in request.stream():
            piece += chunk
            if len(piece) >= PIECE_BYTES:
                await asyncio.to_thread(form.feed, bytes(piece))
                piece.clear()
        await asyncio.to_thread(form.feed, bytes(piece))
        return form.finished()
    finally:
        form.close()


def kind_of(request: Request) -> str:
    """Return the media type of the body in lower case; "" if the request names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(request: Request, how: str) -> Problem:
    """Return the Problem for a body of an unsupported media type.

    Args:
        request: The request.
        how: What to send instead.
    """
    return Problem("unsupported_media_type", f"the body is {kind_of(request)[:100]!r}; {how}")


def _boundary(request: Request) -> bytes:
    _, parameters = parse_options_header(request.headers.get("content-type"))
    if not parameters.get(b"boundary"):
        raise Problem(
            "bad_request", "the Content-Type header has no boundary; let your client set the header"
        )
    return parameters[b"boundary"]


class _Form:
    """The parser's callbacks, which put one part after the other into a sink or a field."""

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
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            detail = "the boundary in the Content-Type header is too long"
            raise Problem("bad_request", detail) from None

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise self._refused("the form cannot be read") from None

    def finished(self) -> dict[str, list[str]]:
        """Return the fields after the whole body has arrived."""
        if not self._ended:
            raise Problem("bad_request", "the form is incomplete; send it again")
        return self._fields

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _refused(self, why: str) -> Problem:
        return Problem("bad_request", f"{why}; {self._how}")

    # The headers of a part

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
            raise self._refused(f"the field {self._name[:60]!r} should not be a file")
        else:
            self._begin_field()

    def _begin_field(self) -> None:
        self._num_fields += 1
        if self._num_fields > self._max_fields:
            raise Problem("bad_request", f"the form contains more than {self._max_fields} fields")
        self._text = bytearray()

    # The body of a part

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
