"""Edits of a clip: those of photos, where people's numbers are those of their tracks, and steady
over gaps of a few frames: a face that is missed in one frame stays hidden.

A region is looked for on each person by themselves. Where much less of it is found on somebody
than a moment ago, what was found then is kept for HOLD_S, and moves with that person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from humanparse.edit import Step, edit
from humanparse.edit.steps import read_file
from humanparse.errors import OptionError
from humanparse.masks import Mask
from humanparse.regions import Region, Selection, select
from humanparse.result import Parsing, Person
from humanparse.video.clip import FrameResult

HOLD_S = 0.5  # how long something stays where it was found last
LOST_SHARE = 0.5  # of the area found last: with less, the region counts as missed


class Editor:
    """Edits the frames of one clip, in order.

    Args:
        steps: As `humanparse.edit.step` makes them. "crop" is not for clips, whose frames all have
            one size. Another background may be a file.
        strength: Of blurring and pixelating.

    Raises:
        OptionError: A clip cannot be cropped.
    """

    def __init__(self, steps: Iterable[Step], strength: float = 1.0):
        self._steps, self._strength = list(steps), strength
        if any(one.operation == "crop" for one in self._steps):
            raise OptionError("a clip cannot be cropped to a region, whose size changes; crop it")
        self.transparent = any(one.operation == "cutout" for one in self._steps)
        self._read = cache(read_file)  # or a background would be decoded for every frame
        self._held: dict[Region, dict[int, _Found]] = {}

    def __call__(self, result: FrameResult) -> np.ndarray:
        """Return the next frame, edited: uint8 (H, W, 3), or (H, W, 4) where `transparent`."""
        done = edit(
            result.parsing,
            self._steps,
            strength=self._strength,
            read=self._read,
            choose=lambda _, region: self._selection(result, region),
        )
        return np.asarray(done.image)

    def _selection(self, result: FrameResult, region: Region) -> Selection:
        parsing, now = result.parsing, result.frame.seconds
        held = self._held.setdefault(region, {})
        plain = replace(region, invert=False)
        everybody = range(1, len(parsing.people) + 1)
        masks = [_selected(parsing, plain, result.track_ids, everybody)]
        for person, number in zip(parsing.people, result.track_ids, strict=True):
            mask = _selected(parsing, plain, result.track_ids, [person.id])
            before = held.get(number)
            if before and mask.area < LOST_SHARE * before.mask.area:
                masks.append(before.moved_to(person))
            elif mask.area:
                held[number] = _Found(now, mask, person.mask)
        for number in held.keys() - set(result.track_ids):
            masks.append(held[number].mask)
        self._held[region] = {
            number: found for number, found in held.items() if now - found.seconds < HOLD_S
        }
        mask = Mask.union(masks)
        if region.invert:
            mask = Mask.from_dense(~mask.to_dense())
        return Selection(region, mask, ())


@dataclass(frozen=True, eq=False)
class _Found:
    """Where a region was found on somebody, and when."""

    seconds: float
    mask: Mask
    person: Mask

    def moved_to(self, person: Person) -> Mask:
        """The mask, moved as the top of the person has moved."""
        (x, y), (old_x, old_y) = _top(person.mask), _top(self.person)
        return _moved(self.mask, x - old_x, y - old_y)


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


def _top(mask: Mask) -> tuple[int, int]:
    x0, y0, x1, _ = mask.box_xyxy
    return (x0 + x1) // 2, y0


def _moved(mask: Mask, x: int, y: int) -> Mask:
    """The mask, moved by so many pixels; what leaves the picture is cut off."""
    height, width = mask.size_hw
    x0, y0, x1, y1 = mask.box_xyxy
    left, top = max(0, x0 + x), max(0, y0 + y)
    right, bottom = min(width, x1 + x), min(height, y1 + y)
    if left >= right or top >= bottom:
        return Mask.from_dense(np.zeros((height, width), bool))
    crop = mask.crop[top - y0 - y : bottom - y0 - y, left - x0 - x : right - x0 - x]
    return Mask.from_dense(crop, (height, width), (left, top))
