"""How long does `humanparse parse` take on one photo, from the start of the process to its end?

    python benchmarks/start.py [--repeat 9] [--markdown]

It shows where the time goes: every command runs in turn, several times. "CPU" is the processor time
of the process, which other programs disturb least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine


def main() -> None:
    options = _options()
    print(machine.describe())
    print(f"other processes: {machine.others_share():.0%} of the cores\n")
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(machine.jpeg((640, 480)))
        run = [sys.executable, "-P", "-m", "humanparse"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import humanparse": [sys.executable, "-P", "-c", "import humanparse"],
            "humanparse --help": [*run, "--help"],
            "a parser, loaded": [
                sys.executable,
                "-P",
                "-c",
                "from humanparse import HumanParser; HumanParser()",
            ],
            "humanparse parse, JSON": [*run, "parse", str(photo), "-f", "json"],
            "humanparse parse, all four files": [*run, "parse", str(photo)],
        }
        taken = {name: [] for name in commands}
        for _ in range(options.repeat):
            for name, command in commands.items():
                taken[name].append(_timed(command))
    rows = [["command", "start to exit", "CPU"]]
    for name, times in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        rows.append([name, f"{wall:.2f} s", f"{cpu:.2f} s"])
    print(machine.table(rows, options.markdown))


def _timed(command: list[str]) -> tuple[float, float]:
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return time.perf_counter() - start, cpu


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
