"""Average precision of instances, and PCP50.

AP^r measures parts, AP^p people by their parts, and AP^h whole people. All three rank the
predictions of all pictures by score, call each of them right or false by its overlap with the
ground truth, and take the area under the curve of precision over recall (made monotone, as PASCAL
VOC does since 2010), for several thresholds of overlap. They differ in what overlaps:

- AP^r: part instances of one class, by mask IoU; the mean over classes. Hariharan et al.,
  arXiv 1407.1808
- AP^p: people, by the mean IoU of their classes, including the background. Zhao et al. (MHP-v2),
  arXiv 1804.03287
- AP^h: whole people, by mask IoU

There are two ways to decide which predictions are right:

- standard: as COCO does. By falling score, each prediction takes the true instance that it overlaps
  most among those not yet taken, if the overlap reaches the threshold. Each true instance is found
  once; every further prediction of it is false.
- reference: as the official evaluation code of M2FP does. For AP^r and AP^h, a prediction is right
  if it overlaps any true instance by more than the threshold, even if others have found that
  instance, so that duplicates are rewarded and an AP can exceed 1. For AP^p, a prediction is false
  if its best true instance was found before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

PART_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of AP^r and AP^p
HUMAN_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # of AP^h
MATCHINGS = ("standard", "reference")


@dataclass(frozen=True, eq=False)
class Overlaps:
    """One picture's predictions (P) of one kind against its true instances (T).

    Attributes:
        scores: float (P,).
        iou: float (P, T), from 0 to 1.
        judged: bool (P,), False for a prediction that lies mostly on unknown pixels: unless it
            finds a true instance, it is neither right nor false.
    """

    scores: np.ndarray
    iou: np.ndarray
    judged: np.ndarray


# (iou (P, T), order of the predictions, threshold) → the true instance of each prediction, or -1.
Match = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def match_once(iou: np.ndarray, order: np.ndarray, threshold: float) -> np.ndarray:
    """Match as COCO does: each true instance is found once.

    A prediction takes the free instance that it overlaps most, if the overlap reaches the
    threshold.

    Args:
        iou: float (P, T).
        order: int (P,), the predictions by falling score.
        threshold: The least overlap.

    Returns:
        int (P,), the true instance of each prediction, or -1.
    """
    found = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], bool)
    for prediction in order:
        candidates = np.where(free, iou[prediction], -1.0)
        if candidates.size and candidates.max() >= threshold:
            found[prediction] = candidates.argmax()
            free[found[prediction]] = False
    return found


def match_any(iou: np.ndarray, order: np.ndarray, threshold: float) -> np.ndarray:
    """Match each prediction with the true instance that it overlaps most.

    It does not matter whether others have found that instance. The overlap must exceed the
    threshold. Arguments and result are those of `match_once`.
    """
    if not iou.shape[1]:
        return np.full(len(iou), -1)
    return np.where(iou.max(1) > threshold, iou.argmax(1), -1)


def match_first(iou: np.ndarray, order: np.ndarray, threshold: float) -> np.ndarray:
    """Match as PASCAL VOC does: the first prediction that finds a true instance keeps it.

    A prediction finds the instance that it overlaps most; later predictions of the same instance
    match nothing. Arguments and result are those of `match_once`.
    """
    found = match_any(iou, order, threshold)
    taken: set[int] = set()
    for prediction in order:
        if found[prediction] in taken:
            found[prediction] = -1
        taken.add(int(found[prediction]))
    return found


class AveragePrecision:
    """Add pictures with `add`, then read `per_threshold` and `mean`.

    Args:
        thresholds: The thresholds of overlap.
        matching: "standard" or "reference".
        kind: "region" for AP^r and AP^h, or "person" for AP^p, which the reference matches
            differently.
    """

    def __init__(
        self, thresholds: Sequence[float], matching: str = "standard", kind: str = "region"
    ):
        self.thresholds = tuple(thresholds)
        self.reference = matching == "reference"
        self.kind = kind
        self.num_truths = 0
        self.num_predictions = 0
        self._match: Match = (
            match_once if not self.reference else match_any if kind == "region" else match_first
        )
        self._scores: list[np.ndarray] = []
        # int (K, P) each: 1 right, 0 false, -1 does not count
        self._verdicts: list[np.ndarray] = []

    def add(self, overlaps: Overlaps) -> dict[float, np.ndarray]:
        """Add one picture.

        Returns:
            For each threshold, the true instance that each prediction finds, or -1: int (P,).
        """
        scores, iou = np.asarray(overlaps.scores, float), np.asarray(overlaps.iou, float)
        self.num_truths += iou.shape[1]
        self.num_predictions += len(scores)
        order = np.argsort(-scores, kind="stable")
        found = {threshold: self._match(iou, order, threshold) for threshold in self.thresholds}
        self._scores.append(scores)
        self._verdicts.append(
            np.array(
                [np.where(one >= 0, 1, np.where(overlaps.judged, 0, -1)) for one in found.values()]
            )
        )
        return found

    @property
    def per_threshold(self) -> np.ndarray:
        """The AP at each threshold, float (K,).

        It is NaN if there is no true instance, which leaves it out of averages. In the reference, a
        class without true instances and without predictions has an AP of 0, which lowers the mean
        over classes.
        """
        if not self.num_truths:
            return np.full(
                len(self.thresholds), 0.0 if self.reference and not self.num_predictions else np.nan
            )
        scores = np.concatenate(self._scores)
        verdicts = np.concatenate(self._verdicts, axis=1)
        order = np.argsort(-scores, kind="stable")
        if self.reference and self.kind == "region":
            # Of equal scores the last one comes first, as in the official code.
            order = np.argsort(scores, kind="stable")[::-1]
        return np.array([self._area(scores[order], one[order]) for one in verdicts])

    @property
    def mean(self) -> float:
        """The mean over the thresholds."""
        return float(self.per_threshold.mean())

    def _area(self, scores: np.ndarray, verdicts: np.ndarray) -> float:
        """Return the area under the curve. scores (P,), falling; verdicts (P,)."""
        scores, verdicts = scores[verdicts >= 0], verdicts[verdicts >= 0]
        right = np.cumsum(verdicts)
        recall, precision = right / self.num_truths, right / np.arange(1, len(verdicts) + 1)
        # Predictions of equal score count together, so that the order of pictures does not matter.
        if not self.reference:
            last = np.append(np.diff(scores) != 0, True)[: len(scores)]
            recall, precision = recall[last], precision[last]
        return area_under(recall, precision)


def area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    """Return the area under precision over recall, with precision made monotone from the right.

    Args:
        recall: float (n,), rising.
        precision: float (n,).
    """
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    highest_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * highest_from_here[1:]))


class PCP:
    """Percentage of correctly parsed parts.

    It is the share of each true person's parts that the matched prediction has right, averaged over
    the true people. A part is right if its IoU exceeds one half. People who are not found count 0.
    Source: Zhao et al., arXiv 1804.03287.
    """

    def __init__(self) -> None:
        self.num_people = 0
        self.total = 0.0

    def add(self, found: np.ndarray, right_parts: np.ndarray, true_parts: np.ndarray) -> None:
        """Add one picture.

        Args:
            found: int (P,), the true person of each prediction, or -1.
            right_parts: int (P, T), how many parts of each pair are right.
            true_parts: int (T,), how many parts each true person has.
        """
        self.num_people += len(true_parts)
        for prediction in np.flatnonzero(found >= 0):
            truth = found[prediction]
            if true_parts[truth]:
                self.total += float(right_parts[prediction, truth]) / float(true_parts[truth])

    @property
    def value(self) -> float:
        """The percentage as a share, from 0 to 1; NaN if there is no true person."""
        return self.total / self.num_people if self.num_people else float("nan")
