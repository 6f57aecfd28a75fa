"""From coarse score maps to the one that wins at every photo pixel, and the boxes that this needs.

Four neighbouring cells span a patch of the photo, and a bilinear value inside the patch is a
weighted mean of the values at its corners. So a map that wins at all four corners wins in the whole
patch, and a map that another one beats at all four wins nowhere in it: most of the photo is filled
without any sampling. Only the patches along borders are computed pixel by pixel, and there only the
two or three maps that can win. Nothing is approximated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.probability import winner
from humanparse.preprocess import Geometry

SAMPLED_PX = 1 << 17  # pixels sampled at the same time, few enough for the processor's caches


def paste_winners(
    scores: np.ndarray,
    foreground: np.ndarray,
    geometry: Geometry,
    stride: int,
    out: np.ndarray,
    values: np.ndarray,
    corner_yx: tuple[int, int] = (0, 0),
) -> dict[int, Box]:
    """Write the value of the winning map into `out`, wherever the foreground is positive.

    Maps are compared after bilinear sampling at the photo's pixels; the first of equals wins.

    Args:
        scores: float32 (K, h, w), at `stride`: all cells of the photo, or a window of them. Cells
            at an edge of the window are not foreground, unless it is the photo's own edge.
        foreground: float32 (h, w), at `stride`, of the same window.
        geometry: Where the photo lies in the network's input.
        stride: Input pixels per cell.
        out: (H, W), C-contiguous and all zero; changed in place.
        values: (K,), what to write for each map.
        corner_yx: The row and column of the window's first cell.

    Returns:
        For each value that may have been written, a box outside which it was not: x0, y0, x1, y1 in
        photo pixels.
    """
    scores, foreground = _framed(scores), _framed(foreground)  # (…, h + 2, w + 2)
    wins, positive = winner(scores), foreground > 0
    down, across = (
        _Axis.of(photo, scale / stride, cells).window(corner, size - 2)
        for photo, scale, cells, corner, size in zip(
            geometry.photo_hw,
            geometry.scale_yx,
            geometry.cells(stride),
            corner_yx,
            foreground.shape,
            strict=True,
        )
    )
    # (h + 1, w + 1) each, one value per patch
    corners, inside = _corners(wins), _corners(positive)
    here = (down.lengths > 0)[:, None] & (across.lengths > 0)
    all_in = inside[0] & inside[1] & inside[2] & inside[3]
    same = (corners[0] == corners[1]) & (corners[0] == corners[2]) & (corners[0] == corners[3])
    whole = here & all_in & same
    rows, columns = np.nonzero(here & ~whole & (inside[0] | inside[1] | inside[2] | inside[3]))
    border = rows, columns
    values = values.astype(out.dtype)
    _fill(np.where(whole, values[corners[0]], 0), down, across, out)
    # (N, K) of the patches along borders
    asked = _may_win(scores, border, [corner[border] for corner in corners])
    _paste_borders(scores, foreground, border, asked, ~all_in[border], down, across, out, values)
    return _reach(whole, corners[0], border, asked, values, down, across)


@dataclass(frozen=True)
class _Axis:
    """How the photo's pixels lie between cells along one side.

    Pixels starts[i] to starts[i + 1] lie between the cells i and i + 1 of a map with one cell
    repeated at each end. share: float32, the weight of the second cell for each pixel.
    """

    starts: np.ndarray
    share: np.ndarray

    @classmethod
    @lru_cache(maxsize=16)  # both maps of a photo, and the next photo of its size
    def of(cls, photo: int, scale: float, cells: int) -> _Axis:
        """photo: pixels; scale: cells per pixel. Centres of pixels and cells lie at
        half-integers.
        """
        # In the map with the repeated cells.
        position = np.clip((np.arange(photo) + 0.5) * scale + 0.5, 0, cells + 1 - 1e-6)
        first = position.astype(np.int32)
        return cls(
            np.searchsorted(first, np.arange(cells + 2)), (position - first).astype(np.float32)
        )

    def window(self, first: int, cells: int) -> _Axis:
        """Return the patches of some cells alone, with the patches before and after them."""
        return _Axis(self.starts[first : first + cells + 2], self.share)

    @cached_property
    def lengths(self) -> np.ndarray:
        """The number of pixels in each patch."""
        return np.diff(self.starts)

    def pixels(self, patches: np.ndarray) -> np.ndarray:
        """Return the pixels of N patches, (N, longest); shorter patches repeat their last pixel."""
        lengths = self.lengths[patches][:, None]
        return self.starts[patches][:, None] + np.minimum(np.arange(lengths.max()), lengths - 1)


def _framed(maps: np.ndarray) -> np.ndarray:
    """Repeat the cells at the edges, (…, h, w) → (…, h + 2, w + 2), in half of np.pad's time."""
    height, width = maps.shape[-2:]
    framed = np.empty((*maps.shape[:-2], height + 2, width + 2), maps.dtype)
    framed[..., 1:-1, 1:-1] = maps
    framed[..., 0, :], framed[..., -1, :] = framed[..., 1, :], framed[..., -2, :]
    framed[..., 0], framed[..., -1] = framed[..., 1], framed[..., -2]
    return framed


