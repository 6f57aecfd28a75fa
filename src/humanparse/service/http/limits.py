"""Limits on the size of one request's body, and of all bodies together.

Bytes are counted as they arrive, because a chunked body declares no length, and a declared length
is only a promise. The limit on all bodies together also counts what has arrived, so that a client
that announces much and sends little blocks nobody. Uploads of jobs go to disk as they arrive, so
they do not count there.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humanparse.service.budget import ByteBudget
from humanparse.service.paths import route_path
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

MB = 1_000_000


class BodyLimits:
    """Refuses bodies that are malformed or too large, from the call or from `receive`.

    Args:
        app: The application inside.
        settings: The service's settings.
        held: Bytes that are held already, also by others.

    Raises:
        Problem: bad_request, body_too_large or queue_full.
    """

    def __init__(self, app: ASGIApp, settings: Settings, held: ByteBudget):
        self._app = app
        self._settings = settings
        self.held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length, path = declared_length(scope), route_path(scope)
        held = ByteBudget() if _is_job(path) else self.held
        body = _Body(receive, send, self.limit_bytes(path), length, held, _hint(path))
        try:
            body.check(length or 0)
            await self._app(scope, body.receive, body.send)
            if body.problem and not body.answered:
                raise body.problem
        finally:
            body.release()

    def limit_bytes(self, path: str) -> float:
        """Return the maximum size of a body for that path."""
        limits = self._settings
        if _is_job(path):
            return limits.job_max_mb * MB
        pictures = limits.batch_max_images if _is_batch(path) else 1
        # A body larger than queue_max_mb could never be accepted, however often it is sent.
        return min(limits.max_body_mb * pictures, limits.queue_max_mb) * MB


class _Body:
    """One request's body on its way in."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        limit_bytes: float,
        length: int | None,
        held: ByteBudget,
        hint: str,
    ):
        self._receive, self._send = receive, send
        self._limit_bytes, self._length, self._held = limit_bytes, length, held
        self._hint = hint
        self._num_bytes = 0
        self.answered = False
        self.problem: Problem | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # Some libraries turn an error from `receive` into a response; ours takes precedence.
            self.answered = self.problem is None or message["status"] == self.problem.status
        if self.answered:
            await self._send(message)

    def _count(self, more: int) -> None:
        self.check(self._num_bytes + more, more)
        self._num_bytes += more
        self._held.num_bytes += more

    def check(self, total: int, more: int | None = None) -> None:
        """Raise Problem if `total` bytes are too large, or `more` (default: all) find no room."""
        if total > self._limit_bytes:
            detail = _too_large(self._length, self._limit_bytes, self._hint)
            self.problem = Problem("body_too_large", detail)
        elif not self._held.has_room(total if more is None else more):
            self.problem = Problem(
                "queue_full",
                "too many uploads at the moment; try again a little later",
                retry_after_s=1,
            )
        if self.problem:
            raise self.problem

    def release(self) -> None:
        self._held.num_bytes -= self._num_bytes
        self._num_bytes = 0


def _is_job(path: str) -> bool:
    return path.rstrip("/") == "/v1/jobs"


def _is_batch(path: str) -> bool:
    return path.rstrip("/") == "/v1/batch"


def _hint(path: str) -> str:
    """What to send instead of a body that is too large."""
    if _is_job(path):
        return "send several jobs"
    return "send fewer or smaller pictures" if _is_batch(path) else "send a smaller picture"


def _too_large(length: int | None, limit_bytes: float, hint: str) -> str:
    what = "the body" if length is None else f"the body of {length / MB:.3g} MB"
    return f"{what} is larger than the {limit_bytes / MB:g} MB allowed here; {hint}"


def declared_length(scope: Scope) -> int | None:
    """Return the length of the body that the head declares.

    Args:
        scope: The ASGI scope.

    Returns:
        The length in bytes; 0 without a body, None for a chunked one.

    Raises:
        Problem: bad_request, if the head contradicts itself.
    """
    lengths = {value for name, value in scope["headers"] if name == b"content-length"}
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if chunked and lengths:
        # A proxy may read such a request differently from us (request smuggling).
        raise Problem(
            "bad_request",
            "the head has both Content-Length and Transfer-Encoding; send only one of them",
        )
    if chunked:
        return None
    if not lengths:
        return 0
    text = lengths.pop()
    if lengths or not text.isdigit() or len(text) > 18:
        raise Problem("bad_request", "the Content-Length header is not a single number")
    return int(text)
