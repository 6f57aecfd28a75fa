"""Mask logits at the photo's pixels, by way of the input's pixels, as the reference gets there.

The reference scales all masks to the network's input, and those to the photo, bilinear both times. Here both steps are
taken for a box at a time, so that nothing larger than the box ever exists.
"""

from __future__ import annotations

import numpy as np

from humanparse.masks import Box
from humanparse.preprocess import Geometry


def sample_twice(output: np.ndarray, stride: int, geometry: Geometry, box_xyxy: Box, step: int = 1) -> np.ndarray:
    """output: float32 (h, w), a whole map at `stride`, padding included. box_xyxy: photo pixels.

    Returns float32: the values at every `step`-th pixel of the box, down and across, from its top left one on.
    """
    x0, y0, x1, y1 = box_xyxy
    (photo_h, photo_w), (resized_h, resized_w) = geometry.photo_hw, geometry.resized_hw
    rows, down = _neighbours(np.arange(y0, y1, step), resized_h / photo_h, resized_h)
    columns, across = _neighbours(np.arange(x0, x1, step), resized_w / photo_w, resized_w)
    top, left = rows.min(), columns.min()
    inputs = _upsampled(output, stride, slice(top, rows.max() + 1), slice(left, columns.max() + 1))
    rows, columns = rows - top, columns - left
    wide = _mean(inputs.T, columns, across).T                                      # (input rows, pixels across)
    return _mean(np.ascontiguousarray(wide), rows, down)


def _mean(values: np.ndarray, pairs: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """float32 (h, w), int (n, 2), float32 (n, 2) → (n, w): of each pair of rows the mean, weighted by their shares."""
    first, second = values[pairs[:, 0]], values[pairs[:, 1]]
    second -= first
    second *= shares[:, 1:]
    second += first
    return second


def _upsampled(output: np.ndarray, stride: int, rows: slice, columns: slice) -> np.ndarray:
    """The network's input pixels of those rows and columns, from a map with a cell for every `stride` pixels."""
    pairs, shares = _neighbours(np.arange(rows.start, rows.stop), 1 / stride, output.shape[0])
    tall = _mean(output, pairs, shares)
    pairs, shares = _neighbours(np.arange(columns.start, columns.stop), 1 / stride, output.shape[1])
    return np.ascontiguousarray(_mean(tall.T, pairs, shares).T)


def _neighbours(places: np.ndarray, scale: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Between which two of `length` samples each place lies, and the share of each: int and float32 (n, 2).

    Centres lie at half-integers; outside the outermost ones the border value is repeated.
    """
    position = np.maximum((places + 0.5) * scale - 0.5, 0)
    lower = np.minimum(position.astype(int), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    share = (position - lower).astype(np.float32)
    return np.stack([lower, upper], 1), np.stack([1 - share, share], 1)
