"""A form with pictures or an archive → files in a job's folder, as its bytes arrive. It is never in memory as a whole."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.room import MB, Room
from humanparse.service.jobs.store import Item
from humanparse.service.names import clean_name, tell_apart
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

MAX_FIELD_BYTES = 1_000
PIECE = 262_144  # bytes parsed at a time, in a thread
PICTURE_FIELDS, ARCHIVE_FIELD = ("image", "file"), "archive"
_HOW = "send a form with pictures as files in 'image', or one zip as a file in 'archive'"


@dataclass
class Upload:
    """What arrived: pictures, whose files are in the job's folder, or none for an archive; and the options beside."""

    items: list[Item] = field(default_factory=list)
    has_archive: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)


async def read_upload(request: Request, files: JobFiles, settings: Settings, room: Room) -> Upload:
    """Read the body into the folder of `files`, where there is room. Raises Problem, OSError, or starlette's ClientDisconnect."""
    form = _Form(_boundary(request), files, settings, room)
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


def _boundary(request: Request) -> bytes:
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise Problem("unsupported_media_type", f"the body is {kind[:100].decode('latin-1')!r}; {_HOW}")
    if not parameters.get(b"boundary"):
        raise Problem("bad_request", "the header Content-Type names no boundary; let your client set it")
    return parameters[b"boundary"]


class _Form:
    """The parser's callbacks: one part after the other, into a file or a field."""

    def __init__(self, boundary: bytes, files: JobFiles, settings: Settings, room: Room):
        self._files, self._settings, self._room = files, settings, room
        self._upload = Upload()
        self._num_bytes = self._num_fields = self._size = 0
        self._most_bytes = 0.0
        self._header, self._disposition = (bytearray(), bytearray()), b""
        self._name = self._source = ""
        self._file: BinaryIO | None = None
        self._text: bytearray | None = None
        self._ended = False
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "headers_finished", "end")
        try:
            self._parser = MultipartParser(boundary, {f"on_{name}": getattr(self, f"_{name}") for name in names})
        except FormParserError:
            raise Problem("bad_request", "the header Content-Type names a boundary that is too long") from None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._num_bytes += len(data)
        if self._num_bytes > self._settings.job_max_mb * MB:
            raise Problem("body_too_large", f"the body is larger than {self._settings.job_max_mb:g} MB; send several jobs")
        try:
            self._parser.write(data)
        except FormParserError:
            raise Problem("bad_request", f"the form cannot be read; {_HOW}") from None

    def finished(self) -> Upload:
        """What has arrived, once all has."""
        upload = self._upload
        if not self._ended:
            raise Problem("bad_request", "the form breaks off; send it again")
        if upload.has_archive == bool(upload.items):
            both = "both pictures and an archive" if upload.items else "neither pictures nor an archive"
            raise Problem("bad_request", f"the form holds {both}; {_HOW}")
        sources = tell_apart([item.source for item in upload.items])
        named = zip(upload.items, sources, strict=True)
        upload.items = [replace(item, source=source) for item, source in named]
        return upload

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

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
            raise Problem("bad_request", f"a part of the form has no name; {_HOW}")
        self._name = parameters[b"name"].decode("utf-8", "replace")
        self._source = clean_name(parameters.get(b"filename", b"").decode("utf-8", "replace"))
        if b"filename" in parameters or self._name in (*PICTURE_FIELDS, ARCHIVE_FIELD):
            self._begin_file()
        else:
            self._begin_field()

    def _begin_file(self) -> None:
        upload, settings = self._upload, self._settings
        if self._name in PICTURE_FIELDS:
            if len(upload.items) >= settings.job_max_images:
                raise Problem("body_too_large", f"a job has at most {settings.job_max_images} images; send several jobs")
            path, self._most_bytes = self._files.input(len(upload.items)), settings.max_body_mb * MB
        elif self._name == ARCHIVE_FIELD:
            if upload.has_archive:
                raise Problem("bad_request", "the form holds several archives; send one a job")
            path, self._most_bytes = self._files.archive, settings.job_max_mb * MB
        else:
            raise Problem("bad_request", f"there is a file in the field {self._name[:60]!r}; {_HOW}")
        self._file = open(path, "xb")  # noqa: SIM115 — closed in `_end_file` or `close`

    def _begin_field(self) -> None:
        self._num_fields += 1
        if self._num_fields > self._settings.max_fields:
            raise Problem("bad_request", f"the form holds more than {self._settings.max_fields} fields")
        self._text = bytearray()

    # A part's body

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is not None:
            if self._size > self._most_bytes:
                where = "the archive" if self._name == ARCHIVE_FIELD else f"picture {len(self._upload.items)} (the first is 0)"
                raise Problem("body_too_large", f"{where} is larger than {self._most_bytes / MB:g} MB")
            self._room.take(self._files.id, end - start)
            self._file.write(memoryview(data)[start:end])
        elif self._text is not None:
            if self._size > MAX_FIELD_BYTES:
                raise Problem("bad_request", f"the field {self._name[:60]!r} is longer than {MAX_FIELD_BYTES} bytes")
            self._text.extend(data[start:end])

    def _part_end(self) -> None:
        if self._file is not None:
            self._end_file(self._file)
            self._file = None
        elif self._text is not None:
            text = self._text.decode("utf-8", "replace")
            self._upload.fields.setdefault(self._name, []).append(text)

    def _end_file(self, file: BinaryIO) -> None:
        if not self._size:
            raise Problem("bad_request", f"the file in the field {self._name!r} is empty; {_HOW}")
        file.flush()
        os.fsync(file.fileno())
        file.close()
        if self._name == ARCHIVE_FIELD:
            self._upload.has_archive = True
        else:
            self._upload.items.append(Item(len(self._upload.items), self._source, self._size))

    def _end(self) -> None:
        self._ended = True
