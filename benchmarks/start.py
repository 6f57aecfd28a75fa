"""How long does `humanparse parse` take on one photo, and how soon is `humanparse serve` ready?

    python benchmarks/start.py [--repeat 9] [--markdown] [--source FOLDER ...]

It shows where the time goes: every command runs in turn, several times, from the start of the
process to its end; the service until it says that it is ready. "CPU" is the processor time of the
process and of those that it started, which other programs disturb least. Further folders with the
sources of other versions (`src` of a checkout) run in turn with the one that is installed.
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
        serve = [*run, "serve", "--port", "0", "--data-dir", folder]
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
            "humanparse serve, to ready": serve,
        }
        sources = ["", *options.source]
        taken = {f"{name} {source}".strip(): [] for source in sources for name in commands}
        for _ in range(options.repeat):
            for name, command in commands.items():
                for source in sources:
                    timed = _timed_to_ready if command is serve else _timed
                    taken[f"{name} {source}".strip()].append(timed(command, source))
    rows = [["command", "start to exit", "CPU"]]
    for name, times in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        rows.append([name, f"{wall:.2f} s", f"{cpu:.2f} s"])
    print(machine.table(rows, options.markdown))


def _timed(command: list[str], source: str) -> tuple[float, float]:
    """Return the seconds to the command's end, and its processor time."""
    before, start = _cpu_of_children_s(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=_environment(source))
    return time.perf_counter() - start, _cpu_of_children_s() - before


def _timed_to_ready(command: list[str], source: str) -> tuple[float, float]:
    """Return the seconds until the service is ready, and its processor time to its end."""
    before, start = _cpu_of_children_s(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment(source)) as server:
        assert server.stdout is not None and b"ready" in server.stdout.readline()
        seconds = time.perf_counter() - start
        server.terminate()
    return seconds, _cpu_of_children_s() - before


def _cpu_of_children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _environment(source: str) -> dict[str, str]:
    quiet = {**os.environ, "HUMANPARSE_LOG_LEVEL": "error"}
    return quiet | {"PYTHONPATH": source} if source else quiet


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--source", nargs="*", default=[], help="src folders of other versions")
    return parser.parse_args()


if __name__ == "__main__":
    main()
