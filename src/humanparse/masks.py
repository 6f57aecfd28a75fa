"""Mask: a region of a picture, kept as its box and the pixels inside it.

Reads and writes COCO run lengths, and writes polygons.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from humanparse.arguments import number_between
from humanparse.errors import OptionError

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 lie just outside

# The largest picture whose masks are read from run lengths: reading takes one byte for each pixel.
MAX_PIXELS = 1 << 28
THIN_PX = 16  # thinner masks have polygons that follow them more closely


@dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of one person or part.

    Attributes:
        size_hw: Height and width of the whole picture.
        box_xyxy: The tight box, x0, y0, x1, y1 in pixels, where x1 and y1 lie just outside;
            (0, 0, 0, 0) if the mask is empty.
        crop: bool (y1 - y0, x1 - x0), the pixels inside the box.
    """

    size_hw: tuple[int, int]
    box_xyxy: Box
    crop: np.ndarray

    @classmethod
    def from_dense(
        cls,
        dense: np.ndarray,
        size_hw: tuple[int, int] | None = None,
        at_xy: tuple[int, int] = (0, 0),
    ) -> Mask:
        """Make a mask from an array of pixels.

        Args:
            dense: bool (h, w), the whole picture, or with `size_hw` a window of it.
            size_hw: Height and width of the whole picture; None for those of `dense`.
            at_xy: x and y of the window's top left corner.
        """
        rows, columns = np.flatnonzero(dense.any(1)), np.flatnonzero(dense.any(0))
        height, width = size_hw or dense.shape
        if len(rows) == 0:
            return cls((height, width), (0, 0, 0, 0), np.zeros((0, 0), bool))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        x, y = at_xy
        box = (int(left) + x, int(top) + y, int(right) + x, int(bottom) + y)
        return cls((height, width), box, np.array(dense[top:bottom, left:right], bool))

    @classmethod
    def union(cls, masks: Sequence[Mask]) -> Mask:
        """Return all pixels of several masks of one picture.

        Args:
            masks: One or more masks.

        Raises:
            OptionError: For no mask, or masks of pictures that differ in size.
        """
        there = [mask for mask in masks if mask.area]
        if len({mask.size_hw for mask in masks}) != 1:
            raise OptionError(f"{len(masks)} masks cannot be united; give masks of one picture")
        if not there:
            return masks[0]
        x0, y0 = (min(mask.box_xyxy[edge] for mask in there) for edge in (0, 1))
        x1, y1 = (max(mask.box_xyxy[edge] for mask in there) for edge in (2, 3))
        crop = np.zeros((y1 - y0, x1 - x0), bool)
        for mask in there:
            left, top, right, bottom = mask.box_xyxy
            crop[top - y0 : bottom - y0, left - x0 : right - x0] |= mask.crop
        return cls(masks[0].size_hw, (x0, y0, x1, y1), crop)

    @classmethod
    def from_rle(cls, rle: Mapping[str, Any]) -> Mask:
        """Read COCO's run lengths.

        Args:
            rle: {"size": [H, W], "counts": text, bytes or a list of run lengths}.

        Raises:
            OptionError: If this is no such thing, its parts disagree, or the picture has more than
                MAX_PIXELS.
        """
        if not isinstance(rle, Mapping) or not {"size", "counts"} <= set(rle):
            raise OptionError(
                "run lengths must be a dictionary with the keys size and counts, as in COCO"
            )
        height, width = _two(_whole_numbers(rle["size"], "size"))
        if min(height, width) < 0 or height * width > MAX_PIXELS:
            raise OptionError(
                f"a mask of {height}x{width} (height x width) is not read; the limit is "
                f"{MAX_PIXELS} pixels"
            )
        counts = rle["counts"]
        runs = (
            _decode(counts) if isinstance(counts, str | bytes) else _whole_numbers(counts, "runs")
        )
        # Python's sum: NumPy's would wrap around
        if min(runs, default=0) < 0 or sum(runs) != height * width:
            raise OptionError(
                f"the runs add up to {sum(runs)} pixels but the size {height}x{width} has "
                f"{height * width}"
            )
        values = np.arange(len(runs)) % 2 == 1
        return cls.from_dense(np.repeat(values, runs).reshape(width, height).T)

    @cached_property
    def area(self) -> int:
        """The number of pixels."""
        return int(np.count_nonzero(self.crop))

    def to_dense(self) -> np.ndarray:
        """Return the mask as bool (H, W), the size of the picture."""
        dense = np.zeros(self.size_hw, bool)
        x0, y0, x1, y1 = self.box_xyxy
        dense[y0:y1, x0:x1] = self.crop
        return dense

    def to_rle(self) -> dict[str, Any]:
        """Return COCO's compressed form, equal to that of pycocotools to the byte.

        Returns:
            {"size": [H, W], "counts": text}.
        """
        height, width = self.size_hw
        x0, y0, x1, y1 = self.box_xyxy
        if self.area == 0:
            return {"size": [height, width], "counts": _encode([height * width])}
        # only the box's columns: COCO runs go down each column
        columns = np.zeros((x1 - x0, height), np.uint8)
        columns[:, y0:y1] = cv2.transpose(self.crop.view(np.uint8))  # ten times as fast as NumPy's
        down = columns.ravel()
        changes = [
            np.flatnonzero(down[:1]),
            np.flatnonzero(down[1:] != down[:-1]) + 1,
            np.flatnonzero(down[-1:]) + len(down),
        ]
        edges = np.concatenate([[0], np.concatenate(changes) + x0 * height, [height * width]])
        runs = np.diff(edges)
        return {"size": [height, width], "counts": _encode(runs[:-1] if runs[-1] == 0 else runs)}

    def to_polygons(self, tolerance_px: float = 0.5) -> list[np.ndarray]:
        """Return the outlines as closed polygons, the largest first.

        Outlines run from the middle of one pixel edge to the middle of the next, so that filling
        them gives the mask again. A hole is cut out by a path of no width from the outline to the
        hole and back, which even-odd filling (pycocotools, OpenCV, Pillow) does not see. The
        smallest specks and pinholes, together at most 0.2 % of the area, are left out.

        Args:
            tolerance_px: How far an outline may be moved to save points; 0 saves only those on
                straight lines. Where the mask is thinner (twice its area over the length of its
                outlines) than THIN_PX it is less, in proportion.

        Returns:
            float (N, 2) for each polygon, x and y in pixels of the picture, whose top left pixel
            spans (0, 0) to (1, 1), as in COCO; [] if the mask is empty.

        Raises:
            OptionError: If the tolerance is not a number of at least 0.
        """
        number_between(
            "tolerance_px", tolerance_px, 0, hint=" pixels: 0 for every step of the outline"
        )
        if self.area == 0:
            return []
        outlines, family = cv2.findContours(
            _half_steps(self.crop), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        # from half pixels to pixels
        areas = np.array([cv2.contourArea(one) for one in outlines]) / 4
        by_area = np.argsort(areas, kind="stable")
        specks = set(by_area[np.cumsum(areas[by_area]) <= 0.002 * self.area].tolist())
        thickness = self.area / sum(cv2.arcLength(one, True) for one in outlines) * 2
        # In half pixels. A little less: a straight edge that moves by half a pixel lies on the
        # centres of its pixels, and loses them all.
        tolerance = 1.99 * tolerance_px * min(1.0, thickness / THIN_PX)
        polygons: dict[int, np.ndarray] = {}
        # by falling area, so an outline comes before its holes
        for number in by_area[::-1].tolist():
            if number in specks:
                continue
            polygon, parent = _straightened(outlines[number], tolerance), family[0, number, 3]
            if parent < 0:
                polygons[number] = polygon
            else:
                polygons[parent] = _with_hole(polygons[parent], polygon)
        return [polygon / 2 + self.box_xyxy[:2] for polygon in polygons.values()]

    def iou(self, other: Mask) -> float:
        """Return the intersection over union in [0, 1]; two empty masks score 0.

        Args:
            other: Another mask of the same picture.

        Raises:
            OptionError: If the pictures differ in size.
        """
        union = self.area + other.area - (overlap := self.intersection(other))
        return overlap / union if union else 0.0

    def intersection(self, other: Mask) -> int:
        """Return the number of shared pixels.

        Args:
            other: Another mask of the same picture.

        Raises:
            OptionError: If the pictures differ in size.
        """
        if self.size_hw != other.size_hw:
            raise OptionError(
                f"masks belong to pictures of different size: {self.size_hw} and {other.size_hw}"
            )
        a, b = self.box_xyxy, other.box_xyxy
        x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
        if x0 >= x1 or y0 >= y1:
            return 0
        mine = self.crop[y0 - a[1] : y1 - a[1], x0 - a[0] : x1 - a[0]]
        theirs = other.crop[y0 - b[1] : y1 - b[1], x0 - b[0] : x1 - b[0]]
        return int(np.count_nonzero(mine & theirs))


def _half_steps(crop: np.ndarray) -> np.ndarray:
    """bool (h, w) → uint8 (2h + 1, 2w + 1): a point for every pixel, pixel edge and pixel corner.

    An edge is set if it belongs to a set pixel, a corner if it belongs to two: the border is then
    straight where the pixels are, and cuts the corners of a staircase.
    """
    pixels = np.pad(crop.view(np.uint8), 1)
    grid = np.empty((2 * crop.shape[0] + 1, 2 * crop.shape[1] + 1), np.uint8)
    grid[1::2, 1::2] = crop
    grid[1::2, 0::2] = pixels[1:-1, :-1] | pixels[1:-1, 1:]
    grid[0::2, 1::2] = pixels[:-1, 1:-1] | pixels[1:, 1:-1]
    grid[0::2, 0::2] = pixels[:-1, :-1] + pixels[:-1, 1:] + pixels[1:, :-1] + pixels[1:, 1:] >= 2
    return grid


def _straightened(outline: np.ndarray, tolerance: float) -> np.ndarray:
    """int (N, 1, 2) → int (M, 2): fewer points, with no other farther than `tolerance` away."""
    straightened = cv2.approxPolyDP(outline, tolerance, True)
    return (straightened if len(straightened) >= 3 else outline)[:, 0]


def _with_hole(polygon: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The polygon with a detour to the hole, round it, and back the same way.

    It starts at the polygon's point that is nearest to the hole's first.
    """
    nearest = ((polygon - hole[0]) ** 2).sum(1).argmin()
    return np.concatenate([polygon[: nearest + 1], hole, hole[:1], polygon[nearest:]])


def class_pixels(label_map: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """Return which pixels of a label map, uint8 (H, W), are of some classes, as bool (H, W)."""
    table = np.zeros(256, np.uint8)
    table[list(classes)] = 1
    return cv2.LUT(np.ascontiguousarray(label_map), table).view(bool)


def row_runs(dense: np.ndarray) -> list[int]:
    """Return the lengths of runs of unset and set pixels in turn, row by row.

    The first is of unset pixels, and 0 if the first pixel is set. CVAT and Label Studio count this
    way; COCO goes down the columns.

    Args:
        dense: bool (h, w).
    """
    flat = dense.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return [0, *runs] if len(flat) and flat[0] else runs


def box_iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes in [0, 1]; two empty boxes score 0."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / max(1, sum(areas) - shared)


def joined_polygon(polygons: Sequence[np.ndarray]) -> np.ndarray:
    """Return several polygons as one, in which paths of no width lead from one to the next.

    Even-odd filling (pycocotools, OpenCV, Pillow) does not see the paths.

    Args:
        polygons: float (N, 2) each, one or more.
    """
    joined = polygons[0]
    for polygon in polygons[1:]:
        joined = _with_hole(joined, polygon)
    return joined


def _two(numbers: list[int]) -> list[int]:
    if len(numbers) != 2:
        raise OptionError(f"the size of a mask is {numbers}; expected height and width")
    return numbers


def _whole_numbers(values: Any, what: str) -> list[int]:
    """The numbers as Python's, which do not overflow. Raises OptionError for anything else."""
    try:
        return [operator.index(value) for value in values]
    except TypeError as error:
        raise OptionError(f"the {what} of a mask should be whole numbers: {error}") from error


def _encode(lengths: Iterable[int] | np.ndarray) -> str:
    """Run lengths → COCO's text: each one's difference from the run two before, five bits a letter.

    A letter has six bits; the sixth says whether more letters follow.
    """
    runs = np.asarray(lengths, np.int64)
    values = runs.copy()
    values[3:] -= runs[1:-2]
    # 13 groups of five bits hold any 64-bit number
    letters = np.zeros((len(runs), 13), np.uint8)
    going_on = np.ones(len(runs), bool)
    for position in range(letters.shape[1]):
        group = values & 0x1F
        values >>= 5
        # whether the rest is more than the sign of this group
        more = values != -(group >> 4)
        letters[going_on, position] = (group + 32 * more + 48)[going_on]
        going_on &= more
    return letters[letters > 0].tobytes().decode("ascii")


def _decode(text: str | bytes) -> list[int]:
    """The inverse of `_encode`.

    Raises OptionError where the text breaks off, or has a letter that is not in the code.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text:
        group = letter - 48
        if not 0 <= group < 64:
            raise OptionError(f"COCO run lengths cannot contain the letter {chr(letter)!r}")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            if shift > 60:
                raise OptionError("COCO run lengths contain a number of more than 60 bits")
            continue
        if group & 0x10:
            value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise OptionError("COCO run lengths break off in the middle of a number")
    return runs
