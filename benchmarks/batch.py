"""What does `humanparse batch` cost besides the parsing itself? Is its output complete?

    python benchmarks/batch.py [--photos 20000] [--some 2000] [--ray] [--markdown]

The photos have sides of 32 to 63 pixels, and the embedded model an input of 64 pixels: there is as
little parsing as possible, so that everything else shows. "bare" is `parse_many` over the same
files with nothing written. Each way runs in a process of its own. "CPU" is the processor time per
photo in milliseconds, including the start, which other programs disturb least; with --ray it is
that of the driver alone. "peak" is the memory of the process (of the driver); compare it between
few and many photos to see whether it grows. The keys in the output are compared with the photos.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import machine
import numpy as np
from PIL import Image

SIDE = ["--short-side", "64", "--max-side", "64"]
BARE = """
import sys
from pathlib import Path
from humanparse import HumanParser
photos = sorted(Path(sys.argv[1]).rglob("*.jpg"))[:int(sys.argv[2])]
print(sum(1 for _ in HumanParser(short_side=64, max_side=64).parse_many(photos)))
"""


class Cost(NamedTuple):
    seconds: float
    cpu_s: float
    peak_mb: float


def main() -> None:
    options = _options()
    print(machine.describe("pyarrow", "ray") if options.ray else machine.describe("pyarrow"))
    print(f"other processes: {machine.others_share():.0%} of the cores\n")
    folder = Path(tempfile.mkdtemp(prefix="humanparse-batch-"))
    try:
        keys = _write_photos(folder / "photos", options.photos)
        rows = [["way", "photos", "photos/s", "CPU a photo", "peak", "exact"]]
        some, every = min(options.some, options.photos), options.photos
        for count in (some, every):
            rows.append(
                _row(
                    "bare",
                    count,
                    measured([sys.executable, "-c", BARE, str(folder / "photos"), str(count)]),
                )
            )
        ways = [
            ("Parquet", some, []),
            ("Parquet", every, []),
            ("files: json", some, ["--format", "json"]),
        ]
        if options.ray:
            ways.append(("Parquet, --ray", some, ["--ray"]))
        for name, count, more in ways:
            out = folder / "out"
            words = [
                sys.executable,
                "-m",
                "humanparse",
                "batch",
                str(folder / "photos"),
                "-o",
                str(out),
                "-q",
                *SIDE,
                *more,
            ]
            cost = measured([*words, "--limit", str(count)])
            rows.append(_row(name, count, cost, "yes" if _is_exact(out, keys, count) else "NO"))
            shutil.rmtree(out)
        print(machine.table(rows, options.markdown))
    finally:
        shutil.rmtree(folder)


def measured(command: list[str]) -> Cost:
    """Run a command, which must succeed, and return what it took."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _write_photos(folder: Path, count: int) -> list[str]:
    """Write noise as JPEG, in subfolders of a thousand, and return the keys."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    keys = []
    for number in range(count):
        keys.append(f"{number // 1000:04}/{number:08}.jpg")
        (folder / keys[-1]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[: 32 + number % 32, : 32 + number // 32 % 32]).save(folder / keys[-1])
    return keys


def _is_exact(out: Path, keys: list[str], count: int) -> bool:
    """Whether the output has `count` different photos, each once."""
    from pyarrow import dataset

    if any(out.glob("part-*")):
        found = dataset.dataset(out, format="parquet").to_table(columns=["key"])["key"].to_pylist()
    else:
        found = [
            path.relative_to(out).as_posix().removesuffix(".json") for path in out.rglob("*.json")
        ]
    return len(found) == len(set(found)) == count and set(found) <= set(keys)


def _row(name: str, count: int, cost: Cost, exact: str = "") -> list[str]:
    rate, cpu_ms = count / cost.seconds, cost.cpu_s / count * 1000
    return [name, str(count), f"{rate:.0f}", f"{cpu_ms:.2f} ms", f"{cost.peak_mb:.0f} MB", exact]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--some", type=int, default=2_000)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
