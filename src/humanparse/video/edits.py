"""Edits of a clip: those of photos, where people's numbers are those of their tracks, and steady
over gaps of a few frames: a face that is missed in one frame stays hidden.

A region is looked for on each person by themselves. Where much less of it is found on somebody
than a moment ago, or the person is missed altogether, what was found then is kept for HOLD_S,
moves with what can be seen there, and grows a little, since its place becomes less sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from humanparse.edit import Step, edit
from humanparse.edit.steps import read_file
from humanparse.errors import OptionError
from humanparse.masks import Mask
from humanparse.regions import Region, Selection, select
from humanparse.result import Parsing
from humanparse.video.clip import FrameResult
from humanparse.video.motion import Flow, Small, flow_from

HOLD_S = 0.5  # how long something stays where it was found last
GROWS_SHARE = 0.05  # of the root of its area, by which what is kept grows with each frame
LOST_SHARE = 0.5  # of the area found last: with less, the region counts as missed


class Editor:
    """Edits the frames of one clip, in order.

    Args:
        steps: As `humanparse.edit.step` makes them. "crop" is not for clips, whose frames all have
            one size.
        strength: Of blurring and pixelating.
        read: Reads the file of another background; None where files must not be read.

    Raises:
        OptionError: A clip cannot be cropped.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        strength: float = 1.0,
        read: Callable[[str], np.ndarray] | None = read_file,
    ):
        self._steps, self._strength = list(steps), strength
        if any(one.operation == "crop" for one in self._steps):
            raise OptionError("a clip cannot be cropped to a region, whose size changes; crop it")
        self.transparent = any(one.operation == "cutout" for one in self._steps)
        self._read = read and cache(read)  # or a background would be decoded for every frame
        self._held: dict[Region, dict[int, _Found]] = {}
        self._before: Small | None = None

    def __call__(self, result: FrameResult) -> np.ndarray:
        """Return the next frame, edited: uint8 (H, W, 3), or (H, W, 4) where `transparent`."""
        now = Small.of(result.frame.image)
        before = now if self._before is None else self._before
        self._before = now
        size_hw = result.parsing.size_hw
        motion = cache(lambda: flow_from(before, now, size_hw))
        done = edit(
            result.parsing,
            self._steps,
            strength=self._strength,
            read=self._read,
            choose=lambda _, region, __: self._selection(result, region, motion),
        )
        return np.asarray(done.image)

    def _selection(
        self, result: FrameResult, region: Region, motion: Callable[[], Flow]
    ) -> Selection:
        parsing, now = result.parsing, result.frame.seconds
        plain = replace(region, invert=False)
        everybody = range(1, len(parsing.people) + 1)
        masks = [_selected(parsing, plain, result.track_ids, everybody)]
        found = {
            number: _selected(parsing, plain, result.track_ids, [place])
            for place, number in enumerate(result.track_ids, 1)
        }
        held = {}
        for number, before in self._held.get(region, {}).items():
            lost = number not in found or found[number].area < LOST_SHARE * before.area
            if lost and now - before.seconds < HOLD_S:
                held[number] = before.carried(motion())
                masks.append(held[number].mask)
        for number, mask in found.items():
            if mask.area and number not in held:
                held[number] = _Found(now, mask, mask.area)
        self._held[region] = held
        mask = Mask.union(masks)
        if region.invert:
            mask = Mask.from_dense(~mask.to_dense())
        return Selection(region, mask, ())


@dataclass(frozen=True, eq=False)
class _Found:
    """A region of somebody: when it was found, where it is now, and how large it was."""

    seconds: float
    mask: Mask
    area: int

    def carried(self, flow: Flow) -> _Found:
        """It a frame later."""
        dense = flow.brought_along(self.mask.to_dense().view(np.uint8))
        by_px = max(1, round(GROWS_SHARE * self.area**0.5))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by_px + 1, 2 * by_px + 1))
        mask = Mask.from_dense(cv2.dilate(dense, kernel).view(bool))
        return _Found(self.seconds, mask, self.area)


def _selected(
    parsing: Parsing, region: Region, track_ids: Sequence[int], people: Iterable[int]
) -> Mask:
    """Where a region lies on some people of the frame; its own numbers are those of tracks."""
    terms = []
    everybody = len(parsing.people)
    wanted = set(people)
    for term in region.terms:
        there = {
            place
            for place, number in enumerate(track_ids, 1)
            if not term.people or number in term.people
        }
        there &= there if term.minus else wanted
        if not there and (term.people or len(wanted) < everybody):
            continue
        # nobody named and all wanted: parts that belong to nobody count as well
        all_of_them = not term.people and (term.minus or len(wanted) == everybody)
        terms.append(replace(term, people=() if all_of_them else tuple(sorted(there))))
    if not any(not term.minus for term in terms):
        return Mask.from_dense(np.zeros(parsing.size_hw, bool))
    return select(parsing, replace(region, terms=tuple(terms))).mask
