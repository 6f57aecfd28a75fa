"""What browsers show: the page at / with its files, and /docs, which is the OpenAPI document as
plain HTML.

Nothing is loaded from another host and no page contains inline scripts, so the content security
policy forbids both.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from humanparse.service.paths import root_of
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.webpage import INDEX, POLICY, SERVER, index_html, page_files

# media types that gzip makes smaller; pictures are compressed already
COMPRESSIBLE = ("text/", "image/svg+xml")
# settings that the page gets, so that it does not send what would be refused
LIMITS = ("max_body_mb", "max_megapixels", "video_max_mb", "video_workers")


def page_routes() -> APIRouter:
    """Return the routes of /, /static/…, /docs and /openapi.json."""
    router = APIRouter(include_in_schema=False)
    files = page_files().items()
    assets = {name: Asset(path.read_bytes(), _media_type(name)) for name, path in files}

    @lru_cache(maxsize=16)  # more than there are proxies; clients may be able to forge others
    def filled_in(settings: Settings, root: str) -> Asset:
        policy = POLICY.replace("base-uri 'none'", "base-uri 'self'") if root else POLICY
        limits = {name: getattr(settings, name) for name in LIMITS}
        # With the base, links work at /hp as well as at /hp/, without it only at /hp/.
        base = f'<base href="{escape(root)}/">' if root else ""
        return Asset(index_html(SERVER, limits, assets, head=base).encode(), "text/html", policy)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return filled_in(request.app.state.settings, root_of(request)).response(request)

    @router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
    async def static(name: str, request: Request) -> Response:
        return _asset(assets, name).response(request)

    @router.api_route("/favicon.ico", methods=["GET", "HEAD"])
    async def favicon(request: Request) -> Response:
        return _asset(assets, "icon.svg").response(request)

    @router.api_route("/openapi.json", methods=["GET", "HEAD"])
    async def openapi(request: Request) -> Response:
        # FastAPI's own route would keep the root path of one client's proxy for all other clients.
        servers = {"servers": [{"url": root}]} if (root := root_of(request)) else {}
        return JSONResponse(request.app.openapi() | servers)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        return _docs(request)

    return router


@dataclass(frozen=True)
class Asset:
    """A file that browsers cache but revalidate each time, so that a new version shows at once.

    Attributes:
        data: Its content.
        media_type: Its media type.
        policy: The content security policy, if it is a page.
    """

    data: bytes
    media_type: str
    policy: str = POLICY

    @cached_property
    def compressed(self) -> bytes | None:
        """The data in gzip if that is smaller, otherwise None."""
        if not self.media_type.startswith(COMPRESSIBLE):
            return None
        compressed = gzip.compress(self.data, mtime=0)
        return compressed if len(compressed) < len(self.data) else None

    @cached_property
    def tag(self) -> str:
        """The entity tag, without quotes."""
        return hashlib.sha256(self.data).hexdigest()[:20]

    def response(self, request: Request) -> Response:
        """Return the file, or 304 if the client has it already."""
        takes_gzip = _takes_gzip(request.headers.get("accept-encoding", ""))
        compressed = self.compressed if takes_gzip else None
        tag = f'"{self.tag}-gz"' if compressed else f'"{self.tag}"'
        headers = {"etag": tag, "cache-control": "no-cache", "vary": "Accept-Encoding"}
        if self.media_type == "text/html":
            headers["content-security-policy"] = self.policy
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if compressed:
            headers["content-encoding"] = "gzip"
        return Response(compressed or self.data, media_type=self.media_type, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip."""
    wishes = [part.replace(" ", "").lower() for part in accepted.split(",")]
    return any(
        wish == "gzip" or (wish.startswith("gzip;q=") and wish[7:].strip("0.")) for wish in wishes
    )


def _asset(assets: dict[str, Asset], name: str) -> Asset:
    """Return a file of the package by its exact name, so that no name leads out of the package."""
    if name not in assets or name == INDEX:
        raise Problem("not_found", "there is no such file; the page is at /")
    return assets[name]


def _media_type(name: str) -> str:
    """Return the media type of a file of the package, the same on every machine."""
    known = {".js": "text/javascript", ".webp": "image/webp"}
    return (
        known.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    )


# /docs

_DOCS = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>humanparse API</title>
<link rel="icon" href="static/icon.svg">
<link rel="stylesheet" href="static/theme.css"><link rel="stylesheet" href="static/docs.css">
<script src="static/js/early.js"></script>
</head>
<body><main>
<h1>humanparse {version}</h1>
<p>{description}</p>
<p><a href="./">The page</a> · For programs: <a href="openapi.json">openapi.json</a></p>
<pre>curl -F image=@street.jpg {parse}</pre>
{endpoints}
</main></body>
</html>
"""


def _docs(request: Request) -> Response:
    document = request.app.openapi()
    html = _DOCS.format(
        version=escape(document["info"]["version"]),
        description=escape(document["info"]["description"]),
        parse=escape(str(request.url.replace(path=f"{root_of(request)}/parse", query=""))),
        endpoints="\n".join(_endpoints(document)),
    )
    return HTMLResponse(html, headers={"content-security-policy": POLICY})


def _endpoints(document: dict[str, Any]) -> Iterator[str]:
    """Yield the HTML of each endpoint."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('summary', ''))}</p>"
            yield from _table("Options", _options(operation))
            body = operation.get("requestBody", {}).get("content", {})
            yield from _table("Body", [(kind, "", "") for kind in body])
            responses = operation["responses"].items()
            yield from _table(
                "Responses",
                [
                    (status, ", ".join(one.get("content", {})), one["description"])
                    for status, one in responses
                ],
            )
            yield "</section>"


def _options(operation: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, choices and meaning of each parameter."""
    return [
        (
            one["name"],
            _choices(one["schema"]),
            one["schema"].get("description", one.get("description", "")),
        )
        for one in operation.get("parameters", [])
    ]


def _choices(schema: dict[str, Any]) -> str:
    choices = schema.get("enum") or schema.get("items", {}).get("enum")
    return ", ".join(choices) if choices else schema.get("type", "")


def _table(heading: str, rows: list[tuple[str, str, str]]) -> Iterator[str]:
    if rows:
        yield f"<h3>{heading}</h3><table>"
        for name, kind, meaning in rows:
            yield f"<tr><th scope=row><code>{escape(name)}</code></th>"
            yield f"<td>{escape(kind)}</td><td>{escape(meaning)}</td></tr>"
        yield "</table>"
