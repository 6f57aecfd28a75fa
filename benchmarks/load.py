"""How does the service behave under load? Throughput, waiting, refusals and health.

    python benchmarks/load.py [--seconds 10] [--clients 1 8 64] [--queue-size 16] [--pause S]
        [--threads N] [--give-up S] [PHOTO]

This starts `humanparse serve` on a free port of this machine, without a cache, and lets a number of
clients at a time send the photo (a demo picture by default, as a 640×480 JPEG) again and again;
those who are turned away try again when Retry-After says so, or after --pause seconds. With
--give-up, every other client hangs up when it has waited that long, and comes again. Another client
asks /healthz twenty times a second. "bare" is what as many processes as the service has workers
reach with the same work and no HTTP, from picture to finished answer. The clients run on the same
cores as the service and take their share of them. "CPU" is the processor time of all processes of
the service for each answered photo, against that of the bare ones: what other programs and the
clients take does not count. Ratios are within one run.

For requests at random times, instead of clients who wait for their answers, there is `at_random`,
which benchmarks/scaling.py uses.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import machine
from parse import demo_photo, jpeg

from humanparse.service.settings import Settings

TIMEOUT_S = 60.0  # an answer that takes longer is a hang
RAMP_S = 2.0  # in which the clients arrive, before anything counts
HEALTH_EVERY_S = 0.05
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass
class Tally:
    """What clients saw: seconds by kind of answer, and the number of answers of each status.

    `cpu_s` is the processor time that the service took for all of them.
    """

    accepted_s: list[float] = field(default_factory=list)
    rejected_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)
    cpu_s: float = 0.0


def main() -> None:
    options = _options()
    photo = jpeg(options.photo, (640, 480))
    settings = Settings(cache_mb=0, queue_size=options.queue_size, threads=options.threads)
    print(machine.describe("fastapi", "uvicorn"))
    print(
        f"other processes: {machine.others_share():.0%} of the cores; "
        f"{settings.workers} workers of {settings.threads} threads; "
        f"{options.queue_size} requests may wait; {options.seconds:g} s each; "
        f"a photo of {len(photo) / 1000:.0f} kB"
    )
    bare, bare_cpu_s = bare_throughput(photo, settings, options.seconds)
    print(
        f"\nbare: {bare:.1f} photos/s, {bare_cpu_s * 1000:.1f} ms of CPU each\n\n"
        f"{'clients':>8}{'photos/s':>10}{'of bare':>9}{'CPU':>9}{'of bare':>9}{'of peak':>9}"
        f"{'p50':>9}{'p99':>9}"
        f"{'rejects':>9}{'p99':>9}{'health p99':>12}  statuses"
    )
    rows = [
        (clients, asyncio.run(loaded(photo, settings, clients, options)))
        for clients in options.clients
    ]
    peak = max(len(tally.accepted_s) for _, tally in rows)
    for clients, tally in rows:
        rate = len(tally.accepted_s) / options.seconds
        cpu_s = tally.cpu_s / max(1, len(tally.accepted_s))
        print(
            f"{clients:8}{rate:10.1f}{rate / bare:9.0%}{cpu_s * 1000:6.1f} ms"
            f"{cpu_s / bare_cpu_s:9.2f}{len(tally.accepted_s) / peak:9.0%}"
            f"{_ms(tally.accepted_s, 50)}{_ms(tally.accepted_s, 99)}"
            f"{len(tally.rejected_s):9}{_ms(tally.rejected_s, 99)}"
            f"{_ms(tally.health_s, 99):>12}  {dict(tally.statuses)}"
        )


# The bare parser


def bare_throughput(photo: bytes, settings: Settings, seconds: float) -> tuple[float, float]:
    """Return what `settings.workers` processes reach that do nothing else.

    Returns:
        Answers per second, and the seconds of processor time for each.
    """
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(settings.workers), context.Queue()
    workers = [
        context.Process(target=_bare, args=(photo, settings.threads, seconds, start, counts))
        for _ in range(settings.workers)
    ]
    for worker in workers:
        worker.start()
    done, cpu_s = (sum(column) for column in zip(*(counts.get() for _ in workers), strict=True))
    for worker in workers:
        worker.join()
    return done / seconds, cpu_s / done


def _bare(photo: bytes, threads: int, seconds: float, start, counts) -> None:
    from humanparse.service.child import answers
    from humanparse.service.child.main import NICENESS
    from humanparse.service.options import Options

    os.nice(NICENESS)  # as the workers are, since other programs may want the cores, too

    models, head = (
        answers.load(["humanparse-small"], {"engine": "onnxruntime", "threads": threads}),
        Options().head(),
    )
    start.wait()
    until, count, cpu_s = time.perf_counter() + seconds, 0, time.process_time()
    while time.perf_counter() < until:
        answers.answer(models, head, photo)
        count += 1
    counts.put((count, time.process_time() - cpu_s))


# The service


async def loaded(
    photo: bytes, settings: Settings, clients: int, options: argparse.Namespace
) -> Tally:
    """Let a number of clients work on a fresh server, and return what they saw."""
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
        "--queue-size",
        str(settings.queue_size),
        "--threads",
        str(settings.threads),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))
            await _send(port, _post(photo))  # once, to warm it
            return await _measured(server.pid, port, photo, clients, options)
        finally:
            server.terminate()
            server.wait(TIMEOUT_S)


async def _measured(
    pid: int, port: int, photo: bytes, clients: int, options: argparse.Namespace
) -> Tally:
    warming, tally = Tally(), Tally()
    start = time.perf_counter() + RAMP_S
    until = start + options.seconds

    async def come(index: int) -> None:  # not all in the same millisecond, as crowds never do
        await asyncio.sleep(RAMP_S * index / clients)
        give_up_s = options.give_up if index % 2 else None
        await _client(port, _post(photo), start, options.pause, give_up_s, warming)
        await _client(port, _post(photo), until, options.pause, give_up_s, tally)

    async def cpu() -> None:
        await asyncio.sleep(start - time.perf_counter())
        before = _cpu_s(pid)
        await asyncio.sleep(until - time.perf_counter())
        tally.cpu_s = _cpu_s(pid) - before

    clients_at_work = (come(index) for index in range(clients))
    await asyncio.gather(*clients_at_work, _health(port, until, tally), cpu())
    return tally


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process and of its children, ended ones too; 0 if unknown."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        stats = [Path(f"/proc/{one}/stat").read_text() for one in (pid, *children)]
    except OSError:
        return 0.0
    ticks = (stat.rpartition(")")[2].split()[11:15] for stat in stats)
    return sum(int(one) for four in ticks for one in four) / os.sysconf("SC_CLK_TCK")


async def _client(
    port: int,
    request: bytes,
    until: float,
    pause_s: float | None,
    give_up_s: float | None,
    tally: Tally,
) -> None:
    while (start := time.perf_counter()) < until:
        try:
            status, retry_after_s = await asyncio.wait_for(
                _send(port, request), give_up_s or TIMEOUT_S
            )
        except TimeoutError:
            if give_up_s is None:
                raise
            tally.statuses["gave up"] += 1
            await asyncio.sleep(pause_s or 0.0)
            continue
        ended = time.perf_counter()
        if ended > until:
            return  # part of its work lies outside the measured time
        tally.statuses[status] += 1
        (tally.accepted_s if status == 200 else tally.rejected_s).append(ended - start)
        if status != 200:
            await asyncio.sleep(retry_after_s if pause_s is None else pause_s)


async def at_random(
    port: int, photo: bytes, rate: float, seconds: float, tally: Tally, seed: int = 0
) -> None:
    """Send requests at random (Poisson) times, `rate` per second, without waiting for answers.

    Requests that are turned away are not repeated.
    """
    request, sent = _post(photo), []

    async def send() -> None:
        start = time.perf_counter()
        status, _ = await asyncio.wait_for(_send(port, request), TIMEOUT_S)
        tally.statuses[status] += 1
        (tally.accepted_s if status == 200 else tally.rejected_s).append(
            time.perf_counter() - start
        )

    start = time.perf_counter()
    for due in random_times(rate, seconds, seed):
        await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
        sent.append(asyncio.create_task(send()))
    await asyncio.gather(*sent)


def random_times(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the times of a Poisson process in seconds, the same ones for the same seed."""
    draw, time_s, times = random.Random(seed), 0.0, []
    while (time_s := time_s + draw.expovariate(rate)) < seconds:
        times.append(time_s)
    return times