def _corners(padded: np.ndarray) -> tuple[np.ndarray, ...]:
    return padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]


def _fill(patches: np.ndarray, down: _Axis, across: _Axis, out: np.ndarray) -> None:
    """Write a value for each patch, (h + 1, w + 1), to all its pixels, unless all of a row is 0."""
    wide = np.repeat(patches, across.lengths, axis=1)
    out = out[:, across.starts[0] : across.starts[-1]]
    starts = down.starts.tolist()
    for row in np.flatnonzero(patches.any(1)).tolist():
        # All rows of the photo between two rows of cells are the same.
        out[starts[row] : starts[row + 1]] = wide[row]


def _paste_borders(
    scores: np.ndarray,
    foreground: np.ndarray,
    border: tuple[np.ndarray, np.ndarray],
    asked: np.ndarray,
    edge: np.ndarray,
    down: _Axis,
    across: _Axis,
    out: np.ndarray,
    values: np.ndarray,
) -> None:
    """Compute N patches pixel by pixel.

    border: their rows and columns. asked: bool (N, K), the maps that can win in each. edge: bool
    (N,), whether the foreground ends in the patch.
    """
    (rows, columns), count, maps = border, asked.sum(1), np.nonzero(asked)[1]
    # Where the maps of each patch begin in `maps`.
    begin = np.cumsum(count) - count
    # The patches with most maps come first.
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
        # The first map wins where it is the only one.
        who[:] = values[maps[begin[some]]][:, None, None]
        best = np.empty(0, np.float32)
        for k in range(count[some[0]] if count[some[0]] > 1 else 0):
            # These are the first ones, since the patches are sorted.
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
    """Return which maps can win somewhere in each of N patches, bool (N, K).

    A map cannot win if one of the winners at the corners, four (N,), beats it at all four corners,
    or if it is everywhere below the lowest value of another map.
    """
    rows, columns = border
    width, patch = padded.shape[2], np.arange(len(rows))
    # A single index is quicker to take.
    cells, corner = padded.reshape(len(padded), -1), rows * width + columns
    at_corners = np.empty((4, len(cells), len(corner)), padded.dtype)  # (4, K, N)
    for values, other in zip(at_corners, (0, 1, width, width + 1), strict=True):
        cells.take(corner + other, axis=1, out=values, mode="clip")
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


def _bilinear(
    maps: np.ndarray,
    which: np.ndarray | int,
    y: np.ndarray,
    x: np.ndarray,
    down: np.ndarray,
    across: np.ndarray,
) -> np.ndarray:
    """Sample padded maps (K, h + 2, w + 2) in n patches, float32 (n, a, b).

    down, across: the shares (n, a, 1) and (n, 1, b).
    """
    left = maps[which, y, x][:, None, None]
    left = left + (maps[which, y + 1, x][:, None, None] - left) * down
    right = maps[which, y, x + 1][:, None, None]
    right = right + (maps[which, y + 1, x + 1][:, None, None] - right) * down  # (n, a, 1)
    value = (right - left) * across
    value += left
    return value


def _reach(
    whole: np.ndarray,
    wins: np.ndarray,
    border: tuple[np.ndarray, np.ndarray],
    asked: np.ndarray,
    values: np.ndarray,
    down: _Axis,
    across: _Axis,
) -> dict[int, Box]:
    """Return by value the box around all patches where it was written, or may have been, in
    photo pixels.
    """
    patch, maps = np.nonzero(asked)
    in_row, in_column = (np.zeros((len(values), whole.shape[axis]), bool) for axis in (0, 1))
    rows, columns = np.nonzero(whole)
    for which, y, x in ((maps, border[0][patch], border[1][patch]), (wins[whole], rows, columns)):
        in_row[which, y] = in_column[which, x] = True
    boxes: dict[int, Box] = {}
    for k in np.flatnonzero(in_row.any(1)).tolist():
        rows, columns = np.flatnonzero(in_row[k]), np.flatnonzero(in_column[k])
        boxes[int(values[k])] = (
            int(across.starts[columns[0]]),
            int(down.starts[rows[0]]),
            int(across.starts[columns[-1] + 1]),
            int(down.starts[rows[-1] + 1]),
        )
    return boxes


def photo_box(cells: Box, geometry: Geometry, stride: int) -> Box:
    """Return the photo pixels that a box of cells can reach by bilinear sampling.

    That is one cell more on each side.
    """
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
    """Return the intersection of two boxes, or None."""
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
