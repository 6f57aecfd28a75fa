"""Parsings built by hand, for tests that need a result but no model."""

from __future__ import annotations

import numpy as np

from humanparse.labels import CIHP, LabelSet
from humanparse.masks import Mask
from humanparse.result import Parsing, Part, Person

# class, then top, bottom, left, right within a person of 80 rows and 40 columns
_BLOCKS = {
    "Hair": (0, 6, 12, 28),
    "Face": (6, 22, 12, 28),
    "UpperClothes": (22, 56, 10, 30),
    "Right-arm": (22, 52, 0, 10),
    "Left-arm": (22, 52, 30, 40),
    "Pants": (56, 80, 10, 30),
}


def made_up_parsing(name: str = "made-up", labels: LabelSet = CIHP) -> Parsing:
    """A photo of 120×160 with two people of six blocks each.

    The left arm of the first touches the right arm of the second. Person 1 fills columns 40–79 and
    person 2 columns 80–119, both rows 20–99. Scores are 0.9, 0.8 and, for parts, 0.7.
    """
    label_map, person_map = np.zeros((120, 160), np.uint8), np.zeros((120, 160), np.uint16)
    for person, left in ((1, 40), (2, 80)):
        for label, (y0, y1, x0, x1) in _BLOCKS.items():
            label_map[20 + y0 : 20 + y1, left + x0 : left + x1] = labels.index(label)
            person_map[20 + y0 : 20 + y1, left + x0 : left + x1] = person
    return parsing_from_maps(label_map, person_map, labels=labels, name=name)


def empty_parsing(size_hw: tuple[int, int] = (120, 160), name: str = "empty") -> Parsing:
    """A photo without people."""
    return parsing_from_maps(np.zeros(size_hw, np.uint8), np.zeros(size_hw, np.uint16), name=name)


def parsing_from_maps(
    label_map: np.ndarray,
    person_map: np.ndarray,
    labels: LabelSet = CIHP,
    image: np.ndarray | None = None,
    name: str = "made-up",
) -> Parsing:
    """A Parsing whose people and parts are those of the two maps.

    label_map: uint8 (H, W). person_map: uint16 (H, W), people numbered 1..n; labelled pixels of
    person 0 become loose parts. image: uint8 (H, W, 3), a slanted grey ramp if not given. Scores
    fall from 0.9 by 0.1, to 0.1.
    """
    people = []
    for number in range(1, int(person_map.max()) + 1):
        mine = person_map == number
        parts = {part.label: part for part in _parts(np.where(mine, label_map, 0), labels)}
        people.append(
            Person(number, max(0.1, round(1 - number / 10, 1)), Mask.from_dense(mine), parts)
        )
    return Parsing(
        label_map=label_map,
        person_map=person_map,
        people=tuple(people),
        labels=labels,
        image=_ramp(label_map.shape) if image is None else image,
        loose_parts=_parts(np.where(person_map == 0, label_map, 0), labels),
        name=name,
        model="made-up",
        timings_ms={"total": 1.5},
    )


def _parts(label_map: np.ndarray, labels: LabelSet) -> tuple[Part, ...]:
    classes = [int(one) for one in np.unique(label_map) if one]
    return tuple(
        Part(labels.names[one], one, 0.7, Mask.from_dense(label_map == one)) for one in classes
    )


def _ramp(size_hw: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(size_hw)
    grey = (40 + (rows + columns) % 180).astype(np.uint8)
    return np.stack([grey, grey, 255 - grey], axis=2)
