"""Writes the pictures, archive or clip of a form into a job's folder as the bytes arrive."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.requests import Request

from humanparse.service.api.forms import FILE_FIELDS, FORM, Sink, kind_of, read_form, unsupported
from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.quota import MB, Quota
from humanparse.service.jobs.store import JobItem
from humanparse.service.names import clean_name, tell_apart
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

ARCHIVE_FIELD, CLIP_FIELD = "archive", "video"
_HOW = (
    "send a form with pictures as files in 'image', one zip as a file in 'archive', or one clip as "
    "a file in 'video'"
)


@dataclass
class JobUpload:
    """What a form contains.

    Attributes:
        items: The pictures, whose files are in the job's folder.
        has_archive: Whether there is an archive instead.
        clip: The name of the clip that is there instead; None if there is none.
        fields: The other fields, which are options, by name.
    """

    items: list[JobItem] = field(default_factory=list)
    has_archive: bool = False
    clip: str | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)


async def read_upload(
    request: Request, files: JobFiles, settings: Settings, quota: Quota
) -> JobUpload:
    """Read a form into a job's folder.

    Args:
        request: Its body is read to the end.
        files: The job's files.
        settings: For the limits.
        quota: The bytes are taken from it.

    Returns:
        What the form contains; sources of the items are unique.

    Raises:
        Problem: For the form, a limit or a full quota.
        OSError: For the disk.
        ClientDisconnect: Starlette's, if the client closes the connection.
    """
    if kind_of(request) != FORM:
        raise unsupported(request, _HOW)
    folder = _Folder(files, settings, quota)
    upload = folder.upload
    upload.fields = await read_form(
        request,
        folder.open_file,
        max_fields=settings.max_fields,
        how=_HOW,
        file_fields=(*FILE_FIELDS, ARCHIVE_FIELD, CLIP_FIELD),
    )
    kinds = (bool(upload.items), upload.has_archive, upload.clip is not None)
    if sum(kinds) != 1:
        what = "files of several kinds" if any(kinds) else "neither pictures, an archive nor a clip"
        raise Problem("bad_request", f"the form contains {what}; {_HOW}")
    sources = tell_apart([item.source for item in upload.items])
    named = zip(upload.items, sources, strict=True)
    upload.items = [replace(item, source=source) for item, source in named]
    return upload


class _Folder:
    """The job's folder, and what has arrived in it."""

    def __init__(self, files: JobFiles, settings: Settings, quota: Quota):
        self.upload = JobUpload()
        self._files, self._settings, self._quota = files, settings, quota

    def open_file(self, name: str, file_name: str) -> Sink:
        """Open the file for a part of the form. Raises Problem if there are too many."""
        if name == CLIP_FIELD:
            return self._clip(clean_name(file_name))
        return self._archive() if name == ARCHIVE_FIELD else self._picture(clean_name(file_name))

    def _clip(self, source: str) -> Sink:
        if not self._settings.video_workers:
            raise Problem("unsupported_media_type", "this service takes no clips (video_workers)")
        if self.upload.clip is not None:
            raise Problem("bad_request", "the form contains several clips; send one per job")
        self.upload.clip = source
        max_mb = self._settings.video_max_mb
        return _ToDisk(self._files.clip, max_mb, "the clip", self._take, lambda size: None)

    def _archive(self) -> Sink:
        if self.upload.has_archive:
            raise Problem("bad_request", "the form contains several archives; send one per job")
        self.upload.has_archive = True
        max_mb = self._settings.job_max_mb
        return _ToDisk(self._files.archive, max_mb, "the archive", self._take, lambda size: None)

    def _picture(self, source: str) -> Sink:
        items, max_images = self.upload.items, self._settings.job_max_images
        if len(items) >= max_images:
            raise Problem(
                "body_too_large",
                f"the form contains more than the {max_images} pictures that a job may have; "
                "send several jobs",
            )
        number = len(items)
        return _ToDisk(
            self._files.input(number),
            self._settings.max_body_mb,
            f"picture {number} (the first is 0)",
            self._take,
            lambda size: items.append(JobItem(number, source, size)),
        )

    def _take(self, num_bytes: int) -> None:
        self._quota.take(self._files.id, num_bytes)


class _ToDisk:
    """Writes one file.

    Args:
        path: Where to write it; the file must not exist.
        max_mb: The most it may have.
        what: What to call it in a problem.
        take: Takes bytes from the quota before they are written.
        done: Gets the size in bytes when the file is complete.
    """

    def __init__(
        self,
        path: Path,
        max_mb: float,
        what: str,
        take: Callable[[int], None],
        done: Callable[[int], None],
    ):
        self._max_mb, self._what, self._take, self._done = max_mb, what, take, done
        self._size = 0
        self._file = open(path, "xb")  # noqa: SIM115 — closed in `close`

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        if self._size > self._max_mb * MB:
            raise Problem("body_too_large", f"{self._what} is larger than {self._max_mb:g} MB")
        self._take(len(data))
        self._file.write(data)

    def end(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._done(self._size)

    def close(self) -> None:
        self._file.close()
