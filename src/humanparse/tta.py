"""Test-time augmentation: look at a photo several times, mirrored and at other sizes, and average
what the network says.

Of the centre head, probabilities are averaged: of the classes, the person and the centres; and the
ways to the centres, in pixels of one common size, and what speaks for classes on whole people. Of
the semantic head it is the queries' votes for each class. A mirrored view is mirrored back, with
the two sides of each left/right pair exchanged and the ways to the centres turned round.

The photo itself is mirrored, before it is resized: then a photo and its mirror image are looked at
in the very same views, and their results are each other's mirror images. Views of the centre head
fill whole cells, so that the cells of a view and of its mirror image coincide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from humanparse.arguments import is_number, yes_or_no
from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.postprocess.probability import sigmoid, softmax
from humanparse.postprocess.semantic import class_votes
from humanparse.preprocess import Geometry, Preprocess

STRIDE = 4  # input pixels a cell of every output map
SMALLEST, LARGEST = 0.25, 4.0  # scales
FAINTEST = 1e-6  # probabilities nearer than this to 0 or 1 are not told apart


@dataclass(frozen=True)
class View:
    """One look at a photo: at `scale` times the model's input size, and mirrored or not."""

    scale: float = 1.0
    mirrored: bool = False

    def __call__(self, pixels: np.ndarray, preprocess: Preprocess) -> tuple[np.ndarray, Geometry]:
        """pixels: uint8 (H, W, 3) RGB. Returns the network's input and where the photo lies in it,
        as Preprocess does."""
        geometry = self.geometry(pixels.shape[:2], preprocess)
        return preprocess(cv2.flip(pixels, 1) if self.mirrored else pixels, geometry)

    def geometry(self, photo_hw: tuple[int, int], preprocess: Preprocess) -> Geometry:
        """Where a photo of that size goes: into whole cells, unless the model's input has one size
        for all photos."""
        plain = preprocess.geometry(photo_hw)
        if preprocess.fit_hw:
            return plain
        resized = tuple(
            max(1, round(side * self.scale / STRIDE)) * STRIDE for side in plain.resized_hw
        )
        return Geometry(photo_hw, resized, preprocess.padded(resized))


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network said of one view: its outputs by name, each with its leading batch axis; and
    where the photo lay."""

    view: View
    outputs: dict[str, np.ndarray]
    geometry: Geometry


def views(
    flip: bool, scales: Sequence[float], head: str, preprocess: Preprocess
) -> tuple[View, ...]:
    """The views of each photo; none if there is nothing to average.

    scales: of the input's sides. Raises OptionError for impossible scales, and for a model that
    cannot be averaged.
    """
    given, scales = scales, tuple(scales) if isinstance(scales, Iterable) else ()
    if not scales or not all(_is_scale(one) for one in scales):
        raise OptionError(
            f"scales are {given!r}; give one or more numbers from {SMALLEST} to {LARGEST:g}, such as 0.75, 1, 1.25"
        )
    scales = tuple(float(scale) for scale in scales)
    if not yes_or_no("flip", flip) and scales == (1.0,):
        return ()
    if head == "queries":
        raise OptionError(
            "flip and scales are not for this model: its queries are found anew in every view, and which query of one view "
            "answers which of another cannot be said; use it without, or a model with another head"
        )
    if preprocess.fit_hw and scales != (1.0,):
        height, width = preprocess.fit_hw
        raise OptionError(
            f"this model's input is always {width}x{height} pixels; leave scales alone (flip works)"
        )
    return tuple(
        View(scale, mirrored)
        for scale in scales
        for mirrored in ((False, True) if flip else (False,))
    )


def _is_scale(value: Any) -> bool:
    return is_number(value) and SMALLEST <= value <= LARGEST


def average(
    seen: Sequence[Seen], grid: Geometry, head: str, labels: LabelSet
) -> dict[str, np.ndarray]:
    """The views' outputs as one, in the form that the head's post-processing reads.

    grid: where the photo lies in a view of scale 1; the averages have its size. For the head
    "centres": classes, person, centre and offset as the network gives them. For "semantic": votes,
    float32 (C, h, w), see `class_votes`.
    """
    read = {"centres": _centre_maps, "semantic": _votes}[head]
    size = grid.cells(STRIDE) if head == "centres" else grid.resized_hw
    total: dict[str, np.ndarray] = {}
    for scale in dict.fromkeys(one.view.scale for one in seen):
        maps = [read(one, grid, labels) for one in seen if one.view.scale == scale]
        for name in maps[0]:
            # first a view and its mirror image: their sum does not depend on the order
            both = sum(one[name] for one in maps)
            total[name] = total.get(name, 0) + _resized(both, size)
    means = {name: value / len(seen) for name, value in total.items()}
    return _as_logits(means) if head == "centres" else means


def _centre_maps(one: Seen, grid: Geometry, labels: LabelSet) -> dict[str, np.ndarray]:
    """Probabilities, and offsets in the grid's pixels: each float32 (channels, h, w), the right way
    round."""
    rows, columns = one.geometry.cells(STRIDE)
    cut = {name: value[0, :, :rows, :columns] for name, value in one.outputs.items()}
    classes, person, centre, offset = (
        cut[name] for name in ("classes", "person", "centre", "offset")
    )
    # across, down
    shrink = [grid.resized_hw[axis] / one.geometry.resized_hw[axis] for axis in (1, 0)]
    maps = {
        "classes": softmax(classes, axis=0),
        "person": sigmoid(person),
        "centre": sigmoid(centre),
        "offset": offset * np.array(shrink, np.float32)[:, None, None],
    }
    if "wears" in cut:  # models made before have none
        maps["wears"] = cut["wears"]
    if one.view.mirrored:
        maps = {name: value[:, :, ::-1] for name, value in maps.items()}
        for name in {"classes", "wears"} & maps.keys():
            maps[name] = maps[name][_sides_exchanged(labels)]
        maps["offset"] = maps["offset"] * np.array([-1, 1], np.float32)[:, None, None]
    return maps


def _votes(one: Seen, grid: Geometry, labels: LabelSet) -> dict[str, np.ndarray]:
    votes = class_votes(one.outputs, one.geometry)
    return {"votes": votes[_sides_exchanged(labels), :, ::-1] if one.view.mirrored else votes}


def _as_logits(means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Probabilities → what the network would have to say for them."""
    person, centre = (np.clip(means[name], FAINTEST, 1 - FAINTEST) for name in ("person", "centre"))
    return {
        "classes": np.log(np.maximum(means["classes"], FAINTEST))[None],
        "person": np.log(person / (1 - person))[None],
        "centre": np.log(centre / (1 - centre))[None],
    } | {name: means[name][None] for name in ("offset", "wears") if name in means}


def _resized(maps: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """float32 (C, h, w) → (C, *size_hw), bilinear; both cover the whole photo."""
    if maps.shape[1:] == size_hw:
        return maps
    height, width = size_hw
    return np.stack(
        [
            cv2.resize(np.ascontiguousarray(one), (width, height), interpolation=cv2.INTER_LINEAR)
            for one in maps
        ]
    )


def _sides_exchanged(labels: LabelSet) -> np.ndarray:
    """int (C,): for every class the one on the other side of the body, or itself."""
    order = np.arange(len(labels))
    for left, right in labels.left_right_pairs:
        order[left], order[right] = right, left
    return order
