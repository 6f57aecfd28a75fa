"""The one shape of every error: `application/problem+json` (RFC 9457) with a stable `code` and
whether to try again.

    {"type": "about:blank", "title": "The queue is full", "status": 429, "detail": "…", "instance":
    "/parse",
     "code": "queue_full", "retryable": true, "request_id": "…"}

A detail speaks of what the client sent and what to do; it never holds a stack, a path of this
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
    """What is always the same about a problem of one code."""

    status: int
    title: str
    retryable: bool = False


KINDS: dict[str, Kind] = {
    # the request
    "bad_request": Kind(400, "The request cannot be read"),
    "unauthorized": Kind(401, "A token is needed"),
    "foreign_page": Kind(403, "Another site's page sent this"),
    "not_found": Kind(404, "There is nothing here"),
    "method_not_allowed": Kind(405, "Not that way"),
    "not_acceptable": Kind(406, "No such form of the answer"),
    "request_timeout": Kind(408, "The request took too long to arrive", retryable=True),
    "conflict": Kind(409, "Not now"),
    "gone": Kind(410, "It is no longer here"),
    "body_too_large": Kind(413, "The request is too large"),
    "unsupported_media_type": Kind(415, "That kind of body is not understood"),
    "unknown_host": Kind(421, "There is no service of that name here"),
    "bad_option": Kind(422, "An option has an impossible value"),
    "header_too_large": Kind(431, "The head of the request is too large"),
    "unknown_model": Kind(422, "There is no such model here"),
    # the picture
    "not_an_image": Kind(415, "This is not a picture"),
    "broken_image": Kind(422, "The picture is damaged"),
    "image_too_large": Kind(413, "The picture has too many pixels"),
    "refused_image": Kind(422, "This picture has stopped the parser twice"),
    # how busy we are
    "queue_full": Kind(429, "The queue is full", retryable=True),
    "too_many_connections": Kind(503, "Too many connections", retryable=True),
    "shutting_down": Kind(503, "The service is stopping", retryable=True),
    "not_ready": Kind(503, "The service is not ready", retryable=True),
    "worker_crashed": Kind(503, "The parser stopped in the middle", retryable=True),
    "deadline_exceeded": Kind(504, "It took too long", retryable=True),
    "storage_full": Kind(507, "There is no room to keep this", retryable=True),
    "internal_error": Kind(500, "Something went wrong here"),
}


@dataclass(eq=False)
class Problem(Exception):
    """An answer that is an error. code: one of `KINDS`; detail: what arrived, what was expected,
    what to do.

    retry_after_s: when to try again, in seconds; becomes the header Retry-After, rounded up to at
    least 1.
    """

    code: str
    detail: str
    retry_after_s: float | None = None

    def __reduce__(self):
        return Problem, (self.code, self.detail, self.retry_after_s)  # however it was made

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def status(self) -> int:
        return KINDS[self.code].status

    def to_dict(self, instance: str = "", request_id: str = "") -> dict[str, Any]:
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
        """The answer's body, JSON in UTF-8."""
        return json.dumps(self.to_dict(instance, request_id), ensure_ascii=False).encode()

    def inference_body(self, request_id: str = "") -> bytes:
        """The same in the shape of the Open Inference Protocol, for /v2."""
        data = {"error": self.detail, "code": self.code, "retryable": KINDS[self.code].retryable}
        return json.dumps(
            data | ({"request_id": request_id} if request_id else {}), ensure_ascii=False
        ).encode()

    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        headers = {"content-type": MEDIA_TYPE}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.code == "unauthorized":
            headers["www-authenticate"] = 'Bearer realm="humanparse"'
        return headers


def storage_problem(error: OSError) -> Problem:
    """What a client may know of a disk that fails."""
    return Problem(
        "storage_full",
        f"there is trouble with the disk: {os.strerror(error.errno or 5)}; try again later",
        60,
    )
