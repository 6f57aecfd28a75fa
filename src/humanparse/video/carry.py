"""Results carried from a frame that was parsed to frames after it, along what has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from humanparse.postprocess.assemble import Maps, assemble
from humanparse.result import Parsing
from humanparse.video.motion import Small, flow_from


class Carrier:
    """Carries one frame's result to later frames.

    Args:
        parsing: The result of the frame.
        image: The frame, uint8 (H, W, 3) RGB.
        track_ids: The numbers of the tracks of its people.
    """

    def __init__(self, parsing: Parsing, image: np.ndarray, track_ids: Sequence[int]):
        self._parsing, self._track_ids = parsing, track_ids
        self._before = Small.of(image)

    def carried(self, image: np.ndarray) -> tuple[Parsing, tuple[int, ...]]:
        """Return the result for a later frame, and the track numbers of those still in it."""
        parsing = self._parsing
        flow = flow_from(self._before, Small.of(image), parsing.size_hw)
        labels, people = map(flow.brought_along, (parsing.label_map, parsing.person_map))
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


def _maps(parsing: Parsing, labels: np.ndarray, people: np.ndarray) -> Maps:
    """The carried maps, with the scores of the parts of the frame that was parsed."""
    scores = {
        (person.id, part.class_id): part.score
        for person in parsing.people
        for part in person.parts.values()
    }
    scores |= {(0, part.class_id): part.score for part in parsing.loose_parts}
    return Maps(labels, people, [person.score for person in parsing.people], scores)
