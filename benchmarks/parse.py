"""How long does a photo take from bytes to result, where does the time go, and how much memory does it need?

    python benchmarks/parse.py [--model M] [--threads N] [--repeat 15] [PHOTO]

Prints machine, versions and how busy other processes kept the cores (a figure above a few percent spoils the rest),
then for each size the median of each stage, and the peak memory above that of a loaded model. PHOTO defaults to a demo
picture; it is resized to each size and encoded as JPEG, and every run decodes it again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from humanparse.cores import usable_cores

SIZES = {"640×480": (640, 480), "1920×1080": (1920, 1080), "12 MP": (4000, 3000), "40 MP": (7300, 5475)}
STAGES = ("read", "preprocess", "network", "postprocess")


def main() -> None:
    options = _options()
    if options.one:
        one(options)
        return
    print(f"{_processor()}, {usable_cores()} cores, Python {platform.python_version()}, " + ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "pillow", "opencv-python-headless", "onnxruntime")
    ))
    print(f"import humanparse: {_import_ms():.0f} ms; other processes: {_others_share():.0%} of the cores")
    print(f"{'':10}" + "".join(f"{stage:>13}" for stage in (*STAGES, "bytes→result")) + f"{'peak memory':>15}")
    for name, size in SIZES.items():
        command = [sys.executable, __file__, "--one", f"{size[0]}x{size[1]}", *sys.argv[1:]]
        print(f"{name:10}" + subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip())


def one(options: argparse.Namespace) -> None:
    """Measure one size, in a process of its own so that the peak is this size's alone."""
    from PIL import Image

    from humanparse import HumanParser

    parser = HumanParser(options.model, threads=options.threads)
    data = _jpeg(options.photo, tuple(int(side) for side in options.one.split("x")))
    parser.parse(Image.new("RGB", (640, 480)))
    before = _peak_mb()
    runs = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        times = parser.parse(data).timings_ms
        runs.append([*(times[stage] for stage in STAGES), (time.perf_counter() - start) * 1000])
    medians = [statistics.median(column) for column in zip(*runs, strict=True)]
    print("".join(f"{median:10.1f} ms" for median in medians) + f"{_peak_mb() - before:12.0f} MB")


def _jpeg(photo: Path, size: tuple[int, int]) -> bytes:
    """The photo at that size as JPEG, made in a child so that making it is not in this process's peak."""
    code = (
        "import sys; from PIL import Image; "
        f"Image.open({str(photo)!r}).convert('RGB').resize({size}).save(sys.stdout.buffer, 'JPEG', quality=90)"
    )
    return io.BytesIO(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout).getvalue()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _import_ms() -> float:
    code = "import time; t = time.perf_counter(); import humanparse; print((time.perf_counter() - t) * 1000)"
    return min(float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout) for _ in range(3))


def _others_share() -> float:
    """Share of all cores that anyone used during one idle second of ours."""
    def busy_and_all() -> tuple[int, int]:
        fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4], sum(fields)

    (busy, total), _, (busy_after, total_after) = busy_and_all(), time.sleep(1), busy_and_all()
    return (busy_after - busy) / max(1, total_after - total)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def _options() -> argparse.Namespace:
    import humanparse

    demo = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, default=demo)
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
