"""A form with pictures or an archive → files in a job's folder, as its bytes arrive."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.requests import Request

from humanparse.service.api.forms import FILE_FIELDS, FORM, Sink, kind_of, read_form, unsupported
from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.quota import MB, Room
from humanparse.service.jobs.store import Item
from humanparse.service.names import clean_name, tell_apart
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

ARCHIVE_FIELD = "archive"
_HOW = "send a form with pictures as files in 'image', or one zip as a file in 'archive'"


@dataclass
class Upload:
    """What arrived: pictures, whose files are in the job's folder, or an archive; and options."""

    items: list[Item] = field(default_factory=list)
    has_archive: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)


async def read_upload(request: Request, files: JobFiles, settings: Settings, room: Room) -> Upload:
    """Read the body into the folder of `files`, where there is room.

    Raises Problem, OSError, or starlette's ClientDisconnect.
    """
    if kind_of(request) != FORM:
        raise unsupported(request, _HOW)
    folder = _Folder(files, settings, room)
    upload = folder.upload
    upload.fields = await read_form(
        request,
        folder.open_file,
        max_fields=settings.max_fields,
        how=_HOW,
        file_fields=(*FILE_FIELDS, ARCHIVE_FIELD),
    )
    if upload.has_archive == bool(upload.items):
        both = "both pictures and an archive" if upload.items else "neither pictures nor an archive"
        raise Problem("bad_request", f"the form holds {both}; {_HOW}")
    sources = tell_apart([item.source for item in upload.items])
    named = zip(upload.items, sources, strict=True)
    upload.items = [replace(item, source=source) for item, source in named]
    return upload


class _Folder:
    """The job's folder, and what has come into it."""

    def __init__(self, files: JobFiles, settings: Settings, room: Room):
        self.upload = Upload()
        self._files, self._settings, self._room = files, settings, room

    def open_file(self, name: str, file_name: str) -> Sink:
        """The file for a part of the form. Raises Problem for one too many."""
        return self._archive() if name == ARCHIVE_FIELD else self._picture(clean_name(file_name))

    def _archive(self) -> Sink:
        if self.upload.has_archive:
            raise Problem("bad_request", "the form holds several archives; send one a job")
        self.upload.has_archive = True
        most = self._settings.job_max_mb
        return _ToDisk(self._files.archive, most, "the archive", self._take, lambda size: None)

    def _picture(self, source: str) -> Sink:
        items, most = self.upload.items, self._settings.job_max_images
        if len(items) >= most:
            raise Problem("body_too_large", f"a job has at most {most} images; send several jobs")
        number, most_mb = len(items), self._settings.max_body_mb
        return _ToDisk(
            self._files.input(number),
            most_mb,
            f"picture {number} (the first is 0)",
            self._take,
            lambda size: items.append(Item(number, source, size)),
        )

    def _take(self, num_bytes: int) -> None:
        self._room.take(self._files.id, num_bytes)


class _ToDisk:
    """A file of at most `most_mb`, of which there is `what` to say in a problem.

    take: asks for room before bytes are written; done: gets the size when the file is whole.
    """

    def __init__(
        self,
        path: Path,
        most_mb: float,
        what: str,
        take: Callable[[int], None],
        done: Callable[[int], None],
    ):
        self._most_mb, self._what, self._take, self._done = most_mb, what, take, done
        self._size = 0
        self._file = open(path, "xb")  # noqa: SIM115 — closed in `close`

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        if self._size > self._most_mb * MB:
            raise Problem("body_too_large", f"{self._what} is larger than {self._most_mb:g} MB")
        self._take(len(data))
        self._file.write(data)

    def end(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._done(self._size)

    def close(self) -> None:
        self._file.close()
