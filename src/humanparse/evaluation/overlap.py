"""The score of one picture: how its prediction and its ground truth overlap.

It is small enough to keep for every picture of a data set. The maps of people, classes and part
instances are counted into one table, pixels by (ground truth, prediction), and every measure is
read from that table: no mask is ever compared with another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.ground_truth import GroundTruth, Prediction
from humanparse.evaluation.instance_ap import Overlaps
from humanparse.evaluation.mean_iou import IGNORE
from humanparse.evaluation.person_pq import PersonPQ

LEAST_SCORE = 0.01  # people with a lower parsing score do not count in the official AP^p


@dataclass(frozen=True, eq=False)
class InstanceScore:
    """What one picture adds to the measures of people and part instances.

    Attributes:
        pq: PersonPQ of this picture alone.
        parts: The overlaps of AP^r by class, for the classes of the ground truth and the
            prediction.
        people: The overlaps of AP^p.
        right_parts: int (P, T), how many parts of the true person overlap by more than one half.
        true_parts: int (T,), how many parts each true person has.
        humans: The overlaps of AP^h.
    """

    pq: PersonPQ
    parts: dict[int, Overlaps]
    people: Overlaps
    right_parts: np.ndarray
    true_parts: np.ndarray
    humans: Overlaps


@dataclass(frozen=True, eq=False)
class PictureScore:
    """What one picture adds to the measures.

    Attributes:
        name: The picture's name.
        confusion: int (C, C), pixels by [true class, predicted class].
        instances: The scores of people and parts; None if the ground truth does not separate
            people.
    """

    name: str
    confusion: np.ndarray
    instances: InstanceScore | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, exact to the last bit; `from_dict` reads them."""
        rows, columns = np.nonzero(self.confusion)
        data: dict[str, Any] = {
            "name": self.name,
            "classes": len(self.confusion),
            "confusion": [rows.tolist(), columns.tolist(), self.confusion[rows, columns].tolist()],
        }
        if (score := self.instances) is None:
            return data
        return data | {
            "pq": {
                "overlaps": [float(one) for one in score.pq.overlaps],
                "missed": score.pq.missed,
                "false": score.pq.false,
            },
            "parts": {str(class_id): _to_dict(one) for class_id, one in score.parts.items()},
            "people": _to_dict(score.people),
            "right_parts": score.right_parts.tolist(),
            "true_parts": score.true_parts.tolist(),
            "humans": _to_dict(score.humans),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PictureScore:
        """Read what `to_dict` returned."""
        confusion = np.zeros((data["classes"], data["classes"]), np.int64)
        rows, columns, pixels = data["confusion"]
        confusion[rows, columns] = pixels
        if "pq" not in data:
            return cls(data["name"], confusion)
        pq = PersonPQ()
        pq.overlaps, pq.missed, pq.false = (
            data["pq"]["overlaps"],
            data["pq"]["missed"],
            data["pq"]["false"],
        )
        people = _from_dict(data["people"])
        instances = InstanceScore(
            pq,
            {int(class_id): _from_dict(one) for class_id, one in data["parts"].items()},
            people,
            np.array(data["right_parts"], int).reshape(people.iou.shape),
            np.array(data["true_parts"], int),
            _from_dict(data["humans"]),
        )
        return cls(data["name"], confusion, instances)


def measure(
    name: str,
    ground_truth: GroundTruth,
    prediction: Prediction,
    num_classes: int,
    matching: str = "standard",
) -> PictureScore:
    """Measure one picture.

    Args:
        name: The picture's name.
        ground_truth: What the picture shows.
        prediction: What was found in it.
        num_classes: The number of classes, including the background.
        matching: "standard" leaves out pixels whose class is unknown. "reference" does the same as
            the
            official code of M2FP: unknown pixels are left out of mIoU and, for AP^p, of the person
                to
            whom they belong, but count as ordinary pixels for AP^r and AP^h. Person PQ, which that
            code does not have, is the same in both.

    Raises:
        OptionError: If the sizes differ, or for a class that is not among the `num_classes`.
    """
    if ground_truth.label_map.shape != prediction.label_map.shape:
        (height, width), (h, w) = ground_truth.label_map.shape, prediction.label_map.shape
        raise OptionError(
            f"{name}: the ground truth is {width}x{height} but the prediction is {w}x{h}; "
            "both should have the photo's size"
        )
    if (
        strange := ground_truth.label_map[
            (ground_truth.label_map >= num_classes) & (ground_truth.label_map != IGNORE)
        ]
    ).size:
        raise OptionError(
            f"{name}: the ground truth has class {strange.max()}; "
            f"expected 0 to {num_classes - 1}, or 255 for unknown"
        )
    table = _Table(ground_truth, prediction, num_classes, standard=matching == "standard")
    confusion = table.confusion()
    if ground_truth.person_map is None:
        return PictureScore(name, confusion)
    people, right_parts, true_parts = table.people(prediction)
    instances = InstanceScore(
        table.pq(),
        table.parts(prediction),
        people,
        right_parts,
        true_parts,
        table.humans(prediction),
    )
    return PictureScore(name, confusion, instances)


class _Table:
    """The pixels of each kind of ground truth (A) and each kind of prediction (B), int64 (A, B).

    A kind is a combination of true_person (-1 unknown), true_class (255 unknown) and true_part, or
    of predicted_person, predicted_class and predicted_part. standard: leave unknown pixels out of
    every overlap.
    """

    def __init__(
        self, ground_truth: GroundTruth, prediction: Prediction, num_classes: int, standard: bool
    ):
        self.num_classes = num_classes
        self.standard = standard
        nothing = np.zeros(ground_truth.label_map.shape, np.uint8)
        people = nothing if ground_truth.person_map is None else ground_truth.person_map
        parts = nothing if ground_truth.part_map is None else ground_truth.part_map
        rows, (self.true_person, self.true_class, self.true_part) = _kinds(
            people, ground_truth.label_map, parts
        )
        columns, of_prediction = _kinds(
            prediction.person_map, prediction.label_map, prediction.part_map
        )
        self.predicted_person, self.predicted_class, self.predicted_part = of_prediction
        shape = len(self.true_person), len(self.predicted_person)
        counts = np.bincount((rows * shape[1] + columns).ravel(), minlength=shape[0] * shape[1])
        self.pixels = counts.reshape(shape)
        # Unknown pixels that belong to no known person may be a person, for example a passer-by
        # who was not labelled.
        self.true_person[(self.true_person == 0) & (self.true_class == IGNORE)] = -1
        self.part_classes = ground_truth.part_classes or {}
        if ground_truth.part_map is None:
            self._number_the_parts()

    def _number_the_parts(self) -> None:
        """Make every class of every person a numbered part instance."""
        numbers: dict[tuple[int, int], int] = {}
        for row, (person, label) in enumerate(zip(self.true_person, self.true_class, strict=True)):
            if person > 0 and label not in (0, IGNORE):
                self.true_part[row] = numbers.setdefault(
                    (int(person), int(label)), len(numbers) + 1
                )
        self.part_classes = {number: label for (_, label), number in numbers.items()}

    def confusion(self) -> np.ndarray:
        """Return the pixels by [true class, predicted class], int64 (C, C)."""
        known = self.true_class != IGNORE
        counts = np.zeros((self.num_classes, self.num_classes), np.int64)
        np.add.at(
            counts, (self.true_class[known][:, None], self.predicted_class), self.pixels[known]
        )
        return counts

    def pq(self) -> PersonPQ:
        """Return PersonPQ of this picture alone."""
        true, predicted = (
            np.array([-1, 0, *self._true_people()]),
            np.union1d([0], self.predicted_person),
        )
        cells = (
            (self.true_person == true[:, None]).astype(np.int64)
            @ self.pixels
            @ (self.predicted_person[:, None] == predicted)
        )
        score = PersonPQ()
        score.add_cells(cells)
        return score

    def parts(self, prediction: Prediction) -> dict[int, Overlaps]:
        """Compare part instances with part instances of the same class, by class."""
        unknown = self.standard & (self.true_class == IGNORE)
        true_parts = [
            part for part in np.unique(self.true_part) if self.part_classes.get(int(part), 0)
        ]
        numbers = np.arange(1, len(prediction.part_classes) + 1)
        iou, judged, seen = self._iou(
            self.true_part, true_parts, self.predicted_part, numbers, unknown
        )
        classes = np.array([self.part_classes[int(part)] for part in true_parts], int)
        overlaps = {}
        for class_id in sorted({*classes[seen].tolist(), *prediction.part_classes.tolist()} - {0}):
            mine, true = prediction.part_classes == class_id, (classes == class_id) & seen
            overlaps[class_id] = Overlaps(
                prediction.part_scores[mine], iou[np.ix_(mine, true)], judged[mine]
            )
        return overlaps

    def humans(self, prediction: Prediction) -> Overlaps:
        """Compare whole people with whole people."""
        unknown = self.standard & (self.true_person < 0)
        iou, judged, seen = self._iou(
            self.true_person,
            self._true_people(),
            self.predicted_person,
            _numbers(prediction),
            unknown,
        )
        return Overlaps(prediction.person_scores, iou[:, seen], judged)

    def people(self, prediction: Prediction) -> tuple[Overlaps, np.ndarray, np.ndarray]:
        """Compare people by the mean IoU of their classes.

        Returns the overlaps, how many parts of each pair are right, and how many parts each true
        person has.
        """
        unknown = (self.true_person < 0) | (self.true_class == IGNORE)
        truths, people = self._true_people(), _numbers(prediction)
        _, judged, seen = self._iou(
            self.true_person, truths, self.predicted_person, people, unknown
        )
        if self.standard:
            truths = [truth for truth, some_known in zip(truths, seen, strict=True) if some_known]
        else:
            judged = prediction.parsing_scores >= LEAST_SCORE
        iou, right = np.zeros((len(people), len(truths))), np.zeros((len(people), len(truths)), int)
        for t, truth in enumerate(truths):
            theirs = self.true_person == truth
            known = ~unknown if self.standard else ~(theirs & (self.true_class == IGNORE))
            # [true class, kind of the prediction]
            by_class = np.zeros((self.num_classes, self.pixels.shape[1]), np.int64)
            np.add.at(by_class, np.where(theirs, self.true_class, 0)[known], self.pixels[known])
            for p, person in enumerate(people):
                per_class = self._class_iou(by_class, person)
                if (self.standard or judged[p]) and not np.isnan(per_class).all():
                    iou[p, t], right[p, t] = (
                        np.nanmean(per_class),
                        (np.nan_to_num(per_class[1:]) > 0.5).sum(),
                    )
        true_parts = [
            len({*self.true_class[self.true_person == truth].tolist()} - {0, IGNORE})
            for truth in truths
        ]
        return Overlaps(prediction.parsing_scores, iou, judged), right, np.array(true_parts, int)

    def _class_iou(self, by_class: np.ndarray, person: int) -> np.ndarray:
        """Return the IoU of each class for one true and one predicted person, float (C,).

        It is NaN for classes that neither has.
        """
        # The classes that the prediction gives to this person.
        label = np.where(self.predicted_person == person, self.predicted_class, 0)
        both = np.zeros(self.num_classes, np.int64)
        np.add.at(both, label, by_class[label, np.arange(len(label))])
        predicted = np.zeros(self.num_classes, np.int64)
        np.add.at(predicted, label, by_class.sum(0))
        either = by_class.sum(1) + predicted - both
        return np.where(either > 0, both / np.maximum(either, 1), np.nan)

    def _iou(
        self,
        true_ids: np.ndarray,
        truths: Sequence[int],
        predicted_ids: np.ndarray,
        numbers: np.ndarray,
        unknown: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compare numbered regions on known pixels.

        Returns the IoU (P, T), which predictions (P,) lie mostly on known pixels, and which true
        regions (T,) have any.
        """
        inside = (predicted_ids == np.asarray(numbers, int)[:, None]).astype(np.int64)  # (P, B)
        within = (true_ids == np.asarray(truths, int)[:, None]).astype(np.int64)  # (T, A)
        known = np.where(unknown[:, None], 0, self.pixels)
        shared = inside @ known.T @ within.T  # (P, T)
        predicted_area, true_area = inside @ known.sum(0), within @ known.sum(1)
        union = predicted_area[:, None] + true_area - shared
        judged = predicted_area >= 0.5 * (inside @ self.pixels.sum(0))
        return shared / np.maximum(union, 1), judged, true_area > 0

    def _true_people(self) -> list[int]:
        return [int(person) for person in np.unique(self.true_person) if person > 0]


def _numbers(prediction: Prediction) -> np.ndarray:
    """Return the numbers of the people in the prediction, 1..P."""
    return np.arange(1, len(prediction.person_scores) + 1)


def _kinds(*maps: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the combination of values that each pixel of several maps has.

    Returns int (H, W), the number of its kind, and for each map the value of every kind, int (K,).
    """
    kind = np.zeros(maps[0].shape, np.int64)
    columns: list[np.ndarray] = []
    for one in maps:
        lowest = int(one.min(initial=0))
        span = int(one.max(initial=0)) - lowest + 1
        mixed = kind * span + (one.astype(np.int64) - lowest)
        present = np.flatnonzero(np.bincount(mixed.ravel()))
        table = np.zeros(int(present[-1]) + 1 if present.size else 1, np.int64)
        table[present] = np.arange(len(present))
        kind = table[mixed]
        columns = [column[present // span] for column in columns] + [present % span + lowest]
    return kind, columns


def _to_dict(overlaps: Overlaps) -> dict[str, Any]:
    return {
        "scores": overlaps.scores.tolist(),
        "truths": overlaps.iou.shape[1],
        "iou": overlaps.iou.tolist(),
        "judged": overlaps.judged.tolist(),
    }


def _from_dict(data: dict[str, Any]) -> Overlaps:
    shape = len(data["scores"]), data["truths"]
    return Overlaps(
        np.array(data["scores"], float),
        np.array(data["iou"], float).reshape(shape),
        np.array(data["judged"], bool),
    )
