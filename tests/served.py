"""A real `humanparse serve` in a process of its own, for tests."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2 as httpx
from waiting import until as _until

START_S = 60
# One client for all tests, which opens a connection for each request. httpx.get and its like read
# the certificates of the whole web each time, which takes ten times as long as the request.
web = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))


class Served:
    """A running server: its address, its process, and what it wrote on stderr."""

    def __init__(self, process: subprocess.Popen, url: str, log: Path):
        self.process, self.url, self.log = process, url, log

    def children(self) -> list[int]:
        """Process numbers of its workers."""
        done = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True
        )
        return [int(pid) for pid in done.stdout.split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(START_S)


@contextmanager
def serve(
    folder: Path, *flags: str, environ: dict[str, str] | None = None, before: Sequence[str] = ()
):
    """`humanparse serve` on a free port with its data in `folder`; killed at the end if it is still
    there.

    before: a command that ends by becoming the one that follows it, such as `unshare -m`.
    """
    log = folder / "log.txt"
    command = [
        *before,
        sys.executable,
        "-m",
        "humanparse",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(folder / "data"),
        *flags,
    ]
    with open(log, "w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
            env={**os.environ, **(environ or {})},
        )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"it said {line!r} and {log.read_text()!r}"
        yield Served(process, found[0].rstrip("/"), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def until(true, seconds: float = 20):
    """Wait for something to become true, and return it. Fails the test if it does not."""
    return _until(true, str(true), seconds)


def free_port() -> int:
    """A port of this machine that nothing listens on.

    The system takes the ports that it chooses by itself from 32768 on. These are below, so that
    no other test's client or server gets one by chance before it is used.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_768), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
