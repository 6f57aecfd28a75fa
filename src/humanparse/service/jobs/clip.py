"""A clip as a job: what a worker is told about it, and the results that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.store import JobItem
from humanparse.service.problems import reported_problem
from humanparse.service.settings import Settings
from humanparse.vocabulary import VIDEO_SUFFIXES

MEDIA_TYPES = {
    "overlay": "video/webm",
    "edited": "video/webm",
    "jsonl": "application/x-ndjson",
    "tracks": "application/json",
}


def results_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the formats of a clip's results, in order: a clip, its frames and its tracks."""
    return ("edited" if options["edits"] else "overlay", "jsonl", "tracks")


def clip_task(
    options: Mapping[str, Any], files: JobFiles, settings: Settings, max_mb: float
) -> dict[str, Any]:
    """Return the head of a worker's task.

    Args:
        options: The job's.
        files: The job's.
        settings: For the limits.
        max_mb: How large the results and the record may become.
    """
    return {
        **options,
        "path": str(files.clip),
        "to": str(files.parsed_clip),
        "progress": str(files.progress),
        "targets": {
            name: str(files.result(number)) for number, name in enumerate(results_of(options))
        },
        "max_megapixels": min(settings.video_max_megapixels, settings.max_megapixels),
        "max_frames": settings.video_max_frames,
        "max_seconds": settings.video_max_seconds,
        "max_mb": max_mb,
    }


def clip_items(
    options: Mapping[str, Any], files: JobFiles, reply: Mapping[str, Any]
) -> list[JobItem]:
    """Return the results of a clip, and its problem if it could not be read to its end.

    Args:
        options: The job's.
        files: The job's.
        reply: The worker's, which read a clip from a client, so that it is not trusted.

    Raises:
        OSError: A result is missing.
    """
    source = options["source"]
    stem = str(PurePosixPath(source).with_suffix("")) if source else "clip"
    items = []
    for number, name in enumerate(results_of(options)):
        ending = ".webm" if MEDIA_TYPES[name] == "video/webm" else ""
        items.append(
            JobItem(
                number,
                f"{stem}{VIDEO_SUFFIXES[name]}{ending}",
                files.result(number).stat().st_size,
                "done",
                MEDIA_TYPES[name],
                int(reply["people"]),
            )
        )
    if reply.get("broken"):
        problem = reported_problem(reply["broken"])
        plain = {"code": problem.code, "detail": problem.detail[:300]}
        items.append(JobItem(len(items), source, state="failed", problem=plain))
    return items
