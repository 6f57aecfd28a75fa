"""Mask logits at the photo's pixels, by way of the input's pixels, as the reference gets there.

The reference scales all masks to the network's input, and those to the photo, bilinear both times.
Taken together, a photo pixel is a weighted mean of at most three by three cells, with weights that
hold for all masks. So a box of the photo is a product of matrices, weights down × cells × weights
across, and nothing larger than the box ever exists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.masks import Box
from humanparse.preprocess import Geometry

TAPS = 3  # cells in a row that a photo pixel can see
BLOCK_SIDES = range(24, 257, 8)  # pixels sampled at a time, down and across: the most that
# weights of one side that are kept for all boxes; of longer sides they are made for each
WHOLE = 1 << 20
# multiplications allow; from there on OpenBLAS wakes its threads, which on busy cores takes
# milliseconds
ONE_THREAD = 1 << 18
EVERYTHING = slice(0, None)


@dataclass(frozen=True)
class Sampler:
    """Finds the pixels of one photo in maps of one size. across, down: the cells that its columns
    and rows see."""

    across: Taps
    down: Taps

    @classmethod
    def of(cls, geometry: Geometry, stride: int, cells_hw: tuple[int, int]) -> Sampler:
        """cells_hw: of the maps, padding included."""
        sides = zip(geometry.photo_hw, geometry.resized_hw, cells_hw, strict=True)
        down, across = (Taps.of(photo, resized, cells, stride) for photo, resized, cells in sides)
        return cls(across, down)

    def within(self, box_xyxy: Box, step: int = 1) -> Window:
        """Every `step`-th pixel of a box, for as many maps as there are."""
        x0, y0, x1, y1 = box_xyxy
        return Window(
            self.across.weights(slice(x0, x1, step)), self.down.weights(slice(y0, y1, step))
        )


@dataclass(frozen=True)
class Window:
    """The weights of the pixels of one box."""

    across: Weights
    down: Weights

    @property
    def size_hw(self) -> tuple[int, int]:
        return len(self.down.first), len(self.across.first)

    def __call__(
        self, output: np.ndarray, rows: slice = EVERYTHING, columns: slice = EVERYTHING
    ) -> np.ndarray:
        """output: float32 (h, w). Returns float32: its values at the pixels of the box, or of some
        of its rows and columns."""
        down, across = self.down.blocks(rows), self.across.blocks(columns)
        sampled = np.empty((down[-1].stop, across[-1].stop), np.float32)
        for row in down:
            for column in across:
                tall = row.weights @ output[row.cells, column.cells]
                np.matmul(
                    tall,
                    column.weights.T,
                    out=sampled[row.start : row.stop, column.start : column.stop],
                )
        return sampled


@dataclass(frozen=True)
class Block:
    """A few of the pixels that were asked for, the cells that they see, and float32 (pixels,
    cells): the weights of these."""

    start: int
    stop: int
    cells: slice
    weights: np.ndarray


@dataclass(frozen=True)
class Weights:
    """Along one side, of n pixels: first, int (n,), of the cells that each sees. matrix: float32
    (n, cells), the weights of the cells from `base` on. at_once: pixels of a block."""

    first: np.ndarray
    matrix: np.ndarray
    base: int
    at_once: int

    def blocks(self, pixels: slice) -> list[Block]:
        """Some of the pixels, a few at a time."""
        start, stop, _ = pixels.indices(len(self.first))
        return [
            self._block(some, min(some + self.at_once, stop), start)
            for some in range(start, stop, self.at_once)
        ]

    def _block(self, start: int, stop: int, origin: int) -> Block:
        low, high = (
            int(self.first[start]),
            min(int(self.first[stop - 1]) + TAPS, self.base + self.matrix.shape[1]),
        )
        weights = self.matrix[start:stop, low - self.base : high - self.base]
        return Block(start - origin, stop - origin, slice(low, high), weights)


@dataclass(frozen=True)
class Taps:
    """Along one side, which cells each photo pixel sees: a few from `first` on, int (n,); share:
    float32 (n, TAPS or, of a smaller map, all its cells), which adds up to 1. matrix: the same as
    float32 (n, cells); None if that were large."""

    first: np.ndarray
    share: np.ndarray
    matrix: np.ndarray | None

    @classmethod
    def of(cls, photo: int, resized: int, cells: int, stride: int) -> Taps:
        """photo, resized: pixels of the photo and of its copy in the network's input."""
        # (2, n) each
        pixels, of_pixel = _neighbours(np.arange(photo), resized / photo, resized)
        # (2, 2, n) each
        cell, of_cell = _neighbours(pixels, 1 / stride, cells)
        of_cell *= of_pixel
        taps = min(TAPS, cells)
        first = np.minimum(cell[0, 0], cells - taps)
        share = np.zeros((photo, taps), np.float32)
        numbers = np.arange(photo)
        for one in np.ndindex(2, 2):
            share[numbers, cell[one] - first] += of_cell[one]
        return cls(
            first, share, _matrix(first, share, 0, cells) if photo * cells <= WHOLE else None
        )

    def weights(self, pixels: slice) -> Weights:
        first = self.first[pixels]
        base, stop = int(first[0]), int(first[-1]) + self.share.shape[1]
        matrix = (
            _matrix(first, self.share[pixels], base, stop)
            if self.matrix is None
            else self.matrix[pixels, base:stop]
        )
        per_pixel = (stop - base) / len(first)
        fitting = [
            side
            for side in BLOCK_SIDES
            if side * side * (side * per_pixel + TAPS + 1) <= ONE_THREAD
        ]
        return Weights(first, matrix, base, max(fitting, default=BLOCK_SIDES[0]))


def _matrix(first: np.ndarray, share: np.ndarray, base: int, stop: int) -> np.ndarray:
    """float32 (n, stop - base): the weights of the cells from `base` to `stop`."""
    matrix = np.zeros((len(first), stop - base), np.float32)
    places = np.arange(len(first)) * (stop - base) + (first - base)
    matrix.ravel()[places[:, None] + np.arange(share.shape[1])] = share
    return matrix


def _neighbours(places: np.ndarray, scale: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Between which two of `length` samples each place lies, and the share of each: int and float
    (2, ...).

    Centres lie at half-integers; outside the outermost ones the border value is repeated.
    """
    position = np.maximum((places + 0.5) * scale - 0.5, 0)
    lower = np.minimum(position.astype(int), length - 1)
    share = position - lower
    return np.stack([lower, np.minimum(lower + 1, length - 1)]), np.stack([1 - share, share])
