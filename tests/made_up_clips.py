"""Clips made by the tests: people cut out of photos who move on known paths.

Who is where, the class of each pixel and where it was in the frame before are known exactly, so
that what follows people and what steadies their parts can be measured. A clip is made from its
seed, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from made_up import parsing_from_maps

from humanparse.labels import CIHP
from humanparse.parser import HumanParser
from humanparse.render.retouch import recolour
from humanparse.result import Parsing
from humanparse.system.packaged import packaged

SIZE_HW = (480, 640)
RATE = 6.0  # frames a second: fewer than usual, which is harder to follow and quicker to parse
# class, then top, bottom, left, right within a person of 80 rows and 40 columns
_BLOCKS = {
    "Hair": (0, 6, 12, 28),
    "Face": (6, 22, 12, 28),
    "UpperClothes": (22, 52, 10, 30),
    "Right-arm": (22, 50, 2, 10),
    "Left-arm": (22, 50, 30, 38),
    "Pants": (52, 80, 10, 30),
}
_CLOTHES = (
    (190, 40, 40),
    (40, 90, 190),
    (40, 150, 70),
    (215, 170, 40),
    (130, 60, 150),
    (90, 90, 90),
)


@dataclass(frozen=True, eq=False)
class Cutout:
    """A person, or a thing, cut out of a photo.

    Attributes:
        pixels: uint8 (h, w, 3), RGB.
        alpha: uint8 (h, w), 255 inside.
        labels: uint8 (h, w), the class of each pixel; a thing has none.
        whole: Whether the person can be seen down to the feet.
    """

    pixels: np.ndarray
    alpha: np.ndarray
    labels: np.ndarray
    whole: bool = True

    def shrunk(self, height_px: float) -> Cutout:
        """Return it at most as high as that, so that fine patterns do not shimmer."""
        scale = height_px / len(self.alpha)
        if scale >= 1:
            return self
        pixels, alpha = (
            cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for one in (self.pixels, self.alpha)
        )
        labels = cv2.resize(self.labels, alpha.shape[::-1], interpolation=cv2.INTER_NEAREST)
        return replace(self, pixels=pixels, alpha=alpha, labels=labels)


@dataclass(frozen=True, eq=False)
class Actor:
    """Somebody, or something, in a shot.

    Attributes:
        cutout: What can be seen.
        person: The person's number, from 1; 0 for a thing.
        keys: Seconds, and x and y of the middle of the lower edge in pixels of the scene; between
            them the movement is even.
        height_px: The height in the picture.
        sway_deg: How far the body sways to both sides while it walks, in degrees.
    """

    cutout: Cutout
    person: int
    keys: Sequence[tuple[float, float, float]]
    height_px: float
    sway_deg: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutout", self.cutout.shrunk(self.height_px))

    def matrix(self, seconds: float, camera_xy: tuple[float, float]) -> np.ndarray:
        """Return the affine map from the cut-out to the picture, (2, 3)."""
        times, xs, ys = np.array(self.keys, float).T
        height, width = self.cutout.alpha.shape
        scale = self.height_px / height
        angle = np.radians(self.sway_deg * np.sin(2 * np.pi * (1.1 * seconds + 0.37 * self.person)))
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        foot = np.array([np.interp(seconds, times, xs), np.interp(seconds, times, ys)])
        return np.column_stack([turn, foot - np.array(camera_xy) - turn @ (width / 2, height)])


@dataclass(frozen=True, eq=False)
class Shot:
    """What one camera sees without a cut.

    Attributes:
        background: uint8 (H', W', 3), the scene; its top left corner is the origin.
        actors: From the back to the front.
        seconds: How long the shot is.
        camera: Seconds, and x and y of the picture's top left corner in the scene.
    """

    background: np.ndarray
    actors: tuple[Actor, ...]
    seconds: float
    camera: Sequence[tuple[float, float, float]] = ((0, 0, 0),)


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One frame, and what is known of it.

    Attributes:
        seconds: When it is shown.
        image: uint8 (H, W, 3), RGB.
        person_map: uint16 (H, W), the number of the person at each pixel, the same in all frames.
        label_map: uint8 (H, W), the class of each pixel.
        came_from_xy: float32 (H, W, 2), where each pixel of a person was in the frame before; NaN
            where it could not be seen, and where nobody is.
    """

    seconds: float
    image: np.ndarray
    person_map: np.ndarray
    label_map: np.ndarray
    came_from_xy: np.ndarray


