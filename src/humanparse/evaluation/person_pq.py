"""Panoptic quality of people: are they found, separated and outlined well?

Source: Kirillov et al., arXiv 1801.00868.
"""

from __future__ import annotations

import numpy as np


class PersonPQ:
    """Add pictures with `add`, then read `pq`, `found`, `missed` and `false`.

    A true person is found by the prediction that overlaps them with an IoU above one half; there
    can be only one.
    """

    def __init__(self) -> None:
        self.overlaps: list[float] = []
        self.missed = 0
        self.false = 0

    @property
    def found(self) -> int:
        """The number of true people who were found."""
        return len(self.overlaps)

    @property
    def pq(self) -> float:
        """The sum of the IoU of those found, over found + half of the missed and the false.

        It is 1.0 if there is nobody anywhere.
        """
        people = self.found + 0.5 * self.missed + 0.5 * self.false
        return sum(self.overlaps) / people if people else 1.0

    def add(self, ground_truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add one picture.

        Unknown pixels do not count, and a prediction of which more than half is unknown is neither
        right nor false.

        Args:
            ground_truth: int (H, W), 0 nobody, 1.. the person, -1 unknown.
            prediction: int (H, W), 0 nobody, 1.. the person.
        """
        # 0 unknown, 1 nobody, 2.. people
        true, n_true = _consecutive(np.maximum(ground_truth, -1) + 1)
        pred, n_pred = _consecutive(prediction.astype(np.int64))  # 0 nobody, 1.. people
        self.add_cells(
            np.bincount(true * n_pred + pred, minlength=n_true * n_pred).reshape(n_true, n_pred)
        )

    def add_cells(self, cells: np.ndarray) -> None:
        """Add one picture as a table.

        Args:
            cells: int (2 + T, 1 + P), pixels by [unknown, nobody, each true person] and [nobody,
                each predicted person].
        """
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
        """Add what another one has counted, for other pictures."""
        self.overlaps += other.overlaps
        self.missed += other.missed
        self.false += other.false


def _consecutive(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the flat map with its numbers renumbered without gaps, and how many numbers there are.

    0 and 1 stay.
    """
    present, renumbered = np.unique(np.concatenate([[0, 1], numbers.ravel()]), return_inverse=True)
    return renumbered[2:], len(present)
