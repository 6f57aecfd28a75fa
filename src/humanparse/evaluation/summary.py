"""Summary: the scores of pictures added up into the figures of a whole data set.

Memory does not grow with the size of the pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.instance_ap import (
    HUMAN_THRESHOLDS,
    MATCHINGS,
    PART_THRESHOLDS,
    PCP,
    AveragePrecision,
)
from humanparse.evaluation.mean_iou import MeanIoU
from humanparse.evaluation.overlap import PictureScore
from humanparse.evaluation.person_pq import PersonPQ
from humanparse.evaluation.swaps import Swaps, overall_swaps, swaps_of_pairs
from humanparse.labels import LabelSet

SCHEMA = "humanparse-evaluation/1"


class Summary:
    """Add pictures with `add`, then read `figures`.

    The order of the pictures makes no difference, except between equal scores in the reference
    matching.

    Args:
        labels: The classes.
        matching: "standard" or "reference"; the pictures must have been measured with the same one
            (see overlap.measure).

    Raises:
        OptionError: If there is no such matching.
    """

    def __init__(self, labels: LabelSet, matching: str = "standard"):
        if matching not in MATCHINGS:
            raise OptionError(
                f"there is no matching {matching!r}; choose one of {', '.join(MATCHINGS)}"
            )
        self.labels = labels
        self.matching = matching
        self.num_pictures = 0
        self.num_with_people = 0
        self.classes = MeanIoU(len(labels), absent=0.0 if matching == "reference" else float("nan"))
        self.pq = PersonPQ()
        self.parts = {
            class_id: AveragePrecision(PART_THRESHOLDS, matching)
            for class_id in range(1, len(labels))
        }
        self.people = AveragePrecision(PART_THRESHOLDS, matching, kind="person")
        self.humans = AveragePrecision(HUMAN_THRESHOLDS, matching)
        self.pcp = PCP()

    def add(self, picture: PictureScore) -> None:
        """Add one picture of the data set."""
        self.num_pictures += 1
        self.classes.add_confusion(picture.confusion)
        if (score := picture.instances) is None:
            return
        self.num_with_people += 1
        self.pq.add_score(score.pq)
        for class_id, overlaps in score.parts.items():
            self.parts[class_id].add(overlaps)
        found = self.people.add(score.people)
        self.pcp.add(found[0.5], score.right_parts, score.true_parts)
        self.humans.add(score.humans)

    def part_ap(self) -> np.ndarray:
        """Return the AP^r of each class at each threshold, float (C - 1, 9).

        It is NaN for a class that is left out.
        """
        return np.array([one.per_threshold for one in self.parts.values()]).reshape(
            -1, len(PART_THRESHOLDS)
        )

    def figures(self) -> dict[str, Any]:
        """Return all measures as plain Python values; docs/evaluation.md lists the keys.

        None stands for a figure that is not defined.
        """
        figures = {
            "schema": SCHEMA,
            "images": self.num_pictures,
            "label_set": self.labels.name,
            "matching": self.matching,
            "pixels": {
                "mean_iou": self.classes.mean,
                "pixel_accuracy": self.classes.pixel_accuracy if self.num_pictures else None,
                "mean_accuracy": self.classes.mean_accuracy,
                "frequency_weighted_iou": self.classes.frequency_weighted,
            },
            "swaps": self._swaps(),
            "people": self._people() if self.num_with_people else None,
            "classes": self._classes(),
        }
        return _plain(figures)

    def _swaps(self) -> dict[str, Any]:
        overall = overall_swaps(self.classes.confusion, self.labels)
        pairs = swaps_of_pairs(self.classes.confusion, self.labels)
        return {
            **_swap_counts(overall),
            "pairs": [{"left": one.left, "right": one.right, **_swap_counts(one)} for one in pairs],
        }

    def _people(self) -> dict[str, Any]:
        part_ap = mean_without_nan(self.part_ap(), axis=0)
        return {
            "pq": {
                "pq": self.pq.pq,
                "found": self.pq.found,
                "missed": self.pq.missed,
                "false": self.pq.false,
            },
            "ap_r": _per_threshold(part_ap, PART_THRESHOLDS),
            "ap_p": _per_threshold(self.people.per_threshold, PART_THRESHOLDS),
            "ap_h": _per_threshold(self.humans.per_threshold, HUMAN_THRESHOLDS),
            "pcp_50": self.pcp.value,
        }

    def _classes(self) -> list[dict[str, Any]]:
        part_ap = [float("nan"), *mean_without_nan(self.part_ap(), axis=1)]
        rows = zip(
            self.labels.names,
            self.classes.per_class,
            self.classes.class_accuracy,
            part_ap,
            strict=True,
        )
        truth = self.classes.confusion.sum(1)
        return [
            {
                "name": name,
                "iou": iou,
                "accuracy": accuracy,
                "ap_r": ap if self.num_with_people else None,
                "pixels": int(truth[number]),
            }
            for number, (name, iou, accuracy, ap) in enumerate(rows)
        ]


def picture_iou(picture: PictureScore) -> float:
    """Return the mean IoU of one picture over its classes.

    The sheet of worst cases is sorted by it. It is NaN if all pixels are unknown.
    """
    score = MeanIoU(len(picture.confusion))
    score.add_confusion(picture.confusion)
    return score.mean


def mean_without_nan(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the means along an axis over the values that are not NaN; NaN if there are none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    return np.where(known.any(axis), total / np.maximum(known.sum(axis), 1), np.nan)


def _swap_counts(swaps: Swaps) -> dict[str, Any]:
    return {"rate": swaps.rate, "kept": swaps.kept, "swapped": swaps.swapped}


def _per_threshold(values: np.ndarray, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """{"mean": ..., "0.50": ..., ...}"""
    mean = float(mean_without_nan(values, axis=0))
    return {
        "mean": mean,
        **{f"{threshold:.2f}": value for threshold, value in zip(thresholds, values, strict=True)},
    }


def _plain(value: Any) -> Any:
    """Return Python's own numbers, and None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):  # also NumPy's floats
        return None if np.isnan(value) else float(value)
    return value
