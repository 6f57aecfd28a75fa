"""Does the service stay as it is? Hours of mixed visitors, or minutes.

    python benchmarks/soak.py [--minutes 10] [--clients 8] [--seed 1]
                    all kinds of visitors
    python benchmarks/soak.py --minutes 10 --clients 200 --photos-only --pause 1.7
                    a crowd, for the load row

This starts `humanparse serve` with a folder of its own on a free port of this machine. Visitors
send good photos of several sizes, hostile pictures, batches and jobs, and some hang up in the
middle; those who are turned away come again when Retry-After says so, or after --pause seconds. It
prints what they got, how long it took, and how much memory and how many files the processes held.
Every 20 seconds all visitors wait until no work is left: the slope, by least squares, is that of
the memory held then, after the first fifth of the time (a crowd is not made to wait, so there it is
that of all times). The exit status is 1 if there was an answer that must not be, if the slope is a
megabyte per 100 requests or more, or if descriptors or files are left over. Times are meaningful
only on a quiet machine; everything else holds on any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import machine
from parse import demo_photo, jpeg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from hardening import samples

TIMEOUT_S = 120.0  # an answer that takes longer is a hang
SAMPLE_S = 5.0
REST_S = 20.0
HEALTH_EVERY_S = 0.25
SETTLE_S = 30.0  # until everything that visitors left is freed
MAX_SLOPE_MB = 1.0  # per 100 requests
SPARE_FILES = 5  # how many more descriptors there may be at the end than at the start
# A 503 must have a problem code, see `_ask`.
DECLARED = {200, 202, 204, 400, 409, 413, 415, 422, 429, 503}
SIDES = ((256, 256), (640, 480), (1600, 1200), (3000, 2000))
# How often each kind of visitor comes, relative to the others.
KINDS = {
    "photo": 12,
    "hostile": 4,
    "leaves_in_upload": 2,
    "leaves_in_work": 2,
    "batch": 1,
    "job": 1,
}
_RAW, _FORM = "application/octet-stream", "multipart/form-data; boundary=seam"


@dataclass
class Tally:
    """What visitors saw.

    Attributes:
        accepted_s: Seconds of accepted photos.
        rejected_s: Seconds of refusals.
        health_s: Seconds of /healthz.
        answers: Numbers by kind and status.
        errors: Numbers by kind, of answers that must not be.
    """

    accepted_s: list[float] = field(default_factory=list)
    rejected_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    answers: Counter = field(default_factory=Counter)
    errors: Counter = field(default_factory=Counter)

    @property
    def num_requests(self) -> int:
        return sum(self.answers.values())


@dataclass(frozen=True)
class Sample:
    """What the processes held at one time; memory in MB, that of the workers is their sum."""

    at_s: float
    requests: int
    web_mb: float
    workers_mb: float
    num_workers: int
    web_files: int
    data_files: int
    at_rest: bool


@dataclass
class Soak:
    """One run: where the server is, what visitors may send, and what happened."""

    port: int
    pid: int
    folder: Path
    options: argparse.Namespace
    photos: list[bytes]
    bad: list[bytes]
    random: random.Random
    tally: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    visiting: int = 0

    # The crowd

    async def run(self) -> None:
        begun = time.monotonic()
        until = begun + self.options.minutes * 60
        self.gate.set()
        await self.photo()
        visitors = [
            asyncio.create_task(self._visitor(until, index))
            for index in range(self.options.clients)
        ]
        watchers = [
            asyncio.create_task(self._look(begun, until)),
            asyncio.create_task(self._health(until)),
        ]
        await asyncio.gather(*visitors, *watchers)
        await self._settle(begun)

    async def _visitor(self, until: float, index: int) -> None:
        await asyncio.sleep(2 * index / self.options.clients)  # not all in the same millisecond
        kinds = {"photo": 1} if self.options.photos_only else KINDS
        while time.monotonic() < until:
            kind = self.random.choices(list(kinds), list(kinds.values()))[0]
            visit: Callable[[], Awaitable[float]] = getattr(self, kind)
            await self.gate.wait()
            self.visiting += 1
            try:
                pause_s = await asyncio.wait_for(visit(), TIMEOUT_S)
            except (TimeoutError, OSError, EOFError, ValueError) as error:
                self.tally.errors[f"{kind}: {type(error).__name__} {error}"[:80]] += 1
                pause_s = 1.0
            finally:
                self.visiting -= 1
            if self.options.pause is not None:
                pause_s = self.options.pause
            if pause_s:
                await asyncio.sleep(pause_s)

    async def photo(self) -> float:
        begun = time.monotonic()
        status, pause_s, _ = await self._ask(
            "photo", "POST", "/parse?include=none", self.random.choice(self.photos)
        )
        (self.tally.accepted_s if status == 200 else self.tally.rejected_s).append(
            time.monotonic() - begun
        )
        return pause_s

    async def hostile(self) -> float:
        return (await self._ask("hostile", "POST", "/parse", self.random.choice(self.bad)))[1]

    async def leaves_in_upload(self) -> float:
        return await self._leave(half=True)

    async def leaves_in_work(self) -> float:
        return await self._leave(half=False)

    async def batch(self) -> float:
        body = _form([self.random.choice(self.photos[:2]) for _ in range(3)])
        return (await self._ask("batch", "POST", "/v1/batch?include=none", body, _FORM))[1]

    async def job(self) -> float:
        """Create a job, wait for it, fetch its results and delete it."""
        status, pause_s, body = await self._ask(
            "job", "POST", "/v1/jobs?include=none", _form([self.photos[0]] * 3), _FORM
        )
        if status != 202:
            return pause_s
        path, end = "/v1/jobs/" + json.loads(body)["id"], time.monotonic() + TIMEOUT_S / 2
        while time.monotonic() < end:
            if json.loads((await self._ask("job", "GET", path))[2])["state"] == "done":
                break
            await asyncio.sleep(0.5)
        await self._ask("job", "GET", path + "/results")
        await self._ask("job", "DELETE", path)
        return 0.0

    async def _leave(self, half: bool) -> float:
        photo = self.random.choice(self.photos)
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = _head("POST", "/parse", len(photo))
            writer.write(head + (photo[: len(photo) // 2] if half else photo))
            with suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(self.random.random() * 0.2)
        finally:
            writer.transport.abort()
        self.tally.answers["left"] += 1
        return 0.0

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        body: bytes = b"",
        media_type: str = _RAW,
    ) -> tuple[int, float, bytes]:
        """The status, the seconds to wait before the next try, and the body.

        An answer that must not be is counted.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(_head(method, path, len(body), media_type) + body)
            answer = await reader.read(-1)
        finally:
            writer.close()
        status, pause_s, code, content = _read(answer)
        self.tally.answers[f"{kind} {status} {code}".strip()] += 1
        if status not in DECLARED or (status == 503 and not code):
            self.tally.errors[f"{kind}: {status} {code}"] += 1
        return status, pause_s, content

    # Watching

    async def _health(self, until: float) -> None:
        while (begun := time.monotonic()) < until:
            status, _, _ = await asyncio.wait_for(self._ask("health", "GET", "/healthz"), TIMEOUT_S)
            self.tally.health_s.append(time.monotonic() - begun)
            self.tally.answers[f"health {status}"] -= 1  # it is no visitor's
            await asyncio.sleep(HEALTH_EVERY_S)

    async def _look(self, begun: float, until: float) -> None:
        rested = begun
        while (now := time.monotonic()) < until:
            at_rest = not self.options.photos_only and now - rested >= REST_S
            if at_rest:
                rested = now
                self.gate.clear()
                while self.visiting:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)  # for the work of those who left
            self.samples.append(self._sample(begun, at_rest))
            self.gate.set()
            await asyncio.sleep(SAMPLE_S)

    async def _settle(self, begun: float) -> None:
        """Wait until everything that visitors left is freed, and take a last sample."""
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            last = self._sample(begun)
            if not last.data_files and last.web_files <= self.samples[0].web_files + SPARE_FILES:
                break
            await asyncio.sleep(0.5)
        self.samples.append(self._sample(begun))

    def _sample(self, begun: float, at_rest: bool = False) -> Sample:
        workers = _children(self.pid)
        jobs = self.folder / "jobs"
        return Sample(
            time.monotonic() - begun,
            self.tally.num_requests,
            _memory_mb(self.pid),
            sum(map(_memory_mb, workers)),
            len(workers),
            len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            len(list(jobs.iterdir())) if jobs.is_dir() else 0,
            at_rest,
        )


