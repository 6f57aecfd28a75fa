"""A plain web server for static files, which tests may stop to be offline."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class StaticSite:
    """A running server: its address, and the paths that were asked for."""

    def __init__(self, folder: Path, headers: Mapping[str, str]):
        self.asked: list[str] = []
        handler = partial(_Handler, directory=str(folder), asked=self.asked, headers=headers)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://localhost:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def static_site(folder: Path, headers: Mapping[str, str] | None = None) -> Iterator[StaticSite]:
    """Serve a folder, with these headers added to every answer."""
    served = StaticSite(folder, headers or {})
    try:
        yield served
    finally:
        served.stop()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args, asked: list[str], headers: Mapping[str, str], **options):
        self.asked, self.more = asked, headers
        super().__init__(*args, **options)

    def end_headers(self) -> None:
        for name, value in self.more.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *args: object) -> None:
        self.asked.append(self.path)
