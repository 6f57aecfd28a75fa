"""Query head → Maps: M2FP's part instances and whole-person masks, linked and pasted.

A query's score for a class is its class probability times the mean mask probability inside its mask. Instances that
pass the threshold are pasted class by class: where probability times score exceeds one half it counts, several of a
class are averaged, and the class with the highest average is the pixel's label. A pixel's person is the person of the
part instance that gave it its label. Scores and labels are those of the reference at the photo's full size, but one
instance at a time and only within its box. Source: the paper (arXiv 2301.00394) and the published behaviour of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.linking import drop_duplicates, link
from humanparse.postprocess.paste import cell_box, intersect, photo_box
from humanparse.postprocess.probability import sigmoid, softmax
from humanparse.postprocess.resample import sample_twice
from humanparse.preprocess import Geometry

STRIDE = 4  # input pixels a cell of the mask logits
TOP_K = 100  # best (query, class) pairs that are looked at
SCORED_PX = 4_000_000  # in larger photos a mask's certainty is measured at every second, third … pixel


@dataclass(frozen=True)
class QuerySettings:
    """part_score: from which a part instance is pasted. person_score: from which a whole-person mask is a person.
    duplicate_iou: people who overlap more than this are one."""

    part_score: float = 0.5
    person_score: float = 0.1
    duplicate_iou: float = 0.7


@dataclass(frozen=True)
class Instances:
    """Scored (query, class) pairs. logits: float32 (N, h, w), padding included; classes, scores: (N,)."""

    logits: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Instances:
        return Instances(self.logits[which], self.classes[which], self.scores[which])


def parse_queries(outputs: dict[str, np.ndarray], geometry: Geometry, settings: QuerySettings, num_parts: int) -> Maps:
    """outputs: pred_logits (1, Q, num_parts + 2): parts with background, whole person, no object;
    pred_masks (1, Q, h, w), logits at stride 4."""
    rows, columns = geometry.cells(STRIDE)
    found = find_instances(outputs, geometry, min(settings.part_score, settings.person_score))
    people = found[(found.classes == num_parts) & (found.scores > settings.person_score)]
    people = people[drop_duplicates(people.logits[:, :rows, :columns] > 0, people.scores, settings.duplicate_iou)]
    parts = found[(found.classes < num_parts) & (found.scores >= settings.part_score)]
    owners = link(parts.logits[:, :rows, :columns] > 0, people.logits[:, :rows, :columns] > 0, people.scores)
    height, width = geometry.photo_hw
    maps = Maps(
        np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16),
        [float(score) for score in people.scores],
        _part_scores(parts, owners),
    )
    for tile in geometry.tiles():
        _paste(maps, tile, people, parts, owners, geometry)
    photo = (0, 0, width, height)
    reach = [_reach(logits, photo, geometry) for logits in parts.logits]
    of_people = [_reach(logits, photo, geometry) for logits in people.logits]
    maps.class_boxes = _around(parts.classes, reach)
    maps.person_boxes = _around([*range(1, len(of_people) + 1), *(owners + 1)], of_people + reach)
    return maps


def find_instances(outputs: dict[str, np.ndarray], geometry: Geometry, min_score: float) -> Instances:
    """Of the TOP_K likeliest (query, class) pairs those whose score reaches `min_score`. A query may stand for two classes."""
    class_logits, masks = outputs["pred_logits"][0], outputs["pred_masks"][0]
    probability = softmax(class_logits, axis=1)[:, :-1]                   # (Q, C), "no object" left out
    pairs = np.argsort(-probability, axis=None, kind="stable")[:TOP_K]
    pairs = pairs[probability.ravel()[pairs] >= min_score]               # the mask can only lower the score
    queries, classes = np.unravel_index(pairs, probability.shape)
    certainty = {query: _certainty(masks[query], geometry) for query in np.unique(queries)}
    scores = probability[queries, classes] * np.array([certainty[query] for query in queries], np.float32)
    keep = scores >= min_score
    return Instances(masks[queries[keep]], classes[keep], scores[keep])


def _certainty(logits: np.ndarray, geometry: Geometry) -> float:
    """Mean probability of the photo's pixels whose logit is positive; 0 for an empty mask."""
    height, width = geometry.photo_hw
    step = max(1, round((height * width / SCORED_PX) ** 0.5))
    total = count = 0.0
    for tile in geometry.tiles():
        if box := _reach(logits, tile, geometry):
            sampled = sample_twice(logits, STRIDE, geometry, box, step)
            inside = sampled[sampled > 0]
            total += float(sigmoid(inside).sum(dtype=np.float64))
            count += inside.size
    return total / count if count else 0.0


