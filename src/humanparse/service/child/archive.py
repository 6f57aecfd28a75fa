"""Inside a worker: a zip of pictures → numbered files. Neither names nor sizes in it are trusted.

    <to>/0000.bin, 0001.bin, …    the pictures as they were, in the archive's order
    <to>/entries.json             for each: {"source": its path, for people, "size": bytes}, or
                                  "problem" instead of "size"

Whatever cannot be a client's picture (folders, links, hidden files, files that macOS adds) is
skipped. An entry that cannot be unpacked keeps its number, and its problem is noted. The limits
apply to the bytes that are really unpacked.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from humanparse.service.names import clean_name
from humanparse.service.problems import Problem, storage_problem

MB = 1_000_000
CHUNK = 65_536
MAX_RATIO = 200  # unpacked to packed bytes; photos are near 1
# entries up to this size may have any ratio: a drawing in one colour packs well
RATIO_FREE = 1 * MB
LOCAL_HEADER = 30  # bytes of an entry's own header before its name
DIRECTORY_FREE, DIRECTORY_PER_IMAGE = 1 * MB, 1_000  # maximum bytes of the central directory
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack without a limit on memory
ENCRYPTED = 0x1 | 0x40
LITTER = ("thumbs.db", "desktop.ini")
ENTRIES = "entries.json"
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)


@dataclass(frozen=True)
class ArchiveLimits:
    """Maximum number of images, bytes of one image, and bytes of all."""

    max_images: int
    max_image_bytes: int
    max_bytes: int


def unzip(head: Mapping[str, Any]) -> dict[str, Any]:
    """Unpack an archive into a folder.

    Args:
        head: "path" of the archive, "to", the folder, and the limits max_images, max_image_mb and
            max_mb.

    Returns:
        {"images": how many, "skipped": the first names that were skipped}.

    Raises:
        Problem: For an archive that is refused as a whole; storage_full for a disk that fails.
    """
    limits = ArchiveLimits(
        head["max_images"], int(head["max_image_mb"] * MB), int(head["max_mb"] * MB)
    )
    to = Path(head["to"])
    try:
        with _BoundedFile(head["path"], limits.max_images) as file, _open(file) as archive:
            infos = archive.infolist()
            _refuse_overlaps(infos, archive.start_dir)
            wanted = [info for info in infos if _is_wanted(info)]
            _refuse_too_many(wanted, limits)
            entries = list(_unpack(archive, wanted, to, _Room(limits)))
    except OSError as error:
        raise storage_problem(error) from error
    (to / ENTRIES).write_text(json.dumps(entries))
    skipped = [
        clean_name(info.filename) for info in infos if not (_is_wanted(info) or _is_dir(info))
    ]
    return {"images": len(entries), "skipped": skipped[:100]}


# The archive as a whole


class _BoundedFile(io.BufferedReader):
    """Limits the central directory, which zipfile reads in one piece, whatever its size."""

    def __init__(self, path: str, max_images: int):
        super().__init__(io.FileIO(path))
        self._max_bytes = DIRECTORY_FREE + DIRECTORY_PER_IMAGE * max_images

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self._max_bytes:
            raise Problem(
                "body_too_large",
                "the archive lists far more files than a job may have; split it into several jobs",
            )
        return super().read(size)


def _open(file: io.BufferedReader) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _BROKEN:
        raise Problem("bad_request", "the archive is not a zip file, or it is damaged") from None


def _refuse_overlaps(infos: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse entries that share bytes, with which small archives unpack to petabytes.

    end: where the central directory begins.
    """
    before = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < before:
            raise Problem("bad_request", "the archive's entries overlap; create it again")
        before = info.header_offset + LOCAL_HEADER + info.compress_size
    if before > end:
        raise Problem("bad_request", "the archive's entries reach beyond its end; create it again")


def _refuse_too_many(wanted: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    if not wanted:
        raise Problem("bad_request", "the archive contains no files")
    if len(wanted) > limits.max_images:
        raise Problem(
            "body_too_large",
            f"the archive contains {len(wanted)} files; a job may have at most "
            f"{limits.max_images} images",
        )


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    """Whether somebody put it there as a picture."""
    steps = PurePosixPath(info.filename.replace("\\", "/")).parts
    hidden = any(step.startswith(".") and step != ".." for step in steps) or "__MACOSX" in steps
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    return not (_is_dir(info) or is_link or hidden or not steps or steps[-1].lower() in LITTER)


def _is_dir(info: zipfile.ZipInfo) -> bool:
    # like ZipInfo.is_dir, which fails for an empty name in older Pythons
    return info.filename.endswith("/")


# Entries, one after another


class _Room:
    """How many bytes may still be unpacked, including those of entries that fail later."""

    def __init__(self, limits: ArchiveLimits):
        self._limits, self._left = limits, limits.max_bytes

    def take(self, num_bytes: int, size: int, packed: int) -> None:
        """Count num_bytes more of an entry that has unpacked to `size` bytes from `packed`.

        Raises Problem as `_write` does.
        """
        self._left -= num_bytes
        if self._left < 0:
            raise Problem(
                "body_too_large",
                f"the archive unpacks to more than {self._limits.max_bytes / MB:g} MB",
            )
        if size > RATIO_FREE and size > MAX_RATIO * packed:
            raise Problem(
                "body_too_large",
                f"the archive contains a file that unpacks to more than {MAX_RATIO} times its size",
            )
        if size > self._limits.max_image_bytes:
            raise Problem(
                "image_too_large",
                f"the file is larger than {self._limits.max_image_bytes / MB:g} MB",
            )


def _unpack(
    archive: zipfile.ZipFile, wanted: list[zipfile.ZipInfo], to: Path, room: _Room
) -> Iterator[dict[str, Any]]:
    for index, info in enumerate(wanted):
        entry: dict[str, Any] = {"source": clean_name(info.filename)}
        try:
            entry["size"] = _write(archive, info, to / f"{index:04d}.bin", room)
        except Problem as problem:
            if problem.code == "body_too_large":
                raise
            entry["problem"] = {"code": problem.code, "detail": problem.detail}
        yield entry


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, room: _Room) -> int:
    """Unpack one entry and return its size.

    Raises Problem: body_too_large to refuse the whole archive, another code for this entry alone.
    """
    if info.flag_bits & ENCRYPTED:
        raise Problem(
            "broken_image", "the file is encrypted in the archive; pack it without a password"
        )
    if info.compress_type not in METHODS:
        raise Problem("broken_image", "the file's compression method is not supported; use deflate")
    size = 0
    try:
        with archive.open(info) as source, open(path, "xb") as file:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                room.take(len(chunk), size, info.compress_size)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except Problem:
        path.unlink(missing_ok=True)
        raise
    except _BROKEN:
        path.unlink(missing_ok=True)
        raise Problem("broken_image", "the file is damaged in the archive") from None
    return size
