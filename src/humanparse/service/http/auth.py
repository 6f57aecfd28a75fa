"""Access: clients that send the token, if one is set."""

from __future__ import annotations

import hashlib
import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from humanparse.service.paths import route_path
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

# The page asks for the token, the API's description is no secret, and probes have no token.
OPEN_PATHS = (
    "/",
    "/docs",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/favicon.ico",
    "/v2/health/live",
    "/v2/health/ready",
)
OPEN_PREFIX = "/static/"


class AuthMiddleware:
    """Refuses requests without the token; the page's files and the probes need none.

    Raises:
        Problem: unauthorized, from the call.
    """

    def __init__(self, app: ASGIApp, settings: Settings):
        self._app = app
        self._expected = _digest(settings.token.encode()) if settings.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        expected = self._expected
        if expected is not None and not is_open(scope) and not _has_token(scope, expected):
            raise Problem(
                "unauthorized",
                "this service needs its token in the header: Authorization: Bearer TOKEN",
            )
        await self._app(scope, receive, send)


def is_open(scope: Scope) -> bool:
    """Whether this request needs no token."""
    path = route_path(scope)
    return scope["method"] in ("GET", "HEAD") and (
        path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
    )


def _has_token(scope: Scope, expected: bytes) -> bool:
    """Whether the request has exactly one token, and its digest is this one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:
        return False
    kind, _, token = given[0].partition(b" ")
    return kind.lower() == b"bearer" and hmac.compare_digest(_digest(token.strip()), expected)


def _digest(token: bytes) -> bytes:
    # compare_digest takes longer for longer secrets; digests all have the same length.
    return hashlib.sha256(token).digest()
