"""Clean up small connected components of people and parts, which are mistakes more often than not.

They are assigned to nobody or to another part. The same goes for hair and hats that are not
connected to a face.

Everything works on the network's coarse cells. `CentreSettings` explains the thresholds.
"""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

from humanparse.masks import class_pixels
from humanparse.postprocess.probability import winner

PUSH = 30.0  # logits; a class that is lowered by this much wins nowhere
_RING = np.ones((3, 3), np.uint8)


def drop_islands(owner: np.ndarray, count: int, share: float) -> None:
    """Unassign small components that are not connected to the rest of their person.

    Changes `owner` in place.

    Args:
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.
        share: Components smaller than this share of the person's largest one are dropped.
    """
    for index in range(count):
        window, regions, areas = _components(owner == index)
        small = areas < share * areas[1:].max(initial=0)
        if small[1:].any():
            owner[window][small[regions] & (regions > 0)] = -1


def person_means(maps: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Average maps over the cells of each person.

    Args:
        maps: float32 (C, h, w).
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.

    Returns:
        float32 (count, C); 0 for a person without any cell.
    """
    means = np.zeros((count, len(maps)), np.float32)
    for index in range(count):
        mine = owner == index
        window = window_of(mine)
        if mine[window].size:
            means[index] = maps[:, *window][:, mine[window]].mean(1)
    return means


def steered(parts: np.ndarray, evidence: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Raise each person's class logits by the evidence for each class on the whole person.

    Args:
        parts: float32 (C, h, w), class logits.
        evidence: float32 (people, C).
        owner: int (h, w), the person of each cell, -1 for nobody.

    Returns:
        The raised logits.
    """
    rises = np.pad(evidence, ((0, 1), (0, 0)))  # the last row is nobody's
    return parts + rises.T.take(owner, axis=1)


def drop_faceless(
    parts: np.ndarray,
    part: np.ndarray,
    owner: np.ndarray,
    count: int,
    heads: Collection[int],
    faces: Collection[int],
) -> None:
    """Push down hair, hats and glasses that are not connected to a face.

    Collars would become hair otherwise. This is done only for people who have a face somewhere.
    Changes `parts` and `part` in place.

    Args:
        parts: float32 (C, h, w), class maps.
        part: uint8 (h, w), the class that wins in each cell.
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.
        heads: The rows of the classes that are on a head.
        faces: Those of them that are faces.
    """
    if not faces:
        return
    on_head, face = (class_pixels(part, rows) for rows in (heads, faces))
    for index in range(count):
        window, regions, areas = _components(on_head & (owner == index))
        with_face = np.bincount(regions[face[window]], minlength=len(areas)) > 0
        faceless = ~with_face[regions] & (regions > 0)
        if with_face[1:].any() and faceless.any():
            for c in heads:
                parts[c][window][faceless] -= PUSH
            part[window][faceless] = winner(parts[:, *window][:, faceless])


def join_patches(
    parts: np.ndarray,
    part: np.ndarray,
    owner: np.ndarray,
    count: int,
    *,
    share: float,
    garment_share: float,
    surrounded: float,
    garments: Collection[int],
) -> None:
    """Turn patches into the part around them.

    A patch is a connected component with one other part of the person along at least `surrounded`
    of its edge: a piece of shirt in the middle of a coat becomes coat. Changes `parts` and `part`
    in place.

    Args:
        parts: float32 (C, h, w), class maps.
        part: uint8 (h, w), the class that wins in each cell.
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.
        share: A patch is smaller than this share of the person.
        garment_share: The same if its class is one of `garments`.
        surrounded: The least share of the edge.
        garments: The rows of the garments.
    """
    for index in range(count):
        mine = owner == index
        window = window_of(mine)
        mine = mine[window]
        person_cells = np.count_nonzero(mine)
        if person_cells == 0:
            continue
        framed, mine_framed = _framed(part[window]), _framed(mine.view(np.uint8)).view(bool)
        for c in np.flatnonzero(np.bincount(part[window][mine])).tolist():
            most = (garment_share if c in garments else share) * person_cells
            _join_class(parts[:, *window], framed, mine_framed, c, most, surrounded)
        part[window] = framed[1:-1, 1:-1]


def _join_class(
    parts: np.ndarray, part: np.ndarray, mine: np.ndarray, c: int, most: float, surrounded: float
) -> None:
    """Join the patches of one class in the window of one person.

    parts: (C, h, w), a view; part, mine: (h + 2, w + 2), with a frame of one cell, so that what
    lies around a patch is always inside.
    """
    (rows, columns), regions, areas = _components((part == c) & mine)
    for region, area in enumerate(areas.tolist()):
        if region == 0 or area >= most:
            continue
        x, y, width, height = cv2.boundingRect((regions == region).view(np.uint8))
        patch = regions[y : y + height, x : x + width] == region
        top, left = rows.start + y, columns.start + x
        near = np.s_[top - 1 : top + height + 1, left - 1 : left + width + 1]
        framed = _framed(patch.view(np.uint8))
        ring = (cv2.dilate(framed, _RING) > framed) & mine[near]
        neighbours = part[near][ring]
        cells = np.bincount(neighbours, minlength=1)
        other = int(cells.argmax())
        if cells[other] >= max(1, surrounded * len(neighbours)):
            # without the frame
            scores = parts[:, top - 1 : top - 1 + height, left - 1 : left - 1 + width]
            scores[other][patch] = scores[c][patch]
            scores[c][patch] -= PUSH
            part[near][1:-1, 1:-1][patch] = other


def _framed(cells: np.ndarray) -> np.ndarray:
    """uint8 (h, w) → (h + 2, w + 2), with zeros around it."""
    return cv2.copyMakeBorder(cells, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)


def _components(where: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Return the connected components of a bool array (h, w).

    They come as the window that holds everything that is true; the number of each cell's component
    in it, 0 for none; and the number of cells of each component, starting with those of none.
    """
    window = window_of(where)
    if window[1].stop == window[1].start:
        return window, np.zeros((0, 0), np.int32), np.zeros(1, np.int32)
    _, regions = cv2.connectedComponents(where[window].view(np.uint8), connectivity=8)
    # OpenCV's own counts take three times as long.
    return window, regions, np.bincount(regions.ravel())


def window_of(where: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Return the box of everything that is true, as slices of rows and columns.

    Args:
        where: bool (h, w).
        margin: How many cells more on each side, as far as there are any.

    Returns:
        Empty slices if nothing is true.
    """
    x, y, width, height = cv2.boundingRect(where.view(np.uint8))
    if width == 0:
        return np.s_[0:0, 0:0]
    top, left = max(0, y - margin), max(0, x - margin)
    return np.s_[top : y + height + margin, left : x + width + margin]
