"""Mask logits at the photo's pixels, by way of the input's pixels, as the reference does it.

The reference resizes all masks to the network's input, and the result to the photo, bilinear both
times. Together, a photo pixel is a weighted mean of at most three by three cells, with weights that
are the same for all masks. So a box of the photo is a product of matrices, vertical weights × cells
× horizontal weights, and nothing larger than the box is ever created.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.masks import Box
from humanparse.preprocess import Geometry

TAPS = 3  # adjacent cells that a photo pixel can see
# The sides of a block in pixels: the longest whose multiplications stay below ONE_THREAD is taken.
BLOCK_SIDES = range(24, 257, 8)
# From this many multiplications on, OpenBLAS wakes its threads, which takes milliseconds on busy
# cores.
ONE_THREAD = 1 << 18
# Up to this many weights of one side are kept for all boxes; otherwise they are made for each.
WHOLE = 1 << 20
EVERYTHING = slice(0, None)


@dataclass(frozen=True)
class Sampler:
    """Samples maps of one size at the pixels of one photo.

    Attributes:
        across: The cells that each column of the photo sees.
        down: The cells that each row of the photo sees.
    """

    across: Taps
    down: Taps

    @classmethod
    def of(cls, geometry: Geometry, stride: int, cells_hw: tuple[int, int]) -> Sampler:
        """Make the sampler of one photo.

        Args:
            geometry: Where the photo lies in the network's input.
            stride: Input pixels per cell.
            cells_hw: The height and width of the maps in cells, padding included.
        """
        sides = zip(geometry.photo_hw, geometry.resized_hw, cells_hw, strict=True)
        down, across = (Taps.of(photo, resized, cells, stride) for photo, resized, cells in sides)
        return cls(across, down)

    def within(self, box_xyxy: Box, step: int = 1) -> Window:
        """Return a window on every `step`-th pixel of a box, for any number of maps."""
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
        """The height and width in pixels."""
        return len(self.down.first), len(self.across.first)

    def __call__(
        self, output: np.ndarray, rows: slice = EVERYTHING, columns: slice = EVERYTHING
    ) -> np.ndarray:
        """Sample a map at the pixels of the box, or at some of its rows and columns.

        Args:
            output: float32 (h, w), padding included.
            rows: Which rows of the box.
            columns: Which columns of the box.

        Returns:
            The values, float32.
        """
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
    """A few of the requested pixels along one side.

    Attributes:
        start: The first pixel, counted from the first one that was requested.
        stop: The pixel after the last.
        cells: The cells that they see.
        weights: float32 (pixels, cells), the weights of these cells.
    """

    start: int
    stop: int
    cells: slice
    weights: np.ndarray


@dataclass(frozen=True)
class Weights:
    """The weights of n pixels along one side.

    Attributes:
        first: int (n,), the first of the cells that each pixel sees.
        matrix: float32 (n, cells), the weights of the cells from `base` on.
        base: The number of the first cell.
        at_once: The number of pixels in a block.
    """

    first: np.ndarray
    matrix: np.ndarray
    base: int
    at_once: int

    def blocks(self, pixels: slice) -> list[Block]:
        """Return some of the pixels in blocks."""
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
    """The cells that each photo pixel sees along one side.

    Attributes:
        first: int (n,), the first cell of each pixel.
        share: float32 (n, TAPS, or all cells of a smaller map), the weights of the cells from
            `first` on; each row adds up to 1.
        matrix: The same as float32 (n, cells); None if that would be large.
    """

    first: np.ndarray
    share: np.ndarray
    matrix: np.ndarray | None

    @classmethod
    def of(cls, photo: int, resized: int, cells: int, stride: int) -> Taps:
        """Find the cells along one side.

        Args:
            photo: The photo's length in pixels.
            resized: The length of its copy in the network's input, in pixels.
            cells: The length of the map in cells.
            stride: Input pixels per cell.
        """
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
        """Return the weights of some of the pixels."""
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
    """Return the weights of the cells from `base` to `stop`, float32 (n, stop - base)."""
    matrix = np.zeros((len(first), stop - base), np.float32)
    places = np.arange(len(first)) * (stop - base) + (first - base)
    matrix.ravel()[places[:, None] + np.arange(share.shape[1])] = share
    return matrix


def _neighbours(places: np.ndarray, scale: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two of `length` samples between which each place lies, and the share of each.

    Returns int and float (2, ...). Centres lie at half-integers; outside the outermost ones the
    border value is repeated.
    """
    position = np.maximum((places + 0.5) * scale - 0.5, 0)
    lower = np.minimum(position.astype(int), length - 1)
    share = position - lower
    return np.stack([lower, np.minimum(lower + 1, length - 1)]), np.stack([1 - share, share])
