"""How much a request may bring, and how much all requests together.

Bytes are counted as they arrive: a chunked body declares no length, and a declared length is only a
promise. The bodies
held at a time are bounded likewise, by what has arrived: a client that announces much and sends
little blocks nobody. Uploads of jobs go to disk as they come, so they do not count there.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humanparse.service.budget import ByteBudget
from humanparse.service.paths import route_path
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

MB = 1_000_000


class BodyLimits:
    """Raises Problem for a framing or body that is not taken, out of the call or of `receive`.

    held: what is held already, by others too.
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
        """The largest body that path takes."""
        limits = self._settings
        if _is_job(path):
            return limits.job_max_mb * MB
        pictures = limits.batch_max_images if _is_batch(path) else 1
        # What is larger than all that may be held could never come in, however often it is sent
        # again.
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
            # Some libraries turn an error of `receive` into an answer of their own: not in place of
            # ours.
            self.answered = self.problem is None or message["status"] == self.problem.status
        if self.answered:
            await self._send(message)

    def _count(self, more: int) -> None:
        self.check(self._num_bytes + more, more)
        self._num_bytes += more
        self._held.num_bytes += more

    def check(self, total: int, more: int | None = None) -> None:
        """Raises Problem if a body of `total` bytes is too large, or if there is no room for `more`
        (default: all) now."""
        if total > self._limit_bytes:
            detail = _too_large(self._length, self._limit_bytes, self._hint)
            self.problem = Problem("body_too_large", detail)
        elif not self._held.has_room(total if more is None else more):
            self.problem = Problem(
                "queue_full",
                "too many uploads at this moment; try again a little later",
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
    return f"{what} is larger than the {limit_bytes / MB:g} MB taken here; {hint}"


def declared_length(scope: Scope) -> int | None:
    """Bytes that the head announces; 0 without a body, None for a chunked one. Raises Problem if it
    contradicts itself."""
    lengths = {value for name, value in scope["headers"] if name == b"content-length"}
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if chunked and lengths:
        # Two parties may read such a request differently: the way to smuggle one past a proxy.
        raise Problem(
            "bad_request",
            "the head has both Content-Length and Transfer-Encoding; send one of them",
        )
    if chunked:
        return None
    if not lengths:
        return 0
    text = lengths.pop()
    if lengths or not text.isdigit() or len(text) > 18:
        raise Problem("bad_request", "the header Content-Length is not one number")
    return int(text)
