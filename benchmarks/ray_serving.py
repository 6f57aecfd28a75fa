"""What do replicas on Ray cost, compared with the server's own workers?

    python benchmarks/ray_serving.py [--workers 2] [--clients 8] [--seconds 10] [--rounds 3] [PHOTO]

This starts `humanparse serve` and `humanparse serve --ray`, the latter with a Ray of its own on
this machine, both with the same number of workers, one thread each and no cache, and lets the same
clients send the photo (a demo picture by default, as a 640×480 JPEG) to one and the other in turn,
for several rounds; before, both do nothing for a while, which shows what they cost when idle. It
prints photos per second, processor time, the time to start, and memory, in which shared pages are
divided among the processes that share them (PSS). The clients run on the same cores. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
from load import Tally, _client, _post, _send
from parse import demo_photo, jpeg

KINDS = {"serve": (), "serve --ray": ("--ray",)}
TICKS = os.sysconf("SC_CLK_TCK")


class Served:
    """A server and all processes below it."""

    def __init__(self, flags: tuple[str, ...], workers: int):
        self.folder = tempfile.TemporaryDirectory()
        command = [
            sys.executable,
            "-m",
            "humanparse",
            "serve",
            "--port",
            "0",
            "--cache-mb",
            "0",
            "--log-level",
            "error",
            "--workers",
            str(workers),
            "--threads",
            "1",
            "--worker-start-s",
            "300",
            "--data-dir",
            self.folder.name,
            *flags,
        ]
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))
        self.start_s = time.perf_counter() - start
        self.rates: list[float] = []
        self.processor_s: list[float] = []  # per photo
        self.idle = 0.0  # share of a core that it uses while it has nothing to do

    def pids(self) -> list[int]:
        parents = {
            int(one): _stat(int(one))[1]
            for one in os.listdir("/proc")
            if one.isdigit() and _stat(int(one))
        }
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if int(parent) == pid]
        return found

    def worked_s(self) -> float:
        return (
            sum(int(stat[11]) + int(stat[12]) for pid in self.pids() if (stat := _stat(pid)))
            / TICKS
        )

    def memory_mb(self) -> dict[str, float]:
        """Return the memory of the web process, of those that parse, and of the rest."""
        web, parsers, rest = 0.0, 0.0, 0.0
        for pid in self.pids():
            kilobytes = _pss_kb(pid)
            if pid == self.process.pid:
                web += kilobytes
            elif "humanparse.service.child.main" in _command(pid):
                parsers += kilobytes
            else:
                rest += kilobytes
        return {"web": web / 1e3, "that parse": parsers / 1e3, "Ray": rest / 1e3}


def main() -> None:
    options = _options()
    photo = jpeg(options.photo, (640, 480))
    print(machine.describe("fastapi", "uvicorn", "ray"))
    print(
        f"other processes: {machine.others_share():.0%} of the cores; "
        f"{options.workers} workers of 1 thread, {options.clients} clients, "
        f"{options.rounds} rounds of {options.seconds:g} s each; "
        f"a photo of {len(photo) / 1000:.0f} kB\n"
    )
    servers = {name: Served(flags, options.workers) for name, flags in KINDS.items()}
    try:
        for server in servers.values():
            asyncio.run(_send(server.port, _post(photo)))
        _rest(servers, options.seconds)
        for _ in range(options.rounds):
            for server in servers.values():
                _round(server, photo, options)
        _report(servers)
    finally:
        for server in servers.values():
            server.process.terminate()
        for server in servers.values():
            server.process.wait(60)
            server.folder.cleanup()


def _rest(servers: dict[str, Served], seconds: float) -> None:
    before, start = [server.worked_s() for server in servers.values()], time.perf_counter()
    time.sleep(seconds)
    for server, worked_s in zip(servers.values(), before, strict=True):
        server.idle = (server.worked_s() - worked_s) / (time.perf_counter() - start)


def _round(server: Served, photo: bytes, options: argparse.Namespace) -> None:
    tally, before, start = Tally(), server.worked_s(), time.perf_counter()

    async def clients() -> None:
        until = time.perf_counter() + options.seconds
        await asyncio.gather(
            *(
                _client(server.port, _post(photo), until, None, tally)
                for _ in range(options.clients)
            )
        )

    asyncio.run(clients())
    done = len(tally.accepted_s)
    server.rates.append(done / (time.perf_counter() - start))
    server.processor_s.append((server.worked_s() - before) / max(1, done))


def _report(servers: dict[str, Served]) -> None:
    first = servers["serve"]
    print(
        f"{'':12}{'photos/s':>10}{'ratio':>8}{'processor time a photo':>25}{'ratio':>8}"
        f"{'idle':>16}{'start':>9}   memory"
    )
    for name, server in servers.items():
        ratio = statistics.median(b / a for a, b in zip(first.rates, server.rates, strict=True))
        work = statistics.median(
            b / a for a, b in zip(first.processor_s, server.processor_s, strict=True)
        )
        memory = ", ".join(f"{kind} {mb:.0f} MB" for kind, mb in server.memory_mb().items() if mb)
        photo_ms = statistics.median(server.processor_s) * 1000
        rate = statistics.median(server.rates)
        print(
            f"{name:12}{rate:10.1f}{ratio:8.2f}{photo_ms:22.0f} ms{work:8.2f}"
            f"{server.idle:8.1%} a core{server.start_s:7.1f} s   {memory}"
        )


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _pss_kb(pid: int) -> float:
    """Memory of a process in kB; pages that several share are divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", nargs="?", type=Path, default=demo_photo())
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
