"""What a browser is shown: the page at / and its files, and /docs, the API in plain HTML, made from
the OpenAPI document.

Nothing comes from another host and no script stands inside a page, so the policy below can forbid
both.
"""

from __future__ import annotations

import gzip
import hashlib
import json
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
from humanparse.system.packaged import packaged

SAMPLE = "cli/demo/astronaut.jpg"  # one of the photos of `humanparse demo`
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# media types that gzip makes smaller; pictures are packed already
PACKED = ("text/", "image/svg+xml")
# settings that the page knows, so that it need not send what is refused
LIMITS = ("max_body_mb", "max_megapixels")


def page_routes() -> APIRouter:
    """/, /static/…, /docs and /openapi.json."""
    router = APIRouter(include_in_schema=False)
    static_files = packaged("service/page/static")
    files = {
        path.relative_to(static_files).as_posix(): path
        for path in sorted(static_files.rglob("*"))
        if path.is_file()
    }
    files["sample.jpg"] = packaged(SAMPLE)
    kept = {name: Asset(path.read_bytes(), _media_type(name)) for name, path in files.items()}

    @lru_cache(maxsize=16)  # more than a service has proxies; clients may be able to say others
    def filled_in(settings: Settings, root: str) -> Asset:
        policy = POLICY.replace("base-uri 'none'", "base-uri 'self'") if root else POLICY
        return Asset(_filled_in(kept, settings, root), "text/html", policy)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return filled_in(request.app.state.settings, root_of(request)).answer(request)

    @router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
    async def static(name: str, request: Request) -> Response:
        return _asset(kept, name).answer(request)

    @router.api_route("/favicon.ico", methods=["GET", "HEAD"])
    async def favicon(request: Request) -> Response:
        return _asset(kept, "icon.svg").answer(request)

    @router.api_route("/openapi.json", methods=["GET", "HEAD"])
    async def openapi(request: Request) -> Response:
        # FastAPI's own would keep what one client's proxy says, and tell it to the next client.
        servers = {"servers": [{"url": root}]} if (root := root_of(request)) else {}
        return JSONResponse(request.app.openapi() | servers)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        return _docs(request)

    return router


@dataclass(frozen=True)
class Asset:
    """A file that browsers keep and ask about each time, so that a new version shows at once: 304
    is cheap."""

    data: bytes
    media_type: str
    policy: str = POLICY  # of a page

    @cached_property
    def packed(self) -> bytes | None:
        """The data in gzip, where that is smaller."""
        packed = (
            gzip.compress(self.data, mtime=0) if self.media_type.startswith(PACKED) else self.data
        )
        return packed if len(packed) < len(self.data) else None

    @cached_property
    def tag(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:20]

    def answer(self, request: Request) -> Response:
        packed = self.packed if _takes_gzip(request.headers.get("accept-encoding", "")) else None
        tag = f'"{self.tag}-gz"' if packed else f'"{self.tag}"'
        headers = {"etag": tag, "cache-control": "no-cache", "vary": "Accept-Encoding"}
        if self.media_type == "text/html":
            headers["content-security-policy"] = self.policy
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(packed or self.data, media_type=self.media_type, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip, and not only to refuse it."""
    wishes = [part.replace(" ", "").lower() for part in accepted.split(",")]
    return any(
        wish == "gzip" or (wish.startswith("gzip;q=") and wish[7:].strip("0.")) for wish in wishes
    )


def _asset(kept: dict[str, Asset], name: str) -> Asset:
    """One of the files that come with the package; a name that is not among them leads nowhere."""
    if name not in kept or name == "index.html":
        raise Problem("not_found", "there is no such file; the page is at /")
    return kept[name]


def _media_type(name: str) -> str:
    """Of our own files, whatever this machine's tables say."""
    known = {".js": "text/javascript", ".webp": "image/webp"}
    return (
        known.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    )


def _filled_in(kept: dict[str, Asset], settings: Settings, root: str) -> bytes:
    """index.html with the limits of this server, and with every module named, so that browsers
    fetch them at once.

    root: the path below which clients see it, if that is known. Then its links are right at /hp,
    too; without it, at /hp/ alone.
    """
    limits = json.dumps({name: getattr(settings, name) for name in LIMITS})
    modules = [name for name in kept if name.startswith("js/")]
    preloads = "\n".join(
        f'  <link rel="modulepreload" href="static/{name}">'
        for name in modules
        if name != "js/early.js"
    )
    text = kept["index.html"].data.decode()
    base = f'  <base href="{escape(root)}/">\n' if root else ""
    for name, filling in (("base", base), ("limits", escape(limits)), ("preloads", preloads)):
        text = text.replace(f"{{{{{name}}}}}", filling)
    return text.encode()


# /docs


def _docs(request: Request) -> Response:
    document = request.app.openapi()
    body = "".join(_endpoints(document))
    html = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>humanparse API</title><link rel=icon href='static/icon.svg'><link rel=stylesheet href='static/theme.css'>"
        "<link rel=stylesheet href='static/docs.css'><script src='static/js/early.js'></script></head><body><main>"
        f"<h1>humanparse {escape(document['info']['version'])}</h1><p>{escape(document['info']['description'])}</p>"
        "<p><a href='./'>The page</a> · For programs: <a href='openapi.json'>openapi.json</a></p>"
        "<pre>curl -F image=@street.jpg "
        f"{escape(str(request.url.replace(path=f'{root_of(request)}/parse', query='')))}</pre>"
        f"{body}</main></body></html>"
    )
    return HTMLResponse(html, headers={"content-security-policy": POLICY})


def _endpoints(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(what.get('summary', ''))}</p>"
            yield from _table(
                "Options",
                [
                    (
                        one["name"],
                        _choices(one["schema"]),
                        one["schema"].get("description", one.get("description", "")),
                    )
                    for one in what.get("parameters", [])
                ],
            )
            yield from _table(
                "Body", [(kind, "", "") for kind in what.get("requestBody", {}).get("content", {})]
            )
            yield from _table(
                "Answers",
                [
                    (status, ", ".join(one.get("content", {})), one["description"])
                    for status, one in what["responses"].items()
                ],
            )
            yield "</section>"


def _choices(schema: dict[str, Any]) -> str:
    choices = schema.get("enum") or schema.get("items", {}).get("enum")
    return ", ".join(choices) if choices else schema.get("type", "")


def _table(heading: str, rows: list[tuple[str, str, str]]) -> Iterator[str]:
    if rows:
        yield f"<h3>{heading}</h3><table>"
        for name, kind, meaning in rows:
            yield f"<tr><th scope=row><code>{escape(name)}</code></th><td>{escape(kind)}</td><td>{escape(meaning)}</td></tr>"
        yield "</table>"
