"""Parts that do not flicker from frame to frame.

Two things hold them. A whole track votes what its person wears (wardrobe.py). And a pixel keeps its
class along the motion of what can be seen there until several frames have said otherwise: it is
looked for in the frame before by optical flow. Where the two frames do not look the same, as
behind a cut, where something comes into sight or where a limb is too fast, nothing is held, so that
nothing smears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from humanparse.arguments import whole_number, yes_or_no
from humanparse.errors import OptionError
from humanparse.masks import Mask
from humanparse.result import Parsing, Part, Person
from humanparse.video.motion import Small, flow_from, is_cut
from humanparse.video.wardrobe import Wardrobe

_AT_FIRST = 2  # votes for the first class of what comes into sight: one frame alone changes little
_MOST_TRACKS = 256  # whose garments are remembered; those that were not seen longest are forgotten


@dataclass(frozen=True)
class SteadySettings:
    """How strongly parts are held.

    Attributes:
        garments: Whether a person's garments are those that their whole track votes for.
        along_motion: Whether parts are held along the motion of what can be seen.
        hold: How many frames have to say otherwise before a pixel that has been of one class for
            as long changes it.
    """

    garments: bool = True
    along_motion: bool = True
    hold: int = 6

    def __post_init__(self) -> None:
        yes_or_no("garments", self.garments)
        yes_or_no("along_motion", self.along_motion)
        whole_number("hold", self.hold, 1)


@dataclass(frozen=True, eq=False)
class _Held:
    """What is held of a frame.

    Attributes:
        classes: uint8 (H, W).
        votes: uint8 (H, W), how many frames have to say otherwise.
        people: uint16 (H, W), the person of each pixel, from 1; 0 is nobody.
        track_ids: The number of the track of each person.
    """

    classes: np.ndarray
    votes: np.ndarray
    people: np.ndarray
    track_ids: Sequence[int]


class Steadier:
    """Steady the parts of a clip's people, frame after frame.

    Memory is bounded: one frame is held, and what the last 256 tracks wear.

    Args:
        settings: How strongly parts are held.
    """

    def __init__(self, settings: SteadySettings | None = None):
        self.settings = settings or SteadySettings()
        self._wardrobes: dict[int, Wardrobe] = {}
        self._before: Small | None = None
        self._held: _Held | None = None

    def update(self, parsing: Parsing, track_ids: Sequence[int], image: np.ndarray) -> Parsing:
        """Steady the parts of the next frame.

        Args:
            parsing: The people of the frame.
            track_ids: The number of the track of each of them, in their order.
            image: The frame, uint8 (H, W, 3) RGB.

        Returns:
            The same people, with the same outlines and numbers, and with steadied parts.

        Raises:
            OptionError: If there is not one track for each person.
        """
        if len(track_ids) != len(parsing.people):
            raise OptionError(
                f"{len(track_ids)} tracks for {len(parsing.people)} people; give one for each, "
                "as Tracker.update returns them"
            )
        classes = parsing.label_map
        if self.settings.garments:
            classes = self._dressed(parsing, track_ids)
        if self.settings.along_motion:
            classes = self._along_motion(classes, parsing.person_map, track_ids, image)
        return _with_classes(parsing, classes)

    def _dressed(self, parsing: Parsing, track_ids: Sequence[int]) -> np.ndarray:
        """The classes with the garments that each track wears."""
        classes = parsing.label_map.copy()
        for person, track in zip(parsing.people, track_ids, strict=True):
            wardrobe = self._wardrobes.pop(track, None) or Wardrobe(parsing.labels)
            self._wardrobes[track] = wardrobe  # again, as the last one
            x0, y0, x1, y1 = person.box_xyxy
            window, mine = classes[y0:y1, x0:x1], person.mask.crop
            wardrobe.look(window * mine)
            window[:] = wardrobe.corrected(window, mine)
        while len(self._wardrobes) > _MOST_TRACKS:
            del self._wardrobes[next(iter(self._wardrobes))]
        return classes

    def _along_motion(
        self, classes: np.ndarray, people: np.ndarray, track_ids: Sequence[int], image: np.ndarray
    ) -> np.ndarray:
        """The classes, held where the same of the same person was of another class before."""
        now, held = Small.of(image), self._held
        before, self._before = self._before, now
        votes = np.full_like(classes, _AT_FIRST)
        if (
            before is not None
            and held is not None
            and held.classes.shape == classes.shape
            and not is_cut(before, now, np.zeros(2))
        ):
            flow = flow_from(before, now, classes.shape)
            was, had = flow.brought_along(held.classes), flow.brought_along(held.votes)
            # the number in this frame of everybody of the frame before
            number = {track: place for place, track in enumerate(track_ids, 1)}
            renumbered = np.array([0, *(number.get(one, 0) for one in held.track_ids)], np.uint16)
            same = renumbered[flow.brought_along(held.people)] == people
            had *= flow.alike * (same & (people > 0))
            agrees, stays = was == classes, had > 1
            more = np.minimum(had + 1, self.settings.hold)
            votes = np.where(agrees & (had > 0), more, np.where(stays & ~agrees, had - 1, votes))
            classes = np.where(stays, was, classes)
        self._held = _Held(classes, votes.astype(np.uint8), people, track_ids)
        return classes


def _with_classes(parsing: Parsing, classes: np.ndarray) -> Parsing:
    """The result with other classes of its people's pixels."""
    changed = (classes != parsing.label_map) & (parsing.person_map > 0)
    people = tuple(_person(person, parsing, classes, changed) for person in parsing.people)
    if all(one is other for one, other in zip(people, parsing.people, strict=True)):
        return parsing
    return replace(parsing, label_map=classes, people=people)


def _person(person: Person, parsing: Parsing, classes: np.ndarray, changed: np.ndarray) -> Person:
    """The person with the parts that the changed pixels take from and add to."""
    x0, y0, x1, y1 = person.box_xyxy
    window, mine = np.s_[y0:y1, x0:x1], person.mask.crop
    changes = changed[window] & mine
    if not changes.any():
        return person
    others = {*np.unique(parsing.label_map[window][changes]), *np.unique(classes[window][changes])}
    parts = {}
    for number, label in enumerate(parsing.labels.names):
        before = person.parts.get(label)
        if number not in others:
            if before:
                parts[label] = before
            continue
        mask = Mask.from_dense((classes[window] == number) & mine, parsing.size_hw, (x0, y0))
        if number and mask.area:
            # A part that this frame did not show is as sure as the person.
            score = before.score if before else person.score
            parts[label] = Part(label, number, score, mask)
    return replace(person, parts=parts)
