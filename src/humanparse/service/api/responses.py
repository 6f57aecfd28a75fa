"""What the routes that take pictures share: problem codes, headers, log fields and readiness."""

from __future__ import annotations

import json

from fastapi import Request
from starlette.datastructures import State

from humanparse.service.api.cached import ParsedPicture
from humanparse.service.work.dispatcher import Status

# The codes of the problems (problems.py) that a route may respond with, for its documentation.
RECEIVING = (
    "bad_request",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "bad_option",
    "unknown_model",
)
PICTURE = ("not_an_image", "broken_image", "image_too_large", "refused_image")
BUSY = ("queue_full", "shutting_down", "not_ready", "worker_crashed", "deadline_exceeded")


def headers(parsed: ParsedPicture) -> dict[str, str]:
    """Return the headers of a response: how long each stage took, and whether it was cached.

    X-Missing is a JSON list of what an edit did not find. Browsers show Server-Timing in their
    developer tools.
    """
    stages = {"queue": parsed.queued_ms} | ({} if parsed.cached else parsed.head["timings_ms"])
    timing = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in stages.items())
    missing = parsed.head.get("missing")
    return ({"x-missing": json.dumps(missing)} if missing else {}) | {
        "server-timing": timing,
        "x-cache": "hit" if parsed.cached else "miss",
        "cache-control": "no-store",
    }


def record(request: Request, parsed: ParsedPicture, num_bytes: int) -> None:
    """Record a response in the log and the metrics, but nothing of the picture's content.

    Args:
        request: The request, whose log line gets the fields.
        parsed: The response.
        num_bytes: The size of the picture's file.
    """
    request.state.log |= {
        "cache": "hit" if parsed.cached else "miss",
        "model": parsed.head["model"],
        "people": parsed.head["people"],
        "width": parsed.head["width"],
        "height": parsed.head["height"],
        "picture_bytes": num_bytes,
        "queued_ms": round(parsed.queued_ms, 1),
        "worked_ms": round(parsed.worked_ms, 1),
    }
    if not parsed.cached:
        request.app.state.metrics.observe_reply(parsed.head, parsed.queued_ms)


def check_room(request: Request) -> None:
    """Refuse a request before its body is read if the queue is full.

    Raises:
        Problem: queue_full or shutting_down.
    """
    request.app.state.dispatcher.check_room()


def not_ready(state: State, status: Status) -> str:
    """Return why the service cannot parse pictures now; "" if it can.

    Args:
        state: The application's state.
        status: The dispatcher's status.
    """
    if state.draining:
        return "the service is stopping; use another instance"
    if status.idle + status.busy == 0:
        return "no worker is running; one is being started"
    if (
        status.last_success_age_s is None
        or status.last_success_age_s > state.settings.ready_window_s
    ):
        return f"no picture was parsed in the last {state.settings.ready_window_s:g} s"
    return ""


def degraded(state: State, status: Status) -> list[str]:
    """Return what does not work as it should although pictures are parsed, in sentences.

    Args:
        state: The application's state.
        status: The dispatcher's status.
    """
    troubles = [*state.cache.problems, *state.jobs.problems]
    if status.last_reload_error:
        troubles.append(
            "the last reload failed, and the previous models are still in use; see the log"
        )
    return troubles
