"""People keep their number from frame to frame.

Two rounds of association as in ByteTrack (arXiv 2110.06864), sure people first and then the unsure
ones, on the overlap of masks with the places where people are expected; then appearance, for those
who come back after they were hidden, from outside the picture or behind a cut.

Where somebody is expected follows from points on them that move (motion.py), not from the middles
of their masks: those jump when somebody is partly hidden. While somebody is hidden they go on as
before, together with the camera.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from humanparse.result import Parsing
from humanparse.video.appearance import Look, look_of
from humanparse.video.assignment import best_pairs
from humanparse.video.motion import Small, is_cut, tracked_points

_GRID = 160  # cells along the longer side of the grid on which masks are compared
_COVERED = 0.05  # the share of somebody that may be covered without their being partly hidden
_SHRUNK = 0.75  # the share of somebody that is seen, below which something hides the rest
_GROWN = 1.3  # the same, above which somebody else was taken for a part of them
_POINTED = 0.4  # the same, below which points are no longer trusted: they lie too near what hides


@dataclass(frozen=True)
class TrackSettings:
    """When two people of two frames are one.

    Attributes:
        sure: The score from which a person takes part in the first round.
        overlap: The least overlap of a mask with an expected place in the first round.
        unsure_overlap: The same in the second round, that of the less sure people.
        look: The weight of appearance beside overlap in the first round.
        alike: The least likeness of somebody who comes back.
        margin: How much more they must look like it than like the one in whose place they are.
        young_s: How long somebody new may still turn out to be somebody who comes back, in
            seconds.
        coast_s: How long somebody who is hidden is expected to go on moving, in seconds.
        remember_s: How long somebody who is out of sight is remembered, in seconds.
        most_lost: How many people who are out of sight are remembered; the oldest are forgotten.
    """

    sure: float = 0.55
    overlap: float = 0.1
    unsure_overlap: float = 0.3
    look: float = 0.4
    alike: float = 0.75
    margin: float = 0.15
    young_s: float = 1.0
    coast_s: float = 1.0
    remember_s: float = 60.0
    most_lost: int = 100


@dataclass(eq=False)
class _Track:
    """Somebody who is followed.

    Places are in cells of the grid. `shape` is how they look as a whole and `seen` what of it was
    seen last, both bool with their top left corner at `corner_xy`, of the picture as it is now.
    """

    number: int
    shape: np.ndarray
    seen: np.ndarray
    corner_xy: np.ndarray
    look: Look
    first_s: float
    last_s: float
    whole_s: float  # when they were last seen as a whole
    frames: int = 1
    velocity_xy: np.ndarray = field(default_factory=lambda: np.zeros(2))  # cells a second
    placed: bool = True  # whether it is known where in the picture they were
    visible: bool = True  # in the frame before


@dataclass(frozen=True, eq=False)
class _Seen:
    """The people of one frame on the grid.

    Attributes:
        owner: int (h, w), the index of each cell's person, -1 for nobody.
        areas: (N,), the cells of each.
        looks: What each looks like.
        scores: The score of each.
    """

    owner: np.ndarray
    areas: np.ndarray
    looks: list[Look]
    scores: np.ndarray


class Tracker:
    """Number the people of a clip, frame after frame.

    The same clip gives the same numbers. Memory is bounded: of those out of sight, the last
    `most_lost` are remembered.

    Args:
        settings: When two people of two frames are one.
    """

    def __init__(self, settings: TrackSettings | None = None):
        self.settings = settings or TrackSettings()
        self._tracks: list[_Track] = []
        self._before: Small | None = None
        self._seconds = 0.0
        self._last_number = 0
        self._owner = np.zeros((0, 0), int)  # the number of the track of each cell of the grid

    def update(self, parsing: Parsing, image: np.ndarray, seconds: float) -> list[int]:
        """Number the people of the next frame.

        Args:
            parsing: The people of the frame.
            image: The frame, uint8 (H, W, 3) RGB.
            seconds: When it is shown, in seconds; later than the frame before.

        Returns:
            For each of `parsing.people`, in their order, the number of their track, from 1.
        """
        step = _step(image)
        seen = _seen(parsing, image, step)
        self._move(Small.of(image), seen.owner.shape, step, seconds)
        pairs = self._pairs(seen, seconds)
        for index in range(len(seen.looks)):
            if index not in pairs:
                pairs[index] = self._begin(seen, index, seconds)
        self._remember({track.number: index for index, track in pairs.items()}, seen, seconds)
        return [pairs[index].number for index in range(len(seen.looks))]

    # Where people are expected

    def _move(self, now: Small, grid_hw: tuple[int, ...], step: int, seconds: float) -> None:
        """Bring all tracks to where they are expected in this frame."""
        before, self._before = self._before, now
        passed, self._seconds = max(0.0, seconds - self._seconds), seconds
        if before is None:
            return
        if before.grey.shape != now.grey.shape or self._owner.shape != grid_hw:
            self._unplace()
            return
        points = tracked_points(before, now, self._owner)
        camera = points.shift(0)
        if camera is None:
            camera = np.zeros(2)
        if is_cut(before, now, camera):
            self._unplace()
            return
        for track in self._tracks:
            if not track.placed:
                continue
            coasts = seconds - track.whole_s < self.settings.coast_s
            trusted = np.count_nonzero(track.seen) > _POINTED * np.count_nonzero(track.shape)
            shift = None
            if track.visible and (trusted or not coasts):
                shift = points.shift(track.number)
            if shift is None:
                going = track.velocity_xy * passed * coasts
                track.corner_xy = track.corner_xy + camera / step + going
                continue
            track.corner_xy = track.corner_xy + shift / step
            if passed:
                share = min(1.0, passed / 0.3)  # so the velocity is that of the last third
                own = (shift - camera) / step / passed
                track.velocity_xy = track.velocity_xy + share * (own - track.velocity_xy)

    def _unplace(self) -> None:
        """Forget where people were, as after a cut."""
        for track in self._tracks:
            track.placed = track.visible = False

    # Who is who

    def _pairs(self, seen: _Seen, seconds: float) -> dict[int, _Track]:
        """The track of each person who has one, by the person's index."""
        settings, pairs = self.settings, dict[int, _Track]()
        sure = [i for i, score in enumerate(seen.scores) if score >= settings.sure]
        unsure = [i for i in range(len(seen.scores)) if i not in set(sure)]
        placed = [track for track in self._tracks if track.placed]
        overlap = {track.number: _overlaps(track, seen) for track in placed}

        def place(track: _Track, index: int, least: float) -> float:
            over = overlap[track.number][index]
            if over < least:
                return 0.0
            alike = track.look.likeness(seen.looks[index])
            return (1 - settings.look) * over + settings.look * alike

        near = [
            track for track in placed if track.visible or seconds - track.last_s < settings.coast_s
        ]
        _associate(pairs, near, sure, lambda t, i: place(t, i, settings.overlap))
        visible = [track for track in placed if track.visible]
        _associate(pairs, visible, unsure, lambda t, i: place(t, i, settings.unsure_overlap))
        # Who comes into sight bit by bit is somebody new at first, and known when more is seen.
        # And where two have passed each other, the one may have been taken for the other.
        unlike = {
            index
            for index, track in pairs.items()
            if track.look.likeness(seen.looks[index]) < settings.alike
        }
        doubted = {
            index: track
            for index, track in pairs.items()
            if index in unlike or seconds - track.first_s < settings.young_s
        }

        def look(track: _Track, index: int) -> float:
            alike = track.look.likeness(seen.looks[index])
            if alike < settings.alike:
                return 0.0
            other = doubted.get(index)
            if other is None or seconds - other.first_s < settings.young_s:
                return alike if other is None or track.last_s < other.first_s else 0.0
            return (
                alike if alike > other.look.likeness(seen.looks[index]) + settings.margin else 0.0
            )

        sure_of = {index: track for index, track in pairs.items() if index not in doubted}
        held = {track.number for index, track in pairs.items() if index not in unlike}
        gone = [one for one in self._tracks if not one.visible and one.number not in held]
        people = [index for index in sure + unsure if index not in sure_of]
        _associate(sure_of, gone, people, look)
        for track in gone:
            track.placed = track.placed and track not in sure_of.values()  # they are elsewhere now
        replaced = {
            track.number
            for index, track in doubted.items()
            if index in sure_of and seconds - track.first_s < settings.young_s
        }
        self._tracks = [track for track in self._tracks if track.number not in replaced]
        taken = {track.number for track in sure_of.values()}
        return {i: track for i, track in doubted.items() if track.number not in taken} | sure_of

    # What is remembered of them

    def _begin(self, seen: _Seen, index: int, seconds: float) -> _Track:
        self._last_number += 1
        corner, shape = _shape(seen.owner, index)
        track = _Track(
            self._last_number,
            shape,
            shape,
            np.array(corner, float),
            seen.looks[index],
            first_s=seconds,
            last_s=seconds,
            whole_s=seconds,
        )
        self._tracks.append(track)
        return track

    def _remember(self, found: dict[int, int], seen: _Seen, seconds: float) -> None:
        self._owner = np.zeros(seen.owner.shape, int)
        for track in self._tracks:
            index = found.get(track.number)
            track.visible = index is not None
            if index is not None:
                self._owner[seen.owner == index] = track.number
                self._update(track, seen, index, seconds)
        gone = sorted(
            (track for track in self._tracks if not track.visible),
            key=lambda track: (-track.last_s, -track.number),
        )
        kept = {
            track.number
            for track in gone[: self.settings.most_lost]
            if seconds - track.last_s <= self.settings.remember_s
        }
        self._tracks = [one for one in self._tracks if one.visible or one.number in kept]

    def _update(self, track: _Track, seen: _Seen, index: int, seconds: float) -> None:
        """Remember how somebody looks who was found again."""
        corner, shape = _shape(seen.owner, index)
        track.last_s, track.frames = seconds, track.frames + 1
        hidden = _hidden(track, seen, index) if track.placed else ""
        if not hidden:
            track.whole_s = seconds
        # What hides them may also be no person, but hardly for long: then they have changed.
        if hidden == "others" or (hidden and seconds - track.whole_s < self.settings.coast_s):
            track.seen = _moved(shape, corner, track)
            return
        track.shape = track.seen = shape
        track.corner_xy, track.placed = np.array(corner, float), True
        track.look = track.look.mixed(seen.looks[index], max(0.1, 1 / track.frames))


