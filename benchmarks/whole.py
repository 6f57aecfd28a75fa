"""How well does the single ONNX file of `humanparse export --to onnx` agree, and what does it cost?

    python benchmarks/whole.py

It is compared with HumanParser on the photos of `humanparse demo`, at several sizes and side by
side. The time is processor time, since this compares work; the best of three. The memory is the
most that the process held, beyond what it held before the first photo of that size.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import machine
import numpy as np

import humanparse
from humanparse import HumanParser
from humanparse.export.single_graph.whole import runner, write_single_graph
from humanparse.image import read_image
from humanparse.weights.catalog import model_file

DEMO = Path(humanparse.__file__).parent / "cli/demo"


def pictures() -> dict[str, np.ndarray]:
    astronaut, hopper = (
        read_image(DEMO / f"{name}.jpg").pixels for name in ("astronaut", "hopper")
    )
    first, second = (cv2.resize(one, (450, 600)) for one in (astronaut, hopper))
    three = np.concatenate([first, second, first[:, ::-1]], axis=1)

    def sized(photo: np.ndarray, width: int, height: int) -> np.ndarray:
        shrinks = width < photo.shape[1]
        return cv2.resize(
            photo, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )

    return {
        "astronaut": astronaut,
        "hopper": hopper,
        "three people": three,
        "hopper, small": sized(hopper, 160, 188),
        "three people, 2 MP": sized(three, 2121, 943),
        "three people, 12 MP": sized(three, 5196, 2309),
    }


def cpu_s(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    print(machine.describe())
    parser = HumanParser(engine="onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        write_single_graph(model_file(None), Path(folder, "whole.onnx"))
        run = runner(Path(folder, "whole.onnx"))
        run(np.zeros((64, 64, 3), np.uint8))
        print(
            "| Photo | Size | People | Equal labels | Equal people "
            "| Processor time, over HumanParser's | Memory |"
        )
        print("|---|---|---|---|---|---|---|")
        for name, photo in pictures().items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            labels, people, scores = run(photo)
            grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
            wanted = parser.parse(photo)
            ratio = cpu_s(lambda photo=photo: run(photo)) / cpu_s(
                lambda photo=photo: parser.parse(photo)
            )
            height, width = photo.shape[:2]
            same = (labels == wanted.label_map).mean(), (people == wanted.person_map).mean()
            print(
                f"| {name} | {width}×{height} | {len(scores)} of {len(wanted.people)} "
                f"| {same[0]:.1%} | {same[1]:.1%} | {ratio:.1f} | {grown_mb:.0f} MB |"
            )


if __name__ == "__main__":
    main()
