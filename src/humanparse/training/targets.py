"""Scene → what each output map should say, at the network's stride."""

from __future__ import annotations

import numpy as np

from humanparse.training.scenes import UNKNOWN_PERSON, Scene

MIN_PERSON_PX = 100  # a person with fewer visible pixels is asked of nobody


def targets(scene: Scene, stride: int, phase: int) -> dict[str, np.ndarray]:
    """Targets of the four maps (h = S / stride). `phase` in [0, stride) says which pixel of each cell speaks for it.

    classes        uint8 (h, h), 255 ignore
    person         float32 (h, h), probability; person_weight float32 (h, h): how sure we are of it
    centre         float32 (h, h), 1 at a centre, falling off around it; -1 where nothing is known
    offset         float32 (2, h, h), (dx, dy) in input pixels; offset_weight float32 (h, h), 0 where there is nobody
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
        extent = np.hypot(np.ptp(xs[mine]) + stride, np.ptp(ys[mine]) + stride)  # diagonal of the person's box
        spread = np.clip(0.03 * extent, 5, 16)
        bump = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * spread**2))
        bump[int(y / stride), int(x / stride)] = 1
        centre = np.maximum(centre, bump.astype(np.float32))
        offset[:, mine] = x - xs[mine], y - ys[mine]
        offset_weight[mine] = 1 / extent
    centre[people == UNKNOWN_PERSON] = -1
    return {
        "classes": scene.classes[cells],
        "person": person,
        "person_weight": (2 * person - 1) ** 2,
        "centre": centre,
        "offset": offset,
        "offset_weight": offset_weight,
    }
