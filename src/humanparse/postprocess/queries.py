"""From the query head to Maps: M2FP's part instances and whole-person masks, linked and pasted.

Instances that pass the threshold (instances.py) are pasted class by class (query_paste.py). An
instance counts where its probability times its score exceeds one half; several of one class are
averaged, and the class with the highest average is the pixel's label. The person of a pixel is the
person of the part instance that gave the pixel its label. Source: the paper (arXiv 2301.00394) and
the published behaviour of the reference.

Labels are those of the reference at the photo's full size, but they are computed only for the few
instances that pass, within their boxes, and tile by tile, so that the work stays in the processor's
caches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.labels import LabelSet
from humanparse.postprocess.assemble import Maps, left_to_right
from humanparse.postprocess.instances import STRIDE, Instances, find_instances
from humanparse.postprocess.linking import drop_duplicates, link
from humanparse.postprocess.paste import intersect
from humanparse.postprocess.query_paste import PASTED, around, paste_tile
from humanparse.postprocess.resample import Sampler
from humanparse.preprocess import Geometry


@dataclass(frozen=True)
class QuerySettings:
    """Thresholds; a model file may carry its own.

    Attributes:
        part_score: A part instance is pasted from this score on.
        person_score: A whole-person mask is a person above this score.
        duplicate_iou: People who overlap by more than this IoU are one person.
    """

    part_score: float = 0.5
    person_score: float = 0.1
    duplicate_iou: float = 0.7


def parse_queries(
    outputs: dict[str, np.ndarray], geometry: Geometry, settings: QuerySettings, labels: LabelSet
) -> Maps:
    """Find the people in the outputs of the query head.

    Args:
        outputs: pred_logits (1, Q, C + 2): C classes including the background, the whole person, no
            object; and pred_masks (1, Q, h, w), logits at stride 4.
        geometry: Where the photo lies in the network's input.
        settings: The thresholds.
        labels: The C classes.

    Returns:
        The maps in the photo's size.
    """
    num_parts, cells = len(labels), geometry.cells(STRIDE)
    sampler = Sampler.of(geometry, STRIDE, outputs["pred_masks"].shape[2:])
    found = find_instances(
        outputs, geometry, min(settings.part_score, settings.person_score), sampler
    )
    people = found[(found.classes == num_parts) & (found.scores > settings.person_score)]
    people = people[drop_duplicates(people.inside(*cells), people.scores, settings.duplicate_iou)]
    people = people[np.array(left_to_right(people.boxes), int)]
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
    """Return (person number or 0, class) → the best score of the instances that were linked so."""
    scores: dict[tuple[int, int], float] = {}
    for owner, class_id, score in zip(owners, parts.classes, parts.scores, strict=True):
        key = int(owner), int(class_id)
        scores[key] = max(scores.get(key, 0.0), float(score))
    return scores
