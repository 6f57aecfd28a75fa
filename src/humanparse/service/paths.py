"""The path below which clients reach the service, and the path that a request asks for without it.

A proxy that serves us at https://example.org/hp/ removes /hp from each request. What clients see
(links, Location, redirects) must contain it again. What a path decides (who needs a token, how
large a body may be) must not depend on it. ASGI carries the prefix as `root_path`, and `path`
begins with it. It comes from the first of these that gives one:
    the server or application around ours, such as `uvicorn --root-path`
    the X-Forwarded-Prefix header of a proxy in trusted_proxies
    the setting root_path
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from humanparse.errors import OptionError
from humanparse.service.settings import plain_root


def put_below(scope: Scope, prefix: str) -> None:
    """Add `prefix`, which a proxy removed, to a request's paths."""
    scope["root_path"] = prefix
    scope["path"] = prefix + scope["path"]
    scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")


def route_path(scope: Scope) -> str:
    """Return the path without `root_path`, as Starlette's router reads it.

    A path that does not begin with root_path is returned as it came.
    """
    path, prefix = scope["path"], scope.get("root_path", "")
    return path[len(prefix) :] if prefix and f"{path}/".startswith(f"{prefix}/") else path


def root_of(request: Request) -> str:
    """Return the prefix of all links to this service: "" or, for example, "/hp"."""
    return request.scope.get("root_path", "").rstrip("/")


class ProxyHeaders(ProxyHeadersMiddleware):
    """uvicorn's middleware for X-Forwarded-For and -Proto, extended by X-Forwarded-Prefix."""

    # uvicorn has its own types for ASGI, which do not fit Starlette's.
    def __init__(self, app: ASGIApp, trusted_proxies: list[str]):
        super().__init__(app, trusted_proxies)  # type: ignore[arg-type]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            peer = (scope.get("client") or ("",))[0]
            if peer in self.trusted_hosts and (prefix := _forwarded_prefix(scope)):
                put_below(scope, prefix)
        await super().__call__(scope, receive, send)


def _forwarded_prefix(scope: Scope) -> str:
    """The prefixes that all proxies have removed; each proxy appends its own.

    "" if one of them is not a plain path.
    """
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
    try:
        return "".join(plain_root(part) for part in b",".join(values).decode("latin-1").split(","))
    except OptionError:
        return ""
