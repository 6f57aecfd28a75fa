"""Panoptic quality of people (Kirillov et al., arXiv 1801.00868): are they found, told apart and
outlined well?"""

from __future__ import annotations

import numpy as np


class PersonPQ:
    """Add pictures with `add`, then read `pq`, `found`, `missed` and `false`.

    A person of the truth is found by the prediction that overlaps them with an IoU above one half;
    there can be one only.
    """

    def __init__(self):
        self.overlaps: list[float] = []
        self.missed = 0
        self.false = 0

    @property
    def found(self) -> int:
        return len(self.overlaps)

    @property
    def pq(self) -> float:
        """Sum of the IoU of those found, over found + half of the missed and the false; 1.0 if
        nobody is anywhere."""
        people = self.found + 0.5 * self.missed + 0.5 * self.false
        return sum(self.overlaps) / people if people else 1.0

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """truth, prediction: integer (H, W), 0 nobody, 1.. the person; -1 in the truth is unknown.

        Unknown pixels do not count, and a prediction that lies more than half on them is neither
        right nor false.
        """
        true, n_true = _consecutive(np.maximum(truth, -1) + 1)  # 0 unknown, 1 nobody, 2.. people
        pred, n_pred = _consecutive(prediction.astype(np.int64))  # 0 nobody, 1.. people
        self.add_cells(
            np.bincount(true * n_pred + pred, minlength=n_true * n_pred).reshape(n_true, n_pred)
        )

    def add_cells(self, cells: np.ndarray) -> None:
        """cells: int (2 + T, 1 + P), pixels by [unknown, nobody, each true person] and [nobody,
        each person found]."""
        unknown, shared = cells[0, 1:], cells[1:]  # (P,), (1 + T, 1 + P)
        union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
        iou = (shared / np.maximum(union, 1))[1:, 1:]
        asked = shared.sum(1)[1:] > 0
        given = cells[:, 1:].sum(0)
        judged = (given > 0) & (unknown <= 0.5 * given)
        hit = iou > 0.5
        self.overlaps += iou[hit].tolist()
        self.missed += int((asked & ~hit.any(1)).sum())
        self.false += int((judged & ~hit.any(0)).sum())

    def add_score(self, other: PersonPQ) -> None:
        """What another one has counted, of other pictures."""
        self.overlaps += other.overlaps
        self.missed += other.missed
        self.false += other.false


def _consecutive(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """The map, flat, with the numbers after 0 and 1 closed up without gaps, and how many there are.
    0 and 1 stay."""
    present, renumbered = np.unique(np.concatenate([[0, 1], numbers.ravel()]), return_inverse=True)
    return renumbered[2:], len(present)
