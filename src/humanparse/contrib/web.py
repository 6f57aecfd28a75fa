"""What the HTTP adapters share: limits, errors as JSON, and parsing in threads.

They answer programs on the same machine or behind a proxy. They ask for no token and have neither
worker processes nor a cache: `humanparse serve` is there for clients who are not trusted.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humanparse.arguments import number_between
from humanparse.errors import HumanParseError
from humanparse.service.problems import KINDS

MAX_BODY_MB = 40.0  # MB of one request's body; 1 MB = 1 000 000 bytes
MAX_REQUESTS = 32  # at once; further ones are answered with 503
MAX_PARSING = 2  # photos that are parsed at the same time; the other requests wait

Result = TypeVar("Result")


def application(
    routes: Sequence[BaseRoute], *, max_body_mb: float = MAX_BODY_MB, key: str = "error"
) -> Starlette:
    """Return an application whose requests are limited and whose errors are JSON.

    Args:
        routes: What it answers.
        max_body_mb: The largest body that is read, in MB (1 000 000 bytes).
        key: The key of the message in the JSON of an error, as the adapter's clients expect it.

    Raises:
        OptionError: The limit is not a number of at least 0.001.
    """
    max_bytes = int(number_between("max_body_mb", max_body_mb, 0.001) * 1e6)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({key: error.detail}, error.status_code, error.headers)

    async def not_parsed(request: Request, error: Exception) -> Response:
        assert isinstance(error, HumanParseError)
        return JSONResponse({key: str(error)}, status_of(error))

    return Starlette(
        routes=routes,
        middleware=[Middleware(_Limits, max_bytes=max_bytes, key=key)],
        exception_handlers={HTTPException: refused, HumanParseError: not_parsed},
    )


def status_of(error: HumanParseError) -> int:
    """Return the HTTP status of an error, the one with which `humanparse serve` answers it."""
    code = "not_an_image" if error.code == "missing_extra" else error.code  # HEIC without a reader
    return KINDS[code].status if code in KINDS else 500


class Threads:
    """Runs what takes long in threads, `MAX_PARSING` at the same time."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(MAX_PARSING)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return the result of a function that was called in a thread."""
        return await to_thread.run_sync(work, limiter=self._limiter)


async def json_object(request: Request) -> dict[str, Any]:
    """Return a request's body, a JSON object.

    Raises:
        HTTPException: It is no such thing (400).
    """
    try:
        data = json.loads(await request.body())
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise HTTPException(400, 'the body is not a JSON object; send one such as {"key": "value"}')
    return data


def decoded(text: str, what: str) -> bytes:
    """Return the bytes of base64 text, which may be a data URL.

    Args:
        text: Such as "iVBORw0KGgo…" or "data:image/png;base64,iVBORw0KGgo…".
        what: What it is, for the message.

    Raises:
        HTTPException: It is neither (400).
    """
    head, comma, body = text.partition(",")
    if head.startswith("data:") and comma:
        text = body if head.endswith(";base64") else "?"
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise HTTPException(
            400, f"{what} is neither base64 nor a data URL in base64; send the file's bytes so"
        ) from None


class _Limits:
    """Refuses bodies that are too large, and requests while there are too many."""

    def __init__(self, app: ASGIApp, max_bytes: int, key: str):
        self._app, self._max_bytes, self._key = app, max_bytes, key
        self._here = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._here >= MAX_REQUESTS:
            words = f"{MAX_REQUESTS} requests are being answered already; try again later"
            busy = JSONResponse({self._key: words}, 503, {"retry-after": "1"})
            await busy(scope, receive, send)
            return
        self._here += 1
        try:
            await self._app(scope, self._counted(scope, receive), send)
        finally:
            self._here -= 1

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            if declared.isdigit() and int(declared) > self._max_bytes:
                raise self._too_large()
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > self._max_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"the body has more than {self._max_bytes / 1e6:g} MB; send a smaller photo, "
            "or start the application with a larger max_body_mb",
        )
