"""Test-time augmentation: look at a photo several times, mirrored and at other sizes, and average.

For the centre head the averages are those of the probabilities of the classes, of a person and of a
centre; of the offsets to the centres, in pixels of one common size; and of the evidence for classes
on whole people. For the semantic head they are the queries' votes for each class. The outputs of a
mirrored view are mirrored back: the two sides of each left/right pair change places, and the
horizontal offsets change their sign.

The photo itself is mirrored, before it is resized. A photo and its mirror image are therefore seen
in exactly the same views, and their results are mirror images of each other. Views of the centre
head fill whole cells, so that the cells of a view and of its mirror image coincide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np

from humanparse.arguments import is_number, yes_or_no
from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.postprocess.probability import sigmoid, softmax
from humanparse.postprocess.semantic import class_votes
from humanparse.preprocess import Geometry, Preprocess

STRIDE = 4  # input pixels per cell of every output map
SMALLEST, LARGEST = 0.25, 4.0  # the range of scales
FAINTEST = 1e-6  # probabilities are kept this far from 0 and 1, whose logits are infinite


@dataclass(frozen=True)
class View:
    """One look at a photo: at `scale` times the model's input size, mirrored or not."""

    scale: float = 1.0
    mirrored: bool = False

    def __call__(self, pixels: np.ndarray, preprocess: Preprocess) -> tuple[np.ndarray, Geometry]:
        """Make the network's input for this view.

        Args:
            pixels: The photo, uint8 (H, W, 3) RGB.
            preprocess: The model's own preprocessing.

        Returns:
            The network's input and where the photo lies in it, as Preprocess returns them.
        """
        geometry = self.geometry(pixels.shape[:2], preprocess)
        return preprocess(cv2.flip(pixels, 1) if self.mirrored else pixels, geometry)

    def geometry(self, photo_hw: tuple[int, int], preprocess: Preprocess) -> Geometry:
        """Return where a photo of that size lies in the input.

        It fills whole cells, unless the model's input has the same size for all photos.
        """
        plain = preprocess.geometry(photo_hw)
        if preprocess.fit_hw:
            return plain
        height, width = (
            max(1, round(side * self.scale / STRIDE)) * STRIDE for side in plain.resized_hw
        )
        return Geometry(photo_hw, (height, width), preprocess.padded((height, width)))


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network returned for one view.

    Attributes:
        view: The view.
        outputs: The outputs by name, each with its leading batch axis.
        geometry: Where the photo lay in the input.
    """

    view: View
    outputs: dict[str, np.ndarray]
    geometry: Geometry


def views(
    flip: bool, scales: Sequence[float], head: str, preprocess: Preprocess
) -> tuple[View, ...]:
    """Return the views of each photo; an empty tuple if there is nothing to average.

    Args:
        flip: Whether every photo is also seen mirrored.
        scales: Multiples of the sides of the model's input.
        head: The name of the model's head.
        preprocess: The model's preprocessing.

    Raises:
        OptionError: If a scale is impossible, or if the views of this model cannot be averaged.
    """
    given, scales = scales, tuple(scales) if isinstance(scales, Iterable) else ()
    if not scales or not all(_is_scale(one) for one in scales):
        raise OptionError(
            f"scales are {given!r}; give one or more numbers from {SMALLEST} to {LARGEST:g}, "
            "such as 0.75, 1, 1.25"
        )
    scales = tuple(float(scale) for scale in scales)
    if not yes_or_no("flip", flip) and scales == (1.0,):
        return ()
    if head not in _READERS:
        raise OptionError(
            "flip and scales cannot be used with this model: it finds its queries independently in "
            "every view, and they cannot be matched between views; leave both out, or use a model "
            "with another head"
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
    """Average the outputs of several views, in the form that the head's post-processing reads.

    Args:
        seen: What the network returned for each view.
        grid: Where the photo lies in a view of scale 1; the averages have its size.
        head: The name of the model's head.
        labels: The model's classes.

    Returns:
        For the head "centres": classes, person, centre, offset and, where the model has it, wears,
        as the network gives them. For "semantic": votes, float32 (C, h, w), see `class_votes`.
    """
    read = _READERS[head]
    size = grid.cells(STRIDE) if head == "centres" else grid.resized_hw
    total: dict[str, np.ndarray] = {}
    for scale in dict.fromkeys(one.view.scale for one in seen):
        maps = [read(one, grid, labels) for one in seen if one.view.scale == scale]
        for name in maps[0]:
            # A view and its mirror image come first: their sum does not depend on the order.
            both = reduce(np.add, (one[name] for one in maps))
            resized = _resized(both, size)
            total[name] = total[name] + resized if name in total else resized
    means = {name: value / len(seen) for name, value in total.items()}
    return _as_logits(means) if head == "centres" else means


def _centre_maps(one: Seen, grid: Geometry, labels: LabelSet) -> dict[str, np.ndarray]:
    """Return probabilities, and offsets in the grid's pixels: float32 (channels, h, w) each,
    mirrored back.
    """
    rows, columns = one.geometry.cells(STRIDE)
    cut = {name: value[0, :, :rows, :columns] for name, value in one.outputs.items()}
    classes, person, centre, offset = (
        cut[name] for name in ("classes", "person", "centre", "offset")
    )
    # horizontal, vertical
    shrink = [grid.resized_hw[axis] / one.geometry.resized_hw[axis] for axis in (1, 0)]
    maps = {
        "classes": softmax(classes, axis=0),
        "person": sigmoid(person),
        "centre": sigmoid(centre),
        "offset": offset * np.array(shrink, np.float32)[:, None, None],
    }
    if "wears" in cut:  # models of earlier versions lack it
        maps["wears"] = cut["wears"]
    if one.view.mirrored:
        maps = {name: value[:, :, ::-1] for name, value in maps.items()}
        for name in {"classes", "wears"} & maps.keys():
            maps[name] = maps[name][list(labels.mirrored)]
        maps["offset"] = maps["offset"] * np.array([-1, 1], np.float32)[:, None, None]
    return maps


def _votes(one: Seen, grid: Geometry, labels: LabelSet) -> dict[str, np.ndarray]:
    votes = class_votes(one.outputs, one.geometry)
    return {"votes": votes[list(labels.mirrored), :, ::-1] if one.view.mirrored else votes}


def _as_logits(means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn probabilities back into logits."""
    person, centre = (np.clip(means[name], FAINTEST, 1 - FAINTEST) for name in ("person", "centre"))
    return {
        "classes": np.log(np.maximum(means["classes"], FAINTEST))[None],
        "person": np.log(person / (1 - person))[None],
        "centre": np.log(centre / (1 - centre))[None],
    } | {name: means[name][None] for name in ("offset", "wears") if name in means}


def _resized(maps: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """float32 (C, h, w) → (C, *size_hw), bilinear; both sizes cover the whole photo."""
    if maps.shape[1:] == size_hw:
        return maps
    height, width = size_hw
    return np.stack(
        [
            cv2.resize(np.ascontiguousarray(one), (width, height), interpolation=cv2.INTER_LINEAR)
            for one in maps
        ]
    )


# Of each head whose outputs can be averaged, what brings one view's outputs into one form.
_READERS = {"centres": _centre_maps, "semantic": _votes}
