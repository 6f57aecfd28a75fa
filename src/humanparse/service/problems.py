"""The shape of every error: `application/problem+json` (RFC 9457) with a stable `code`.

    {"type": "about:blank", "title": "The queue is full", "status": 429, "detail": "…",
    "instance": "/parse", "code": "queue_full", "retryable": true, "request_id": "…"}

The detail says what the client sent and what to do. It never holds a stack trace, a path of this
machine or a file name.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str
    retryable: bool = False


KINDS: dict[str, Kind] = {
    # the request
    "bad_request": Kind(400, "Bad request"),
    "unauthorized": Kind(401, "A token is needed"),
    "foreign_page": Kind(403, "Sent by another site's page"),
    "not_found": Kind(404, "Not found"),
    "method_not_allowed": Kind(405, "Method not allowed"),
    "not_acceptable": Kind(406, "No acceptable format"),
    "request_timeout": Kind(408, "The request took too long to arrive", retryable=True),
    "conflict": Kind(409, "Conflict"),
    "gone": Kind(410, "It is no longer available"),
    "body_too_large": Kind(413, "The request is too large"),
    "unsupported_media_type": Kind(415, "Unsupported media type"),
    "unknown_host": Kind(421, "Unknown host name"),
    "bad_option": Kind(422, "An option has an invalid value"),
    "header_too_large": Kind(431, "The request head is too large"),
    "unknown_model": Kind(422, "Unknown model"),
    # the picture
    "not_an_image": Kind(415, "This is not a picture"),
    "broken_image": Kind(422, "The picture is damaged"),
    "image_too_large": Kind(413, "The picture has too many pixels"),
    "refused_image": Kind(422, "This picture stopped the parser twice"),
    # the clip
    "not_a_video": Kind(415, "This is not a clip"),
    "broken_video": Kind(422, "The clip is damaged"),
    "video_too_large": Kind(413, "The clip is too large or too long"),
    # the load
    "queue_full": Kind(429, "The queue is full", retryable=True),
    "too_many_connections": Kind(503, "Too many connections", retryable=True),
    "shutting_down": Kind(503, "The service is stopping", retryable=True),
    "not_ready": Kind(503, "The service is not ready", retryable=True),
    "worker_crashed": Kind(503, "The parser stopped unexpectedly", retryable=True),
    "deadline_exceeded": Kind(504, "The request took too long", retryable=True),
    "storage_full": Kind(507, "There is no space to store this", retryable=True),
    "internal_error": Kind(500, "Internal error"),
}


@dataclass(eq=False)
class Problem(Exception):
    """An error response, as an exception.

    Attributes:
        code: One of `KINDS`.
        detail: What arrived, what was expected, what to do.
        retry_after_s: When to try again, in seconds. It becomes the Retry-After header, rounded up
            to at least 1.
    """

    code: str
    detail: str
    retry_after_s: float | None = None

    def __reduce__(self) -> tuple[type[Problem], tuple[str, str, float | None]]:
        return Problem, (
            self.code,
            self.detail,
            self.retry_after_s,
        )  # Exception's own misses keywords

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code].status

    def to_dict(self, instance: str = "", request_id: str = "") -> dict[str, Any]:
        """Return the JSON object. instance: the request's path."""
        kind = KINDS[self.code]
        data = {
            "type": "about:blank",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "retryable": kind.retryable,
        }
        return data | ({"request_id": request_id} if request_id else {})

    def body(self, instance: str = "", request_id: str = "") -> bytes:
        """Return the response's body, JSON in UTF-8. instance: the request's path."""
        return json.dumps(self.to_dict(instance, request_id), ensure_ascii=False).encode()

    def inference_body(self, request_id: str = "") -> bytes:
        """Return the body in the shape of the Open Inference Protocol, for /v2."""
        data = {"error": self.detail, "code": self.code, "retryable": KINDS[self.code].retryable}
        return json.dumps(
            data | ({"request_id": request_id} if request_id else {}), ensure_ascii=False
        ).encode()

    def headers(self) -> dict[str, str]:
        """Return the response's headers."""
        headers = {"content-type": MEDIA_TYPE}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.code == "unauthorized":
            headers["www-authenticate"] = 'Bearer realm="humanparse"'
        return headers


def reported_problem(problem: Any) -> Problem:
    """Return the Problem that a worker reports; a worker may send anything."""
    if not isinstance(problem, dict) or problem.get("code") not in KINDS:
        return Problem("internal_error", "the parser failed unexpectedly")
    return Problem(problem["code"], str(problem.get("detail", "")))


def storage_problem(error: OSError) -> Problem:
    """Return the Problem for a failing disk, with what a client may know of it."""
    return Problem(
        "storage_full",
        f"the disk failed: {os.strerror(error.errno or 5)}; try again later",
        60,
    )
