"""The two sides of every measure, as maps: what a picture shows, and what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from humanparse.evaluation.mean_iou import IGNORE
from humanparse.result import Parsing


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """One labelled picture.

    Attributes:
        label_map: uint8 (H, W), the class of each pixel, 0 background, 255 unknown.
        person_map: int (H, W), 0 nobody, 1.. the person; None if the data set does not separate
            people. Where the class is unknown and the person is 0, there may be somebody.
        part_map: int (H, W), 0 none, 1.. the part instance, if the data set has such a map.
            Otherwise every class of every person is one part instance.
        part_classes: Number in `part_map` → class.
    """

    label_map: np.ndarray
    person_map: np.ndarray | None = None
    part_map: np.ndarray | None = None
    part_classes: dict[int, int] | None = None

    def relabelled(self, table: Sequence[int]) -> GroundTruth:
        """Return the picture with other classes, of which one may stand for several.

        Every class of every person is then one part instance.

        Args:
            table: The new class of each class.
        """
        lookup = np.full(256, IGNORE, np.uint8)
        lookup[: len(table)] = table
        return GroundTruth(lookup[self.label_map], self.person_map)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one picture.

    Attributes:
        label_map: uint8 (H, W), the class of each pixel.
        person_map: int (H, W), 0 nobody, 1..P the person.
        person_scores: float (P,), the scores of person 1..P.
        parsing_scores: float (P,), the confidence in the person and their parts; ranks people for
            AP^p.
        part_map: int (H, W), 0 none, 1..N the part instance.
        part_classes: int (N,), the class of part 1..N.
        part_scores: float (N,), the score of part 1..N.
    """

    label_map: np.ndarray
    person_map: np.ndarray
    person_scores: np.ndarray
    parsing_scores: np.ndarray
    part_map: np.ndarray
    part_classes: np.ndarray
    part_scores: np.ndarray


def prediction_of(parsing: Parsing) -> Prediction:
    """Return the maps and scores of a result.

    A person ranks by their score times the mean score of their parts, as in M2FP.
    """
    parts = [part for part, _ in parsing.parts]
    part_map = np.zeros(parsing.size_hw, np.int32)
    for number, part in enumerate(parts, start=1):
        x0, y0, x1, y1 = part.mask.box_xyxy
        part_map[y0:y1, x0:x1][part.mask.crop] = number
    means = [
        np.mean([part.score for part in person.parts.values()] or [0.0])
        for person in parsing.people
    ]
    return Prediction(
        parsing.label_map,
        parsing.person_map,
        np.array([person.score for person in parsing.people], float),
        np.array(
            [person.score * mean for person, mean in zip(parsing.people, means, strict=True)], float
        ),
        part_map,
        np.array([part.class_id for part in parts], int),
        np.array([part.score for part in parts], float),
    )
