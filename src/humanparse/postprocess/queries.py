"""Query head → Maps: M2FP's part instances and whole-person masks, linked and pasted.

A query's score for a class is its class probability times the mean mask probability inside its mask. Instances that
pass the threshold are pasted class by class: where probability times score exceeds one half it counts, several of a
class are averaged, and the class with the highest average is the pixel's label. A pixel's person is the person of the
part instance that gave it its label. Source: the paper (arXiv 2301.00394) and the published behaviour of the reference.

Scores and labels are those of the reference at the photo's full size, but only of the few instances that pass, within their
boxes, and tile by tile, so that the work stays in the processor's caches. Scores of large masks are measured at some of their
pixels. Masks are compared as margins, 2 × probability - 1: positive where a mask is, and one function away from the logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.linking import drop_duplicates, link
from humanparse.postprocess.paste import intersect, photo_box
from humanparse.postprocess.probability import softmax
from humanparse.postprocess.resample import Sampler, Window
from humanparse.preprocess import Geometry

STRIDE = 4  # input pixels a cell of the mask logits
TOP_K = 100  # best (query, class) pairs that are looked at; people are counted in bytes
SCORED_PX = 1 << 16  # in larger boxes a mask's certainty is measured at every second, third … pixel, two or more a cell
KEPT_PX = 1 << 22  # of all boxes in which every pixel was looked at: so many are kept until they are pasted
PASTED = 0.5  # probability times score above which a part counts


@dataclass(frozen=True)
class QuerySettings:
    """part_score: from which a part instance is pasted. person_score: from which a whole-person mask is a person.
    duplicate_iou: people who overlap more than this are one."""

    part_score: float = 0.5
    person_score: float = 0.1
    duplicate_iou: float = 0.7


@dataclass(frozen=True)
class QueryMask:
    """One query's mask. logits: float32 (h, w), padding included; not copied. inside: bool (h, w), its positive cells.
    box: the photo pixels that it can reach, None if there are none. certainty: mean probability of its pixels; 0 if there are
    none. margin: float32, 2 × probability - 1 at the pixels of the box; None if that was not kept.
    """

    logits: np.ndarray
    inside: np.ndarray
    box: Box | None
    certainty: float
    margin: np.ndarray | None


@dataclass(frozen=True)
class Instances:
    """Scored (query, class) pairs. classes, scores: (N,)."""

    masks: Sequence[QueryMask]
    classes: np.ndarray
    scores: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Instances:
        """which: bool (N,) or indices."""
        some = np.arange(len(self.masks))[which]
        return Instances([self.masks[index] for index in some], self.classes[some], self.scores[some])

    @property
    def logits(self) -> list[np.ndarray]:
        """float32 (h, w) of each, padding included."""
        return [mask.logits for mask in self.masks]

    @property
    def boxes(self) -> list[Box]:
        """The photo pixels that each can reach."""
        return [mask.box for mask in self.masks]

    def inside(self, rows: int, columns: int) -> np.ndarray:
        """bool (N, rows, columns): the positive cells of each, without those of the padding."""
        cells = np.empty((len(self.masks), rows, columns), bool)
        for one, mask in zip(cells, self.masks, strict=True):
            one[:] = mask.inside[:rows, :columns]
        return cells


def parse_queries(outputs: dict[str, np.ndarray], geometry: Geometry, settings: QuerySettings, num_parts: int) -> Maps:
    """outputs: pred_logits (1, Q, num_parts + 2): parts with background, whole person, no object;
    pred_masks (1, Q, h, w), logits at stride 4."""
    cells = geometry.cells(STRIDE)
    sampler = Sampler.of(geometry, STRIDE, outputs["pred_masks"].shape[2:])
    found = find_instances(outputs, geometry, min(settings.part_score, settings.person_score), sampler)
    people = found[(found.classes == num_parts) & (found.scores > settings.person_score)]
    people = people[drop_duplicates(people.inside(*cells), people.scores, settings.duplicate_iou)]
    parts = found[(found.classes < num_parts) & (found.scores >= settings.part_score)]
    owners = link(parts.inside(*cells), people.inside(*cells), people.scores) + 1
    height, width = geometry.photo_hw
    maps = Maps(
        np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16),
        [float(score) for score in people.scores],
        _part_scores(parts, owners),
    )
    pasted = np.flatnonzero(parts.scores > PASTED)
    reached = [*people.boxes, *parts[pasted].boxes]
    for tile in geometry.tiles():
        if any(intersect(box, tile) for box in reached):
            _paste(maps, tile, people, parts[pasted], owners[pasted], sampler)
    maps.class_boxes = _around(parts.classes, parts.boxes)
    maps.person_boxes = _around([*range(1, len(people.boxes) + 1), *owners], [*people.boxes, *parts.boxes])
    return maps


def find_instances(
    outputs: dict[str, np.ndarray], geometry: Geometry, min_score: float, sampler: Sampler | None = None
) -> Instances:
    """Of the TOP_K likeliest (query, class) pairs those whose score reaches `min_score`. A query may stand for two classes."""
    class_logits, logits = outputs["pred_logits"][0], outputs["pred_masks"][0]
    probability = softmax(class_logits, axis=1)[:, :-1]                   # (Q, C), "no object" left out
    pairs = np.argsort(-probability, axis=None, kind="stable")[:TOP_K]
    pairs = pairs[probability.ravel()[pairs] >= min_score]               # the mask can only lower the score
    queries, classes = np.unravel_index(pairs, probability.shape)
    sampler = sampler or Sampler.of(geometry, STRIDE, logits.shape[1:])
    masks, room = {}, KEPT_PX
    for query in queries.tolist():
        if query not in masks:
            masks[query] = _mask(logits[query], geometry, sampler, room)
            room -= 0 if masks[query].margin is None else masks[query].margin.size
    scores = probability[queries, classes] * np.array([masks[query].certainty for query in queries.tolist()], np.float32)
    keep = np.flatnonzero((scores >= min_score) & (scores > 0))
    return Instances([masks[query] for query in queries[keep].tolist()], classes[keep], scores[keep])


def _mask(logits: np.ndarray, geometry: Geometry, sampler: Sampler, room: int) -> QueryMask:
    """room: pixels whose margins may be kept."""
    inside = logits > 0
    x, y, width, height = cv2.boundingRect(inside.view(np.uint8))
    photo = 0, 0, geometry.photo_hw[1], geometry.photo_hw[0]
    box = intersect(photo_box((x, y, x + width, y + height), geometry, STRIDE), photo) if width else None
    if box is None:
        return QueryMask(logits, inside, None, 0.0, None)
    step = max(1, round(((box[2] - box[0]) * (box[3] - box[1]) / SCORED_PX) ** 0.5))
    margin = _margin(sampler.within(box, step)(logits))
    positive = cv2.max(margin, 0)                                         # a margin of zero adds nothing to the sum
    count = cv2.countNonZero(positive)
    certainty = 0.5 + 0.5 * cv2.sumElems(positive)[0] / count if count else 0.0
    return QueryMask(logits, inside, box, certainty, margin if step == 1 and margin.size <= room else None)


def _margin(logits: np.ndarray) -> np.ndarray:
    """2 × probability - 1, which is tanh(logit / 2) and has the sign of the logit. It takes the place of the logits."""
    logits *= 0.5
    return np.tanh(logits, out=logits)


def _part_scores(parts: Instances, owners: np.ndarray) -> dict[tuple[int, int], float]:
    """(person number or 0, class) → the best score among the instances that were linked so."""
    scores: dict[tuple[int, int], float] = {}
    for owner, class_id, score in zip(owners, parts.classes, parts.scores, strict=True):
        key = int(owner), int(class_id)
        scores[key] = max(scores.get(key, 0.0), float(score))
    return scores


# ---- pasting ----------------------------------------------------------------------------------------------------------
# By OpenCV's masked copies: NumPy's decide pixel by pixel, and take several times as long.


@dataclass(frozen=True)
class _Claim:
    """An instance in a tile. class_id, score: its own; person: the person's number, 0 nobody's; window: the rows and columns of
    the tile that it reaches; margin: float32, 2 × probability - 1 in them."""

    class_id: int
    score: float
    person: int
    window: tuple[slice, slice]
    margin: np.ndarray

    def strength(self) -> np.ndarray:
        """float32: probability × score."""
        strength = self.margin + np.float32(1)
        strength *= self.score / 2
        return strength


def _paste(maps: Maps, tile: Box, people: Instances, parts: Instances, owners: np.ndarray, sampler: Sampler) -> None:
    """Fill one tile of both maps, which are all zero. owners: of each part the person's number, 0 nobody's."""
    x0, y0, x1, y1 = tile
    window = sampler.within(tile)
    who = _whose(_claims(people, np.arange(1, len(people.scores) + 1), tile, window), window.size_hw)
    label, owner = _labels(_claims(parts, owners, tile, window), window.size_hw)
    cv2.copyTo(owner, label, who)                                          # the background is nobody's
    maps.label_map[y0:y1, x0:x1] = label
    maps.person_map[y0:y1, x0:x1] = who


def _claims(instances: Instances, persons: np.ndarray, tile: Box, window: Window) -> list[_Claim]:
    """The instances that reach the tile, in order."""
    claims = []
    for index, mask in enumerate(instances.masks):
        if reached := intersect(mask.box, tile):
            class_id, score, person = (values[index].item() for values in (instances.classes, instances.scores, persons))
            here, kept = _window(reached, tile), mask.margin
            margin = _margin(window(mask.logits, *here)) if kept is None else kept[_window(reached, mask.box)]
            claims.append(_Claim(class_id, score, person, here, margin))
    return claims


def _whose(claims: list[_Claim], size_hw: tuple[int, int]) -> np.ndarray:
    """uint8: for each pixel of a tile the strongest person with a positive logit, of equals the first; 0 for none."""
    who, overlap = np.zeros(size_hw, np.uint8), False
    inside = [cv2.compare(claim.margin, 0, cv2.CMP_GT) for claim in claims]
    for claim, mine in zip(claims, inside, strict=True):
        overlap = overlap or cv2.countNonZero(cv2.bitwise_and(who[claim.window], mine)) > 0
        _write(who[claim.window], mine, claim.person)
    if overlap:
        best = np.zeros(size_hw, np.float32)
        for claim, mine in zip(claims, inside, strict=True):
            _write(who[claim.window], _won(best[claim.window], claim.strength(), mine), claim.person)
    return who


def _labels(claims: list[_Claim], size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 each: for each pixel of a tile its class, and the person whose part it is; 0 for none.

    A claim counts where it is stronger than PASTED; as no score exceeds 1, its logit is positive there. The class wins whose
    claims are the strongest on average, of equals the first; its strongest claim gives the person.
    """
    label, owner, best = np.zeros(size_hw, np.uint8), np.zeros(size_hw, np.uint8), np.full(size_hw, PASTED, np.float32)
    by_class: dict[int, list[_Claim]] = {}
    for claim in claims:
        by_class.setdefault(claim.class_id, []).append(claim)
    for class_id, same in sorted(by_class.items()):
        for window, strength, person in _averaged(same):
            wins = _won(best[window], strength)
            _write(label[window], wins, class_id)
            _write(owner[window], wins, person)
    return label, owner


