"""Results carried from a frame that was parsed to frames after it, along what has moved.

Motion is DIS optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016),
computed on small grey pictures: it takes about a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from humanparse.postprocess.assemble import Maps, assemble
from humanparse.result import Parsing

FLOW_SIDE = 320  # pixels of the longer side of the pictures in which motion is looked for


class Motion:
    """Where each pixel of a frame was in an earlier one.

    Args:
        before: The earlier frame, as `small_grey` makes it.
        now: The frame, in the same way.
        size_hw: Height and width of both in pixels.
    """

    def __init__(self, before: np.ndarray, now: np.ndarray, size_hw: tuple[int, int]):
        flow = np.zeros((*before.shape, 2), np.float32)  # in small pixels
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = np.asarray(search.calc(now, before, flow))
        height, width = size_hw
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
        columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        self._x, self._y = flow[..., 0] + columns, flow[..., 1] + rows[:, None]

    def carried(self, values: np.ndarray) -> np.ndarray:
        """Return a map of the earlier frame, uint8 or uint16 (H, W), as it lies in this one."""
        return cv2.remap(
            values, self._x, self._y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
        )


class Carrier:
    """Carries one frame's result to later frames.

    Args:
        parsing: The result of the frame.
        image: The frame, uint8 (H, W, 3) RGB.
        track_ids: The numbers of the tracks of its people.
    """

    def __init__(self, parsing: Parsing, image: np.ndarray, track_ids: Sequence[int]):
        self._parsing, self._track_ids = parsing, track_ids
        self._before = small_grey(image)

    def carried(self, image: np.ndarray) -> tuple[Parsing, tuple[int, ...]]:
        """Return the result for a later frame, and the track numbers of those still in it."""
        parsing = self._parsing
        motion = Motion(self._before, small_grey(image), parsing.size_hw)
        labels, people = map(motion.carried, (parsing.label_map, parsing.person_map))
        track_ids = tuple(self._track_ids[number - 1] for number in np.unique(people) if number)
        found, loose = assemble(_maps(parsing, labels, people), parsing.labels, 0.0)
        carried = replace(
            parsing,
            label_map=labels,
            person_map=people,
            people=found,
            loose_parts=loose,
            image=image,
        )
        return carried, track_ids


def small_grey(image: np.ndarray) -> np.ndarray:
    """Return the small picture of a frame, uint8 (H, W, 3) RGB, in which motion is looked for."""
    height, width = image.shape[:2]
    scale = min(1.0, FLOW_SIDE / max(height, width))
    # DIS looks for motion in patches of 8 pixels, which must fit
    size = [max(16, round(side * scale)) for side in (width, height)]
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def _maps(parsing: Parsing, labels: np.ndarray, people: np.ndarray) -> Maps:
    """The carried maps, with the scores of the parts of the frame that was parsed."""
    scores = {
        (person.id, part.class_id): part.score
        for person in parsing.people
        for part in person.parts.values()
    }
    scores |= {(0, part.class_id): part.score for part in parsing.loose_parts}
    return Maps(labels, people, [person.score for person in parsing.people], scores)
