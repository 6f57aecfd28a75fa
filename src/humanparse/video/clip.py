"""From a clip to the results of its frames: people who keep their number, with parts that are
steady.

Reading, parsing and whatever the caller does with the results overlap: a thread reads ahead, a
few parse, and people are followed in the caller's own. What is read ahead is bounded, so that a
clip of any length takes the same memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from humanparse.arguments import whole_number, yes_or_no
from humanparse.errors import OptionError
from humanparse.parser import HumanParser
from humanparse.result import Parsing
from humanparse.video.carry import Carrier
from humanparse.video.frames import Clip, ClipLimits, Frame, open_clip
from humanparse.video.steady import Steadier, SteadySettings
from humanparse.video.track import Tracker, TrackSettings
from humanparse.vocabulary import MAX_EVERY

if TYPE_CHECKING:
    import supervision


class Parser(Protocol):
    """What parse_video needs of a HumanParser."""

    def parse_many(self, images: Iterable, *, jobs: int | None = None) -> Iterator[Any]:
        """Parse images; see `HumanParser.parse_many`."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The people of one frame.

    Attributes:
        frame: The frame.
        parsing: Its people, numbered within the frame as in a photo.
        track_ids: For each of `parsing.people`, the number that they keep through the clip, from 1.
        parsed: Whether the frame was parsed; otherwise the result of one before was carried to it.
    """

    frame: Frame
    parsing: Parsing
    track_ids: tuple[int, ...]
    parsed: bool = True

    def numbered(self) -> Parsing:
        """Return the result with people who bear the numbers of their tracks, for drawing."""
        people = tuple(
            replace(person, id=number)
            for person, number in zip(self.parsing.people, self.track_ids, strict=True)
        )
        return replace(self.parsing, people=people)

    def to_supervision(self, kind: str = "people") -> supervision.Detections:
        """Return supervision's Detections, of "people" or of "parts", with `tracker_id`.

        Parts that belong to nobody have the `tracker_id` 0.

        Raises:
            OptionError: There is no such kind.
            MissingExtra: The package supervision is not installed.
        """
        from humanparse.formats.tables import to_supervision

        detections = to_supervision(self.parsing, kind)
        if len(detections):
            numbers = np.array([0, *self.track_ids])
            detections.tracker_id = numbers[detections.data["person_id"]]
        return detections


def parse_video(
    source: Any,
    parser: Parser | None = None,
    *,
    every: int = 1,
    track: bool | TrackSettings = True,
    steady: bool | SteadySettings = True,
    jobs: int | None = None,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    limits: ClipLimits | None = None,
) -> Iterator[FrameResult]:
    """Parse a clip or a camera, frame after frame.

    The results come in the order of the frames. Close the iterator (`contextlib.closing`) if the
    loop may end early.

    Args:
        source: A Clip, which stays open, or what `open_clip` takes.
        parser: The parser; None makes one with the model inside the package.
        every: Parse each n-th frame only, and carry masks to those between along the motion.
        track: Whether people keep their number, or how; False numbers them in each frame anew.
        steady: Whether parts are kept from flickering, or how; needs `track`.
        jobs: Frames that are parsed at the same time; None chooses a number.
        size: See `open_clip`.
        rate: See `open_clip`.
        limits: See `open_clip`.

    Returns:
        An iterator over the results.

    Raises:
        OptionError: If an argument has an impossible value.
        VideoError: If the clip cannot be read; when it breaks off, after the results before.
        OSError: If the file cannot be opened.
    """
    every = whole_number("every", every, 1, ", the step from one parsed frame to the next")
    if every > MAX_EVERY:
        raise OptionError(f"every is {every} but the limit is {MAX_EVERY}: masks would not fit")
    tracker = _made(Tracker, TrackSettings, "track", track)
    steadier = _made(Steadier, SteadySettings, "steady", steady) if tracker else None
    if isinstance(source, Clip):
        return _results(source, parser or HumanParser(), every, tracker, steadier, jobs, False)
    clip = open_clip(source, size=size, rate=rate, limits=limits)
    return _results(clip, parser or HumanParser(), every, tracker, steadier, jobs, True)


def _made(kind: Any, settings: Any, name: str, wanted: Any) -> Any:
    """The tracker or steadier that was asked for; None if it was not."""
    if isinstance(wanted, settings):
        return kind(wanted)
    return kind() if yes_or_no(name, wanted) else None


def _results(
    clip: Clip,
    parser: Parser,
    every: int,
    tracker: Tracker | None,
    steadier: Steadier | None,
    jobs: int | None,
    close: bool,
) -> Iterator[FrameResult]:
    ahead: deque[list[Frame]] = deque()  # read, and not handed back yet

    def parsed_frames() -> Iterator[np.ndarray]:
        frames = iter(clip)
        while group := list(islice(frames, every)):
            ahead.append(group)
            yield group[0].image

    with (
        clip if close else nullcontext(),
        closing(parser.parse_many(parsed_frames(), jobs=jobs)) as parsings,  # type: ignore[type-var]
    ):
        for parsing in parsings:
            first, *between = ahead.popleft()
            parsing = _named(parsing, first, clip)
            track_ids = _numbers(tracker, parsing, first)
            if steadier:
                parsing = steadier.update(parsing, track_ids, first.image)
            yield FrameResult(first, parsing, track_ids)
            carrier = Carrier(parsing, first.image, track_ids) if between else None
            for frame in between:
                assert carrier is not None
                carried, still_there = carrier.carried(frame.image)
                yield FrameResult(frame, _named(carried, frame, clip), still_there, parsed=False)


def _numbers(tracker: Tracker | None, parsing: Parsing, frame: Frame) -> tuple[int, ...]:
    if tracker is None:
        return tuple(person.id for person in parsing.people)
    return tuple(tracker.update(parsing, frame.image, frame.seconds))


def _named(parsing: Parsing, frame: Frame, clip: Clip) -> Parsing:
    name = f"{clip.info.name}-{frame.index:06}"
    return replace(parsing, name=name, file_name=frame.file_name or f"{name}.png")
