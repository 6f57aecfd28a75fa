"""How long does it take from the network's outputs to people and parts?

    python benchmarks/postprocess.py [--repeat 7] [--people 1 3 6] [--reference [DIR]]
        [--reference-python P] [--markdown]

Both heads are measured on made-up scenes of several sizes, with `people` persons of seven parts
each. "every pixel" is the embedded model's head done in the plain way, with every map brought to
the photo's size. With --reference the query head is compared with what the reference does: all 100
masks at the photo's full size, in PyTorch, on as many threads as it takes by itself. Without DIR
that is a shorter rewrite of it (needs PyTorch). DIR holds a `reference.py` whose `build(seed)`
returns ModelScope's M2FP; then its own post-processing is run, by --reference-python, a Python that
has what it needs. At 12 MP it would need some 20 GB and is left out. Ratios are medians of ratios
within one run; "CPU" is the processor time of all threads; "memory" is the peak of NumPy's arrays,
including the results.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import machine
import numpy as np

from humanparse.labels import CIHP
from humanparse.postprocess import (
    CentreSettings,
    QuerySettings,
    assemble,
    parse_centres,
    parse_queries,
)
from humanparse.preprocess import Geometry, Preprocess

SIZES = {"640×480": (480, 640), "1920×1080": (1080, 1920), "12 MP": (3000, 4000)}  # height, width
SMALL = Preprocess((0,) * 3, (1,) * 3, area_px=640 * 480, multiple=16)
M2FP = Preprocess((0,) * 3, (1,) * 3, short_side=640, filter="pil-bilinear")
QUERIES, HUMAN, NO_OBJECT = 100, 20, 21
BODY = (  # class; where it lies in the person's box: centre x, y and radii
    (2, 0.5, 0.1, 0.3, 0.08),
    (13, 0.5, 0.17, 0.22, 0.07),
    (5, 0.5, 0.4, 0.4, 0.16),
    (9, 0.5, 0.72, 0.35, 0.22),
    (14, 0.1, 0.45, 0.12, 0.15),
    (15, 0.9, 0.45, 0.12, 0.15),
    (18, 0.35, 0.95, 0.2, 0.05),
)


SERVE = """
import sys, time
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import numpy as np, reference, torch
net = reference.build(seed=0)
print("ready", flush=True)
with torch.no_grad():
    for line in sys.stdin:
        scene = np.load(line.strip())
        (height, width), input_hw, resized_hw = (
            scene[name].tolist() for name in ("photo_hw", "input_hw", "resized_hw")
        )
        names, empty = ("pred_logits", "pred_masks"), torch.empty(1, 3, *input_hw)
        raw = {
            "outputs": {name: torch.from_numpy(scene[name]) for name in names},
            "batched_inputs": [{"height": height, "width": width}],
            "images": SimpleNamespace(tensor=empty, image_sizes=[tuple(resized_hw)]),
        }
        start, started = time.perf_counter(), time.process_time()
        found = net.postprocess(raw)["eval_result"][0]["parsing"]
        seconds, cpu = time.perf_counter() - start, time.process_time() - started
        labels = found["semantic_outputs"].argmax(0).numpy().astype(np.uint8)
        np.save(line.strip() + ".labels.npy", labels)
        del found, raw
        print("took", seconds, cpu, flush=True)
