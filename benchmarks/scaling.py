"""How far does it scale? A simulation of many servers, from times measured on this machine.

    python benchmarks/scaling.py --measure sleeping real costs
                    measure here (ten minutes), into benchmarks/scaling.json
    python benchmarks/scaling.py
                    simulate from that file: the tables and the plot of docs/scaling.md
    python benchmarks/scaling.py --core-hour 0.04 --link-gbit 10 --show

sleeping: what clients of the service see, at several loads, when its workers sleep for random times
(sleepers.py), which leaves the cores to HTTP and the queue; this is compared with the simulation
(queueing.py) of the same loads and times.
real: the same with workers that parse, while the machine does whatever else it has to do.
costs: processor time and bytes of photos of three sizes, and of cached answers.

--core-hour is a price that you choose; the default is an example and no real offer. So is --mix.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
from load import Tally, _client, _post, _send, at_random, random_times
from parse import demo_photo, jpeg
from PIL import Image, ImageDraw, ImageFont
from queueing import Cluster, Load, Outcome

from humanparse.service.settings import Settings

HERE = Path(__file__).parent
MEASURED, PAGE, PLOT = (
    HERE / "scaling.json",
    HERE.parent / "docs/scaling.md",
    HERE.parent / "docs/images/scaling.png",
)
SERVE = [sys.executable, "-m", "humanparse", "serve", "--port", "0"]
QUEUE_SIZE = 16
SHARES = (0.4, 0.7, 0.9, 1.1, 1.6)  # the measured loads, as shares of what the server can do
SIZES = {"640×480": (640, 480), "1920×1080": (1920, 1080), "12 MP": (4000, 3000)}
CORES = 2  # of a node, each with a worker
SERVICE = [*SERVE, "--workers", str(CORES), "--queue-size", str(QUEUE_SIZE), "--cache-mb", "0"]
SLEEPERS = [
    sys.executable,
    str(HERE / "sleepers.py"),
    f"workers={CORES}",
    f"queue_size={QUEUE_SIZE}",
]
HITS_S = 5.0  # the duration of the load of cached answers
NODES = (1, 2, 4, 10, 32, 100)
GOAL_S = 1.0  # the largest p99
GOAL_LOST = 0.001  # the largest share of requests turned away
# The share of the bare parser's speed that the service reaches: docs/service.md, 8 clients.
PACE = 0.97
PARTS = ("sleeping", "real", "costs")
REPEATS = 40  # simulated runs of each measured load
# All other simulations have this many requests, but last for at least MIN_S seconds, after a
# warm-up: near 100 % a queue takes long to grow.
REQUESTS = 20_000
MIN_S, WARM_S = 200.0, 50.0
WIDTH, HEIGHT, MARGIN = 640, 440, 64  # of a chart, in pixels


# Measuring


def measure(parts: list[str], seconds: float) -> None:
    """Measure these parts and write them into the file; its other parts stay.

    Args:
        parts: Some of PARTS.
        seconds: The duration of each measured load.
    """
    for part in parts:
        found = {
            "machine": machine.describe("fastapi", "uvicorn"),
            "others": machine.others_share(),
        }
        found |= (
            _costs()
            if part == "costs"
            else _loads(SLEEPERS if part == "sleeping" else SERVICE, seconds)
        )
        known = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
        MEASURED.write_text(
            json.dumps(known | {part: found | {"others_after": machine.others_share()}}) + "\n"
        )


def _loads(command: list[str], seconds: float) -> dict:
    """What clients and the server's log report: eight clients in turn, then requests at random.

    The rates of the latter are SHARES of what the former reached.
    """
    photo = jpeg(demo_photo(), SIZES["640×480"])
    with _Server(command) as server:
        asyncio.run(_clients(server.port, photo, 8, 3.0))  # to warm it up
        full = _observed(
            server, seconds, lambda tally: _clients(server.port, photo, 8, seconds, tally)
        )
        capacity, found = len(full["answered_s"]) / seconds, [full | {"clients": 8}]
        for number, share in enumerate(SHARES):
            rate = share * capacity
            seen = _observed(
                server,
                seconds,
                lambda tally, rate=rate, seed=number: at_random(
                    server.port, photo, rate, seconds, tally, seed
                ),
            )
            found.append({"rate": rate, "seed": number} | seen)
            print(_line(found[-1]), flush=True)
    return {"seconds": seconds, "queue_size": QUEUE_SIZE, "workers": CORES, "loads": found}


def _costs() -> dict:
    """What cached answers and photos of several sizes cost."""
    photo = jpeg(demo_photo(), SIZES["640×480"])
    with _Server([*SERVE, "--workers", str(CORES)]) as server:
        asyncio.run(_send(server.port, _post(photo)))
        known = _observed(
            server, HITS_S, lambda tally: _clients(server.port, photo, 4, HITS_S, tally)
        )
        web_s = server.cpu_s() / len(known["answered_s"])
    return {
        "hit_s": float(np.median(known["answered_s"])),
        "hit_cpu_s": web_s,
        "photos": {name: _photo_costs(size) for name, size in SIZES.items()},
    }


class _Server:
    """A fresh server, whose log has the seconds that each picture waited and was worked on."""

    def __init__(self, command: list[str]):
        self._command = command

    def __enter__(self) -> _Server:
        self._written = tempfile.NamedTemporaryFile("w")
        # A second file object, as reader and writer are at different places of the file.
        self._log = open(self._written.name)
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=self._written, text=True
        )
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the server did not start:\n" + self._log.read())
        self.port = int(line.rsplit(":", 1)[1].strip(" /\n"))
        self._started_s = 0.0
        self._started_s = self.cpu_s()
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()
        for one in (self._process.stdout, self._log, self._written):
            one.close()

    def cpu_s(self) -> float:
        """Processor time of the web process since it began to answer, without its children."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") - self._started_s

    def notes(self) -> list[dict]:
        """The entries of its log since the last call."""
        return [json.loads(line) for line in self._log.readlines() if line.startswith("{")]


