"""One picture measured: how its prediction and its truth overlap, small enough to keep for every
picture of a data set.

The two maps of people, classes and part instances are counted into one table, pixels by (what the
truth says, what was found), and every measure is read off that table: no mask is ever compared with
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.ground_truth import GroundTruth, Prediction
from humanparse.evaluation.instance_ap import Overlaps
from humanparse.evaluation.mean_iou import IGNORE
from humanparse.evaluation.person_pq import PersonPQ

LEAST_SCORE = 0.01  # people who rank fainter than this do not count in the official AP^p


@dataclass(frozen=True, eq=False)
class PictureScore:
    """What one picture adds to the measures.

    confusion: int (C, C), pixels by [true class, found class]. The rest is None where the truth
    does not tell people apart. pq: PersonPQ of this picture alone. parts: AP^r's overlaps by class,
    of the classes that are in the truth or found. people: AP^p's overlaps, with right_parts (P, T),
    how many parts of the true person overlap by more than half, and true_parts (T,). humans: AP^h's
    overlaps.
    """

    name: str
    confusion: np.ndarray
    pq: PersonPQ | None = None
    parts: dict[int, Overlaps] | None = None
    people: Overlaps | None = None
    right_parts: np.ndarray | None = None
    true_parts: np.ndarray | None = None
    humans: Overlaps | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, the same numbers to the last bit; `from_dict` is the inverse."""
        rows, columns = np.nonzero(self.confusion)
        data: dict[str, Any] = {
            "name": self.name,
            "classes": len(self.confusion),
            "confusion": [rows.tolist(), columns.tolist(), self.confusion[rows, columns].tolist()],
        }
        if self.pq is None:
            return data
        return data | {
            "pq": {
                "overlaps": [float(one) for one in self.pq.overlaps],
                "missed": self.pq.missed,
                "false": self.pq.false,
            },
            "parts": {str(class_id): _to_dict(one) for class_id, one in self.parts.items()},
            "people": _to_dict(self.people),
            "right_parts": self.right_parts.tolist(),
            "true_parts": self.true_parts.tolist(),
            "humans": _to_dict(self.humans),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PictureScore:
        """The inverse of `to_dict`."""
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
        return cls(
            data["name"],
            confusion,
            pq,
            {int(class_id): _from_dict(one) for class_id, one in data["parts"].items()},
            people,
            np.array(data["right_parts"], int).reshape(people.iou.shape),
            np.array(data["true_parts"], int),
            _from_dict(data["humans"]),
        )


def measure(
    name: str, truth: GroundTruth, found: Prediction, num_classes: int, matching: str = "standard"
) -> PictureScore:
    """One picture's overlaps.

    matching: "standard" leaves pixels out whose truth is unknown; "reference" does what the
    official code of M2FP does: unknown classes are left out of mIoU and of the person that they
    belong to in AP^p, and are ordinary pixels of AP^r and AP^h. Person PQ, which that code does not
    have, is the same in both. Raises OptionError if the sizes differ, or for a class that is not
    among the `num_classes`.
    """
    if truth.label_map.shape != found.label_map.shape:
        (height, width), (h, w) = truth.label_map.shape, found.label_map.shape
        raise OptionError(
            f"{name}: the truth is {width}x{height} but the prediction is {w}x{h}; both should be the photo's"
        )
    if (
        strange := truth.label_map[(truth.label_map >= num_classes) & (truth.label_map != IGNORE)]
    ).size:
        raise OptionError(
            f"{name}: the truth holds class {strange.max()}; expected 0 to {num_classes - 1}, or 255 for unknown"
        )
    table = _Table(truth, found, num_classes, standard=matching == "standard")
    confusion = table.confusion()
    if truth.person_map is None:
        return PictureScore(name, confusion)
    people, right_parts, true_parts = table.people(found)
    return PictureScore(
        name,
        confusion,
        table.pq(),
        table.parts(found),
        people,
        right_parts,
        true_parts,
        table.humans(found),
    )


class _Table:
    """pixels: int64 (A, B), the pixels of each kind of the truth (A) and each kind found (B), by
    these columns:

    true_person (-1 unknown), true_class (255 unknown), true_part; found_person, found_class,
    found_part.
    standard: leave unknown pixels out of every overlap.
    """

    def __init__(self, truth: GroundTruth, found: Prediction, num_classes: int, standard: bool):
        self.num_classes = num_classes
        self.standard = standard
        nothing = np.zeros(truth.label_map.shape, np.uint8)
        people = nothing if truth.person_map is None else truth.person_map
        parts = nothing if truth.part_map is None else truth.part_map
        rows, (self.true_person, self.true_class, self.true_part) = _kinds(
            people, truth.label_map, parts
        )
        columns, of_found = _kinds(found.person_map, found.label_map, found.part_map)
        self.found_person, self.found_class, self.found_part = of_found
        shape = len(self.true_person), len(self.found_person)
        counts = np.bincount((rows * shape[1] + columns).ravel(), minlength=shape[0] * shape[1])
        self.pixels = counts.reshape(shape)
        # Something unknown that belongs to nobody known may be a person: a passer-by whom nobody
        # labelled.
        self.true_person[(self.true_person == 0) & (self.true_class == IGNORE)] = -1
        self.part_classes = truth.part_classes
        if truth.part_map is None:
            self._number_the_parts()

    def _number_the_parts(self) -> None:
        """Every class of every person becomes a part instance, with a number of its own."""
        numbers: dict[tuple[int, int], int] = {}
        for row, (person, label) in enumerate(zip(self.true_person, self.true_class, strict=True)):
            if person > 0 and label not in (0, IGNORE):
                self.true_part[row] = numbers.setdefault(
                    (int(person), int(label)), len(numbers) + 1
                )
        self.part_classes = {number: label for (_, label), number in numbers.items()}

    def confusion(self) -> np.ndarray:
        """int64 (C, C), pixels by [true class, found class]."""
        known = self.true_class != IGNORE
        counts = np.zeros((self.num_classes, self.num_classes), np.int64)
        np.add.at(counts, (self.true_class[known][:, None], self.found_class), self.pixels[known])
        return counts

    def pq(self) -> PersonPQ:
        """PersonPQ of this picture alone."""
        true, found = np.array([-1, 0, *self._true_people()]), np.union1d([0], self.found_person)
        cells = (
            (self.true_person == true[:, None]).astype(np.int64)
            @ self.pixels
            @ (self.found_person[:, None] == found)
        )
        score = PersonPQ()
        score.add_cells(cells)
        return score

    def parts(self, found: Prediction) -> dict[int, Overlaps]:
        """Part instances against part instances of the same class, by class."""
        unknown = self.standard & (self.true_class == IGNORE)
        true_parts = [
            part for part in np.unique(self.true_part) if self.part_classes.get(int(part), 0)
        ]
        numbers = np.arange(1, len(found.part_classes) + 1)
        iou, judged, seen = self._iou(self.true_part, true_parts, self.found_part, numbers, unknown)
        classes = np.array([self.part_classes[int(part)] for part in true_parts], int)
        overlaps = {}
        for class_id in sorted({*classes[seen].tolist(), *found.part_classes.tolist()} - {0}):
            mine, true = found.part_classes == class_id, (classes == class_id) & seen
            overlaps[class_id] = Overlaps(
                found.part_scores[mine], iou[np.ix_(mine, true)], judged[mine]
            )
        return overlaps

    def humans(self, found: Prediction) -> Overlaps:
        """Whole people against whole people."""
        unknown = self.standard & (self.true_person < 0)
        iou, judged, seen = self._iou(
            self.true_person, self._true_people(), self.found_person, _numbers(found), unknown
        )
        return Overlaps(found.person_scores, iou[:, seen], judged)

    def people(self, found: Prediction) -> tuple[Overlaps, np.ndarray, np.ndarray]:
        """People by the mean IoU of their classes; how many parts of each pair are right; how many
        parts each truth has."""
        unknown = (self.true_person < 0) | (self.true_class == IGNORE)
        truths, people = self._true_people(), _numbers(found)
        _, judged, seen = self._iou(self.true_person, truths, self.found_person, people, unknown)
        if self.standard:
            truths = [truth for truth, some_known in zip(truths, seen, strict=True) if some_known]
        else:
            judged = found.parsing_scores >= LEAST_SCORE
        iou, right = np.zeros((len(people), len(truths))), np.zeros((len(people), len(truths)), int)
        for t, truth in enumerate(truths):
            theirs = self.true_person == truth
            known = ~unknown if self.standard else ~(theirs & (self.true_class == IGNORE))
            # [their class, kind found]
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
        return Overlaps(found.parsing_scores, iou, judged), right, np.array(true_parts, int)

    def _class_iou(self, by_class: np.ndarray, person: int) -> np.ndarray:
        """float (C,): IoU of each class of one true and one found person; NaN for classes that
        neither has."""
        # what the person's own parsing says
        label = np.where(self.found_person == person, self.found_class, 0)
        both = np.zeros(self.num_classes, np.int64)
        np.add.at(both, label, by_class[label, np.arange(len(label))])
        found = np.zeros(self.num_classes, np.int64)
        np.add.at(found, label, by_class.sum(0))
        either = by_class.sum(1) + found - both
        return np.where(either > 0, both / np.maximum(either, 1), np.nan)

    def _iou(
        self, true_ids, truths, found_ids, numbers, unknown: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IoU (P, T) of numbered regions over known ground; which predictions (P,) lie mostly
        there; which truths (T,) do."""
        inside = (found_ids == np.asarray(numbers, int)[:, None]).astype(np.int64)  # (P, B)
        within = (true_ids == np.asarray(truths, int)[:, None]).astype(np.int64)  # (T, A)
        known = np.where(unknown[:, None], 0, self.pixels)
        shared = inside @ known.T @ within.T  # (P, T)
        found_area, true_area = inside @ known.sum(0), within @ known.sum(1)
        union = found_area[:, None] + true_area - shared
        judged = found_area >= 0.5 * (inside @ self.pixels.sum(0))
        return shared / np.maximum(union, 1), judged, true_area > 0

    def _true_people(self) -> list[int]:
        return [int(person) for person in np.unique(self.true_person) if person > 0]


def _numbers(found: Prediction) -> np.ndarray:
    """Of the people found: 1..P."""
    return np.arange(1, len(found.person_scores) + 1)


def _kinds(*maps: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Several maps of one picture → which combination of values each pixel has.

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