@dataclass(frozen=True, eq=False)
class MadeUpClip:
    """A clip of one or more shots."""

    name: str
    shots: tuple[Shot, ...]
    seed: int = 0
    size_hw: tuple[int, int] = SIZE_HW
    rate: float = RATE
    noise: float = 3.0

    def __iter__(self) -> Iterator[ClipFrame]:
        rng, index = np.random.default_rng((self.seed, 7)), 0
        noise = rng.normal(0, self.noise, (*self.size_hw, 3)).astype(np.float32)
        for shot in self.shots:
            before: _Drawn | None = None
            for step in range(round(shot.seconds * self.rate)):
                drawn = _drawn(shot, step / self.rate, self.size_hw)
                noisy = drawn.image + np.roll(noise, rng.integers(0, self.size_hw), (0, 1))
                yield ClipFrame(
                    index / self.rate,
                    noisy.clip(0, 255).astype(np.uint8),
                    drawn.person_map,
                    drawn.label_map,
                    _came_from(drawn, before),
                )
                before, index = drawn, index + 1


def parsing_of(frame: ClipFrame, order: np.random.Generator) -> tuple[Parsing, list[int]]:
    """Return the true parsing of a frame, its people in any order, and whom each of them is."""
    numbers = [int(one) for one in np.unique(frame.person_map) if one]
    numbers = [numbers[index] for index in order.permutation(len(numbers))]
    table = np.zeros(int(frame.person_map.max()) + 1, np.uint16)
    table[numbers] = np.arange(1, len(numbers) + 1)
    maps = np.where(frame.person_map > 0, frame.label_map, 0), table[frame.person_map]
    return parsing_from_maps(*maps, image=frame.image), numbers


# The cast


