"""Clean up small connected components of people and parts, which are mistakes more often than not.

They are assigned to nobody or to another part. The same goes for hair and hats that are not
connected to a face.

Everything works on the network's coarse cells. `CentreSettings` explains the thresholds.
"""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

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
        window = _window(mine)
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
    raised = parts.copy()
    for index, rise in enumerate(evidence):
        mine = owner == index
        window = _window(mine)
        raised[:, *window] += rise[:, None, None] * mine[window]
    return raised


def drop_faceless(
    parts: np.ndarray, owner: np.ndarray, count: int, heads: Collection[int], faces: Collection[int]
) -> None:
    """Push down hair, hats and glasses that are not connected to a face.

    Collars would become hair otherwise. This is done only for people who have a face somewhere.
    Changes `parts` in place.

    Args:
        parts: float32 (C, h, w), class maps.
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.
        heads: The rows of the classes that are on a head.
        faces: Those of them that are faces.
    """
    if not faces:
        return
    part = winner(parts)
    on_head, face = (np.isin(np.arange(len(parts)), list(rows))[part] for rows in (heads, faces))
    for index in range(count):
        window, regions, areas = _components(on_head & (owner == index))
        with_face = np.bincount(regions[face[window]], minlength=len(areas)) > 0
        faceless = ~with_face[regions] & (regions > 0)
        if with_face[1:].any() and faceless.any():
            for c in heads:
                parts[c][window][faceless] -= PUSH


def join_patches(
    parts: np.ndarray,
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
    of its edge: a piece of shirt in the middle of a coat becomes coat. Changes `parts` in place.

    Args:
        parts: float32 (C, h, w), class maps.
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.
        share: A patch is smaller than this share of the person.
        garment_share: The same if its class is one of `garments`.
        surrounded: The least share of the edge.
        garments: The rows of the garments.
    """
    part = winner(parts)
    for index in range(count):
        mine = owner == index
        person_cells = int(mine.sum())
        window = np.s_[:0, :0] if person_cells == 0 else _window(mine)
        for c in np.unique(part[window][mine[window]]):
            most = (garment_share if int(c) in garments else share) * person_cells
            _join_class(parts, part, mine, window, int(c), most, surrounded)


def _join_class(
    parts: np.ndarray,
    part: np.ndarray,
    mine: np.ndarray,
    window: tuple[slice, slice],
    c: int,
    most: float,
    surrounded: float,
) -> None:
    """Join the patches of one class of one person."""
    (rows, columns), regions, areas = _components((part[window] == c) & mine[window])
    for region in np.flatnonzero(areas[1:] < most) + 1:
        x, y, width, height = cv2.boundingRect((regions == region).view(np.uint8))
        top, left = rows.start + y, columns.start + x
        near = np.s_[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1]
        patch = np.zeros(part[window][near].shape, bool)
        patch[top - near[0].start :, left - near[1].start :][:height, :width] = (
            regions[y : y + height, x : x + width] == region
        )
        ring = cv2.dilate(patch.view(np.uint8), _RING).view(bool) & ~patch & mine[window][near]
        neighbours = np.bincount(part[window][near][ring], minlength=len(parts))
        other = int(neighbours.argmax())
        if neighbours[other] and neighbours[other] >= surrounded * ring.sum():
            # (C, …), a view
            scores = parts[(slice(None), *window)][(slice(None), *near)]
            scores[other][patch] = scores[:, patch].max(0)
            scores[c][patch] -= PUSH
            part[window][near][patch] = other


def _components(where: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Return the connected components of a bool array (h, w).

    They come as the window that holds everything that is true; the number of each cell's component
    in it, 0 for none; and the number of cells of each component, starting with those of none.
    """
    window = _window(where)
    if window[1].stop == window[1].start:
        return window, np.zeros((0, 0), np.int32), np.zeros(1, np.int32)
    _, regions = cv2.connectedComponents(where[window].view(np.uint8), connectivity=8)
    # OpenCV's own counts take three times as long.
    return window, regions, np.bincount(regions.ravel())


def _window(where: np.ndarray) -> tuple[slice, slice]:
    """Return the box of everything that is true, as slices of rows and columns; empty if nothing
    is.
    """
    x, y, width, height = cv2.boundingRect(where.view(np.uint8))
    return np.s_[y : y + height, x : x + width]
