"""How fast is it here? The measurements behind `humanparse bench`; the longer ones in benchmarks/
use the same pieces.

Everything is measured in one process and one after the other in turns, as medians, beside the share
of the processor
that other programs took meanwhile: more than a few percent, and the times are theirs as well.
"""

from __future__ import annotations

import io
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from humanparse.errors import MissingExtra, OptionError
from humanparse.system.cores import usable_cores
from humanparse.system.packaged import packaged
from humanparse.vocabulary import ENGINES

if TYPE_CHECKING:
    from humanparse.parser import HumanParser

PHOTO = "cli/demo/astronaut.jpg"  # in the package
SIZES = {"640×480": (640, 480), "1920×1080": (1920, 1080), "12 MP": (4000, 3000)}  # width, height
STAGES = ("read", "preprocess", "network", "postprocess")
PACKAGES = ("numpy", "pillow", "opencv-python-headless", "onnxruntime")
RUNS = 7  # of each size; the first is not counted
# and the file that stands for int8
KINDS = (("fp32", None), ("bf16", None), ("int8", "humanparse-int8"))
ROUNDS, AT_ONCE = 5, 8  # of each way to parse many photos, and photos a round


@dataclass(frozen=True)
class SizeTimes:
    """Median milliseconds of one photo from its JPEG bytes to the result, by stage and in all."""

    name: str
    width: int
    height: int
    people: int
    stages_ms: dict[str, float]
    total_ms: float


@dataclass(frozen=True)
class Throughput:
    """Median photos a second of 640×480, one after the other and with `parse_many`; ratio: the
    median of their ratios."""

    one_by_one: float
    many: float
    ratio: float


@dataclass(frozen=True)
class EngineTime:
    """An engine in one precision: median milliseconds of the network for a photo of 640×480, or why
    it cannot be had here."""

    engine: str
    precision: str
    network_ms: float | None
    why_not: str = ""


# ---- the machine ------------------------------------------------------------------------------------------------------


def describe(*more: str) -> str:
    """One line: processor, cores, and the versions of humanparse, Python and the packages, `more`
    among them."""
    names = ("humanparse", *PACKAGES, *more)
    versions = ", ".join(f"{name} {version}" for name in names if (version := _version(name)))
    return f"{processor()}, {usable_cores()} cores, Python {platform.python_version()}, {versions}"


def processor() -> str:
    """Its name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""
    )
    return named or platform.processor() or platform.machine()


def others_share(seconds: float = 1.0) -> float | None:
    """Share of all cores that anyone used while we slept; None where the system does not tell."""
    before = _busy_and_all()
    time.sleep(seconds)
    after = _busy_and_all()
    return (after[0] - before[0]) / max(1, after[1] - before[1]) if before and after else None


# ---- the parser -------------------------------------------------------------------------------------------------------


def jpeg(size: tuple[int, int], photo: Path | None = None) -> bytes:
    """The photo, by default one of the package's, in that size (width, height), encoded."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(photo or packaged(PHOTO)) as opened:
        opened.convert("RGB").resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


def size_times(
    parser: HumanParser, name: str, size: tuple[int, int], runs: int = RUNS
) -> SizeTimes:
    """Parse a photo of that size (width, height) so many times, and once before."""
    data, rows = jpeg(size), []
    for _ in range(runs + 1):
        start = time.perf_counter()
        parsing = parser.parse(data)
        rows.append(
            [*(parsing.timings_ms[stage] for stage in STAGES), (time.perf_counter() - start) * 1000]
        )
    *stages, total = (round(statistics.median(column), 1) for column in zip(*rows[1:], strict=True))
    return SizeTimes(
        name, *size, len(parsing.people), dict(zip(STAGES, stages, strict=True)), total
    )


def throughput(parser: HumanParser, rounds: int = ROUNDS, photos: int = AT_ONCE) -> Throughput:
    """Photos of 640×480, in turns one after the other and with `parse_many`."""
    data = [jpeg((640, 480))] * photos
    list(parser.parse_many(data))  # opens what it needs
    rates = []
    for _ in range(rounds):
        one_by_one = _rate(lambda: [parser.parse(one) for one in data], photos)
        many = _rate(lambda: list(parser.parse_many(data)), photos)
        rates.append((one_by_one, many, many / one_by_one))
    return Throughput(*(round(statistics.median(column), 2) for column in zip(*rates, strict=True)))


def engine_times(
    open_parser: Callable[..., HumanParser], model: str | None, runs: int = RUNS
) -> list[EngineTime]:
    """What each engine and precision makes of the model here, in turns. open_parser: (model,
    engine=, precision=) → parser.

    int8 is another file: of the model in the package there is one, of others none that we know.
    """
    data, found, opened = jpeg((640, 480)), [], {}
    for engine in ENGINES:
        for precision, file in KINDS:
            if file and model is not None:
                continue
            try:
                arithmetic = "bf16" if precision == "bf16" else "fp32"
                opened[engine, precision] = open_parser(
                    file or model, engine=engine, precision=arithmetic
                )
            except (MissingExtra, OptionError) as error:
                found.append(EngineTime(engine, precision, None, str(error)))
    times = {key: [] for key in opened}
    for _ in range(runs + 1):
        for key, parser in opened.items():
            times[key].append(parser.parse(data).timings_ms["network"])
    timed = [
        EngineTime(*key, round(statistics.median(taken[1:]), 1)) for key, taken in times.items()
    ]
    return sorted(timed, key=lambda one: one.network_ms) + found


def table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Rows of text in columns, the first row being their names; numbers to the right, or as a table
    of Markdown."""
    if markdown:
        rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )


def _rate(work, photos: int) -> float:
    start = time.perf_counter()
    work()
    return photos / (time.perf_counter() - start)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _busy_and_all() -> tuple[int, int] | None:
    """Ticks of all cores since the system started: those in use, and all of them."""
    try:
        fields = [
            int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        ]
    except OSError:
        return None
    return sum(fields) - fields[3] - fields[4], sum(fields)
