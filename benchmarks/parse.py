"""How long does a photo take from its bytes to the result, stage by stage, and how much memory?

    python benchmarks/parse.py [--model M] [--threads N] [--repeat 15] [--markdown] [PHOTO]

This prints the machine, versions and how busy other processes kept the cores (more than a few per
cent spoils the rest), then for each size the median of each stage, and the peak memory beyond that
of a loaded model. PHOTO defaults to a demo picture; it is resized to each size and encoded as JPEG,
and every run decodes it again.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine

SIZES = {
    "640×480": (640, 480),
    "1920×1080": (1920, 1080),
    "12 MP": (4000, 3000),
    "40 MP": (7300, 5475),
}
STAGES = ("read", "preprocess", "network", "postprocess")


def main() -> None:
    options = _options()
    if options.one:
        one(options)
        return
    print(machine.describe())
    print(
        f"import humanparse: {_import_ms():.0f} ms; "
        f"other processes: {machine.others_share():.0%} of the cores"
    )
    rows = [["photo", *STAGES, "bytes → result", "memory"]]
    for name, size in SIZES.items():
        command = [sys.executable, __file__, "--one", f"{size[0]}x{size[1]}", *sys.argv[1:]]
        figures = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        rows.append([name, *(f"{value:.0f} ms" for value in figures[:-1]), f"{figures[-1]:.0f} MB"])
    print(machine.table(rows, options.markdown))


def one(options: argparse.Namespace) -> None:
    """Measure one size, in a process of its own so that the peak memory is of this size alone."""
    from PIL import Image

    from humanparse import HumanParser

    parser = HumanParser(options.model, threads=options.threads)
    data = jpeg(options.photo, tuple(int(side) for side in options.one.split("x")))
    parser.parse(Image.new("RGB", (640, 480)))
    before = _peak_mb()
    runs = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        times = parser.parse(data).timings_ms
        runs.append([*(times[stage] for stage in STAGES), (time.perf_counter() - start) * 1000])
    medians = [statistics.median(column) for column in zip(*runs, strict=True)]
    print(json.dumps([*medians, _peak_mb() - before]))


def demo_photo() -> Path:
    import humanparse

    return Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"


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
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
