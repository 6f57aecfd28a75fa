"""The segments of a scene that M2FP's queries should find: background, every part, every person.

Masks of one kind never overlap, so a scene's segments are two maps of numbers instead of a mask
each: one says which background or part each pixel belongs to, the other which person. The published
method keeps a mask for each and reads it between pixels; here a point takes the pixel that it lies
in.
"""

from __future__ import annotations

import numpy as np

from humanparse.training.scenes import Scene
from humanparse.training.wears import IGNORE

NONE, UNKNOWN = -1, -2  # in the maps: of no segment, and unknown
MAX_SEGMENTS = 256  # of one scene; if there are more, the smallest become unknown
MIN_SEGMENT_PX = 16  # one cell of the mask logits; smaller segments become unknown


def segments(scene: Scene, num_parts: int, whole_people: bool = True) -> dict[str, np.ndarray]:
    """Return the segments of a scene, numbered from 0.

        classes      int64 (MAX_SEGMENTS,), class of each segment, -1 where there is none
        whole        bool (MAX_SEGMENTS,), whether the segment is a whole person, in person_map
        part_map     int16 (H, W), the segment of background or part
        person_map   int16 (H, W), the segment of the person

    Args:
        scene: The scene.
        num_parts: The number of classes with the background; the whole person is class `num_parts`.
        whole_people: Whether to tell people apart. Without it there is one segment for each class
            and none for people, as single-person data sets (LIP) teach.
    """
    part_of, known = scene.classes.astype(np.int64), scene.classes < num_parts
    owner = np.maximum(scene.people, 0).astype(np.int64) if whole_people else np.zeros_like(part_of)
    # The background is one segment, whoever stands in front of it.
    owner[part_of == 0] = 0
    keys = np.where(known, owner * (IGNORE + 1) + part_of, -1)
    part_map, part_keys, part_px = _numbered(keys, np.where(known, NONE, UNKNOWN))
    classes, areas = [key % (IGNORE + 1) for key in part_keys], part_px
    whole = [False] * len(classes)
    person_map = np.full(part_map.shape, NONE, np.int16)
    if whole_people:
        numbers = np.where(scene.people > 0, scene.people.astype(np.int64), -1)
        person_map, people, person_px = _numbered(
            numbers, np.where(scene.people < 0, UNKNOWN, NONE)
        )
        person_map[person_map >= 0] += len(classes)
        classes += [num_parts] * len(people)
        whole += [True] * len(people)
        areas += person_px
    return _at_most(
        MAX_SEGMENTS,
        np.array(classes, np.int64),
        np.array(whole, bool),
        np.array(areas),
        part_map,
        person_map,
    )


def _numbered(keys: np.ndarray, elsewhere: np.ndarray) -> tuple[np.ndarray, list[int], list[int]]:
    """Number the keys (-1 for none) from 0; return the map, the keys and their pixel counts.

    Tiny segments become unknown.
    """
    found, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    numbers = np.full(len(found), NONE)
    kept: list[int] = []
    areas: list[int] = []
    for index, (key, count) in enumerate(zip(found, counts, strict=True)):
        if key < 0:
            continue
        if count < MIN_SEGMENT_PX:
            numbers[index] = UNKNOWN
            continue
        numbers[index] = len(kept)
        kept.append(int(key))
        areas.append(int(count))
    numbered = numbers[inverse].reshape(keys.shape)
    return np.where(keys >= 0, numbered, elsewhere).astype(np.int16), kept, areas


def _at_most(
    limit: int, classes: np.ndarray, whole: np.ndarray, areas: np.ndarray, *maps: np.ndarray
) -> dict[str, np.ndarray]:
    """The largest `limit` segments, renumbered; the pixels of the others become unknown."""
    if len(classes) > limit:
        kept = np.sort(np.argsort(-areas, kind="stable")[:limit])
        table = np.full(len(classes), UNKNOWN, np.int16)
        table[kept] = np.arange(limit)
        maps = tuple(
            np.where(one >= 0, table[np.maximum(one, 0)], one).astype(np.int16) for one in maps
        )
        classes, whole = classes[kept], whole[kept]
    rest = limit - len(classes)
    return {
        "classes": np.pad(classes, (0, rest), constant_values=-1),
        "whole": np.pad(whole, (0, rest)),
        "part_map": maps[0],
        "person_map": maps[1],
    }
