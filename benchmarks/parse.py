"""How long does a photo take from its bytes to the result, stage by stage, and how much memory?

    python benchmarks/parse.py [--model M] [--threads N] [--repeat 15] [--against FOLDER]
        [--markdown] [PHOTO]

This prints the machine, versions and how busy other processes kept the cores (more than a few per
cent spoils the rest), then for each size the median of each stage, of `parse_many`, and the peak
memory beyond that of a loaded model. PHOTO defaults to a demo picture; it is resized to each size
and encoded as JPEG, and every run decodes it again.

FOLDER is another checkout of humanparse, for example `git worktree add ../before v0.1.0`. Then both
take turns, photo by photo, each in a process of its own, and a second table says what share of the
other one's time this one takes: the median over the turns, and in brackets the quartiles. Times
drift by a fifth within minutes on many hosts, so that only such ratios tell two versions apart.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import machine

SIZES = {
    "640×480": (640, 480),
    "1920×1080": (1920, 1080),
    "12 MP": (4000, 3000),
    "40 MP": (7300, 5475),
}
STAGES = ("read", "preprocess", "network", "postprocess")
TOTAL, MANY = "bytes → result", "parse_many"
AT_ONCE = 4  # photos that parse_many is given
Row = list[float]  # milliseconds of each stage, and of all
OURS = Path(__file__).resolve().parents[1]


def main() -> None:
    options = _options()
    if options.serve:
        serve(options)
        return
    print(machine.describe())
    print(
        f"import humanparse: {_import_ms():.0f} ms; "
        f"other processes: {machine.others_share():.0%} of the cores"
    )
    trees = [OURS, *([options.against] if options.against else [])]
    times = [["photo", *STAGES, TOTAL, MANY, "memory"]]
    ratios = [["photo", *STAGES, TOTAL, MANY]]
    for name, size in SIZES.items():
        with ExitStack() as stack:
            ways = [stack.enter_context(Way(tree, size)) for tree in trees]
            single = turns(ways, "parse", options.repeat)
            memory = ways[0].ask("memory")
            many = turns(ways, "many", max(1, options.repeat // AT_ONCE))
        medians = [statistics.median(column) for column in zip(*single[0], strict=True)]
        medians.append(statistics.median(many[0]))
        times.append([name, *(f"{value:.0f} ms" for value in medians), f"{memory:.0f} MB"])
        if options.against:
            columns = zip(*(zip(*rows, strict=True) for rows in single), strict=True)
            ratios.append([name, *(_ratio(*both) for both in columns), _ratio(*many)])
    print(machine.table(times, options.markdown))
    if options.against:
        print(f"\nshare of the time of {options.against}:")
        print(machine.table(ratios, options.markdown))


class Way:
    """A process that parses one photo with the code of one checkout, whenever it is asked to."""

    def __init__(self, tree: Path, size: tuple[int, int]):
        arguments = ["--serve", f"{size[0]}x{size[1]}", *sys.argv[1:]]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            env={**os.environ, "PYTHONPATH": str(tree.resolve() / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str) -> Any:
        """Return what `serve` answers to "parse", "many" or "memory"."""
        assert self.process.stdin and self.process.stdout
        try:
            print(what, file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            sys.exit("a process that parses has ended; its error stands above")

    def __enter__(self) -> Way:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def turns(ways: list[Way], what: str, repeat: int) -> list[list[Any]]:
    """Ask each way in turn, after one answer that does not count; return all answers by way."""
    for way in ways:
        way.ask(what)
    answers: list[list[Any]] = [[] for _ in ways]
    for _ in range(repeat):
        for way, one in zip(ways, answers, strict=True):
            one.append(way.ask(what))
    return answers


def serve(options: argparse.Namespace) -> None:
    """Answer on stdout to each line on stdin.

    "parse": the milliseconds of each stage and of all, for one photo; "many": those a photo of
    `parse_many`; "memory": the peak in MB beyond that of a loaded model.
    """
    from PIL import Image

    import humanparse
    from humanparse import HumanParser

    if not Path(humanparse.__file__).is_relative_to(os.environ["PYTHONPATH"]):
        sys.exit(f"there is no humanparse in {os.environ['PYTHONPATH']}; give a checkout of it")
    parser = HumanParser(options.model, threads=options.threads)
    width, height = (int(side) for side in options.serve.split("x"))
    data = jpeg(options.photo, (width, height))
    parser.parse(Image.new("RGB", (640, 480)))
    before = _peak_mb()

    def parse() -> Row:
        start = time.perf_counter()
        times = parser.parse(data).timings_ms
        return [*(times[stage] for stage in STAGES), (time.perf_counter() - start) * 1000]

    def many() -> float:
        start = time.perf_counter()
        for _ in parser.parse_many([data] * AT_ONCE):
            pass
        return (time.perf_counter() - start) * 1000 / AT_ONCE

    answers = {"parse": parse, "many": many, "memory": lambda: _peak_mb() - before}
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), flush=True)


def _ratio(ours: list[float], theirs: list[float]) -> str:
    """The median of the ratios turn by turn, and their quartiles in brackets."""
    ratios = sorted(one / max(other, 1e-6) for one, other in zip(ours, theirs, strict=True))
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def demo_photo() -> Path:
    return OURS / "src/humanparse/cli/demo/astronaut.jpg"


def jpeg(photo: Path, size: tuple[int, int]) -> bytes:
    """Return the photo at that size as JPEG, made in a child so that it does not raise the peak."""
    code = (
        "import sys; from PIL import Image; "
        f"Image.open({str(photo)!r}).convert('RGB').resize({size})"
        ".save(sys.stdout.buffer, 'JPEG', quality=90)"
    )
    return io.BytesIO(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    ).getvalue()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _import_ms() -> float:
    code = "import time; t = time.perf_counter(); import humanparse; "
    code += "print((time.perf_counter() - t) * 1000)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
        for _ in range(3)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", nargs="?", type=Path, default=demo_photo())
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--against", type=Path, metavar="FOLDER")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--serve", metavar="SIZE", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
