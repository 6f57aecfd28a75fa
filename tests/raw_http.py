"""Runs an app in a real server in a thread, and speaks to it byte by byte."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from humanparse.service import logs
from humanparse.service.server import Server, run
from humanparse.service.settings import Settings


class Served:
    """A server that runs: where it is, and a way to make it stop."""

    def __init__(self, server: Server):
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.url = server.address
        self.port = int(self.url.rsplit(":", 1)[1])
        self.exit_code: int | None = None

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.stop)

    def connect(self) -> Client:
        return Client(self.port)


@contextmanager
def served(app: FastAPI, settings: Settings) -> Iterator[Served]:
    """The app behind our server. Afterwards it is stopped, and the loggers are as they were."""
    box: queue.Queue[Served | BaseException] = queue.Queue()
    result = {}

    def work():
        try:
            result["exit_code"] = run(
                app, settings, on_ready=lambda server: box.put(Served(server))
            )
        except BaseException as error:
            box.put(error)

    with loggers_restored():
        thread = threading.Thread(target=work)
        thread.start()
        found = box.get(timeout=20)
        if isinstance(found, BaseException):
            thread.join()
            raise found
        try:
            yield found
        finally:
            if thread.is_alive() and not found.loop.is_closed():
                found.stop()
            thread.join(timeout=20)
            assert not thread.is_alive()
            found.exit_code = result.get("exit_code")


@contextmanager
def loggers_restored() -> Iterator[None]:
    names = ("humanparse", *logs.LIBRARIES)
    before = [
        (one := logging.getLogger(name), one.handlers[:], one.level, one.propagate)
        for name in names
    ]
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            for one in set(logger.handlers) - set(handlers):
                one.close()
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


class Client:
    """A raw connection."""

    def __init__(self, port: int, timeout: float = 15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, path: str = "/hello", head: str = "") -> Answer:
        self.send(request("GET", path, head))
        return self.answer()

    def answer(self, bodiless: bool = False) -> Answer:
        """The next answer; raises EOFError if the server closed without one."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        status = int(first.split()[1])
        length = 0 if bodiless or status == 100 else int(headers.get("content-length", 0))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Answer(status, headers, body)

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        self._rest += data

    def is_closed(self) -> bool:
        """Waits for the end of what the server sends."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes):
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, which must be in the one form of problems."""
        assert self.headers["content-type"] == "application/problem+json"
        data = self.json()
        assert data["status"] == self.status
        return data["code"]


def request(
    method: str, path: str, head: str = "", body: bytes = b"", length: int | None = None
) -> bytes:
    """A request as bytes. head: further lines, each ending in CRLF; length: what Content-Length
    says, if not the truth."""
    if method in ("POST", "PUT") and "transfer-encoding" not in head.lower():
        head += f"Content-Length: {len(body) if length is None else length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + body
