"""Below which path clients reach the service, and what a request asks for without it.

A proxy that serves the service at https://example.org/hp/ takes /hp off each request. What clients
are told (links, Location, redirects) must have it again; what a path decides (who needs a token,
how large a body may be) must not depend on it. ASGI carries it as `root_path`, and `path` begins
with it. The first of these three that says one is believed:
    the server or application around ours, such as `uvicorn --root-path`
    the header X-Forwarded-Prefix of a proxy in trusted_proxies
    the setting root_path
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from humanparse.errors import OptionError
from humanparse.service.settings import plain_root


def put_below(scope: Scope, prefix: str) -> None:
    """Write into a request that its client sees it below `prefix`, which was taken off."""
    scope["root_path"] = prefix
    scope["path"] = prefix + scope["path"]
    scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")


def route_path(scope: Scope) -> str:
    """The path without `root_path`, read as Starlette's router does, so that no decision misses it.

    The path is as it came where it does not begin with root_path.
    """
    path, prefix = scope["path"], scope.get("root_path", "")
    return path[len(prefix) :] if prefix and f"{path}/".startswith(f"{prefix}/") else path


def root_of(request: Request) -> str:
    """The prefix of all links to paths of this service: "" or, for instance, "/hp"."""
    return request.scope.get("root_path", "").rstrip("/")


class ProxyHeaders(ProxyHeadersMiddleware):
    """uvicorn's middleware for X-Forwarded-For and -Proto, which takes X-Forwarded-Prefix too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            peer = (scope.get("client") or ("",))[0]
            if peer in self.trusted_hosts and (prefix := _forwarded_prefix(scope)):
                put_below(scope, prefix)
        await super().__call__(scope, receive, send)


def _forwarded_prefix(scope: Scope) -> str:
    """What all proxies together have taken off; each adds its own to the end.

    Returns "" if one of them says anything else than a plain path.
    """
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
    try:
        return "".join(plain_root(part) for part in b",".join(values).decode("latin-1").split(","))
    except OptionError:
        return ""
