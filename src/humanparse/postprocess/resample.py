"""Mask logits at the photo's pixels, by way of the input's pixels, as the reference gets there.

The reference scales all masks to the network's input, and those to the photo, bilinear both times. Bilinear scaling is
linear, and rows and columns do not mix: both steps together are one small matrix down and one across. They are
built for a box at a time, so that nothing larger than the box ever exists.
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
    down, rows = _weights(np.arange(y0, y1, step), photo_h, resized_h, output.shape[0], stride)
    across, columns = _weights(np.arange(x0, x1, step), photo_w, resized_w, output.shape[1], stride)
    return down @ np.ascontiguousarray(output[rows, columns]) @ across.T


def _weights(pixels: np.ndarray, photo: int, resized: int, cells: int, stride: int) -> tuple[np.ndarray, slice]:
    """How much each cell counts for each of the photo's pixels: float32 (n, the cells that count), and which those are.

    photo, resized, cells: lengths of the photo, of its place in the network's input, and of the output map.
    """
    one, share = _neighbours(pixels, resized / photo, resized)                     # (n, 2) input pixels and their shares
    two, part = _neighbours(one.ravel(), 1 / stride, cells)                        # (2n, 2) cells and their shares
    first, last = int(two.min()), int(two.max())
    weights = np.zeros((len(pixels), last - first + 1), np.float32)
    target = np.broadcast_to(np.arange(len(pixels)).repeat(2)[:, None], two.shape)
    np.add.at(weights, (target, two - first), share.reshape(-1, 1) * part)
    return weights, slice(first, last + 1)


def _neighbours(places: np.ndarray, scale: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Between which two of `length` samples each place lies, and the share of each: int and float32 (n, 2).

    Centres lie at half-integers; outside the outermost ones the border value is repeated.
    """
    position = np.maximum((places + 0.5) * scale - 0.5, 0)
    lower = np.minimum(position.astype(int), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    share = (position - lower).astype(np.float32)
    return np.stack([lower, upper], 1), np.stack([1 - share, share], 1)
