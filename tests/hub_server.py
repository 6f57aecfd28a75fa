"""A model hub on 127.0.0.1 for tests of downloads, which misbehaves on request."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ETAG = '"first"'


class HubServer:
    """`with HubServer({"pytorch_model.pt": b"..."}) as hub:` serves these files as ModelScope does.

    plans[path]: what to do with the next requests for a file, one Misbehaviour each; after them it
    behaves well. "list" stands for the list of files. listed: the list's entries by path, which may
    be changed. asked: (path, headers) of all requests so far.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files, self.plans, self.asked = files, defaultdict(list), []
        self.listed = {
            path: {
                "Path": path,
                "Type": "blob",
                "Size": len(data),
                "Sha256": hashlib.sha256(data).hexdigest(),
            }
            for path, data in files.items()
        }
        self.closing = threading.Event()

    def __enter__(self) -> HubServer:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(self, *args))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def times(self, path: str) -> int:
        """How often a file was requested."""
        return sum(one == path for one, _ in self.asked)

    def ranges(self, path: str) -> list[str | None]:
        """The Range of each request for a file."""
        return [headers.get("Range") for one, headers in self.asked if one == path]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: HubServer, *args):
        self.hub = hub
        super().__init__(*args)

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/elsewhere":
            path = parse_qs(url.query)["file"][0]
        elif url.path.endswith("/repo/files"):
            path = "list"
        else:
            path = parse_qs(url.query).get("FilePath", ["?"])[0]
        self.hub.asked.append((path, dict(self.headers.items()) | {"url": self.path}))
        if path == "list":
            data = json.dumps(
                {"Code": 200, "Success": True, "Data": {"Files": list(self.hub.listed.values())}}
            ).encode()
        else:
            data = self.hub.files.get(path)
        plan = self.hub.plans[path]
        behave = plan.pop(0) if plan else (well if data is not None else status(404))
        with suppress(BrokenPipeError, ConnectionResetError):  # the client may have had enough
            behave(self, data)

    def answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(data))} | headers).items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def wanted(self) -> int:
        """The first byte that the client wants."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found and self.headers.get("If-Range", ETAG) == ETAG else 0


Misbehaviour = Callable[[_Handler, bytes], None]


def well(handler: _Handler, data: bytes, partial_status: int = 206) -> None:
    """Send what was requested."""
    start = handler.wanted()
    if start >= len(data):
        return handler.answer(416, b"")
    place = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return handler.answer(
        partial_status if start else 200,
        data[start:],
        ETag=ETAG,
        Content_Range=place if start else "",
    )


def as_modelscope(handler: _Handler, data: bytes) -> None:
    """Send the range with the status 200."""
    well(handler, data, partial_status=200)


def ignores_range(handler: _Handler, data: bytes) -> None:
    handler.answer(200, data)


def breaks_off(after: int, **headers: str) -> Misbehaviour:
    def behave(handler: _Handler, data: bytes) -> None:
        start = handler.wanted()
        handler.send_response(206 if start else 200)
        place = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()} or {"ETag": ETAG}
        for name, value in ({"Content-Length": str(len(data) - start)} | place | named).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data[start : start + after])

    return behave


def stalls(after: int) -> Misbehaviour:
    def behave(handler: _Handler, data: bytes) -> None:
        breaks_off(after)(handler, data)
        handler.wfile.flush()
        handler.hub.closing.wait(5)

    return behave


def silent(handler: _Handler, data: bytes) -> None:
    """Take the request and never answer."""
    handler.hub.closing.wait(5)


def trickles(handler: _Handler, data: bytes) -> None:
    """A byte now and then, for ever."""
    breaks_off(0)(handler, data)
    for position in range(len(data)):
        handler.wfile.write(data[position : position + 1])
        handler.wfile.flush()
        if handler.hub.closing.wait(0.05):
            return


def status(code: int, **headers: str) -> Misbehaviour:
    return lambda handler, data: handler.answer(code, b"no", **headers)


def redirects(to: str) -> Misbehaviour:
    return lambda handler, data: handler.answer(302, b"", Location=to)


def sends(answer: bytes, code: int = 200, **headers: str) -> Misbehaviour:
    """Send this, whatever was requested."""
    return lambda handler, data: handler.answer(code, answer, **headers)
