"""People keep their number from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.masks import Mask, box_iou
from humanparse.result import Parsing


@dataclass(frozen=True)
class TrackSettings:
    """When two people of two frames are one.

    Attributes:
        overlap: The least overlap of a person with the place where they are expected, from 0 to 1.
        remember_s: How long somebody who is out of sight is remembered, in seconds.
    """

    overlap: float = 0.2
    remember_s: float = 30.0


class Tracker:
    """Number the people of a clip, frame after frame.

    Args:
        settings: When two people of two frames are one.
    """

    def __init__(self, settings: TrackSettings | None = None):
        self.settings = settings or TrackSettings()
        self._seen: dict[int, tuple[Mask, float]] = {}
        self._last = 0

    def update(self, parsing: Parsing, image: np.ndarray, seconds: float) -> list[int]:
        """Number the people of the next frame.

        Args:
            parsing: The people of the frame.
            image: The frame, uint8 (H, W, 3) RGB.
            seconds: When it is shown, in seconds; later than the frame before.

        Returns:
            For each of `parsing.people`, in their order, the number of their track, from 1.
        """
        track_ids, free = [], dict(self._seen)
        for person in parsing.people:
            overlaps = {
                number: box_iou(person.box_xyxy, mask.box_xyxy)
                for number, (mask, _) in free.items()
            }
            best = max(overlaps, key=lambda number: overlaps[number], default=0)
            if best and overlaps[best] >= self.settings.overlap:
                del free[best]
            else:
                self._last += 1
                best = self._last
            track_ids.append(best)
            self._seen[best] = (person.mask, seconds)
        oldest = seconds - self.settings.remember_s
        self._seen = {number: seen for number, seen in self._seen.items() if seen[1] >= oldest}
        return track_ids