async def _health(port: int, until: float, tally: Tally) -> None:
    while (start := time.perf_counter()) < until:
        status, _ = await asyncio.wait_for(_send(port, HEALTH), TIMEOUT_S)
        assert status == 200, f"/healthz answered {status}"
        tally.health_s.append(time.perf_counter() - start)
        await asyncio.sleep(HEALTH_EVERY_S)


def _post(photo: bytes) -> bytes:
    lines = [
        "POST /parse HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Content-Type: image/jpeg",
        f"Content-Length: {len(photo)}",
    ]
    return "\r\n".join((*lines, "", "")).encode() + photo


async def _send(port: int, request: bytes) -> tuple[int, float]:
    """Send one request on a new connection; return the status and Retry-After in seconds.

    A client library would take more of the cores that are being measured.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.read(-1)
        retry_after = re.search(rb"\r\nretry-after: (\d+)\r\n", answer[:2000])
        return int(answer[9:12]), float(retry_after[1]) if retry_after else 0.0
    finally:
        writer.close()


def _ms(seconds: list[float], percentile: int) -> str:
    if not seconds:
        return f"{'–':>9}"
    value = (
        max(seconds)
        if len(seconds) < 3
        else statistics.quantiles(seconds, n=100, method="inclusive")[percentile - 1]
    )
    return f"{value * 1000:6.0f} ms"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", nargs="?", type=Path, default=demo_photo())
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--queue-size", type=int, default=16)
    parser.add_argument("--pause", type=float, help="seconds (default: what Retry-After says)")
    parser.add_argument(
        "--give-up", type=float, help="seconds after which every other client hangs up"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="of each worker (default: the service's choice)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