def main() -> int:
    options = _options()
    photos = [jpeg(demo_photo(), size) for size in (SIDES[1:2] if options.photos_only else SIDES)]
    hostile = [data for name, data in samples.hostile().items() if name not in options.without]
    print(machine.describe("fastapi", "uvicorn"))
    print(
        f"other processes: {machine.others_share():.0%} of the cores; "
        f"{options.clients} clients for {options.minutes:g} min; "
        f"{len(photos)} photos, {len(hostile)} hostile pictures, seed {options.seed}\n"
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        command = [
            sys.executable,
            "-m",
            "humanparse",
            "serve",
            "--port",
            "0",
            "--data-dir",
            folder,
            "--log-level",
            "error",
            "--cache-mb",
            "0",
            "--queue-size",
            str(options.queue_size),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = int(server.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))
                soak = Soak(
                    port,
                    server.pid,
                    Path(folder),
                    options,
                    photos,
                    hostile,
                    random.Random(options.seed),
                )
                asyncio.run(soak.run())
            finally:
                server.terminate()
                try:
                    exit_code = server.wait(TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    server.kill()
                    exit_code = -9
    return _report(soak, exit_code)


def _report(soak: Soak, exit_code: int) -> int:
    """Print what happened; return 1 if any promise was broken, else 0."""
    tally, taken = soak.tally, soak.samples
    print(f"{'answers':>9}  kind, status, code")
    for what, count in sorted(tally.answers.items()):
        if count:
            print(f"{count:9}  {what}")
    print(
        f"\ngoodput {len(tally.accepted_s) / (soak.options.minutes * 60):.2f} photos/s; "
        f"accepted {_times(tally.accepted_s)}; "
        f"rejected {_times(tally.rejected_s)}; /healthz {_times(tally.health_s)}"
    )
    print(
        f"\n{'time':>7}{'requests':>10}{'web':>9}{'workers':>10}{'number':>8}{'files':>7}{'jobs':>6}"
    )
    shown = [one for one in taken if one.at_rest] or taken
    for one in [taken[0], *shown[:: max(1, len(shown) // 12)], taken[-1]]:
        print(
            f"{one.at_s:5.0f} s{one.requests:10}{one.web_mb:6.0f} MB{one.workers_mb:7.0f} MB"
            f"{one.num_workers:8}{one.web_files:7}{one.data_files:6}"
        )
    warm = [
        one
        for one in taken[:-1]
        if one.at_s >= taken[-2].at_s / 5 and (one.at_rest or soak.options.photos_only)
    ]
    slopes = {name: _slope(warm, name) for name in ("web_mb", "workers_mb")}
    print(
        f"\nslope per 100 requests after the first fifth: web process {slopes['web_mb']:+.3f} MB, "
        f"workers {slopes['workers_mb']:+.3f} MB"
    )
    broken = [f"{count} × {what}" for what, count in tally.errors.items()]
    broken += [
        f"{name} grows by {slope:.2f} MB per 100 requests"
        for name, slope in slopes.items()
        if slope >= MAX_SLOPE_MB
    ]
    broken += ["descriptors are left over"] * (
        taken[-1].web_files > taken[0].web_files + SPARE_FILES
    )
    broken += ["files of jobs are left over"] * (taken[-1].data_files > 0) + [
        f"exit code {exit_code}"
    ] * (exit_code != 0)
    print("every promise was kept" if not broken else "BROKEN: " + "; ".join(broken))
    return min(1, len(broken))


# Pieces


def _head(method: str, path: str, length: int, media_type: str = _RAW) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Type: {media_type}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join((*lines, "", "")).encode()


def _form(pictures: list[bytes]) -> bytes:
    part = b'--seam\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n%s\r\n'
    return b"".join(part % one for one in pictures) + b"--seam--\r\n"


def _read(answer: bytes) -> tuple[int, float, str, bytes]:
    """The status, Retry-After in seconds, the problem's code, and the body.

    Raises EOFError if there was no answer.
    """
    if not answer.startswith(b"HTTP/1.1 "):
        raise EOFError("no answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    retry_after = head.lower().partition(b"\r\nretry-after: ")[2].partition(b"\r\n")[0]
    is_problem = b"application/problem+json" in head
    return (
        int(head[9:12]),
        float(retry_after or 0),
        json.loads(body)["code"] if is_problem else "",
        body,
    )


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _memory_mb(pid: int) -> float:
    """Resident memory; 0 for a process that has ended."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
    return 0.0


def _slope(taken: list[Sample], name: str) -> float:
    """MB per 100 requests, by least squares."""
    if len({one.requests for one in taken}) < 2:
        return 0.0
    return (
        100
        * statistics.linear_regression(
            [one.requests for one in taken], [getattr(one, name) for one in taken]
        ).slope
    )


def _times(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return f"{len(seconds)}"
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{len(seconds)}, p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--queue-size", type=int, default=16)
    parser.add_argument(
        "--pause", type=float, help="seconds between two visits (default: what Retry-After says)"
    )
    parser.add_argument("--photos-only", action="store_true", help="nothing but 640×480 photos")
    parser.add_argument(
        "--without", nargs="*", default=[], help="hostile pictures to leave out, by name"
    )
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
