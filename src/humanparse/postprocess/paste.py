"""Coarse score maps → which one wins at every photo pixel, tile by tile; and the boxes that this needs."""

from __future__ import annotations

import numpy as np

from humanparse.masks import Box
from humanparse.preprocess import Geometry


def paste_winners(
    scores: np.ndarray, foreground: np.ndarray, geometry: Geometry, stride: int, out: np.ndarray, values: np.ndarray
) -> None:
    """Write into `out` (H, W), wherever the foreground is positive, the value of the map that scores highest there.

    scores: float32 (K, h, w); foreground: float32 (h, w), both at `stride`; values: (K,), what to write for each map.
    Maps are compared after bilinear sampling at the photo's pixels. A map is only asked near the cells where it
    scores highest among all: bilinear values elsewhere can beat the others by a hair's breadth at most.
    """
    winner = np.where(foreground_reach(foreground), scores.argmax(0), -1)  # (h, w)
    boxes = [(k, cell_box(winner == k)) for k in np.unique(winner) if k >= 0]
    values = values.astype(out.dtype)
    for tile in geometry.tiles():
        x0, y0, x1, y1 = tile
        best = np.full((y1 - y0, x1 - x0), -np.inf, np.float32)
        who = np.zeros(best.shape, out.dtype)
        for k, cells in boxes:
            box = intersect(photo_box(cells, geometry, stride), tile)
            if box is None:
                continue
            window = np.s_[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0]
            score = geometry.sample(scores[k], stride, box)
            better = score > best[window]
            np.copyto(best[window], score, where=better)
            np.copyto(who[window], values[k], where=better)
        inside = geometry.sample(foreground, stride, tile) > 0
        np.multiply(who, inside, out=out[y0:y1, x0:x1])


def photo_box(cells: Box, geometry: Geometry, stride: int) -> Box:
    """The photo pixels that a box of cells can reach by bilinear sampling: one cell more on each side."""
    down, across = (scale / stride for scale in geometry.scale_yx)
    height, width = geometry.photo_hw
    x0, y0, x1, y1 = cells
    return (
        max(0, int((x0 - 1) / across)), max(0, int((y0 - 1) / down)),
        min(width, int(np.ceil((x1 + 1) / across))), min(height, int(np.ceil((y1 + 1) / down))),
    )


def foreground_reach(foreground: np.ndarray) -> np.ndarray:
    """bool (h, w): cells that are foreground or touch one, so that bilinear sampling between them finds a winner."""
    positive = np.pad(foreground > 0, 1)
    rows = positive[:-2] | positive[1:-1] | positive[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def cell_box(where: np.ndarray) -> Box:
    """The tight box of the true cells, of which there must be some."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def intersect(a: Box, b: Box) -> Box | None:
    """What two boxes share, or None."""
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
