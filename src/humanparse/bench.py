"""The measurements behind `humanparse bench`, whose functions benchmarks/ use as well.

Everything is measured in one process, in turns, and reported as medians, together with the share of
the processor that other programs used: if it is more than a few percent, they slowed down the times
as well.
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
RUNS = 7  # of each size, after one that is not counted
# Each precision, and the model that stands for int8.
KINDS = (("fp32", None), ("bf16", None), ("int8", "humanparse-int8"))
ROUNDS, AT_ONCE = 5, 8  # rounds of each way to parse many photos, and photos in a round


@dataclass(frozen=True)
class SizeTimes:
    """Median times of one photo, from its JPEG bytes to the result.

    Attributes:
        name: Name of the photo's size.
        width: Width of the photo in pixels.
        height: Height of the photo in pixels.
        people: Number of people found.
        stages_ms: Milliseconds of each of STAGES.
        total_ms: Milliseconds from the bytes to the result.
    """

    name: str
    width: int
    height: int
    people: int
    stages_ms: dict[str, float]
    total_ms: float


@dataclass(frozen=True)
class Throughput:
    """Median photos per second, of photos of 640×480.

    Attributes:
        one_by_one: One at a time.
        many: With `parse_many`.
        ratio: The median of the ratios of both.
    """

    one_by_one: float
    many: float
    ratio: float


@dataclass(frozen=True)
class EngineTime:
    """The time of an engine in one precision, for a photo of 640×480.

    Attributes:
        engine: Name of the engine.
        precision: "fp32", "bf16" or "int8".
        network_ms: Median milliseconds of the network; None if it cannot run on this machine.
        why_not: Why it cannot run on this machine.
    """

    engine: str
    precision: str
    network_ms: float | None
    why_not: str = ""


# The machine


def describe(*more: str) -> str:
    """Return a line with processor, cores and versions.

    Args:
        more: Packages whose versions are given besides those of PACKAGES, if they are installed.
    """
    names = ("humanparse", *PACKAGES, *more)
    versions = ", ".join(f"{name} {version}" for name in names if (version := _version(name)))
    return f"{processor()}, {usable_cores()} cores, Python {platform.python_version()}, {versions}"


def processor() -> str:
    """Return the name of the processor, as far as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""
    )
    return named or platform.processor() or platform.machine()


def others_share(seconds: float = 1.0) -> float | None:
    """Return the share of all cores that was in use while this process slept.

    Args:
        seconds: How long to sleep.

    Returns:
        The share, from 0 to 1; None if the system does not tell.
    """
    before = _busy_and_all()
    time.sleep(seconds)
    after = _busy_and_all()
    return (after[0] - before[0]) / max(1, after[1] - before[1]) if before and after else None


# The parser


def jpeg(size: tuple[int, int], photo: Path | None = None) -> bytes:
    """Return a photo as JPEG bytes.

    Args:
        size: Width and height in pixels.
        photo: File of the photo; None takes one from the package.
    """
    from PIL import Image

    file = io.BytesIO()
    with Image.open(photo or packaged(PHOTO)) as opened:
        opened.convert("RGB").resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


def size_times(
    parser: HumanParser, name: str, size: tuple[int, int], runs: int = RUNS
) -> SizeTimes:
    """Measure the time to parse one photo.

    Args:
        parser: The parser.
        name: Name of the size.
        size: Width and height in pixels.
        runs: How many times the photo is parsed, after once to warm up.
    """
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
    """Measure photos per second, in turns one at a time and with `parse_many`.

    Args:
        parser: The parser.
        rounds: Number of rounds of each way.
        photos: Number of photos in a round.
    """
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
    """Measure the network with each engine and precision, in turns.

    int8 is measured only for the built-in model, since it needs another model file.

    Args:
        open_parser: Called with a model, `engine` and `precision`; returns a parser.
        model: Name or file of the model; None is the built-in one.
        runs: How many times the photo is parsed, after once to warm up.

    Returns:
        The times, fastest first, followed by what cannot run on this machine.
    """
    data, found = jpeg((640, 480)), []
    opened: dict[tuple[str, str], HumanParser] = {}
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
    times: dict[tuple[str, str], list[float]] = {key: [] for key in opened}
    for _ in range(runs + 1):
        for key, parser in opened.items():
            times[key].append(parser.parse(data).timings_ms["network"])
    medians = {key: round(statistics.median(taken[1:]), 1) for key, taken in times.items()}
    return [
        EngineTime(*key, medians[key]) for key in sorted(medians, key=medians.__getitem__)
    ] + found


def table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Return rows of text as a table.

    Args:
        rows: The rows; the first one holds the names of the columns.
        markdown: Write Markdown, and not columns that are aligned with spaces.
    """
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


def _rate(work: Callable[[], object], photos: int) -> float:
    """Return photos per second."""
    start = time.perf_counter()
    work()
    return photos / (time.perf_counter() - start)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _busy_and_all() -> tuple[int, int] | None:
    """Return the ticks of all cores since the system started: those in use, and all of them."""
    try:
        fields = [
            int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        ]
    except OSError:
        return None
    return sum(fields) - fields[3] - fields[4], sum(fields)
