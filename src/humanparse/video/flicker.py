"""How much the parts of people flicker in a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from humanparse.result import Parsing


@dataclass(frozen=True)
class Flips:
    """How many pixels of people change their class from one frame to the next.

    Attributes:
        pixels: Those of people that can be seen in both frames.
        changed: Those of them that are of another class, or that were nobody's.
        within: Those of another class that were the same person's in the frame before: the rest
            belongs to outlines that move.
    """

    pixels: int = 0
    changed: int = 0
    within: int = 0

    def __add__(self, other: Flips) -> Flips:
        return Flips(
            self.pixels + other.pixels, self.changed + other.changed, self.within + other.within
        )

    @property
    def rate(self) -> float:
        """The flip rate: the share of people's pixels that change, from 0 to 1."""
        return self.changed / max(1, self.pixels)


def flips(
    before: Parsing,
    now: Parsing,
    track_ids: tuple[Sequence[int], Sequence[int]],
    came_from_xy: np.ndarray,
    tolerance_px: int = 0,
) -> Flips:
    """Count the pixels of people that change their class between two neighbouring frames.

    Args:
        before: The result of the first frame.
        now: The result of the second one, of the same size.
        track_ids: The numbers of the tracks of the people of both.
        came_from_xy: float (H, W, 2), where each pixel of the second frame was in the first one, x
            and y; NaN where it could not be seen. `motion.flow_from` estimates it.
        tolerance_px: How far from there the same class may have been. Borders move by parts of a
            pixel and are drawn on whole ones: with 0, true labels flip as well, about one in a
            hundred.
    """
    was, those = (
        tracks_of(parsing, ids) for parsing, ids in zip((before, now), track_ids, strict=True)
    )
    here = (those > 0) & ~np.isnan(came_from_xy[..., 0])
    height, width = now.size_hw
    x, y = np.rint(came_from_xy[here]).astype(int).T
    track, label = those[here], now.label_map[here]
    same, seen, near = (np.zeros(len(x), bool) for _ in range(3))
    reach = range(-tolerance_px, tolerance_px + 1)
    for dy, dx in product(reach, reach):
        at = (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)
        mine = was[at] == track
        same |= mine & (before.label_map[at] == label)
        if dx == dy == 0:
            near = mine
            seen = mine | (was[at] == 0)  # somebody else's is no flicker
    return Flips(
        int(np.count_nonzero(seen)),
        int(np.count_nonzero(seen & ~same)),
        int(np.count_nonzero(near & ~same)),
    )


def tracks_of(parsing: Parsing, track_ids: Sequence[int]) -> np.ndarray:
    """Return the number of the track at each pixel, int32 (H, W); 0 is nobody."""
    return np.array([0, *track_ids], np.int32)[parsing.person_map]
