"""Small pieces of people and parts, which are mistakes more often than not: they go to nobody, or
to another part. So do hair and hats away from any face, and garments and scarves that there is
little of beside a person's main garment.

Everything works on the network's coarse cells. The thresholds are explained in `CentreSettings`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import cv2
import numpy as np

from humanparse.postprocess.probability import FAINTEST, winner

LEAST_SHARE = 1e-3  # of a garment: below this it is not lowered any further
PUSH = 30.0  # logits: a class brought down by this much wins nowhere
_RING = np.ones((3, 3), np.uint8)


def drop_islands(owner: np.ndarray, count: int, share: float) -> None:
    """Give small pieces that hang together with nothing else of their person to nobody, in
    place."""
    for index in range(count):
        window, regions, areas = _pieces(owner == index)
        small = areas < share * areas[1:].max(initial=0)
        if small[1:].any():
            owner[window][small[regions] & (regions > 0)] = -1


def person_means(maps: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """float32 (count, C): the mean of each map over each person's cells; 0 for a person without
    any.

    maps: float32 (C, h, w); owner: int (h, w), whose cell it is, -1 nobody's, below `count`.
    """
    means = np.zeros((count, len(maps)), np.float32)
    for index in range(count):
        mine = owner == index
        window = _window(mine)
        if mine[window].size:
            means[index] = maps[:, *window][:, mine[window]].mean(1)
    return means


def steered(parts: np.ndarray, evidence: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Raise each person's class logits by what speaks for each class on the whole person. Returns
    the logits.

    parts: float32 (C, h, w), class logits; evidence: float32 (people, C); owner: int (h, w), as of
    `person_means`.
    """
    raised = parts.copy()
    for index, rise in enumerate(evidence):
        mine = owner == index
        window = _window(mine)
        raised[:, *window] += rise[:, None, None] * mine[window]
    return raised


def one_outfit(
    parts: np.ndarray,
    probability: np.ndarray,
    owner: np.ndarray,
    count: int,
    garments: Mapping[int, float],
) -> np.ndarray:
    """Lower each person's garments by how much less there is of them than of the person's main one.

    parts, probability: float32 (C, h, w), class maps, as logits and as probabilities, without the
    background; owner: int (h, w), whose cell it is, -1 nobody's, below `count`. garments: their
    rows, and the power of a garment's share of the main one, which multiplies its odds. Returns the
    logits.
    """
    rows = sorted(garments)
    powers = np.array([garments[row] for row in rows], np.float32)
    lowered = parts.copy()
    for index in range(count if powers.any() else 0):
        mine = owner == index
        window = _window(mine)
        mine = mine[window]
        amounts = probability[rows, *window][:, mine].sum(1)  # (garments,)
        shares = np.maximum(amounts / max(amounts.max(), FAINTEST), LEAST_SHARE)
        lowered[rows, *window] += (powers * np.log(shares).astype(np.float32))[:, None, None] * mine
    return lowered


def without_specks(
    parts: np.ndarray, part: np.ndarray, owner: np.ndarray, share: float
) -> np.ndarray:
    """parts: float32 (C, h, w), class maps; part, owner: int (h, w), which class wins, and whose
    cell it is, -1 nobody's.

    Returns the maps, with a class pushed down where it wins only a speck.
    """
    part = np.where(owner >= 0, part, -1)
    cleaned = parts.copy()
    for c in np.flatnonzero(np.bincount(part.ravel() + 1)[1:]):
        window, regions, areas = _pieces(part == c)
        if len(areas) == 2:  # in one piece
            continue
        someone = np.zeros(len(areas), int)
        # whose piece it is; of two people's, either's
        someone[regions.ravel()] = owner[window].ravel()
        largest = np.zeros(owner.max() + 1, int)
        np.maximum.at(largest, someone[1:], areas[1:])
        specks = areas < share * largest[someone]
        if specks[1:].any():
            cleaned[c][window][specks[regions] & (regions > 0)] -= PUSH
    return cleaned


def drop_faceless(
    parts: np.ndarray, owner: np.ndarray, count: int, heads: Collection[int], faces: Collection[int]
) -> None:
    """Bring down hair, hats and glasses that hang together with no face, of a person who has one,
    in place: no collar is hair.

    parts: float32 (C, h, w), class maps; owner: int (h, w), whose cell it is, -1 nobody's, below
    `count`. heads: rows of what is on a head; faces: those of them that are faces.
    """
    if not faces:
        return
    part = winner(parts)
    on_head, face = (np.isin(np.arange(len(parts)), list(rows))[part] for rows in (heads, faces))
    for index in range(count):
        window, regions, areas = _pieces(on_head & (owner == index))
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
    """Give patches to the part around them, in place: a piece of a shirt in the middle of a coat is
    coat.

    parts: float32 (C, h, w), class maps; owner: int (h, w), whose cell it is, -1 nobody's, below
    `count`. A patch is smaller than `share` of the person, or `garment_share` if its class is one
    of `garments`, and has one other part of the person along at least `surrounded` of its edge.
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
    """The patches of one class of one person."""
    (rows, columns), regions, areas = _pieces((part[window] == c) & mine[window])
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


def _pieces(where: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """where: bool (h, w). The window that holds all that is true; in it the number of each cell's
    piece, 0 none; and the pieces' cells by number, those that are none included."""
    window = _window(where)
    if window[1].stop == window[1].start:
        return window, np.zeros((0, 0), np.int32), np.zeros(1, np.int32)
    _, regions = cv2.connectedComponents(where[window].view(np.uint8), connectivity=8)
    # OpenCV's own counts take three times as long
    return window, regions, np.bincount(regions.ravel())


def _window(where: np.ndarray) -> tuple[slice, slice]:
    """The box of what is true, as slices of rows and columns; empty if nothing is."""
    x, y, width, height = cv2.boundingRect(where.view(np.uint8))
    return np.s_[y : y + height, x : x + width]
