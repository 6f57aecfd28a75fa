"""From Maps to people: the masks, boxes and scores of every person and part.

People are numbered from left to right. By falling score, two who are nearly as sure as each other
would change their numbers with the engine, the processor or the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.masks import Box, Mask
from humanparse.postprocess.paste import intersect
from humanparse.result import Part, Person

# A mask keeps the window's array if it fills at least this share of it; otherwise it is copied.
KEPT = 0.8


@dataclass
class Maps:
    """What post-processing found, before masks are cut out of it.

    Attributes:
        label_map: uint8 (H, W), the class of each pixel.
        person_map: uint16 (H, W), the person of each pixel: 0 nobody, 1..n from left to right.
        person_scores: The scores of person 1..n.
        part_scores: (person number or 0, class) → score.
        person_boxes: By person number, a box outside which the person has no pixel; a person
            without
            a box has none anywhere. None if the boxes are not known: the whole photo is searched.
        class_boxes: The same by class.
    """

    label_map: np.ndarray
    person_map: np.ndarray
    person_scores: list[float]
    part_scores: dict[tuple[int, int], float]
    person_boxes: Mapping[int, Box] | None = None
    class_boxes: Mapping[int, Box] | None = None


def left_to_right(boxes_xyxy: Iterable[Box]) -> list[int]:
    """Return the order of people from left to right, by the middles of their boxes.

    Those whose middles are in the same column come from top to bottom.

    Args:
        boxes_xyxy: The box of each person, in pixels or cells.
    """
    middles = [(x0 + x1, y0 + y1) for x0, y0, x1, y1 in boxes_xyxy]
    return sorted(range(len(middles)), key=middles.__getitem__)


def assemble(
    maps: Maps, labels: LabelSet, min_score: float
) -> tuple[tuple[Person, ...], tuple[Part, ...]]:
    """Cut the people and their parts out of the maps.

    Changes the maps in place. People below `min_score` are removed from both maps, and the others
    are renumbered without gaps, as are those behind a person without a pixel. Parts below
    `min_score` lose their label, but their pixels stay with the person.

    Args:
        maps: What post-processing found.
        labels: The model's classes.
        min_score: The least score of people and parts, from 0 to 1.

    Returns:
        The people in the order of their numbers, and the parts that belong to nobody.
    """
    people: list[Person] = []
    height, width = maps.label_map.shape
    photo = (0, 0, width, height)
    for number, score in enumerate(maps.person_scores, start=1):
        x0, y0, x1, y1 = _box(maps.person_boxes, number, photo)
        mask = _mask(maps.person_map[y0:y1, x0:x1] == number, (x0, y0), (height, width))
        if mask is None:
            continue
        x0, y0, x1, y1 = mask.box_xyxy
        window, mine = np.s_[y0:y1, x0:x1], mask.crop
        if score < min_score:
            maps.person_map[window][mine] = 0
            maps.label_map[window][mine] = 0
            continue
        # Never larger than the old number, so that no other person is overwritten.
        new_number = len(people) + 1
        if new_number != number:
            maps.person_map[window][mine] = new_number
        parts = _parts(maps, number, mine, mask.box_xyxy, labels, min_score)
        people.append(
            Person(new_number, round(float(score), 4), mask, {part.label: part for part in parts})
        )
    unassigned = (
        _parts(maps, 0, maps.person_map == 0, photo, labels, min_score)
        if any(n == 0 for n, _ in maps.part_scores)
        else []
    )
    return tuple(people), tuple(unassigned)


def _parts(
    maps: Maps, number: int, mine: np.ndarray, box: Box, labels: LabelSet, min_score: float
) -> list[Part]:
    """Return the parts of one person, whose pixels inside the box are `mine`; number 0 is
    nobody.
    """
    x0, y0, x1, y1 = box
    window = maps.label_map[y0:y1, x0:x1]
    labels_here = window * mine
    parts = []
    for class_id in range(1, len(labels)):
        inside = intersect(_box(maps.class_boxes, class_id, box), box)
        if inside is None:
            continue
        left, top, right, bottom = inside
        near = np.s_[top - y0 : bottom - y0, left - x0 : right - x0]
        here = labels_here[near] == class_id
        mask = _mask(here, (left, top), maps.label_map.shape)
        score = maps.part_scores.get((number, class_id), 0.0)
        if mask is None:
            continue
        if score < min_score:
            window[near][here] = 0
        else:
            parts.append(Part(labels.names[class_id], class_id, round(float(score), 4), mask))
    return parts


def _box(boxes: Mapping[int, Box] | None, number: int, unknown: Box) -> Box:
    return unknown if boxes is None else boxes.get(number, (0, 0, 0, 0))


def _mask(where: np.ndarray, corner_xy: tuple[int, int], size_hw: tuple[int, int]) -> Mask | None:
    """Return the mask of the true pixels of a window, None if there are none.

    The mask keeps the window's own array if it fills most of it, and a smaller copy otherwise.
    """
    x, y, width, height = cv2.boundingRect(where.view(np.uint8))
    if width == 0:
        return None
    left, top = corner_xy[0] + x, corner_xy[1] + y
    crop = where[y : y + height, x : x + width]
    if crop.size < KEPT * where.size:
        crop = crop.copy()
    return Mask(size_hw, (left, top, left + width, top + height), crop)