def _hidden(track: _Track, seen: _Seen, index: int) -> str:
    """What hides a part of somebody: "others", "something", or "" if nothing does."""
    counts, area = _counts(track.shape, track, seen), seen.areas[index]
    inside, whole = counts.sum(), np.count_nonzero(track.shape)
    if inside - counts[0] - counts[index + 1] > _COVERED * inside or (
        inside < (1 - _COVERED) * whole and area < whole
    ):
        return "others"  # or the edge of the picture
    # or two people taken for one
    return "" if _SHRUNK * whole <= area <= _GROWN * whole else "something"


def _step(image: np.ndarray) -> int:
    """How many pixels a cell of the grid is wide and high."""
    return max(1, -(-max(image.shape[:2]) // _GRID))


def _seen(parsing: Parsing, image: np.ndarray, step: int) -> _Seen:
    owner = parsing.person_map[step // 2 :: step, step // 2 :: step].astype(int) - 1
    count = len(parsing.people)
    areas = np.bincount(owner[owner >= 0], minlength=count)
    fine = max(1, step // 2)
    at = np.s_[fine // 2 :: fine, fine // 2 :: fine]
    lab = cv2.cvtColor(np.ascontiguousarray(image[at]), cv2.COLOR_RGB2LAB)
    people, classes = parsing.person_map[at], parsing.label_map[at]
    looks = []
    for person in parsing.people:
        x0, y0, x1, y1 = (-(-edge // fine) for edge in person.box_xyxy)
        window = np.s_[max(0, y0 - 1) : y1, max(0, x0 - 1) : x1]
        mine = people[window] == person.id
        looks.append(look_of(lab[window][mine], classes[window][mine], parsing.labels))
    return _Seen(owner, areas, looks, np.array([person.score for person in parsing.people]))


def _shape(owner: np.ndarray, index: int) -> tuple[tuple[int, int], np.ndarray]:
    """The corner and the cells of a person; both are empty for one who lies between the cells."""
    mine = owner == index
    x, y, width, height = cv2.boundingRect(mine.view(np.uint8))
    return (x, y), mine[y : y + height, x : x + width].copy()


def _moved(shape: np.ndarray, corner: tuple[int, int], track: _Track) -> np.ndarray:
    """The cells of a shape in the window of a track's whole shape."""
    window = np.zeros(track.shape.shape, bool)
    x = corner[0] - round(float(track.corner_xy[0]))
    y = corner[1] - round(float(track.corner_xy[1]))
    rows, columns = track.shape.shape
    top, left = max(0, y), max(0, x)
    bottom, right = min(rows, y + shape.shape[0]), min(columns, x + shape.shape[1])
    if top < bottom and left < right:
        window[top:bottom, left:right] = shape[top - y : bottom - y, left - x : right - x]
    return window


def _overlaps(track: _Track, seen: _Seen) -> np.ndarray:
    """How much each person overlaps the place where a track is expected, (N,).

    Intersection over union, in which cells of other people count neither way: whoever stands there
    may hide the one who is looked for. The better one of the whole shape, and of what was seen.
    """
    return np.maximum(_overlap(track.shape, track, seen), _overlap(track.seen, track, seen))


def _overlap(shape: np.ndarray, track: _Track, seen: _Seen) -> np.ndarray:
    here = _counts(shape, track, seen)
    return here[1:] / np.maximum(1, seen.areas + here[0])


def _counts(shape: np.ndarray, track: _Track, seen: _Seen) -> np.ndarray:
    """How many cells of a track's shape are nobody's, and each person's, (1 + N,)."""
    x, y = np.rint(track.corner_xy).astype(int)
    rows, columns = seen.owner.shape
    top, left = min(max(0, y), rows), min(max(0, x), columns)
    bottom = max(top, min(rows, y + shape.shape[0]))
    right = max(left, min(columns, x + shape.shape[1]))
    if top == bottom or left == right:
        return np.zeros(1 + len(seen.areas), int)
    mine = shape[top - y : bottom - y, left - x : right - x]
    owners = seen.owner[top:bottom, left:right][mine]
    return np.bincount(owners + 1, minlength=1 + len(seen.areas))


def _associate(
    pairs: dict[int, _Track],
    tracks: Iterable[_Track],
    people: Iterable[int],
    worth: Callable[[_Track, int], float],
) -> None:
    """Pair those tracks and people who have nobody yet, for the greatest worth."""
    taken = {track.number for track in pairs.values()}
    tracks = [track for track in tracks if track.number not in taken]
    people = [index for index in people if index not in pairs]
    if not tracks or not people:
        return
    table = np.array([[worth(track, index) for index in people] for track in tracks])
    for row, column in best_pairs(table):
        pairs[people[column]] = tracks[row]
