"""Which person does a part belong to?

M2FP finds parts and people side by side; here they are linked.
"""

from __future__ import annotations

import numpy as np

MIN_OVERLAP = 0.5  # a part belongs to a person who covers at least this share of it


def link(
    parts: np.ndarray,
    people: np.ndarray,
    people_scores: np.ndarray,
    min_overlap: float = MIN_OVERLAP,
) -> np.ndarray:
    """Return the person of every part: the one who covers most of it.

    If several people cover the same share, the one with the highest score wins.

    Args:
        parts: bool (P, h, w).
        people: bool (N, h, w), in the same pixels.
        people_scores: float (N,).
        min_overlap: The least share of a part that a person must cover.

    Returns:
        int (P,), the index of the person, -1 if nobody covers enough of the part.
    """
    if len(people) == 0 or len(parts) == 0:
        return np.full(len(parts), -1)
    parts, people = _packed(parts), _packed(people)
    area = np.maximum(_shared(parts, parts), 1)[:, None]
    covered = np.stack([_shared(parts, person) for person in people], 1) / area  # (P, N)
    best = covered.max(1)
    tied = np.where(covered == best[:, None], people_scores, -np.inf)
    return np.where(best >= min_overlap, tied.argmax(1), -1)


def drop_duplicates(masks: np.ndarray, scores: np.ndarray, max_iou: float) -> np.ndarray:
    """Return the indices of the masks to keep, highest score first, without repetitions.

    Args:
        masks: bool (N, h, w).
        scores: float (N,).
        max_iou: A mask repeats one with a higher score if their IoU is above this.
    """
    packed = _packed(masks)
    area = _shared(packed, packed)
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        overlap = _shared(packed[kept], packed[index])  # (kept,)
        if (overlap <= max_iou * np.maximum(area[kept] + area[index] - overlap, 1)).all():
            kept.append(int(index))
    return np.array(kept, int)


def _packed(masks: np.ndarray) -> np.ndarray:
    """bool (N, h, w) → uint64 (N, words): eight pixels per byte, zeros at the end."""
    packed = np.packbits(masks.reshape(len(masks), masks[0].size if len(masks) else 0), axis=1)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def _shared(some: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Count the pixels that packed masks (N, words) share with another mask (words,), int (N,).

    With other masks (N, words), each mask is compared with its counterpart.
    """
    return np.bitwise_count(some & other).sum(1, dtype=np.int64)
