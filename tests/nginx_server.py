"""nginx with the files of deploy/ in front of servers, for tests. Different are only ports, servers
and folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
from served import free_port, until, web

DEPLOY = Path(__file__).parents[1] / "deploy"
BINARY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
STOP_S = 20


class Front:
    """A running nginx: its address, its folder, and its log."""

    def __init__(self, url: str, folder: Path):
        self.url, self.folder = url, folder

    def log(self) -> list[dict]:
        """What it noted of each request, the oldest first."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def server_of(self, request_id: str) -> str:
        """Which servers were asked for the request of that id, as host:port, with commas between;
        waits for the line."""

        def found():
            return [line for line in self.log() if line["request_id"] == request_id]

        return until(found)[0]["servers"]


@contextmanager
def front(
    folder: Path,
    pictures: Sequence[str],
    jobs: str,
    *,
    upstreams: str = "upstreams.conf",
    **changes: str,
) -> Iterator[Front]:
    """nginx in front of servers, given as host:port. changes: values of directives that would take
    a test too long."""
    port = free_port()
    write_configuration(folder, pictures, jobs, port=port, upstreams=upstreams, **changes)
    with open(folder / "stderr.txt", "w") as stderr:
        process = subprocess.Popen(
            [BINARY, "-p", folder, "-c", folder / "nginx.conf"], stderr=stderr
        )
    one = Front(f"http://127.0.0.1:{port}", folder)
    try:
        until(lambda: _is_alive(one.url) or process.poll() is not None)
        assert process.poll() is None, (folder / "stderr.txt").read_text()
        yield one
    finally:
        process.terminate()
        process.wait(STOP_S)


def write_configuration(
    folder: Path,
    pictures: Sequence[str],
    jobs: str,
    *,
    port: int,
    upstreams: str = "upstreams.conf",
    **changes: str,
) -> None:
    """The files of deploy/ as nginx.conf and upstreams.conf in a folder."""
    folder.mkdir(exist_ok=True)
    text = (DEPLOY / "nginx.conf").read_text().replace("listen 8080;", f"listen 127.0.0.1:{port};")
    text = text.replace("/var/log/nginx/", f"{folder}/")
    for directive, value in changes.items():
        text, number = re.subn(rf"\b{directive} [^;]+;", f"{directive} {value};", text)
        assert number, f"nginx.conf has no {directive}"
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in TEMP_PATHS)
    text = text.replace("http {", f"http {{ {temporary}", 1)
    # else its workers could not use our temporary folder
    user = "user root; " if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"{user}daemon off; pid {folder}/pid;\n{text}")
    (folder / "upstreams.conf").write_text(
        _servers_changed((DEPLOY / upstreams).read_text(), pictures, jobs)
    )


def _servers_changed(text: str, pictures: Sequence[str], jobs: str) -> str:
    """Our servers in place of those named. Without `resolve`, which Debian's nginx does not know
    yet."""
    for name, servers in (("humanparse", pictures), ("humanparse_jobs", [jobs])):
        head, rest = text.split(f"upstream {name} {{", 1)
        body, tail = rest.split("}", 1)
        line = re.search(r"^ +server \S+(?: resolve)?(.*);$", body, re.M)
        assert line, f"{name} has no server"
        body = body.replace(line[0], "\n".join(f"    server {one}{line[1]};" for one in servers))
        text = f"{head}upstream {name} {{{body}}}{tail}"
    return re.sub(r"^resolver \S+", "resolver 127.0.0.1", text, flags=re.M).replace(
        "10.0.0.0/8", "127.0.0.0/8"
    )


def _is_alive(url: str) -> bool:
    try:
        return web.get(url + "/-/alive").text == "ok\n"
    except httpx.TransportError:
        return False
