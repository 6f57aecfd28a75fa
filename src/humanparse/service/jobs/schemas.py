"""The bodies of jobs in the OpenAPI document, and how they are made from the store's rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from humanparse.service.jobs.store import Job
from humanparse.service.options import CLIP_NAMES, NAMES
from humanparse.service.schemas import option_schemas
from humanparse.service.settings import Settings

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class JobProblem(BaseModel):
    """Why a job failed as a whole."""

    code: str
    detail: str


class JobFrames(BaseModel):
    """How much of a clip is parsed."""

    done: Annotated[int, Field(ge=0)]
    total: Annotated[int | None, Field(ge=0, description="Null if the clip does not say.")]


class JobLinks(BaseModel):
    """The paths that belong to a job."""

    self: str
    events: str
    results: str
    results_zip: str
    cancel: str


class JobResponse(BaseModel):
    """A job. It has ended when `state` is done, cancelled or failed; done means that each picture
    has a result or a problem."""

    id: str
    state: Literal["queued", "running", "done", "cancelled", "failed"]
    total: Annotated[
        int | None,
        Field(
            ge=0,
            description="Pictures; null until the archive is unpacked. Of a clip, its results; "
            "null until it is parsed.",
        ),
    ]
    done: Annotated[int, Field(ge=0, description="Pictures that have a result.")]
    failed: Annotated[int, Field(ge=0, description="Pictures that have a problem instead.")]
    frames: Annotated[JobFrames | None, Field(description="Only of a clip that is begun.")]
    created: Moment
    expires: Annotated[
        Moment | None, Field(description="When it will be deleted; null until it has ended.")
    ]
    problem: Annotated[JobProblem | None, Field(description="Only if the job failed as a whole.")]
    links: JobLinks


class JobsResponse(BaseModel):
    """All jobs, the oldest first."""

    jobs: list[JobResponse]


def job_response(job: Job, rest_s: float | None, root: str = "") -> dict[str, Any]:
    """Return a job as JSON values.

    Args:
        job: The job.
        rest_s: Seconds until it expires; None if it has not ended.
        root: The prefix of its links, see paths.py.
    """
    path = job_path(job.id, root)
    return {
        "id": job.id,
        "state": job.state,
        "total": None if job.packed else job.total,
        "done": job.done,
        "failed": job.failed,
        "frames": job.frames and job.frames._asdict(),
        "created": _moment(job.created),
        "expires": None if rest_s is None else _moment(time.time() + rest_s),
        "problem": job.problem,
        "links": {
            "self": path,
            "events": f"{path}/events",
            "results": f"{path}/results",
            "results_zip": f"{path}/results.zip",
            "cancel": f"{path}/cancel",
        },
    }


def job_path(id: str, root: str = "") -> str:
    """Return a job's path as clients see it.

    Args:
        id: The job's id.
        root: The prefix of all links, see paths.py.
    """
    return f"{root}/v1/jobs/{id}"


def request_body(settings: Settings) -> dict[str, Any]:
    """Return the form that creates a job."""
    schemas = option_schemas(settings)
    file = {"type": "string", "format": "binary", "minLength": 1}
    images = {
        "type": "array",
        "minItems": 1,
        "maxItems": settings.job_max_images,
        "items": file,
        "description": "The files of the pictures, one field each.",
    }
    archive = file | {"description": "A zip of pictures, instead of `image`."}
    clip = file | {"description": "A clip, whose people are followed from frame to frame."}
    ways = [
        {
            "type": "object",
            "required": [name],
            "properties": {name: schema, **{option: schemas[option] for option in options}},
            "additionalProperties": False,
        }
        for name, schema, options in (
            ("image", images, NAMES),
            ("archive", archive, NAMES),
            ("video", clip, CLIP_NAMES),
        )
    ]
    return {"required": True, "content": {"multipart/form-data": {"schema": {"oneOf": ways}}}}


def other_response(
    description: str, media_type: str, **schema: Any
) -> dict[int | str, dict[str, Any]]:
    """Return a successful response that is not one JSON document.

    Args:
        description: What it is.
        media_type: Its media type.
        **schema: Its schema apart from the type, which is string.
    """
    return {
        200: {
            "description": description,
            "content": {media_type: {"schema": {"type": "string", **schema}}},
        }
    }


def result_response() -> dict[int | str, dict[str, Any]]:
    """Return the response with one picture's result, the same as that of /parse."""
    return {
        200: {
            "description": "The response of /parse, or the file that was requested",
            "content": {"*/*": {"schema": {}}},
        }
    }


def events_response() -> dict[int | str, dict[str, Any]]:
    """Return the response with server-sent events."""
    event = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["progress", "done"]},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "The job, as in /v1/jobs/{id}.",
            },
        },
    }
    description = (
        "`progress` after each change, `done` at the end; "
        "without `done` the connection was interrupted: connect again"
    )
    return {200: {"description": description, "content": {"text/event-stream": {"schema": event}}}}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds), UTC).isoformat().replace("+00:00", "Z")