def _observed(server: _Server, seconds: float, send: Callable) -> dict:
    """What clients and the server's log report about a load."""
    server.notes()
    tally = Tally()
    asyncio.run(send(tally))
    time.sleep(0.5)  # for the log
    notes = [note for note in server.notes() if "worked_ms" in note]
    return {
        "seconds": seconds,
        "answered_s": _rounded(tally.accepted_s),
        "refused": len(tally.rejected_s),
        "work_s": _rounded([note["worked_ms"] / 1000 for note in notes if note["worked_ms"]]),
        "statuses": {str(status): number for status, number in tally.statuses.items()},
    }


async def _clients(
    port: int, photo: bytes, clients: int, seconds: float, tally: Tally | None = None
) -> None:
    until = time.perf_counter() + seconds
    await asyncio.gather(
        *(_client(port, _post(photo), until, None, tally or Tally()) for _ in range(clients))
    )


def _photo_costs(size: tuple[int, int]) -> dict:
    """Processor time by stage, bytes in and out, of one photo of that size."""
    from humanparse.service.child import answers
    from humanparse.service.options import Options

    models, head, photo = (
        answers.load(["humanparse-small"], {"threads": 1}),
        Options().head(),
        jpeg(demo_photo(), size),
    )
    cpu_s, shares = [], []
    for _ in range(16):
        start = time.process_time()
        said, body = answers.answer(models, head, photo)
        cpu_s.append(time.process_time() - start)
        stages = said["timings_ms"]
        shares.append(stages["read"] / sum(stages.values()))
    return {
        "cpu_s": float(np.median(cpu_s[1:])),
        "read_share": float(np.median(shares[1:])),
        "bytes_in": len(photo),
        "bytes_out": len(body),
    }


def _rounded(seconds: list[float]) -> list[float]:
    return [round(one, 4) for one in seconds]