def _part_scores(parts: Instances, owners: np.ndarray) -> dict[tuple[int, int], float]:
    """(person number or 0, class) → the best score among the instances that were linked so."""
    scores: dict[tuple[int, int], float] = {}
    for owner, class_id, score in zip(owners, parts.classes, parts.scores, strict=True):
        key = int(owner) + 1, int(class_id)
        scores[key] = max(scores.get(key, 0.0), float(score))
    return scores


def _paste(maps: Maps, tile: Box, people: Instances, parts: Instances, owners: np.ndarray, geometry: Geometry) -> None:
    """Fill one tile of both maps, which are all zero."""
    x0, y0, x1, y1 = tile
    label, person = maps.label_map[y0:y1, x0:x1], maps.person_map[y0:y1, x0:x1]
    if found := _strongest(people, np.arange(len(people.scores)) + 1, tile, geometry, floor=0.0):
        box, who, _ = found
        person[_window(box, tile)] = who
    best = np.zeros(label.shape, np.float32)
    for class_id in np.unique(parts.classes):
        same = parts.classes == class_id
        if not (found := _strongest(parts[same], owners[same] + 1, tile, geometry, floor=0.5)):
            continue
        box, owner, average = found
        window = _window(box, tile)
        wins = average > best[window]
        np.maximum(best[window], average, out=best[window])
        np.copyto(label[window], class_id, where=wins, casting="unsafe")
        if class_id > 0:
            np.copyto(person[window], owner, where=wins)


def _strongest(
    instances: Instances, numbers: np.ndarray, tile: Box, geometry: Geometry, floor: float
) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """For each pixel the number of the strongest instance, and the average strength of all that count there.

    Strength is mask probability × score; an instance counts where its strength exceeds `floor` and its logit zero.
    Returns the box of the tile that they reach, and in it uint16 and float32 arrays, 0 where none counts; None if they
    do not reach the tile.
    """
    reach = [_reach(logits, tile, geometry) for logits in instances.logits]
    boxes = [box for box in reach if box]
    if not boxes:
        return None
    around = _around([0] * len(boxes), boxes)[0]
    shape = around[3] - around[1], around[2] - around[0]
    who, top, total, count = (np.zeros(shape, kind) for kind in (np.uint16, np.float32, np.float32, np.uint8))
    for logits, number, score, box in zip(instances.logits, numbers, instances.scores, reach, strict=True):
        if box is None:
            continue
        window = _window(box, around)
        strength = sigmoid(sample_twice(logits, STRIDE, geometry, box))
        strength *= np.float32(score)
        counts = strength > max(floor, 0.5 * score)
        strength *= counts
        total[window] += strength
        count[window] += counts
        np.copyto(who[window], number, where=strength > top[window], casting="unsafe")
        np.maximum(top[window], strength, out=top[window])
    if len(boxes) > 1:
        total /= np.maximum(count, 1)
    return around, who, total


def _around(numbers: Iterable[int], boxes: Iterable[Box | None]) -> dict[int, Box]:
    """By number the box around all of its boxes."""
    around: dict[int, Box] = {}
    for number, box in zip(numbers, boxes, strict=True):
        if box:
            a = around.get(int(number), box)
            around[int(number)] = min(a[0], box[0]), min(a[1], box[1]), max(a[2], box[2]), max(a[3], box[3])
    return around


def _window(box: Box, around: Box) -> tuple[slice, slice]:
    """Where a box lies in an array that begins with another."""
    return np.s_[box[1] - around[1] : box[3] - around[1], box[0] - around[0] : box[2] - around[0]]


def _reach(logits: np.ndarray, tile: Box, geometry: Geometry) -> Box | None:
    """The part of the tile that the mask can reach."""
    inside = logits > 0
    return intersect(photo_box(cell_box(inside), geometry, STRIDE), tile) if inside.any() else None