def block_person(upper: tuple[int, int, int], lower: tuple[int, int, int] = (60, 60, 80)) -> Cutout:
    """Return a person of six blocks, 80 × 40 pixels, in these colours of clothes."""
    colours = {"Hair": (70, 45, 30), "UpperClothes": upper, "Pants": lower}
    pixels, labels = np.zeros((80, 40, 3), np.uint8), np.zeros((80, 40), np.uint8)
    for name, (top, bottom, left, right) in _BLOCKS.items():
        pixels[top:bottom, left:right] = colours.get(name, (225, 180, 150))
        labels[top:bottom, left:right] = CIHP.index(name)
    weave = 12 * ((np.indices((80, 40)) // 3).sum(0) % 2)  # gives the motion something to hold on
    pixels = (pixels + weave[..., None]).clip(0, 255).astype(np.uint8)
    return Cutout(pixels, (labels > 0).astype(np.uint8) * 255, labels)


def photographed(parser: HumanParser) -> list[Cutout]:
    """Return the two people of the demo's photos, cut out, in clothes of six colours each."""
    return [
        cut_out(parser.parse(packaged("cli/demo") / name), colour, mirrored)
        for mirrored, colour in enumerate(_CLOTHES)
        for name in ("astronaut.jpg", "hopper.jpg")
    ]


def cut_out(parsing: Parsing, colour: tuple[int, int, int], mirrored: int = 0) -> Cutout:
    """Return the first person of a photo with clothes of a colour, every other one mirrored."""
    worn = [name for name in ("UpperClothes", "Coat") if name in parsing.people[0].parts]
    pixels, person = np.array(recolour(parsing, worn, colour)), parsing.people[0]
    x0, y0, x1, y1 = person.box_xyxy
    labels = parsing.label_map[y0:y1, x0:x1] * person.mask.crop
    cut = Cutout(pixels[y0:y1, x0:x1], person.mask.crop.astype(np.uint8) * 255, labels, whole=False)
    if not mirrored % 2:
        return cut
    table = np.array(parsing.labels.mirrored, np.uint8)
    return Cutout(cut.pixels[:, ::-1], cut.alpha[:, ::-1], table[cut.labels[:, ::-1]], whole=False)


# The scenes


@dataclass
class Stage:
    """Makes clips of a cast, each from its seed.

    Attributes:
        cast: The people.
        backgrounds: uint8 (H', W', 3), photos without people; drawn ones if there are none.
        size_hw: The size of the picture.
    """

    cast: Sequence[Cutout]
    backgrounds: Sequence[np.ndarray] = ()
    size_hw: tuple[int, int] = SIZE_HW
    _rng: np.random.Generator = field(default_factory=np.random.default_rng, init=False)
    _order: Sequence[int] = field(default=(), init=False)  # in which the cast walks on
    _leftwards: int = field(default=0, init=False)  # whether the first of them does

    def make(self, kind: str, seed: int) -> MadeUpClip:
        """Return a clip of one of `KINDS`."""
        self._rng = np.random.default_rng((seed, sorted(KINDS).index(kind)))
        self._order = self._rng.permutation(len(self.cast)).tolist()
        self._leftwards = int(self._rng.integers(2))
        return MadeUpClip(f"{kind}-{seed}", KINDS[kind](self), seed, self.size_hw)

    def crossing(self) -> tuple[Shot, ...]:
        """Two to four people who walk past each other, some of them at the same time."""
        count = int(self._rng.integers(2, 5))
        people = [self._walker(number, 6.5) for number in range(1, count + 1)]
        return (Shot(self.background(), _by_depth(people), 7),)

    def occlusion(self) -> tuple[Shot, ...]:
        """One who walks behind a wall, is out of sight for two seconds, and another who does not.

        The first walks on behind the wall, stands there for a while or turns round.
        """
        height, width = self.size_hw
        self._leftwards = 1  # the first comes from the left, the other from the right
        hidden, other = self._walker(1, 6), self._walker(2, 8)
        half = hidden.height_px * hidden.cutout.alpha.shape[1] / hidden.cutout.alpha.shape[0] / 2
        wall_px, y = 2 * half + 0.12 * width, hidden.keys[0][2]
        left, right = (width - wall_px) / 2, (width + wall_px) / 2
        way = [(0, -0.05 * width), (2.5, left + half), (4.5, right - half), (7, 1.05 * width)]
        kind = self._rng.integers(3)
        if kind == 1:
            way[2:2] = [(3.0, width / 2), (4.0, width / 2)]
        if kind == 2:
            way[2:] = [(3.5, width / 2), (4.5, left + half), (7, -0.05 * width)]
            stays = [(0, 1.05 * width, other.keys[0][2]), (3, 0.85 * width, other.keys[0][2])]
            other = replace(other, keys=stays)  # so that the two do not walk together
        keys = [(t, x, y) for t, x in way]
        wall = Actor(self._thing(wall_px, height), 0, [(0, width / 2, height)], height)
        # hidden behind the wall; the other in front of it
        people = replace(hidden, keys=keys), wall, other
        return (Shot(self.background(), people, 7),)

    def returning(self) -> tuple[Shot, ...]:
        """One who leaves the picture and comes back after two seconds or more, and others."""
        width = self.size_hw[1]
        first, others = self._walker(1, 8), [self._walker(number, 8) for number in (2, 3)]
        half = first.height_px * first.cutout.alpha.shape[1] / first.cutout.alpha.shape[0] / 2
        y, away = first.keys[0][2], float(self._rng.uniform(2, 3))
        side = self._rng.integers(2) * (width + 2 * half) - half
        back = self._rng.integers(2) * (width + 2 * half) - half
        keys = [(0, width / 2, y), (2.5, side, y), (2.5 + away, side, y)]
        keys += [(2.5 + away + 1e-3, back, y), (8, width / 2, y)]
        return (Shot(self.background(), _by_depth([replace(first, keys=keys), *others]), 8),)

    def cut(self) -> tuple[Shot, ...]:
        """Two or three people, and after a cut the same at other places, in another scene."""
        people = [self._walker(number, 6) for number in range(1, int(self._rng.integers(3, 5)))]
        again = [
            replace(one, keys=self._midway(one.person + 1), height_px=one.height_px * 1.1)
            for one in people
        ]
        return tuple(
            Shot(self.background(), _by_depth(who), seconds)
            for who, seconds in ((people, 3), (again, 3))
        )

    def pan(self) -> tuple[Shot, ...]:
        """Two or three people, and a camera that swings past them and back."""
        width = self.size_hw[1]
        people = [self._walker(number, 6) for number in range(1, int(self._rng.integers(3, 5)))]
        far = float(self._rng.uniform(0.3, 0.6)) * width
        people = [
            replace(one, keys=[(t, x + far / 2, y) for t, x, y in one.keys]) for one in people
        ]
        camera = [(0, 0, 0), (1, 0, 0), (3, far, 10), (3.5, far, 10), (5.5, 0, 0)]
        return (Shot(self.background(wide=far), _by_depth(people), 6, camera),)

    def background(self, wide: float = 0.0) -> np.ndarray:
        """Return a scene without people, wider than the picture by `wide` pixels."""
        height, width = self.size_hw[0] + 40, self.size_hw[1] + int(wide) + 40
        if self.backgrounds:
            photo = self.backgrounds[self._rng.integers(len(self.backgrounds))]
            scale = max(height / photo.shape[0], width / photo.shape[1])
            return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        drawn = np.zeros((height, width, 3), np.float32) + self._rng.uniform(90, 190, 3)
        for cells in (4, 12, 40):
            coarse = self._rng.normal(0, 80 / cells**0.6, (cells * 3 // 4, cells, 3))
            coarse = 0.25 * coarse + 0.75 * coarse[..., :1]  # of pale colours
            drawn += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):  # windows and doors
            x, y = self._rng.integers(0, (width, height))
            w, h = self._rng.integers(20, 120, 2)
            drawn[y : y + h, x : x + w] += self._rng.uniform(-50, 50, 3)
        return drawn.clip(0, 255).astype(np.uint8)

    def _midway(self, number: int) -> list[tuple[float, float, float]]:
        """The way of somebody who has walked for some seconds when the shot begins."""
        began = self._rng.uniform(1.5, 3)
        return [(t - began, x, y) for t, x, y in self._walker(number, 7).keys]

    def _walker(self, number: int, seconds: float) -> Actor:
        """Somebody who crosses the picture in about that time; `number` chooses of the cast."""
        cutout = self.cast[self._order[number % len(self.cast)]]
        height, width = self.size_hw
        tall = height * self._rng.uniform(0.4, 0.55) * (1.35 if cutout.whole else 1.0)
        y = height * (0.86 + 0.12 * self._rng.random()) if cutout.whole else height + 8.0
        ends = [-0.05 * width, 1.05 * width]
        if (number + self._leftwards) % 2:  # neighbours in the cast walk towards each other
            ends.reverse()
        begins = float(self._rng.uniform(-0.5, 0.5)) + 2.2 * (max(number - 1, 0) // 2)
        keys = [(begins, ends[0], y), (begins + seconds * self._rng.uniform(0.8, 1.0), ends[1], y)]
        return Actor(cutout, number, keys, tall, float(self._rng.uniform(0.5, 2.0)))

    def _thing(self, width: float, height: float) -> Cutout:
        """A wall of stones."""
        stones = self._rng.uniform(60, 200, (int(height / 24) + 1, int(width / 48) + 1, 1))
        size = round(width), round(height)
        pixels = cv2.resize(stones, size, interpolation=cv2.INTER_NEAREST)
        pixels = np.repeat(pixels[..., None], 3, 2).astype(np.uint8)
        return Cutout(pixels, np.full(size[::-1], 255, np.uint8), np.zeros(size[::-1], np.uint8))


KINDS: dict[str, Callable[[Stage], tuple[Shot, ...]]] = {
    "crossing": Stage.crossing,
    "occlusion": Stage.occlusion,
    "returning": Stage.returning,
    "cut": Stage.cut,
    "pan": Stage.pan,
}


def _by_depth(actors: Sequence[Actor]) -> tuple[Actor, ...]:
    """From the back to the front: who stands lower, or is larger, is nearer."""
    return tuple(sorted(actors, key=lambda one: (one.keys[0][2], one.height_px)))


@dataclass
class _Drawn:
    """A frame as it is drawn: `owner` is the index of the actor on top, -1 for the background."""

    image: np.ndarray
    person_map: np.ndarray
    label_map: np.ndarray
    owner: np.ndarray
    matrices: list[np.ndarray]  # of the actors


def _drawn(shot: Shot, seconds: float, size_hw: tuple[int, int]) -> _Drawn:
    height, width = size_hw
    times, xs, ys = np.array(shot.camera, float).T
    camera = float(np.interp(seconds, times, xs)), float(np.interp(seconds, times, ys))
    scene = np.array([[1, 0, -camera[0]], [0, 1, -camera[1]]])
    drawn = _Drawn(
        cv2.warpAffine(shot.background, scene, (width, height), borderMode=cv2.BORDER_REFLECT),
        np.zeros(size_hw, np.uint16),
        np.zeros(size_hw, np.uint8),
        np.full(size_hw, -1, np.int16),
        [one.matrix(seconds, camera) for one in shot.actors],
    )
    for index, (actor, matrix) in enumerate(zip(shot.actors, drawn.matrices, strict=True)):
        _paint(drawn, actor, index, matrix)
    return drawn


def _paint(drawn: _Drawn, actor: Actor, index: int, matrix: np.ndarray) -> None:
    cutout = actor.cutout
    rows, columns = _window(cutout.alpha.shape, matrix, drawn.label_map.shape)
    size = columns.stop - columns.start, rows.stop - rows.start
    if min(size) <= 0:
        return
    local = matrix - [[0, 0, columns.start], [0, 0, rows.start]]
    soft = cv2.warpAffine(cutout.alpha, local, size)[..., None] / np.float32(255)
    here = soft[..., 0] > 0.5
    above = cv2.warpAffine(cutout.pixels, local, size, borderMode=cv2.BORDER_REPLICATE)
    below = drawn.image[rows, columns]
    drawn.image[rows, columns] = below + (above.astype(np.float32) - below) * soft
    labels = cv2.warpAffine(cutout.labels, local, size, flags=cv2.INTER_NEAREST)
    drawn.label_map[rows, columns][here] = labels[here]
    drawn.person_map[rows, columns][here] = actor.person
    drawn.owner[rows, columns][here] = index


def _window(
    cut_hw: tuple[int, ...], matrix: np.ndarray, size_hw: tuple[int, ...]
) -> tuple[slice, slice]:
    """The rows and columns of the picture in which a cut-out lies."""
    height, width = cut_hw
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    (x0, x1), (y0, y1) = (
        np.clip((low[axis], high[axis]), 0, most)
        for axis, most in ((0, size_hw[1]), (1, size_hw[0]))
    )
    return slice(y0, y1), slice(x0, x1)


def _came_from(drawn: _Drawn, before: _Drawn | None) -> np.ndarray:
    """Where each pixel of a person was, NaN where something else could be seen there."""
    height, width = drawn.label_map.shape
    came = np.full((height, width, 2), np.nan, np.float32)
    if before is None:
        return came
    for index in np.unique(drawn.owner[drawn.person_map > 0]):
        ys, xs = np.nonzero(drawn.owner == index)
        back, forth = cv2.invertAffineTransform(drawn.matrices[index]), before.matrices[index]
        turn = forth[:, :2] @ back[:, :2]
        at = np.stack([xs, ys], 1) @ turn.T + forth[:, :2] @ back[:, 2] + forth[:, 2]
        column, row = np.rint(at).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        seen = inside.copy()
        seen[inside] = before.owner[row[inside], column[inside]] == index
        came[ys[seen], xs[seen]] = at[seen]
    return came
