"""The results of a job as one download, JSON lines or a zip. They are streamed with one result, or
a piece of it, in memory at a time."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.store import JobItem
from humanparse.service.problems import Problem

ENDINGS = {
    "application/json": "json",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "application/x-ndjson": "ndjson",
    "video/webm": "webm",
}
PIECE_BYTES = 262_144  # of a result, in memory at a time
EPOCH = (1980, 1, 1, 0, 0, 0)  # for all files in a zip, so that equal results give equal bytes


def result_path(job: str, number: int) -> str:
    """Return the path of one result.

    Args:
        job: The path of its job.
        number: The picture's number in the job.
    """
    return f"{job}/results/{number}"


def problem_of(item: JobItem, path: str) -> dict[str, Any]:
    """Return why an item has no result, as a problem.

    Args:
        item: An item that is not done.
        path: The path of its result.
    """
    given = item.problem or {
        "code": "conflict",
        "detail": "the job was cancelled before this picture was parsed",
    }
    return Problem(given["code"], given["detail"]).to_dict(path)


def as_lines(files: JobFiles, items: Sequence[JobItem], job: str) -> Iterator[bytes]:
    """Yield the results as JSON lines.

    Args:
        files: The job's files.
        items: The job's items, in order.
        job: The job's path.

    Yields:
        One line per item with index, source, and result, problem, or href for a result that is not
        JSON.
    """
    for item in items:
        path = result_path(job, item.number)
        line: dict[str, Any] = {"index": item.number, "source": item.source}
        body = _opened(files, item)
        if body is None:
            yield _line(line | {"problem": problem_of(item, path)})
            continue
        with body:
            json_text = body.read() if item.media_type == "application/json" else None
        if json_text is not None:
            # Copied without parsing it: between tokens of JSON a line break means the same as a
            # space, and strings contain none.
            flat = json_text.replace(b"\r", b" ").replace(b"\n", b" ")
            yield _line(line)[:-2] + b',"result":' + flat + b"}\n"
        else:
            yield _line(line | {"media_type": item.media_type, "href": path})


def as_zip(files: JobFiles, items: Sequence[JobItem], job: str) -> Iterator[bytes]:
    """Yield a zip with the results, 0000.json and so on, and index.json, which describes them.

    Args:
        files: The job's files.
        items: The job's items, in order.
        job: The job's path.

    Yields:
        The pieces of the zip.
    """
    sink = _Sink()
    index: list[dict[str, Any]] = []
    with zipfile.ZipFile(sink, "w") as archive:
        for item in items:
            entry: dict[str, Any] = {"index": item.number, "source": item.source}
            body = _opened(files, item)
            if body is None:
                index.append(entry | {"problem": problem_of(item, result_path(job, item.number))})
                continue
            name = f"{item.number:04d}.{ENDINGS.get(item.media_type or '', 'bin')}"
            with body, archive.open(_info(name), "w", force_zip64=True) as target:
                while piece := body.read(PIECE_BYTES):
                    target.write(piece)
                    yield sink.taken()
            index.append(
                entry | {"file": name, "media_type": item.media_type, "people": item.people}
            )
        archive.writestr(_info("index.json"), json.dumps(index, indent=1).encode())
    yield sink.taken()


def _opened(files: JobFiles, item: JobItem) -> BinaryIO | None:
    """Open a result; None if there is none, also if the job is deleted while it is being sent."""
    if item.state != "done":
        return None
    try:
        return files.result(item.number).open("rb")
    except OSError:
        return None


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if name.endswith("json") else zipfile.ZIP_STORED
    info.external_attr = 0o600 << 16
    return info


class _Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def taken(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
