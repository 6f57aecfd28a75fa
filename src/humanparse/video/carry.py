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


class Carrier:
    """Carries one frame's result to later frames.

    Args:
        parsing: The result of the frame.
        image: The frame, uint8 (H, W, 3) RGB.
        track_ids: The numbers of the tracks of its people.
    """

    def __init__(self, parsing: Parsing, image: np.ndarray, track_ids: Sequence[int]):
        self._parsing, self._track_ids = parsing, track_ids
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before = _small_grey(image)

    def carried(self, image: np.ndarray) -> tuple[Parsing, tuple[int, ...]]:
        """Return the result for a later frame, and the track numbers of those still in it."""
        parsing = self._parsing
        height, width = parsing.size_hw
        flow = np.zeros((*self._before.shape, 2), np.float32)  # in small pixels
        flow = np.asarray(self._flow.calc(_small_grey(image), self._before, flow))
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
        columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        from_x, from_y = flow[..., 0] + columns, flow[..., 1] + rows[:, None]
        labels, people = (
            cv2.remap(one, from_x, from_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
            for one in (parsing.label_map, parsing.person_map)
        )
        there = np.unique(people)
        found, loose = assemble(_maps(parsing, labels, people), parsing.labels, 0.0)
        track_ids = tuple(self._track_ids[number - 1] for number in there if number)
        return (
            replace(
                parsing,
                label_map=labels,
                person_map=people,
                people=found,
                loose_parts=loose,
                image=image,
            ),
            track_ids,
        )


def _maps(parsing: Parsing, labels: np.ndarray, people: np.ndarray) -> Maps:
    """The carried maps, with the scores of the parts of the frame that was parsed."""
    scores = {
        (person.id, part.class_id): part.score
        for person in parsing.people
        for part in person.parts.values()
    }
    scores |= {(0, part.class_id): part.score for part in parsing.loose_parts}
    return Maps(labels, people, [person.score for person in parsing.people], scores)


def _small_grey(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, FLOW_SIDE / max(height, width))
    # DIS looks for motion in patches of 8 pixels, which must fit
    size = [max(16, round(side * scale)) for side in (width, height)]
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