def _line(load: dict) -> str:
    answered = load["answered_s"]
    return (
        f"{load['rate']:6.1f}/s came: {len(answered) / load['seconds']:.1f}/s answered, "
        f"{load['refused']} refused, median {np.median(answered):.3f} s, "
        f"work {np.mean(load['work_s']):.3f} s"
    )


# What follows from the measured times


class Plan:
    """Simulations and sums from measured values.

    Args:
        measured: The content of the file.
        core_hour: The price of a core for an hour.
        link_gbit: The network to the nodes.
        mix: The share of each size of photos.
    """

    def __init__(self, measured: dict, core_hour: float, link_gbit: float, mix: list[float]):
        self.measured, self.core_hour, self.link_gbit = measured, core_hour, link_gbit
        self.mix = dict(zip(SIZES, mix, strict=True))
        self.settings = Settings(workers=CORES, threads=1)
        self.photos = measured["costs"]["photos"]
        costs = [self.photos[name]["cpu_s"] for name in SIZES]
        self.work_s = np.repeat(costs, np.round(100 * np.array(mix)).astype(int)) / PACE
        self.capacity = CORES / float(self.work_s.mean())  # photos a second of a node

    # Is the simulation right?

    def checked(self, part: str) -> list[dict]:
        """Return for each measured load what was seen, and what the simulation gives.

        The latter is the median, 5 % and 95 % of many runs.
        """
        measured = self.measured[part]
        lowest = min(
            (load for load in measured["loads"] if "rate" in load), key=lambda load: load["rate"]
        )
        overhead_s = float(
            np.percentile(lowest["answered_s"], 10) - np.percentile(lowest["work_s"], 10)
        )
        settings = Settings(
            workers=measured["workers"], threads=1, queue_size=measured["queue_size"]
        )
        rows = []
        for load in measured["loads"]:
            runs = [
                self._again(
                    load, Cluster(load["work_s"], settings, overhead_s=overhead_s, seed=seed)
                )
                for seed in range(REPEATS)
            ]
            sent = len(load["answered_s"]) + load["refused"]
            seen = {
                "goodput": len(load["answered_s"]) / load["seconds"],
                "p50": _percentile(load["answered_s"], 50),
                "p99": _percentile(load["answered_s"], 99),
                "lost": load["refused"] / sent,
            }
            rows.append(
                {
                    "load": load,
                    "seen": seen,
                    "said": {
                        "goodput": _spread([len(run.answered_s) / load["seconds"] for run in runs]),
                        "p50": _spread([run.percentile_s(50) for run in runs]),
                        "p99": _spread([run.percentile_s(99) for run in runs]),
                        "lost": _spread([run.refused_share for run in runs]),
                    },
                }
            )
        return rows

    def _again(self, load: dict, cluster: Cluster) -> Outcome:
        """Simulate a measured load: the same clients, or requests at exactly the same times."""
        if "clients" in load:
            return cluster.run(Load(clients=load["clients"]), load["seconds"])
        times = random_times(load["rate"], load["seconds"], load["seed"])
        return cluster.run(Load(times=times), load["seconds"] + Settings().deadline_s)

    # How far does it go?

    def at(self, share: float, nodes: int, least: bool = True, hit_share: float = 0.0) -> Outcome:
        """Simulate a number of nodes at a share of what their workers can do."""
        rate = share * nodes * self.capacity / (1 - hit_share)
        hit_s = self.measured["costs"]["hit_s"] if hit_share else 0.0
        cluster = Cluster(self.work_s, self.settings, nodes=nodes, least=least, seed=nodes)
        return cluster.run(
            Load(rate=rate, hit_share=hit_share, hit_s=hit_s),
            max(REQUESTS / rate, MIN_S),
            warm_s=WARM_S,
        )

    def most(self, nodes: int) -> tuple[float, Outcome]:
        """Return the highest share at which p99 and refusals are within the goals."""
        good = (0.0, None)
        low, high = 40, 100
        while high - low > 1:
            middle = (low + high) // 2
            outcome = self.at(middle / 100, nodes)
            if outcome.percentile_s(99) <= GOAL_S and outcome.refused_share <= GOAL_LOST:
                low, good = middle, (middle / 100, outcome)
            else:
                high = middle
        return good

    def cost(self, rate: float, cores: int) -> float:
        """Return the price of a million photos, in the currency of `core_hour`."""
        return 1e6 / rate / 3600 * cores * self.core_hour

    # Tables

    def tables(self) -> dict[str, str]:
        return {
            "sleeping": self._check("sleeping"),
            "real": self._check("real"),
            "nodes": self._nodes(),
            "load": self._load(),
            "cache": self._cache(),
            **self.tables_without_chance(),
        }

    def tables_without_chance(self) -> dict[str, str]:
        """Return the tables that are the same with every version of NumPy."""
        return {"conditions": self._conditions(), "sizes": self._sizes()}

    def _conditions(self) -> str:
        others = [
            f"{name} {part['others']:.0%} before and {part['others_after']:.0%} after"
            for name, part in self.measured.items()
        ]
        mix = ", ".join(f"{share:.0%} of {name}" for name, share in self.mix.items())
        return (
            f"{self.measured['costs']['machine']}. "
            f"Other programs used of its cores: {'; '.join(others)}. "
            f"{CORES} workers, {QUEUE_SIZE} requests may wait, "
            f"{self.measured['sleeping']['seconds']:g} s a load. Mix of photos: {mix}.\n"
            f"Price: {self.core_hour:g} a core and hour."
        )

    def _check(self, part: str) -> str:
        rows = []
        for row in self.checked(part):
            load, seen, said = row["load"], row["seen"], row["said"]
            rows.append(
                [
                    f"{load['rate']:.1f}/s at random"
                    if "rate" in load
                    else f"{load['clients']} clients in turn",
                    f"{1000 * np.mean(load['work_s']):.0f} ms",
                    f"{seen['goodput']:.1f} / {said['goodput'][1]:.1f}",
                    *(_both(seen[one], said[one]) for one in ("p50", "p99")),
                    f"{seen['lost']:.1%} / {said['lost'][1]:.1%}",
                ]
            )
        return _table(
            ["What came", "Work, mean", "Answers/s", "Median, ms", "p99, ms", "Turned away"], rows
        )

    def _nodes(self) -> str:
        rows = []
        for nodes in NODES:
            share, _ = self.most(nodes)
            rate = share * nodes * self.capacity
            rows.append(
                [
                    str(nodes),
                    str(nodes * CORES),
                    f"{nodes * self.capacity:.0f}",
                    f"{rate:.0f}",
                    f"{share:.0%}",
                    f"{rate * 86400 / 1e6:.1f} M",
                    f"{self.cost(nodes * self.capacity, nodes * CORES):.2f}",
                    f"{self.cost(rate, nodes * CORES):.2f}",
                ]
            )
        return _table(
            [
                "Nodes",
                "Cores",
                "Photos/s offline",
                f"online, p99 ≤ {GOAL_S:g} s",
                "of offline",
                "a day, online",
                "A million offline",
                "online",
            ],
            rows,
        )

    def _load(self) -> str:
        rows = []
        for percent in (50, 70, 80, 90, 95, 100, 120):
            row = [f"{percent} %"]
            for nodes, least in ((1, True), (4, True), (32, True), (32, False)):
                outcome = self.at(percent / 100, nodes, least)
                lost = (
                    f", {outcome.refused_share:.0%} away" if outcome.refused_share >= 0.005 else ""
                )
                row.append(f"{outcome.percentile_s(99):.2f} s, {outcome.waiting / nodes:.1f}{lost}")
            rows.append(row)
        return _table(["Load", "1 node", "4 nodes", "32 nodes", "32, shared out by chance"], rows)

    def _cache(self) -> str:
        rows = []
        for hit_share in (0.0, 0.3, 0.6, 0.9, 0.98):
            outcome = self.at(0.8, 1, hit_share=hit_share)
            of_workers = 0.8 * self.capacity / (1 - hit_share)
            of_web = of_workers * hit_share * self.measured["costs"]["hit_cpu_s"]
            rows.append(
                [
                    f"{hit_share:.0%}",
                    f"{of_workers:.0f}",
                    f"{of_web:.0%}",
                    f"{1000 * outcome.percentile_s(50):.0f} ms",
                    f"{1000 * outcome.percentile_s(99):.0f} ms",
                ]
            )
        return _table(
            [
                "Known",
                "Photos/s of a node, workers at 80 %",
                "Known answers take of one core",
                "Median",
                "p99",
            ],
            rows,
        )

    def _sizes(self) -> str:
        rows = []
        for name in SIZES:
            photo = self.photos[name]
            rate = CORES / (photo["cpu_s"] / PACE)
            link = self.link_gbit * 1e9 / 8
            rows.append(
                [
                    name,
                    f"{1000 * photo['cpu_s']:.0f} ms",
                    f"{photo['read_share']:.0%}",
                    f"{rate:.1f}",
                    f"{photo['bytes_in'] / 1000:.0f} + {photo['bytes_out'] / 1000:.0f} kB",
                    f"{rate * photo['bytes_in'] / 1e6:.1f} MB/s",
                    f"{link / (rate * photo['bytes_in']):.0f}",
                    f"{rate * (photo['bytes_in'] + photo['bytes_out']) * 86400 / 1e9:.0f} GB",
                ]
            )
        return _table(
            [
                "Photo",
                "Processor",
                "of that decoding",
                "Photos/s of a node",
                "In + out",
                "Into a node",
                f"Nodes that fill {self.link_gbit:g} Gbit/s",
                "Kept by jobs in a day",
            ],
            rows,
        )