"""

Run = tuple[float, float, np.ndarray]  # seconds, processor seconds, label map


def main() -> None:
    options = _options()
    print(machine.describe(*(["torch"] if options.reference else [])))
    print(f"other processes: {machine.others_share():.0%} of the cores\n")
    incumbent = (
        Incumbent(options.reference, options.reference_python)
        if isinstance(options.reference, Path)
        else None
    )
    rows = [
        [
            "head",
            "photo",
            "people",
            "time",
            "CPU",
            "memory",
            "plain way",
            "ratio",
            "CPU ratio",
            "same pixels",
        ]
    ]
    for name, photo_hw in SIZES.items():
        for people in options.people:
            rows.append(_row("centres", name, people, options.repeat, *_centres(photo_hw, people)))
            plain = (incumbent or _rewritten) if options.reference and name != "12 MP" else None
            rows.append(
                _row("queries", name, people, options.repeat, *_queries(photo_hw, people, plain))
            )
    print(machine.table(rows, options.markdown))


class Incumbent:
    """ModelScope's post-processing in a process of its own."""

    def __init__(self, folder: Path, python: Path):
        command = [str(python), "-c", SERVE, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._wait_for("ready")

    def __call__(self, outputs: dict[str, np.ndarray], geometry: Geometry) -> Callable[[], Run]:
        def run() -> Run:
            with tempfile.TemporaryDirectory() as folder:
                scene = Path(folder) / "scene.npz"
                sizes = {
                    name: getattr(geometry, name) for name in ("photo_hw", "input_hw", "resized_hw")
                }
                np.savez(scene, **outputs, **sizes)
                self.process.stdin.write(f"{scene}\n")
                self.process.stdin.flush()
                seconds, cpu = self._wait_for("took").split()
                return float(seconds), float(cpu), np.load(f"{scene}.labels.npy")

        return run

    def _wait_for(self, word: str) -> str:
        for line in self.process.stdout:  # it may print lines of its own
            if line.startswith(word):
                return line.removeprefix(word)
        raise SystemExit("the reference ended; run it by itself to see why")


def _rewritten(outputs: dict[str, np.ndarray], geometry: Geometry) -> Callable[[], Run]:
    return lambda: _timed(lambda: reference(outputs, geometry))


def _centres(photo_hw, people):
    geometry = SMALL.geometry(photo_hw)
    outputs = centre_outputs(geometry, people)

    def ours():
        maps = parse_centres(outputs, geometry, CentreSettings())
        assemble(maps, CIHP, 0.3)
        return maps.label_map

    return ours, lambda: _timed(lambda: every_pixel(outputs, geometry))


def _queries(photo_hw, people, plain):
    geometry = M2FP.geometry(photo_hw)
    outputs = query_outputs(geometry, people)

    def ours():
        maps = parse_queries(outputs, geometry, QuerySettings(), CIHP)
        assemble(maps, CIHP, 0.3)
        return maps.label_map

    return ours, plain(outputs, geometry) if plain else None


def _row(
    head: str,
    name: str,
    people: int,
    repeat: int,
    ours: Callable[[], np.ndarray],
    plain: Callable[[], Run] | None,
):
    tracemalloc.start()
    labels = ours()
    memory = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    times, cpu, theirs, their_cpu = [], [], [], []
    for _ in range(repeat):
        for run, wall, processor in (
            (lambda: _timed(ours), times, cpu),
            (plain, theirs, their_cpu),
        ):
            if run:
                seconds, processor_seconds, made = run()
                wall.append(seconds)
                processor.append(processor_seconds)
    row = [head, name, str(people), _ms(times), _ms(cpu), f"{memory:.0f} MB"]
    if not plain:
        return [*row, "", "", "", ""]
    row += [_ms(theirs), _ratio(theirs, times), _ratio(their_cpu, cpu)]
    # The plain way does not tell people apart and keeps all specks.
    if head == "centres":
        return [*row, ""]
    somebody = (labels > 0) | (made > 0)
    return [*row, f"{(labels == made)[somebody].mean():.2%}"]


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f} ms"


def _ratio(slow: list[float], fast: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(slow, fast, strict=True)):.1f}"


def _timed(work: Callable[[], np.ndarray]) -> Run:
    start, started = time.perf_counter(), time.process_time()
    done = work()
    return time.perf_counter() - start, time.process_time() - started, done


# Scenes


def _bodies(geometry: Geometry, people: int):
    """(x, y, radius x, radius y) of each person and (class, the same) of their parts, as shares
    of the photo."""
    wide = 1 / people
    for number in range(people):
        left = number * wide + 0.05 * wide
        parts = [
            (c, left + 0.9 * wide * x, 0.05 + 0.9 * y, 0.9 * wide * rx, 0.9 * ry)
            for c, x, y, rx, ry in BODY
        ]
        yield (left + 0.45 * wide, 0.5, 0.47 * wide, 0.48), parts


def _blob(
    shape: tuple[int, int], x: float, y: float, rx: float, ry: float, noise: np.random.Generator
) -> np.ndarray:
    """float32: logits, positive inside an ellipse whose edge is a little uneven."""
    ys, xs = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    uneven = cv2.GaussianBlur(noise.normal(size=shape).astype(np.float32), (0, 0), 3)
    return np.clip(12 - 12 * np.hypot((xs - x) / rx, (ys - y) / ry) + 3 * uneven, -12, 8).astype(
        np.float32
    )


