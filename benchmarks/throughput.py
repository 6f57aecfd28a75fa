"""Many photos: how should threads, processes and the engine's threads share the cores?

    python benchmarks/throughput.py [--photos 12] [--rounds 7] [--markdown]

Photos of 640×480 as JPEG, from bytes to result with the embedded model. The ways take turns with
the same number of photos, several times; "ratio" is the median over the rounds of photos per
second, compared with one photo after the other on all cores. "CPU" is the processor time per photo,
which other programs disturb least. `HumanParser.parse_many` is designed by these figures
(src/humanparse/system/parallel.py), and so are the workers of the service.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import machine

from humanparse import HumanParser
from humanparse.system.cores import usable_cores


def main() -> None:
    options = _options()
    print(machine.describe())
    print(f"other processes: {machine.others_share():.0%} of the cores\n")
    cores, data = usable_cores(), machine.jpeg((640, 480))
    one, all_cores = HumanParser(threads=1), HumanParser(threads=cores)
    processes = [Process(data) for _ in range(cores)]
    ways = {
        f"one after the other, engine {cores} threads": lambda n: [
            all_cores.parse(data) for _ in range(n)
        ],
        "one after the other, engine 1 thread": lambda n: [one.parse(data) for _ in range(n)],
        f"{cores} threads, engine 1 thread": _threads(one, data, cores),
        f"{cores} threads, engine {cores} threads": _threads(all_cores, data, cores),
        f"{cores + 1} threads, engine 1 thread": _threads(one, data, cores + 1),
        f"{cores} processes of 1 thread": lambda n: _spread(processes, n),
        "parse_many": lambda n: list(all_cores_unsaid.parse_many([data] * n)),
    }
    all_cores_unsaid = HumanParser()
    rates = {name: [] for name in ways}
    cpu = {name: [] for name in ways}
    for work in ways.values():
        work(cores)
    for _ in range(options.rounds):
        for name, work in ways.items():
            start, cpu_start = time.perf_counter(), _cpu_s(processes)
            work(options.photos)
            rates[name].append(options.photos / (time.perf_counter() - start))
            cpu[name].append((_cpu_s(processes) - cpu_start) / options.photos)
    for process in processes:
        process.end()
    base = next(iter(rates.values()))
    rows = [["way", "photos/s", "ratio", "CPU a photo"]]
    for name, rate in rates.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(rate, base, strict=True))
        rows.append(
            [
                name,
                f"{statistics.median(rate):.1f}",
                f"{ratio:.2f}",
                f"{statistics.median(cpu[name]) * 1000:.0f} ms",
            ]
        )
    print(machine.table(rows, options.markdown))


class Process:
    """A process with its own parser, which parses the photo as often as it is asked to."""

    def __init__(self, data: bytes):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(data, theirs), daemon=True)
        self._process.start()
        self.pipe.recv()

    def end(self) -> None:
        self.pipe.send(0)
        self._process.join()


def _serve(data: bytes, pipe) -> None:
    parser = HumanParser(threads=1)
    parser.parse(data)
    pipe.send(_own_cpu_s())
    while times := pipe.recv():
        if times > 0:
            for _ in range(times):
                parser.parse(data)
        pipe.send(_own_cpu_s())


def _spread(processes: list[Process], photos: int) -> None:
    for number, process in enumerate(processes):
        process.pipe.send(len(range(number, photos, len(processes))) or -1)
    for process in processes:
        process.pipe.recv()


def _threads(parser: HumanParser, data: bytes, count: int):
    pool = ThreadPoolExecutor(count)
    return lambda n: list(pool.map(parser.parse, [data] * n))


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_s(processes: list[Process]) -> float:
    total = _own_cpu_s()
    for process in processes:
        process.pipe.send(-1)  # parse nothing, only return the processor time
        total += process.pipe.recv()
    return total


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
