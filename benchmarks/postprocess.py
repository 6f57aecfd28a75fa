"""How long does it take from the network's outputs to people and parts, and how does it grow with the photo and the people?

    python benchmarks/postprocess.py [--repeat 7] [--people 1 3 6] [--reference] [--markdown]

Both heads on made-up scenes: `people` persons of seven parts each. "every pixel" is the embedded model's head done the
plain way, every map brought to the photo's size. With --reference (needs PyTorch) the query head is held against what the
reference does: all 100 masks at the photo's full size, in PyTorch; at 12 MP that would need some 20 GB and is left out.
Ratios are medians within one run; "memory" is the peak of NumPy's arrays, results included.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc

import cv2
import machine
import numpy as np

from humanparse.labels import CIHP
from humanparse.postprocess import CentreSettings, QuerySettings, assemble, parse_centres, parse_queries
from humanparse.preprocess import Geometry, Preprocess

SIZES = {"640×480": (480, 640), "1920×1080": (1080, 1920), "12 MP": (3000, 4000)}  # height, width
SMALL = Preprocess((0,) * 3, (1,) * 3, area_px=640 * 480, multiple=16)
M2FP = Preprocess((0,) * 3, (1,) * 3, short_side=640, filter="pil-bilinear")
QUERIES, HUMAN, NO_OBJECT = 100, 20, 21
BODY = (  # class; where it lies in the person's box: centre x, y and radii
    (2, .5, .1, .3, .08), (13, .5, .17, .22, .07), (5, .5, .4, .4, .16), (9, .5, .72, .35, .22), (14, .1, .45, .12, .15),
    (15, .9, .45, .12, .15), (18, .35, .95, .2, .05),
)


def main() -> None:
    options = _options()
    print(machine.describe(*(["torch"] if options.reference else [])))
    print(f"other processes: {machine.others_share():.0%} of the cores\n")
    rows = [["head", "photo", "people", "time", "memory", "plain way", "ratio", "same pixels"]]
    for name, photo_hw in SIZES.items():
        for people in options.people:
            rows.append(_row("centres", name, people, options.repeat, *_centres(photo_hw, people)))
            plain = options.reference and name != "12 MP"
            rows.append(_row("queries", name, people, options.repeat, *_queries(photo_hw, people, plain)))
    print(machine.table(rows, options.markdown))


def _centres(photo_hw, people):
    geometry = SMALL.geometry(photo_hw)
    outputs = centre_outputs(geometry, people)

    def ours():
        maps = parse_centres(outputs, geometry, CentreSettings())
        assemble(maps, CIHP, 0.3)
        return maps.label_map

    return ours, lambda: every_pixel(outputs, geometry)


def _queries(photo_hw, people, plain):
    geometry = M2FP.geometry(photo_hw)
    outputs = query_outputs(geometry, people)

    def ours():
        maps = parse_queries(outputs, geometry, QuerySettings(), num_parts=20)
        assemble(maps, CIHP, 0.3)
        return maps.label_map

    return ours, (lambda: reference(outputs, geometry)) if plain else None


def _row(head, name, people, repeat, ours, plain) -> list[str]:
    tracemalloc.start()
    labels = ours()
    memory = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    times, theirs = [], []
    for _ in range(repeat):
        times.append(_seconds(ours))
        if plain:
            theirs.append(_seconds(plain))
    row = [head, name, str(people), f"{statistics.median(times) * 1000:.0f} ms", f"{memory:.0f} MB"]
    if not plain:
        return [*row, "", "", ""]
    if head == "centres":                                                # the plain way knows no people and keeps all specks
        return [*row, f"{statistics.median(theirs) * 1000:.0f} ms", _ratio(theirs, times), ""]
    other = plain()
    somebody = (labels > 0) | (other > 0)
    same = (labels == other)[somebody].mean()
    return [*row, f"{statistics.median(theirs) * 1000:.0f} ms", _ratio(theirs, times), f"{same:.2%}"]


def _ratio(slow: list[float], fast: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(slow, fast, strict=True)):.1f}"


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ---- scenes -----------------------------------------------------------------------------------------------------------


def _bodies(geometry: Geometry, people: int):
    """(x, y, radius x, radius y) of each person and (class, the same) of their parts, as shares of the photo."""
    wide = 1 / people
    for number in range(people):
        left = number * wide + 0.05 * wide
        parts = [(c, left + 0.9 * wide * x, 0.05 + 0.9 * y, 0.9 * wide * rx, 0.9 * ry) for c, x, y, rx, ry in BODY]
        yield (left + 0.45 * wide, 0.5, 0.47 * wide, 0.48), parts


def _blob(shape: tuple[int, int], x: float, y: float, rx: float, ry: float, noise: np.random.Generator) -> np.ndarray:
    """float32: logits, positive inside an ellipse whose edge is a little uneven."""
    ys, xs = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    uneven = cv2.GaussianBlur(noise.normal(size=shape).astype(np.float32), (0, 0), 3)
    return np.clip(12 - 12 * np.hypot((xs - x) / rx, (ys - y) / ry) + 3 * uneven, -12, 8).astype(np.float32)


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
    return {"classes": classes[None], "person": person[None, None], "centre": centre[None, None], "offset": offset[None]}


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


# ---- the plain ways ---------------------------------------------------------------------------------------------------


def every_pixel(outputs: dict[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """The label map of the embedded model's head: all class maps and the person map at the photo's size. No people yet."""
    height, width = geometry.photo_hw
    rows, columns = geometry.cells(4)

    def full(one: np.ndarray) -> np.ndarray:
        return cv2.resize(np.ascontiguousarray(one[:rows, :columns]), (width, height), interpolation=cv2.INTER_LINEAR)

    best, label = np.full((height, width), -np.inf, np.float32), np.zeros((height, width), np.uint8)
    for class_id, one in enumerate(outputs["classes"][0][1:], start=1):
        score = full(one)
        label[score > best] = class_id
        np.maximum(best, score, out=best)
    return label * (full(outputs["person"][0, 0]) > 0)


def reference(outputs: dict[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """What the reference computes (docs/m2fp.md), and the label map of it: everything at full size, then thrown away."""
    import torch
    from torch.nn import functional

    def resize(masks, size):
        return functional.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]

    height, width = geometry.resized_hw
    masks = resize(torch.from_numpy(outputs["pred_masks"][0]), geometry.input_hw)[:, :height, :width]
    masks = resize(masks, geometry.photo_hw)                                       # (Q, H, W)
    probability = functional.softmax(torch.from_numpy(outputs["pred_logits"][0]), -1)[:, :-1]
    scores, pairs = probability.flatten().topk(QUERIES)
    classes, masks = pairs % probability.shape[1], masks[pairs // probability.shape[1]]
    certain = (masks > 0).float()
    chance = masks.sigmoid()
    scores = scores * (chance.flatten(1) * certain.flatten(1)).sum(1) / (certain.flatten(1).sum(1) + 1e-6)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
