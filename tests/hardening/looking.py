"""A running server seen from outside, and many simple clients."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from served import Served
from waiting import running, until

CLIENT_TIMEOUT_S = 120


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process in MB; with what="VmHWM", the most that it ever held."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6


def open_files(pid: int) -> dict[str, str]:
    """The target of each descriptor of a process."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found[link.name] = os.readlink(link)
    return found


def num_sockets(pid: int) -> int:
    return sum(target.startswith("socket:") for target in open_files(pid).values())


def ask(
    served: Served,
    method: str = "POST",
    path: str = "/parse?include=none",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (with lower-case names) and body of one request on a new connection."""
    host, port = served.url.removeprefix("http://").rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=CLIENT_TIMEOUT_S)
    try:
        connection.request(
            method,
            path,
            body or None,
            {"content-type": "application/octet-stream"} | (headers or {}),
        )
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )
    finally:
        connection.close()


def get_json(served: Served, path: str) -> dict[str, Any]:
    return json.loads(ask(served, "GET", path)[2])


def metric(served: Served, name: str) -> float:
    """A value of /metrics, summed over its labels."""
    text = ask(served, "GET", "/metrics")[2].decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))


def is_whole(served: Served, workers: int) -> bool:
    """Whether it is ready and all its workers are."""
    with suppress(OSError, http.client.HTTPException):
        status, _, body = ask(served, "GET", "/readyz")
        state = json.loads(body).get("workers", {})
        return status == 200 and state["idle"] + state["busy"] == workers and not state["starting"]
    return False


def connected(served: Served, receive_buffer: int = 0) -> socket.socket:
    """A raw connection."""
    host, port = served.url.removeprefix("http://").rsplit(":", 1)
    one = socket.socket()
    if receive_buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    one.settimeout(CLIENT_TIMEOUT_S)
    one.connect((host, int(port)))
    return one


@contextmanager
def crowd(num_clients: int, visit: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run this many clients that call `visit` repeatedly; collect what each visit returned."""
    found: list[Any] = []
    over = threading.Event()

    def client():
        while not over.is_set():
            found.append(visit())

    clients = [threading.Thread(target=client, daemon=True) for _ in range(num_clients)]
    for one in clients:
        one.start()
    try:
        yield found
    finally:
        over.set()
        for one in clients:
            one.join(CLIENT_TIMEOUT_S)
        assert not any(one.is_alive() for one in clients), "a client hangs"


def stopped_cleanly(served: Served, num_workers: int) -> None:
    """Stop it, and check that it exits with 0 and no worker is left."""
    workers = served.children()
    assert len(workers) == num_workers
    assert served.stop() == 0
    until(lambda: not any(map(running, workers)), "the end of all workers")


def essence(body: bytes) -> Any:
    """The content of a response without its times."""
    return {name: value for name, value in json.loads(body).items() if name != "timings_ms"}


def waited_s(condition: Callable[[], Any], what: str, seconds: float) -> float:
    """`until`, and how long it took."""
    begun = time.monotonic()
    until(condition, what, seconds)
    return time.monotonic() - begun