def _averaged(claims: list[_Claim]) -> Iterator[tuple[tuple[slice, slice], np.ndarray, int | np.ndarray]]:
    """The claims of one class as windows of the tile, strengths in them, and persons. Where windows overlap it is one window
    around all, in it the average of the claims that count, and as an array the person of the strongest."""
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in (claim.window for claim in claims)]
    if not any(intersect(a, b) for a, b in combinations(boxes, 2)):
        for claim in claims:
            yield claim.window, claim.strength(), claim.person
        return
    around = _around([0] * len(boxes), boxes)[0]
    size_hw = around[3] - around[1], around[2] - around[0]
    total, count, person = np.zeros(size_hw, np.float32), np.zeros(size_hw, np.uint8), np.zeros(size_hw, np.uint8)
    best = np.full(size_hw, PASTED, np.float32)
    for claim, box in zip(claims, boxes, strict=True):
        here, strength = _window(box, around), claim.strength()
        counts = strength > PASTED
        _write(person[here], _won(best[here], strength), claim.person)
        total[here] += strength * counts
        count[here] += counts
    if count.max() > 1:
        total /= np.maximum(count, 1)
    yield _window(around, (0, 0, 0, 0)), total, person


def _won(best: np.ndarray, strength: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Raise `best` in place to the strength where that is more. Returns where, as 0 or 255. where: nowhere else, 0 or 255."""
    won = cv2.compare(strength, best, cv2.CMP_GT)
    if where is not None:
        cv2.bitwise_and(won, where, won)
    cv2.copyTo(strength, won, best)
    return won


def _write(plane: np.ndarray, where: np.ndarray, value: int | np.ndarray) -> None:
    """plane[where] = value, in place."""
    cv2.copyTo(value if isinstance(value, np.ndarray) else np.full(plane.shape, value, plane.dtype), where, plane)


def _around(numbers: Iterable[int], boxes: Iterable[Box]) -> dict[int, Box]:
    """By number the box around all of its boxes."""
    around: dict[int, Box] = {}
    for number, box in zip(numbers, boxes, strict=True):
        a = around.get(int(number), box)
        around[int(number)] = min(a[0], box[0]), min(a[1], box[1]), max(a[2], box[2]), max(a[3], box[3])
    return around


def _window(box: Box, around: Box) -> tuple[slice, slice]:
    """Where a box lies in an array that begins with another."""
    return np.s_[box[1] - around[1] : box[3] - around[1], box[0] - around[0] : box[2] - around[0]]
