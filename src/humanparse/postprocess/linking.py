"""Which person does a part belong to? M2FP finds parts and people side by side; here they are brought together."""

from __future__ import annotations

import numpy as np

MIN_OVERLAP = 0.5  # share of a part that must lie inside a person for the part to be theirs


def link(parts: np.ndarray, people: np.ndarray, people_scores: np.ndarray, min_overlap: float = MIN_OVERLAP) -> np.ndarray:
    """The person of every part: the one who covers most of it; of those who cover equally much, the surest.

    parts: bool (P, h, w); people: bool (N, h, w), in the same pixels; people_scores: float (N,).
    Returns int (P,), the index of the person, -1 where nobody covers `min_overlap` of the part.
    """
    if len(people) == 0 or len(parts) == 0:
        return np.full(len(parts), -1)
    flat_parts = parts.reshape(len(parts), -1).astype(np.float32)      # (P, h*w)
    flat_people = people.reshape(len(people), -1).astype(np.float32)   # (N, h*w)
    area = np.maximum(flat_parts.sum(1, keepdims=True), 1)
    covered = np.round(flat_parts @ flat_people.T / area, 4)           # (P, N); rounded so that equal means equal
    best = covered.max(1)
    tied = np.where(covered == best[:, None], people_scores, -np.inf)
    return np.where(best >= min_overlap, tied.argmax(1), -1)


def drop_duplicates(masks: np.ndarray, scores: np.ndarray, max_iou: float) -> np.ndarray:
    """Indices of the masks to keep, surest first, leaving out those that repeat a surer one.

    masks: bool (N, h, w); scores: float (N,). Two masks repeat each other above an IoU of `max_iou`.
    """
    if len(masks) == 0:
        return np.zeros(0, int)
    flat = masks.reshape(len(masks), -1).astype(np.float32)            # (N, h*w)
    overlap = flat @ flat.T
    area = np.diag(overlap)
    iou = overlap / np.maximum(area[:, None] + area - overlap, 1)      # (N, N)
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if all(iou[index, other] <= max_iou for other in kept):
            kept.append(int(index))
    return np.array(kept, int)
