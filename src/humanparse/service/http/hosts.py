"""Which host names this service answers to, and which web pages may use it.

A service that listens on loopback without a token trusts everybody on this machine, and therefore
every page in a browser on it. A foreign page could point its own host name at our address (DNS
rebinding) and then read our responses; such a request still carries the foreign name in its Host
header. Or it could submit a form without reading the response; browsers mark that as `cross-site`.
"""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from humanparse.service.problems import Problem
from humanparse.service.settings import Settings, is_loopback

ANY = "*"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class HostMiddleware:
    """Refuses foreign host names, and work requested by another site's page.

    localhost and every IP address are accepted, since rebinding needs a name. Clients other than
    browsers may omit Host.

    Raises:
        Problem: unknown_host or foreign_page, from the call.
    """

    def __init__(self, app: ASGIApp, settings: Settings):
        self._app = app
        trusts_all = is_loopback(settings.host) and not settings.token
        self._names = {_plain(name) for name in settings.allowed_hosts}
        self._checks_host = ANY not in self._names and (bool(self._names) or trusts_all)
        self._checks_page = trusts_all
        self._origins = {origin.encode() for origin in settings.cors_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self._checks_host and not self._is_ours(
            _plain(headers.get(b"host", b"").decode("latin-1"))
        ):
            raise Problem(
                "unknown_host",
                "this service does not answer to the name in the Host header; "
                "use localhost or an IP address, or list the name in allowed_hosts",
            )
        if self._checks_page and self._is_foreign(scope["method"], headers):
            raise Problem(
                "foreign_page",
                "a page of another site sent this; to allow it, list its origin in cors_origins",
            )
        await self._app(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        return name in ("", "localhost") or name in self._names or _is_address(name)

    def _is_foreign(self, method: str, headers: dict[bytes, bytes]) -> bool:
        """Whether a browser says that an unlisted site's page requests work."""
        cross = headers.get(b"sec-fetch-site") == b"cross-site" and method not in SAFE_METHODS
        return cross and not self._origins & {headers.get(b"origin"), ANY.encode()}


def _plain(host: str) -> str:
    """The name in a Host header, without its port."""
    host = host.strip().lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
