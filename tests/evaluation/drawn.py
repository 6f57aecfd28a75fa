"""Truths and predictions drawn as letters, small enough to check by eye."""

from __future__ import annotations

import numpy as np

from humanparse.evaluation.ground_truth import GroundTruth, Prediction


def grid(*rows: str) -> np.ndarray:
    """'.' is 0, '?' is 255, a digit is itself."""
    return np.array(
        [[{".": 0, "?": 255}[one] if one in ".?" else int(one) for one in row] for row in rows]
    )


def drawn_truth(labels: tuple[str, ...], people: tuple[str, ...] | None) -> GroundTruth:
    return GroundTruth(grid(*labels).astype(np.uint8), None if people is None else grid(*people))


def drawn_prediction(
    labels: tuple[str, ...], people: tuple[str, ...], scores=None, part_scores=None
) -> Prediction:
    """Every class of every person is a part. scores: of the people; part_scores: of the parts, by
    person, then class."""
    label_map, person_map = grid(*labels), grid(*people)
    kinds = sorted(
        {(int(p), int(c)) for p, c in zip(person_map.ravel(), label_map.ravel(), strict=True) if c}
    )
    part_map = np.zeros(label_map.shape, int)
    for number, (person, label) in enumerate(kinds, start=1):
        part_map[(person_map == person) & (label_map == label)] = number
    people_scores = np.array([0.9] * int(person_map.max()) if scores is None else scores, float)
    return Prediction(
        label_map.astype(np.uint8),
        person_map,
        people_scores,
        people_scores,
        part_map,
        np.array([label for _, label in kinds], int),
        np.array([0.9] * len(kinds) if part_scores is None else part_scores, float),
    )
