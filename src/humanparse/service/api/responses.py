"""What all routes that take pictures share: when they turn a request away, and what goes with a
response."""

from __future__ import annotations

from fastapi import Request

from humanparse.service.api.cached import Answer

# The codes of the problems that a route may answer with (problems.py), for its documentation.
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


def headers(answer: Answer) -> dict[str, str]:
    """How long it took, for the browser's tools, and whether it was known already."""
    stages = {"queue": answer.queued_ms} | ({} if answer.cached else answer.head["timings_ms"])
    timing = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in stages.items())
    return {
        "server-timing": timing,
        "x-cache": "hit" if answer.cached else "miss",
        "cache-control": "no-store",
    }


def note(request: Request, answer: Answer, num_bytes: int) -> None:
    """Tell log and metrics of an answer; never anything of the picture itself."""
    request.state.log |= {
        "cache": "hit" if answer.cached else "miss",
        "model": answer.head["model"],
        "people": answer.head["people"],
        "width": answer.head["width"],
        "height": answer.head["height"],
        "picture_bytes": num_bytes,
        "queued_ms": round(answer.queued_ms, 1),
        "worked_ms": round(answer.worked_ms, 1),
    }
    if not answer.cached:
        request.app.state.metrics.observe_reply(answer.head, answer.queued_ms)


def check_room(request: Request) -> None:
    """Turn away at once, before the body is read, what would be turned away after."""
    request.app.state.dispatcher.check_room()


def not_ready(state, status) -> str:
    """Why pictures are not answered now; "" if they are."""
    if state.draining:
        return "the service is stopping; ask another one"
    if status.idle + status.busy == 0:
        return "no worker is running; one is being started"
    if (
        status.last_success_age_s is None
        or status.last_success_age_s > state.settings.ready_window_s
    ):
        return f"nothing was parsed in the last {state.settings.ready_window_s:g} s"
    return ""


def degraded(state, status) -> list[str]:
    troubles = [*state.cache.problems, *state.jobs.problems]
    if status.last_reload_error:
        troubles.append(
            "the last reload failed, and the models from before answer; the log says why"
        )
    return troubles