def centre_outputs(geometry: Geometry, people: int) -> dict[str, np.ndarray]:
    shape, noise = tuple(side // 4 for side in geometry.input_hw), np.random.default_rng(0)
    classes, person = np.full((20, *shape), -8, np.float32), np.full(shape, -8, np.float32)
    classes += noise.normal(size=classes.shape).astype(np.float32)
    centre, offset = np.full(shape, -8, np.float32), np.zeros((2, *shape), np.float32)
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    for (x, y, rx, ry), parts in _bodies(geometry, people):
        body = _blob(shape, x, y, rx, ry, noise)
        cell = int(y * shape[0]), int(x * shape[1])
        offset[:, body > 0] = (np.stack([cell[1] - xs, cell[0] - ys]) * 4)[:, body > 0]
        centre[cell], person = 6, np.maximum(person, body)
        for class_id, *where in parts:
            classes[class_id] = np.maximum(classes[class_id], _blob(shape, *where, noise))
        classes[7] = np.maximum(classes[7], body - 6)
    classes[0] = -person
    return {
        "classes": classes[None],
        "person": person[None, None],
        "centre": centre[None, None],
        "offset": offset[None],
    }


def query_outputs(geometry: Geometry, people: int) -> dict[str, np.ndarray]:
    shape, noise = tuple(side // 4 for side in geometry.input_hw), np.random.default_rng(0)
    masks = np.full((QUERIES, *shape), -8, np.float32)
    logits = np.zeros((QUERIES, NO_OBJECT + 1), np.float32)
    logits[:, NO_OBJECT] = 8
    query = 0
    for body, parts in _bodies(geometry, people):
        for class_id, *where in [(HUMAN, *body), *parts]:
            masks[query] = _blob(shape, *where, noise)
            logits[query], logits[query, class_id] = 0, 7
            query += 1
    return {"pred_logits": logits[None], "pred_masks": masks[None]}


# The plain ways


def every_pixel(outputs: dict[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """Return the label map of the embedded model's head, with all maps at the photo's size.

    People are not told apart here.
    """
    height, width = geometry.photo_hw
    rows, columns = geometry.cells(4)

    def full(one: np.ndarray) -> np.ndarray:
        return cv2.resize(
            np.ascontiguousarray(one[:rows, :columns]),
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )

    best, label = np.full((height, width), -np.inf, np.float32), np.zeros((height, width), np.uint8)
    for class_id, one in enumerate(outputs["classes"][0][1:], start=1):
        score = full(one)
        label[score > best] = class_id
        np.maximum(best, score, out=best)
    return label * (full(outputs["person"][0, 0]) > 0)


def reference(outputs: dict[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """Return the label map that the reference computes (docs/m2fp.md), everything at full size."""
    import torch
    from torch.nn import functional

    def resize(masks, size):
        return functional.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[
            0
        ]

    height, width = geometry.resized_hw
    masks = resize(torch.from_numpy(outputs["pred_masks"][0]), geometry.input_hw)[
        :, :height, :width
    ]
    masks = resize(masks, geometry.photo_hw)  # (Q, H, W)
    probability = functional.softmax(torch.from_numpy(outputs["pred_logits"][0]), -1)[:, :-1]
    scores, pairs = probability.flatten().topk(QUERIES)
    classes, masks = pairs % probability.shape[1], masks[pairs // probability.shape[1]]
    certain = (masks > 0).float()
    chance = masks.sigmoid()
    scores = (
        scores
        * (chance.flatten(1) * certain.flatten(1)).sum(1)
        / (certain.flatten(1).sum(1) + 1e-6)
    )
    best, label = torch.zeros(geometry.photo_hw), torch.zeros(geometry.photo_hw, dtype=torch.uint8)
    for class_id in range(HUMAN):
        kept = (classes == class_id) & (scores >= QuerySettings().part_score)
        if kept.any():
            strength = chance[kept] * scores[kept][:, None, None]
            counts = strength > 0.5
            average = (strength * counts).sum(0) / counts.sum(0).clamp(min=1)
            label[average > best] = class_id
            best = torch.maximum(best, average)
    return label.numpy()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument(
        "--reference",
        nargs="?",
        type=Path,
        const=True,
        help="compare; with DIR, the folder with reference.py",
    )
    parser.add_argument(
        "--reference-python",
        type=Path,
        default=Path(sys.executable),
        help="the Python that runs it",
    )
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