def _both(seen: float, said: tuple[float, float, float]) -> str:
    """Measured and simulated milliseconds, with the range of the simulated runs."""
    low, middle, high = (f"{1000 * one:.0f}" for one in said)
    return f"{1000 * seen:.0f} / {middle} ({low}–{high})"


def _percentile(seconds: list[float], percent: float) -> float:
    return float(np.percentile(seconds, percent))


def _spread(numbers: list[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(numbers, (5, 50, 95))
    return float(low), float(middle), float(high)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


# The page and its plot


def write_page(tables: dict[str, str]) -> None:
    """Put each table between its marks in docs/scaling.md."""
    text = PAGE.read_text()
    for name, table in tables.items():
        text, number = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda mark, table=table: f"{mark[1]}{table}\n{mark[2]}",
            text,
            flags=re.S,
        )
        assert number == 1, f"docs/scaling.md has no place for {name}"
    PAGE.write_text(text)


def draw(plan: Plan) -> None:
    """Draw measurements and simulations of one node, and p99 of several against their load."""
    rows = [row for row in plan.checked("sleeping") if "rate" in row["load"]]
    rates = [row["load"]["rate"] for row in rows]
    left = Chart("One node: measured (dots) and simulated (lines)", "requests a second", "seconds")
    for one, name, colour in (("p50", "median", "#0072b2"), ("p99", "p99", "#d55e00")):
        left.line(rates, [row["said"][one][1] for row in rows], colour, name)
        left.dots(rates, [row["seen"][one] for row in rows], colour)
    right = Chart(
        "Several nodes: p99 against load, simulated",
        "share of what the workers can do, %",
        "seconds",
    )
    percents = (40, 50, 60, 70, 80, 85, 90, 95, 100, 105, 110)
    for nodes, least, name, colour in (
        (1, True, "1 node", "#d55e00"),
        (4, True, "4 nodes", "#cc79a7"),
        (32, False, "32, by chance", "#999999"),
        (32, True, "32 nodes", "#0072b2"),
    ):
        right.line(
            percents,
            [plan.at(one / 100, nodes, least).percentile_s(99) for one in percents],
            colour,
            name,
        )
    picture = Image.new("RGB", (2 * WIDTH, HEIGHT), "white")
    picture.paste(left.picture(), (0, 0))
    picture.paste(right.picture(), (WIDTH, 0))
    picture.save(PLOT, optimize=True)


class Chart:
    """Lines and dots in one frame; both axes begin at zero."""

    def __init__(self, title: str, x: str, y: str):
        self._title, self._x, self._y = title, x, y
        self._lines: list[tuple] = []
        self._dots: list[tuple] = []

    def line(self, xs, ys, colour: str, name: str) -> None:
        self._lines.append((xs, ys, colour, name))

    def dots(self, xs, ys, colour: str) -> None:
        self._dots.append((xs, ys, colour))

    def picture(self) -> Image.Image:
        """Return the chart, drawn at twice its size for smooth lines."""
        picture = Image.new("RGB", (2 * WIDTH, 2 * HEIGHT), "white")
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(30)
        everything = (*self._lines, *self._dots)
        x_ticks = _ticks(max(x for xs, *_ in everything for x in xs))
        y_ticks = _ticks(max(y for _, ys, *_ in everything for y in ys))

        def place(x: float, y: float) -> tuple[float, float]:
            left, top = (
                MARGIN + (WIDTH - 1.4 * MARGIN) * x / x_ticks[-1],
                MARGIN + (HEIGHT - 2 * MARGIN) * (1 - y / y_ticks[-1]),
            )
            return 2 * left, 2 * top

        draw.text((2 * MARGIN, 28), self._title, "black", ImageFont.load_default(34))
        draw.text((WIDTH, 2 * HEIGHT - 40), self._x, "#444444", font, anchor="mm")
        draw.text((16, 2 * MARGIN - 48), self._y, "#444444", font)
        for y in y_ticks:
            draw.line((*place(0, y), *place(x_ticks[-1], y)), "#dddddd", 2)
            draw.text((2 * MARGIN - 16, place(0, y)[1]), f"{y:g}", "#444444", font, anchor="rm")
        for x in x_ticks:
            draw.text(
                (place(x, 0)[0], 2 * (HEIGHT - MARGIN) + 28), f"{x:g}", "#444444", font, anchor="mm"
            )
        for number, (xs, ys, colour, name) in enumerate(self._lines):
            draw.line([place(x, y) for x, y in zip(xs, ys, strict=True)], colour, 5, joint="curve")
            draw.text((2 * MARGIN + 28, 2 * MARGIN + 12 + 42 * number), name, colour, font)
        for xs, ys, colour in self._dots:
            for x, y in zip(xs, ys, strict=True):
                draw.circle(place(x, y), 12, fill=colour, outline="white", width=4)
        return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to beyond the largest value."""
    step = next(
        one
        for one in (10.0**power * factor for power in range(-3, 6) for factor in (1, 2, 5))
        if most / one <= 6
    )
    return [round(step * number, 6) for number in range(int(np.ceil(most / step)) + 1)]


def main() -> None:
    options = _options()
    if options.measure:
        measure(options.measure, options.seconds)
    plan = Plan(json.loads(MEASURED.read_text()), options.core_hour, options.link_gbit, options.mix)
    tables = plan.tables()
    for name, table in tables.items():
        print(f"{name}\n\n{table}\n", flush=True)
    if not options.show:
        write_page(tables)
        draw(plan)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measure",
        nargs="*",
        choices=PARTS,
        default=[],
        metavar="PART",
        help=f"what to measure: {', '.join(PARTS)} (default: nothing)",
    )
    parser.add_argument(
        "--seconds", type=float, default=40, help="of each measured load (default: 40)"
    )
    parser.add_argument(
        "--core-hour",
        type=float,
        default=0.04,
        help="price of a core for an hour (default: 0.04, an example)",
    )
    parser.add_argument(
        "--link-gbit", type=float, default=10, help="of the network to the nodes (default: 10)"
    )
    parser.add_argument(
        "--mix",
        type=float,
        nargs=3,
        default=[0.6, 0.3, 0.1],
        metavar="SHARE",
        help=f"of photos of {', '.join(SIZES)} (default: 0.6 0.3 0.1, an example)",
    )
    parser.add_argument(
        "--show", action="store_true", help="print the tables, and leave the page as it is"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
