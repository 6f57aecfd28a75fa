"""Maps → people: masks, boxes and scores of every person and part, in the order of the people's scores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.masks import Mask
from humanparse.result import Part, Person


@dataclass
class Maps:
    """What post-processing found, before masks are cut out of it.

    label_map: uint8 (H, W), class of each pixel. person_map: uint16 (H, W), 0 nobody, 1..n by falling score.
    person_scores: of person 1..n. part_scores: (person number or 0, class) → score.
    """

    label_map: np.ndarray
    person_map: np.ndarray
    person_scores: list[float]
    part_scores: dict[tuple[int, int], float]


def assemble(maps: Maps, labels: LabelSet, min_score: float) -> tuple[tuple[Person, ...], tuple[Part, ...]]:
    """People by falling score, and the parts of nobody.

    Changes the maps in place: people below `min_score` leave both maps, and numbers close up behind people who left or
    have no pixel; parts below `min_score` lose their label but stay the person's pixels.
    """
    people: list[Person] = []
    for number, score in enumerate(maps.person_scores, start=1):
        mine = maps.person_map == number                              # bool (H, W)
        x, y, width, height = cv2.boundingRect(mine.view(np.uint8))
        if width == 0:
            continue
        window = np.s_[y : y + height, x : x + width]
        if score < min_score:
            maps.person_map[window][mine[window]] = 0
            maps.label_map[window][mine[window]] = 0
            continue
        new_number = len(people) + 1                                  # never larger than the old one: nobody is overwritten
        maps.person_map[window][mine[window]] = new_number
        parts = _parts(maps, number, mine[window], (x, y), labels, min_score)
        mask = Mask.from_dense(mine[window], maps.label_map.shape, (x, y))
        people.append(Person(new_number, round(float(score), 4), mask, {part.label: part for part in parts}))
    loose = _parts(maps, 0, maps.person_map == 0, (0, 0), labels, min_score) if any(n == 0 for n, _ in maps.part_scores) else []
    return tuple(people), tuple(loose)


def _parts(
    maps: Maps, number: int, mine: np.ndarray, corner_xy: tuple[int, int], labels: LabelSet, min_score: float
) -> list[Part]:
    """The parts of one person (or, with number 0, of nobody) in the window of the label map that `mine` covers."""
    x, y = corner_xy
    window = maps.label_map[y : y + mine.shape[0], x : x + mine.shape[1]]
    counts = cv2.calcHist([window], [0], mine.view(np.uint8), [256], [0, 256])
    parts = []
    for class_id in np.flatnonzero(counts[1:]) + 1:
        here = (window == class_id) & mine
        score = maps.part_scores.get((number, int(class_id)), 0.0)
        if score < min_score:
            window[here] = 0
        else:
            mask = Mask.from_dense(here, maps.label_map.shape, corner_xy)
            parts.append(Part(labels.names[class_id], int(class_id), round(float(score), 4), mask))
    return parts
