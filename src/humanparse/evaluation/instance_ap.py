"""Average precision of instances: AP^r of parts, AP^p of people by their parts, AP^h of whole
people; and PCP50.

All three rank the predictions of all pictures by score, call each one right or false by its overlap
with the truth, and take the area under the curve of precision over recall (made monotone, as PASCAL
VOC does since 2010), for each of several thresholds of overlap. They differ in what overlaps:

    AP^r  part instances of one class, by mask IoU; the mean over classes. Hariharan et al., arXiv 1407.1808
    AP^p  people, by the mean IoU of their classes, background included. Zhao et al. (MHP-v2), arXiv 1804.03287
    AP^h  whole people, by mask IoU

Two ways to say which predictions are right:

    standard   as COCO does: by falling score, each prediction takes the truth that it overlaps most among those not yet
               taken, if the overlap reaches the threshold. Each truth is found once; every further
               one is false.
    reference  as the official evaluation code of M2FP does. AP^r and AP^h: a prediction is right if it overlaps any
               truth by more than the threshold, even if others have found that one, so that
               duplicates are rewarded and an AP can exceed 1. AP^p: the prediction whose best truth
               was found before is false.
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
    """One picture's predictions (P) of one kind against its truths (T).

    scores: float (P,). iou: float (P, T), 0 to 1. judged: bool (P,), False for a prediction that
    lies mostly on unknown
    ground: unless it finds a truth, it is neither right nor false.
    """

    scores: np.ndarray
    iou: np.ndarray
    judged: np.ndarray


# Matching: (iou (P, T), order of the predictions, threshold) → for each prediction the truth that
# it finds, or -1.
Match = Callable[[np.ndarray, Sequence[int], float], np.ndarray]


def match_once(iou: np.ndarray, order: Sequence[int], threshold: float) -> np.ndarray:
    """COCO's: the free truth that overlaps most, if the overlap reaches the threshold; then it is
    taken.

    iou: float (P, T). order: the predictions by falling score. Returns int (P,), the truth or -1.
    """
    found = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], bool)
    for prediction in order:
        candidates = np.where(free, iou[prediction], -1.0)
        if candidates.size and candidates.max() >= threshold:
            found[prediction] = candidates.argmax()
            free[found[prediction]] = False
    return found


def match_any(iou: np.ndarray, order: Sequence[int], threshold: float) -> np.ndarray:
    """The truth that overlaps most, if by more than the threshold, whoever else found it; see
    `match_once`."""
    if not iou.shape[1]:
        return np.full(len(iou), -1)
    return np.where(iou.max(1) > threshold, iou.argmax(1), -1)


def match_first(iou: np.ndarray, order: Sequence[int], threshold: float) -> np.ndarray:
    """PASCAL VOC's: the truth that overlaps most, for the first who finds it; the others get none.
    See `match_once`."""
    found = match_any(iou, order, threshold)
    taken: set[int] = set()
    for prediction in order:
        if found[prediction] in taken:
            found[prediction] = -1
        taken.add(int(found[prediction]))
    return found


class AveragePrecision:
    """Add pictures with `add`, then read `per_threshold` and `mean`.

    thresholds: of overlap. matching: "standard" or "reference"; kind: "region" for AP^r and AP^h or
    "person" for AP^p, which the reference matches differently.
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
        """One picture. Returns, for each threshold, int (P,): the truth that each prediction finds,
        or -1."""
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
        """float (K,): AP at each threshold. Without any truth NaN, which means left out of
        averages.

        In the reference, a class without truth and without prediction has an AP of 0, which lowers
        the mean over classes.
        """
        if not self.num_truths:
            return np.full(
                len(self.thresholds), 0.0 if self.reference and not self.num_predictions else np.nan
            )
        scores = np.concatenate(self._scores)
        verdicts = np.concatenate(self._verdicts, axis=1)
        order = np.argsort(-scores, kind="stable")
        if self.reference and self.kind == "region":
            # equal scores: the last comes first, as in the official code
            order = np.argsort(scores, kind="stable")[::-1]
        return np.array([self._area(scores[order], one[order]) for one in verdicts])

    @property
    def mean(self) -> float:
        """Mean over the thresholds."""
        return float(self.per_threshold.mean())

    def _area(self, scores: np.ndarray, verdicts: np.ndarray) -> float:
        """Under the curve. scores (P,), falling; verdicts (P,)."""
        scores, verdicts = scores[verdicts >= 0], verdicts[verdicts >= 0]
        right = np.cumsum(verdicts)
        recall, precision = right / self.num_truths, right / np.arange(1, len(verdicts) + 1)
        # predictions of equal score come in together, so that the order of pictures does not matter
        if not self.reference:
            last = np.append(np.diff(scores) != 0, True)[: len(scores)]
            recall, precision = recall[last], precision[last]
        return area_under(recall, precision)


def area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    """Under precision over recall, precision made monotone from the right. Both float (n,), recall
    rising."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    highest_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * highest_from_here[1:]))


class PCP:
    """Percentage of correctly parsed parts: of each true person the share of parts that the matched
    person has right.

    A part is right if its IoU exceeds one half. People who are not found count 0. Source: Zhao et
    al., arXiv 1804.03287.
    """

    def __init__(self):
        self.num_people = 0
        self.total = 0.0

    def add(self, found: np.ndarray, right_parts: np.ndarray, true_parts: np.ndarray) -> None:
        """found: int (P,), the truth of each prediction or -1. right_parts: int (P, T). true_parts:
        int (T,)."""
        self.num_people += len(true_parts)
        for prediction in np.flatnonzero(found >= 0):
            truth = found[prediction]
            if true_parts[truth]:
                self.total += float(right_parts[prediction, truth]) / float(true_parts[truth])

    @property
    def value(self) -> float:
        """0 to 1; NaN without any person in the truth."""
        return self.total / self.num_people if self.num_people else float("nan")
