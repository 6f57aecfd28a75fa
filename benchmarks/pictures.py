"""How long does it take to draw and encode the pictures of a photo, compared with parsing it?

    python benchmarks/pictures.py [--photo PHOTO] [--repeat 9] [--without-isal] [--markdown]

For each size the stages take turns: parsing the JPEG, drawing the overlay and the colour map,
encoding them. Times are medians, "of the parse" is the median of ratios within a turn, "CPU" is the
processor time of all threads. PHOTO defaults to a demo picture; it is resized to each size.
--without-isal encodes as if ISA-L (package `isal`) were not installed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine

from humanparse import HumanParser, formats, render
from humanparse.bench import PHOTO, SIZES
from humanparse.system.packaged import packaged


def main() -> None:
    options = _options()
    if options.without_isal:
        sys.modules["isal"] = None  # as Python marks a module that cannot be imported
    print(machine.describe("isal"))
    print(
        f"other processes: {machine.others_share():.0%} of the cores"
        f"{'; ISA-L left out' if options.without_isal else ''}\n"
    )
    parser = HumanParser()
    rows = [["photo", "stage", "time", "of the parse", "CPU", "file"]]
    for name, size in SIZES.items():
        rows += _rows(name, stages(parser, machine.jpeg(size, options.photo)), options.repeat)
    print(machine.table(rows, options.markdown))


def stages(parser: HumanParser, photo: bytes) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name: the parse first; what returns bytes is a file."""
    parsing = parser.parse(photo)
    overlay, colours, labels = parsing.overlay(), parsing.colormap(), formats.labels_image(parsing)
    return {
        "parse": lambda: parser.parse(photo),
        "overlay": parsing.overlay,
        "overlay → PNG": lambda: formats.encode_picture(overlay, "png"),
        "overlay → JPEG": lambda: formats.encode_picture(overlay, "jpeg"),
        "overlay, drawn and PNG": lambda: formats.encode_picture(
            render.overlay_pixels(parsing), "png"
        ),
        "outlines": lambda: render.outlines(parsing),
        "colour map": parsing.colormap,
        "colour map → PNG": lambda: formats.encode_picture(colours, "png"),
        "label map → PNG": lambda: formats.encode_picture(labels, "png"),
    }


def _rows(name: str, work: dict[str, Callable[[], object]], repeat: int) -> list[list[str]]:
    # This also warms everything up.
    sizes = {stage: len(made) for stage, run in work.items() if isinstance(made := run(), bytes)}
    wall, cpu = ({stage: [] for stage in work} for _ in range(2))
    for _ in range(repeat):
        for stage, run in work.items():
            start, started = time.perf_counter(), time.process_time()
            run()
            cpu[stage].append(time.process_time() - started)
            wall[stage].append(time.perf_counter() - start)
    rows = []
    for stage in work:
        pairs = zip(wall[stage], wall["parse"], strict=True)
        rows.append(
            [
                name,
                stage,
                f"{statistics.median(wall[stage]) * 1000:.1f} ms",
                f"{statistics.median(own / parse for own, parse in pairs):.2f}",
                f"{statistics.median(cpu[stage]) * 1000:.1f} ms",
                f"{sizes[stage] / 1e6:.2f} MB" if stage in sizes else "",
            ]
        )
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, default=packaged(PHOTO))
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--without-isal", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
