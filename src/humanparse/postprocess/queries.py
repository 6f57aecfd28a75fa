"""Query head → Maps: M2FP's part instances and whole-person masks, linked and pasted.

Instances that pass the threshold (instances.py) are pasted class by class (query_paste.py): where
probability times score exceeds one half it counts, several of a class are averaged, and the class
with the highest average is the pixel's label. A pixel's person is the person of the part instance
that gave it its label. Source: the paper (arXiv 2301.00394) and the published behaviour of the
reference.

Labels are those of the reference at the photo's full size, but only of the few instances that pass,
within their boxes, and tile by tile, so that the work stays in the processor's caches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.labels import LabelSet
from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.instances import STRIDE, Instances, find_instances
from humanparse.postprocess.linking import drop_duplicates, link
from humanparse.postprocess.paste import intersect
from humanparse.postprocess.query_paste import PASTED, around, paste_tile
from humanparse.postprocess.resample import Sampler
from humanparse.preprocess import Geometry


@dataclass(frozen=True)
class QuerySettings:
    """part_score: from which a part instance is pasted. person_score: from which a whole-person
    mask is a person.
    duplicate_iou: people who overlap more than this are one."""

    part_score: float = 0.5
    person_score: float = 0.1
    duplicate_iou: float = 0.7


def parse_queries(
    outputs: dict[str, np.ndarray], geometry: Geometry, settings: QuerySettings, labels: LabelSet
) -> Maps:
    """outputs: pred_logits (1, Q, C + 2): C parts with background, whole person, no object;
    pred_masks (1, Q, h, w), logits at stride 4."""
    num_parts, cells = len(labels), geometry.cells(STRIDE)
    sampler = Sampler.of(geometry, STRIDE, outputs["pred_masks"].shape[2:])
    found = find_instances(
        outputs, geometry, min(settings.part_score, settings.person_score), sampler
    )
    people = found[(found.classes == num_parts) & (found.scores > settings.person_score)]
    people = people[drop_duplicates(people.inside(*cells), people.scores, settings.duplicate_iou)]
    parts = found[(found.classes < num_parts) & (found.scores >= settings.part_score)]
    owners = link(parts.inside(*cells), people.inside(*cells), people.scores) + 1
    height, width = geometry.photo_hw
    maps = Maps(
        np.zeros((height, width), np.uint8),
        np.zeros((height, width), np.uint16),
        [float(score) for score in people.scores],
        _part_scores(parts, owners),
    )
    pasted = np.flatnonzero(parts.scores > PASTED)
    reached = [*people.boxes, *parts[pasted].boxes]
    for tile in geometry.tiles():
        if any(intersect(box, tile) for box in reached):
            paste_tile(maps, tile, people, parts[pasted], owners[pasted], sampler)
    maps.class_boxes = around(parts.classes, parts.boxes)
    maps.person_boxes = around(
        [*range(1, len(people.boxes) + 1), *owners], [*people.boxes, *parts.boxes]
    )
    return maps


def _part_scores(parts: Instances, owners: np.ndarray) -> dict[tuple[int, int], float]:
    """(person number or 0, class) → the best score among the instances that were linked so."""
    scores: dict[tuple[int, int], float] = {}
    for owner, class_id, score in zip(owners, parts.classes, parts.scores, strict=True):
        key = int(owner), int(class_id)
        scores[key] = max(scores.get(key, 0.0), float(score))
    return scores
