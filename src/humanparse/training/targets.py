"""The targets of a scene: what each output map should say, at the network's stride."""

from __future__ import annotations

import numpy as np

from humanparse.labels import LabelSet
from humanparse.training.photos import UNKNOWN_PERSON
from humanparse.training.scenes import Scene
from humanparse.training.wears import ANYTHING, IGNORE, sets_of

MIN_PERSON_PX = 100  # people with fewer visible pixels have no centre and no offsets
MAX_TAUGHT = 24  # people of a scene from whom the network learns what they wear
WORN_SHARE = 0.004  # a class is worn if at least this share of the person's cells has it


def targets(scene: Scene, stride: int, phase: int, labels: LabelSet) -> dict[str, np.ndarray]:
    """Return the targets of the maps, with h = S / stride.

        classes        uint8 (h, h), 255 where it is not one known class
        sets           int64 (h, h), the classes that a cell may have, as bits; 0 where unknown
        owner          int64 (h, h), the person's number, 1 to MAX_TAUGHT; 0 nobody or unknown
        worn           float32 (MAX_TAUGHT, C), 1 for what is seen on a person, 0 for what is not,
                       -1 where unknown
        person         float32 (h, h), probability
        person_weight  float32 (h, h), how certain that is
        centre         float32 (h, h), 1 at a centre, falling off around it; -1 where unknown
        offset         float32 (2, h, h), (dx, dy) in input pixels
        offset_weight  float32 (h, h), 0 where there is nobody

    Args:
        scene: The scene, of side S.
        stride: The stride of the maps in pixels.
        phase: Which pixel of each cell speaks for the cell, in [0, stride).
        labels: The classes.
    """
    cells = np.s_[phase::stride, phase::stride]
    people = scene.people[cells]
    person = scene.person[cells]
    height, width = people.shape
    ys, xs = np.mgrid[:height, :width] * stride + stride / 2  # middle of each cell, in input pixels
    centre = np.zeros((height, width), np.float32)
    offset = np.zeros((2, height, width), np.float32)
    offset_weight = np.zeros((height, width), np.float32)
    for number in range(1, scene.num_people + 1):
        mine = people == number
        if mine.sum() * stride**2 < MIN_PERSON_PX:
            continue
        x, y = xs[mine].mean(), ys[mine].mean()
        # The diagonal of the person's box.
        extent = np.hypot(np.ptp(xs[mine]) + stride, np.ptp(ys[mine]) + stride)
        spread = np.clip(0.03 * extent, 5, 16)
        bump = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * spread**2))
        bump[int(y / stride), int(x / stride)] = 1
        centre = np.maximum(centre, bump.astype(np.float32))
        offset[:, mine] = x - xs[mine], y - ys[mine]
        offset_weight[mine] = 1 / extent
    centre[people == UNKNOWN_PERSON] = -1
    codes = scene.classes[cells]
    possible = np.array(
        [ANYTHING, *scene.possible, *[ANYTHING] * (scene.num_people - len(scene.possible))],
        np.int64,
    )
    owner = np.where((people > 0) & (people <= MAX_TAUGHT), people, 0).astype(np.int64)
    return {
        "classes": np.where(codes < len(labels), codes, IGNORE).astype(np.uint8),
        "sets": sets_of(codes, people, possible, labels),
        "owner": owner,
        "worn": worn(codes, owner, possible, len(labels)),
        "person": person,
        "person_weight": (2 * person - 1) ** 2,
        "centre": centre,
        "offset": offset,
        "offset_weight": offset_weight,
    }


def worn(
    codes: np.ndarray, owner: np.ndarray, possible: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return what each person is known to wear (1) and not to wear (0); -1 where it is unknown.

    A class is worn if enough cells have it, and not worn if it cannot be seen on the person.

    Args:
        codes: uint8 (h, w), classes, or numbers that stand for several.
        owner: int64 (h, w), the person's number, 0 nobody.
        possible: int64 (P + 1,), the classes that may be seen on each person, as bits; see
            `sets_of`.
        num_classes: The number of classes C.

    Returns:
        float32 (MAX_TAUGHT, C).
    """
    known = np.full((MAX_TAUGHT, num_classes), -1, np.float32)
    cells = np.bincount(owner.ravel(), minlength=MAX_TAUGHT + 1)
    for number in range(1, min(MAX_TAUGHT, len(possible) - 1) + 1):
        if cells[number] and possible[number] != ANYTHING:
            seen = np.bincount(codes[owner == number], minlength=256)[:num_classes]
            known[number - 1, seen >= max(1, WORN_SHARE * cells[number])] = 1
            known[number - 1, (possible[number] >> np.arange(num_classes) & 1) == 0] = 0
    known[:, 0] = -1
    return known
