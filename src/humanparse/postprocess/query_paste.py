"""Paste the instances of the query head into one tile of the maps.

Where several claim a pixel, the class with the best average wins. This uses OpenCV's masked copies:
NumPy's decide pixel by pixel and take several times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.instances import Instances, margin_of
from humanparse.postprocess.paste import intersect
from humanparse.postprocess.resample import Sampler, Window

PASTED = 0.5  # a part counts where probability times score is above this


@dataclass(frozen=True)
class _Claim:
    """An instance in a tile.

    class_id, score: its own. person: the person's number, 0 for nobody. window: the rows and
    columns of the tile that it reaches. margin: float32, 2 × probability - 1 in the window.
    """

    class_id: int
    score: float
    person: int
    window: tuple[slice, slice]
    margin: np.ndarray

    def strength(self) -> np.ndarray:
        """Return probability × score, float32."""
        strength = self.margin + np.float32(1)
        strength *= self.score / 2
        return strength


def paste_tile(
    maps: Maps, tile: Box, people: Instances, parts: Instances, owners: np.ndarray, sampler: Sampler
) -> None:
    """Fill one tile of both maps, which must be zero.

    Args:
        maps: The maps of the whole photo, changed in place.
        tile: The box of the tile in photo pixels.
        people: The people.
        parts: The part instances.
        owners: int (N,), the person's number of each part, 0 for nobody.
        sampler: The sampler of their masks.
    """
    x0, y0, x1, y1 = tile
    window = sampler.within(tile)
    who = _whose(
        _claims(people, np.arange(1, len(people.scores) + 1), tile, window), window.size_hw
    )
    label, owner = _labels(_claims(parts, owners, tile, window), window.size_hw)
    # The background belongs to nobody.
    cv2.copyTo(owner, label, who)
    maps.label_map[y0:y1, x0:x1] = label
    maps.person_map[y0:y1, x0:x1] = who


def _claims(instances: Instances, persons: np.ndarray, tile: Box, window: Window) -> list[_Claim]:
    """Return the instances that reach the tile, in order."""
    claims = []
    for index, mask in enumerate(instances.masks):
        if reached := intersect(mask.box, tile):
            class_id, score, person = (
                values[index].item() for values in (instances.classes, instances.scores, persons)
            )
            here, kept = _window(reached, tile), mask.margin
            margin = (
                margin_of(window(mask.logits, *here))
                if kept is None
                else kept[_window(reached, mask.box)]
            )
            claims.append(_Claim(class_id, score, person, here, margin))
    return claims


def _whose(claims: list[_Claim], size_hw: tuple[int, int]) -> np.ndarray:
    """Return the strongest person with a positive logit at each pixel of a tile, uint8, 0 for none.

    The first of equally strong people wins.
    """
    who, overlap = np.zeros(size_hw, np.uint8), False
    inside = [
        cv2.compare(claim.margin, 0, cv2.CMP_GT)  # type: ignore[call-overload]  # omits numbers
        for claim in claims
    ]
    for claim, mine in zip(claims, inside, strict=True):
        overlap = overlap or cv2.countNonZero(cv2.bitwise_and(who[claim.window], mine)) > 0
        _write(who[claim.window], mine, claim.person)
    if overlap:
        best = np.zeros(size_hw, np.float32)
        for claim, mine in zip(claims, inside, strict=True):
            _write(
                who[claim.window], _won(best[claim.window], claim.strength(), mine), claim.person
            )
    return who


def _labels(claims: list[_Claim], size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of each pixel of a tile and the person whose part it is, uint8 each, 0 for
    none.

    A claim counts where it is stronger than PASTED; its logit is positive there, since no score
    exceeds 1. The class whose claims are the strongest on average wins, the first of equals; its
    strongest claim determines the person.
    """
    label, owner, best = (
        np.zeros(size_hw, np.uint8),
        np.zeros(size_hw, np.uint8),
        np.full(size_hw, PASTED, np.float32),
    )
    by_class: dict[int, list[_Claim]] = {}
    for claim in claims:
        by_class.setdefault(claim.class_id, []).append(claim)
    for class_id, same in sorted(by_class.items()):
        for window, strength, person in _averaged(same):
            wins = _won(best[window], strength)
            _write(label[window], wins, class_id)
            _write(owner[window], wins, person)
    return label, owner


def _averaged(
    claims: list[_Claim],
) -> Iterator[tuple[tuple[slice, slice], np.ndarray, int | np.ndarray]]:
    """Yield the claims of one class as windows of the tile, the strengths in them, and persons.

    If any windows overlap, there is a single window around all of them, with the average of the
    claims that count, and with an array of persons, those of the strongest claims.
    """
    boxes = [
        (columns.start, rows.start, columns.stop, rows.stop)
        for rows, columns in (claim.window for claim in claims)
    ]
    if not any(intersect(a, b) for a, b in combinations(boxes, 2)):
        for claim in claims:
            yield claim.window, claim.strength(), claim.person
        return
    enclosing = around([0] * len(boxes), boxes)[0]
    size_hw = enclosing[3] - enclosing[1], enclosing[2] - enclosing[0]
    total, count, person = (
        np.zeros(size_hw, np.float32),
        np.zeros(size_hw, np.uint8),
        np.zeros(size_hw, np.uint8),
    )
    best = np.full(size_hw, PASTED, np.float32)
    for claim, box in zip(claims, boxes, strict=True):
        here, strength = _window(box, enclosing), claim.strength()
        counts = strength > PASTED
        _write(person[here], _won(best[here], strength), claim.person)
        total[here] += strength * counts
        count[here] += counts
    if count.max() > 1:
        total /= np.maximum(count, 1)
    yield _window(enclosing, (0, 0, 0, 0)), total, person


def _won(best: np.ndarray, strength: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Raise `best` in place to the strength where that is greater, and return where, as 0 or 255.

    where: the only places that may change, as 0 or 255.
    """
    won = cv2.compare(strength, best, cv2.CMP_GT)
    if where is not None:
        cv2.bitwise_and(won, where, won)
    cv2.copyTo(strength, won, best)
    return won


def _write(plane: np.ndarray, where: np.ndarray, value: int | np.ndarray) -> None:
    """plane[where] = value, in place."""
    cv2.copyTo(
        value if isinstance(value, np.ndarray) else np.full(plane.shape, value, plane.dtype),
        where,
        plane,
    )


def _window(box: Box, around: Box) -> tuple[slice, slice]:
    """Return where a box lies in an array that begins at another box."""
    return np.s_[box[1] - around[1] : box[3] - around[1], box[0] - around[0] : box[2] - around[0]]


def around(numbers: Iterable[int], boxes: Iterable[Box]) -> dict[int, Box]:
    """Return by number the box around all boxes of that number."""
    union: dict[int, Box] = {}
    for number, box in zip(numbers, boxes, strict=True):
        x0, y0, x1, y1 = union.get(int(number), box)
        union[int(number)] = (
            min(x0, box[0]),
            min(y0, box[1]),
            max(x1, box[2]),
            max(y1, box[3]),
        )
    return union
