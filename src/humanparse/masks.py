"""Mask: a region of a picture kept as its box and the pixels inside it; COCO run-length encoding in and out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 lie just outside


@dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of one person or part.

    size_hw: height and width of the whole picture. box_xyxy: the tight box, (0, 0, 0, 0) if empty.
    crop: bool (y1 - y0, x1 - x0), the pixels inside the box.
    """

    size_hw: tuple[int, int]
    box_xyxy: Box
    crop: np.ndarray

    @classmethod
    def from_dense(cls, dense: np.ndarray, size_hw: tuple[int, int] | None = None, at_xy: tuple[int, int] = (0, 0)) -> Mask:
        """From a bool (h, w) array: the whole picture, or with `size_hw` a window of it whose corner is `at_xy`."""
        rows, columns = np.flatnonzero(dense.any(1)), np.flatnonzero(dense.any(0))
        size_hw = size_hw or dense.shape
        if len(rows) == 0:
            return cls(size_hw, (0, 0, 0, 0), np.zeros((0, 0), bool))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        x, y = at_xy
        box = (int(left) + x, int(top) + y, int(right) + x, int(bottom) + y)
        return cls(tuple(size_hw), box, np.array(dense[top:bottom, left:right], bool))

    @classmethod
    def from_rle(cls, rle: dict) -> Mask:
        """From COCO's {"size": [H, W], "counts": str, bytes or list of run lengths}. Raises ValueError if they disagree."""
        height, width = rle["size"]
        counts = rle["counts"]
        runs = counts if isinstance(counts, list) else _decode(counts)
        if min(runs, default=0) < 0 or sum(runs) != height * width:  # Python's sum: NumPy's would wrap around
            raise ValueError(f"the runs add up to {sum(runs)} pixels but the size {height}x{width} has {height * width}")
        values = np.arange(len(runs)) % 2 == 1
        return cls.from_dense(np.repeat(values, runs).reshape(width, height).T)

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.crop))

    def to_dense(self) -> np.ndarray:
        """bool (H, W), the size of the picture."""
        dense = np.zeros(self.size_hw, bool)
        x0, y0, x1, y1 = self.box_xyxy
        dense[y0:y1, x0:x1] = self.crop
        return dense

    def to_rle(self) -> dict:
        """COCO's compressed form: {"size": [H, W], "counts": str}, equal to pycocotools' to the byte."""
        height, width = self.size_hw
        x0, y0, x1, y1 = self.box_xyxy
        if self.area == 0:
            return {"size": [height, width], "counts": _encode([height * width])}
        columns = np.zeros((x1 - x0, height), np.int8)  # only the box's columns: COCO runs go down each column
        columns[:, y0:y1] = self.crop.T
        changes = np.flatnonzero(np.diff(columns.ravel(), prepend=0, append=0)) + x0 * height
        edges = np.concatenate([[0], changes, [height * width]])
        runs = np.diff(edges)
        return {"size": [height, width], "counts": _encode(runs[:-1] if runs[-1] == 0 else runs)}

    def iou(self, other: Mask) -> float:
        """Intersection over union in [0, 1]; two empty masks score 0. Raises ValueError if the pictures differ in size."""
        union = self.area + other.area - (overlap := self.intersection(other))
        return overlap / union if union else 0.0

    def intersection(self, other: Mask) -> int:
        """Number of shared pixels. Raises ValueError if the pictures differ in size."""
        if self.size_hw != other.size_hw:
            raise ValueError(f"masks belong to pictures of different size: {self.size_hw} and {other.size_hw}")
        a, b = self.box_xyxy, other.box_xyxy
        x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
        if x0 >= x1 or y0 >= y1:
            return 0
        mine = self.crop[y0 - a[1] : y1 - a[1], x0 - a[0] : x1 - a[0]]
        theirs = other.crop[y0 - b[1] : y1 - b[1], x0 - b[0] : x1 - b[0]]
        return int(np.count_nonzero(mine & theirs))


def _encode(runs) -> str:
    """Run lengths → COCO's text: the change against the run two before, in groups of five bits, six bits a letter."""
    runs = np.asarray(runs, np.int64)
    values = runs.copy()
    values[3:] -= runs[1:-2]
    letters = np.zeros((len(runs), 13), np.uint8)        # 13 groups of five bits hold any 64-bit number
    going_on = np.ones(len(runs), bool)
    for position in range(letters.shape[1]):
        group = values & 0x1F
        values >>= 5
        more = values != -(group >> 4)                   # the rest is not just the sign of this group
        letters[going_on, position] = (group + 32 * more + 48)[going_on]
        going_on &= more
    return letters[letters > 0].tobytes().decode("ascii")


def _decode(text: str | bytes) -> list[int]:
    """The inverse of `_encode`. Raises ValueError where the text breaks off or holds a letter that is not of the code."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii") if isinstance(text, str) else text:
        group = letter - 48
        if not 0 <= group < 64:
            raise ValueError(f"COCO run lengths hold no letter {chr(letter)!r}")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            if shift > 60:
                raise ValueError("COCO run lengths hold a number of more than 60 bits")
            continue
        if group & 0x10:
            value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("COCO run lengths break off in the middle of a number")
    return runs
