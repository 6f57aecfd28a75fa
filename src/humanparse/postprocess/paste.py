"""Coarse score maps → which one wins at every photo pixel; and the boxes that this needs.

Four neighbouring cells span a patch of the photo, and a bilinear value inside it is a mean of those
at its corners. So a
map that wins at all four corners wins in the whole patch, and one that another beats at all four
wins nowhere in it: most of the photo is filled without sampling anything. Only the patches along
borders are looked at pixel by pixel, and there only the two or three maps that can win. Nothing is
approximated.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.probability import winner
from humanparse.preprocess import Geometry

SAMPLED_PX = 1 << 17  # pixels sampled at a time: few enough to stay in the processor's caches


def paste_winners(
    scores: np.ndarray,
    foreground: np.ndarray,
    geometry: Geometry,
    stride: int,
    out: np.ndarray,
    values: np.ndarray,
) -> dict[int, Box]:
    """Write into `out`, wherever the foreground is positive, the value of the map that scores
    highest there.

    scores: float32 (K, h, w); foreground: float32 (h, w), both at `stride`; out: (H, W),
    C-contiguous and all zero;
    values: (K,), what to write for each map. Maps are compared after bilinear sampling at the
    photo's pixels; of equals the first wins. Returns for each value that may have been written a
    box outside of which it was not: x0, y0, x1, y1 in photo pixels.
    """
    scores, foreground = (
        np.pad(scores, ((0, 0), (1, 1), (1, 1)), "edge"),
        np.pad(foreground, 1, "edge"),
    )
    # (h + 2, w + 2)
    wins, positive = winner(scores), foreground > 0
    down, across = (
        _Axis.of(photo, scale / stride, cells - 2)
        for photo, scale, cells in zip(
            geometry.photo_hw, geometry.scale_yx, foreground.shape, strict=True
        )
    )
    # (h + 1, w + 1) each, of a patch
    corners, inside = _corners(wins), _corners(positive)
    here = (down.lengths > 0)[:, None] & (across.lengths > 0)
    all_in = inside[0] & inside[1] & inside[2] & inside[3]
    same = (corners[0] == corners[1]) & (corners[0] == corners[2]) & (corners[0] == corners[3])
    whole = here & all_in & same
    border = np.nonzero(here & ~whole & (inside[0] | inside[1] | inside[2] | inside[3]))
    values = values.astype(out.dtype)
    filled = np.repeat(np.where(whole, values[corners[0]], 0), across.lengths, axis=1)
    for row, (start, end) in enumerate(zip(down.starts[:-1], down.starts[1:], strict=True)):
        out[start:end] = filled[row]
    # (N, K) of the patches along borders
    asked = _may_win(scores, border, [corner[border] for corner in corners])
    _paste_borders(scores, foreground, border, asked, ~all_in[border], down, across, out, values)
    return _reach(whole, corners[0], border, asked, values, down, across)


@dataclass(frozen=True)
class _Axis:
    """How the photo's pixels lie between cells, along one side: pixels starts[i] to starts[i + 1]
    lie between the cells i and i + 1 of a map with one cell repeated at each end. share: float32,
    of each pixel, that of the second of its cells."""

    starts: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, photo: int, scale: float, cells: int) -> _Axis:
        """photo: pixels; scale: cells a pixel. Centres of pixels and cells lie at half-integers."""
        # in the longer map
        position = np.clip((np.arange(photo) + 0.5) * scale + 0.5, 0, cells + 1 - 1e-6)
        first = position.astype(np.int32)
        return cls(
            np.searchsorted(first, np.arange(cells + 2)), (position - first).astype(np.float32)
        )

    @property
    def lengths(self) -> np.ndarray:
        """Pixels of each patch."""
        return np.diff(self.starts)

    def pixels(self, patches: np.ndarray) -> np.ndarray:
        """(N, longest): the pixels of N patches; shorter ones repeat their last."""
        lengths = self.lengths[patches][:, None]
        return self.starts[patches][:, None] + np.minimum(np.arange(lengths.max()), lengths - 1)


def _corners(padded: np.ndarray) -> tuple[np.ndarray, ...]:
    return padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]


def _paste_borders(scores, foreground, border, asked, edge, down, across, out, values) -> None:
    """Pixel by pixel: N patches (rows, columns), the maps asked in each, bool (N, K), and whether
    the foreground ends in it."""
    (rows, columns), count, maps = border, asked.sum(1), np.nonzero(asked)[1]
    # of each patch's maps in `maps`
    begin = np.cumsum(count) - count
    # those with most maps first
    order = np.argsort(-count, kind="stable")
    at_once = max(1, SAMPLED_PX // int(down.lengths.max() * across.lengths.max()))
    flat = out.reshape(-1)
    for first in range(0, len(order), at_once):
        some = order[first : first + at_once]
        y, x = rows[some], columns[some]
        # (n, a), (n, b)
        ys, xs = down.pixels(y), across.pixels(x)
        shares = down.share[ys][:, :, None], across.share[xs][:, None, :]
        who = np.empty((len(some), ys.shape[1], xs.shape[1]), values.dtype)
        # the first map, for want of another
        who[:] = values[maps[begin[some]]][:, None, None]
        best = None
        for k in range(count[some[0]] if count[some[0]] > 1 else 0):
            # the first ones: they are sorted
            asking = np.count_nonzero(count[some] > max(k, 1))
            which = maps[begin[some[:asking]] + k]
            score = _bilinear(
                scores, which, y[:asking], x[:asking], shares[0][:asking], shares[1][:asking]
            )
            if k == 0:
                best = score
            else:
                np.copyto(who[:asking], values[which][:, None, None], where=score > best[:asking])
                np.maximum(best[:asking], score, out=best[:asking])
        cut = np.flatnonzero(edge[some])
        who[cut] *= (
            _bilinear(foreground[None], 0, y[cut], x[cut], shares[0][cut], shares[1][cut]) > 0
        )
        flat[ys[:, :, None] * out.shape[1] + xs[:, None, :]] = who


def _may_win(
    padded: np.ndarray, border: tuple[np.ndarray, np.ndarray], winners: list[np.ndarray]
) -> np.ndarray:
    """bool (N, K): the maps that can win somewhere in each of N patches. winners: four (N,), those
    at the corners.

    A map cannot that one of these beats at all four corners, or that is everywhere below the lowest
    value of another.
    """
    rows, columns = border
    width, patch = padded.shape[2], np.arange(len(rows))
    # of which one index is quick to take
    cells, corner = padded.reshape(len(padded), -1), rows * width + columns
    # (4, K, N)
    at_corners = np.stack(
        [cells.take(corner + other, axis=1) for other in (0, 1, width, width + 1)]
    )
    may = at_corners.max(0) >= at_corners.min(0).max(0)  # (K, N)
    for one in winners:
        of_winner = at_corners[:, one, patch]  # (4, N)
        beaten = at_corners[0] <= of_winner[0]
        for corner in (1, 2, 3):
            beaten &= at_corners[corner] <= of_winner[corner]
        may &= ~beaten
    for one in winners:
        may[one, patch] = True
    return may.T


def _bilinear(maps, which, y, x, down, across) -> np.ndarray:
    """float32 (n, a, b): values of padded maps (K, h + 2, w + 2) in n patches, at shares (n, a, 1)
    and (n, 1, b)."""
    left = maps[which, y, x][:, None, None]
    left = left + (maps[which, y + 1, x][:, None, None] - left) * down
    right = maps[which, y, x + 1][:, None, None]
    right = right + (maps[which, y + 1, x + 1][:, None, None] - right) * down  # (n, a, 1)
    value = (right - left) * across
    value += left
    return value


def _reach(whole, wins, border, asked, values, down, across) -> dict[int, Box]:
    """By value, the photo pixels of all patches where it was written, or may have been."""
    patch, maps = np.nonzero(asked)
    in_row, in_column = (np.zeros((len(values), whole.shape[axis]), bool) for axis in (0, 1))
    in_row[maps, border[0][patch]] = True
    in_column[maps, border[1][patch]] = True
    for k in np.flatnonzero(np.bincount(wins[whole], minlength=len(values))):
        x, y, width, height = cv2.boundingRect(((wins == k) & whole).view(np.uint8))
        # the box needs its ends alone
        in_row[k, [y, y + height - 1]] = in_column[k, [x, x + width - 1]] = True
    boxes = {}
    for k in np.flatnonzero(in_row.any(1)):
        y, x = np.flatnonzero(in_row[k]), np.flatnonzero(in_column[k])
        box = (
            across.starts[x[0]],
            down.starts[y[0]],
            across.starts[x[-1] + 1],
            down.starts[y[-1] + 1],
        )
        boxes[int(values[k])] = tuple(int(side) for side in box)
    return boxes


def photo_box(cells: Box, geometry: Geometry, stride: int) -> Box:
    """The photo pixels that a box of cells can reach by bilinear sampling: one cell more on each
    side."""
    down, across = (scale / stride for scale in geometry.scale_yx)
    height, width = geometry.photo_hw
    x0, y0, x1, y1 = cells
    return (
        max(0, int((x0 - 1) / across)),
        max(0, int((y0 - 1) / down)),
        min(width, int(np.ceil((x1 + 1) / across))),
        min(height, int(np.ceil((y1 + 1) / down))),
    )


def intersect(a: Box, b: Box) -> Box | None:
    """What two boxes share, or None."""
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
