"""Scenes of the embedded model's photos: photos cropped, turned and scaled, and people pasted
together.

The labels stay exact. A scene has its own random generator, so scene number i of a run is the same
on every machine and after every restart. Left and right stay the person's own: whenever pixels are
mirrored, the paired classes are exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from humanparse.labels import CIHP, LabelSet
from humanparse.training.photos import UNKNOWN_PERSON, Photo, Photos
from humanparse.training.picture import placed, random_angle, random_colours, through_camera, warp
from humanparse.training.wears import ANYTHING, IGNORE, bits, mirrored_bits

# The share of each kind of scene, and how much the teacher counts in it.
KINDS = {
    "people": 0.27,
    "photo": 0.24,
    "everyday": 0.31,
    "tagged": 0.10,
    "unlabelled": 0.03,
    "empty": 0.05,
}
TEACHER_TRUST = {
    "people": 0.3,
    "photo": 1.0,
    "everyday": 1.0,
    "tagged": 1.0,
    "unlabelled": 1.0,
    "empty": 0.0,
}
# The kind that is made instead if there are no such photos.
WITHOUT = {"everyday": "photo", "tagged": "photo", "unlabelled": "photo"}
EVERYDAY_PASTED = 0.3  # the share of pasted people who come from everyday photos
MIN_PASTED_PX = 1500  # people smaller than this in their own photo are not pasted elsewhere
PARSED_PX = 480 * 640  # about how many pixels photos have when they are parsed


def mirrored_classes(labels: LabelSet) -> np.ndarray:
    """Return what each class is called in a mirrored photo.

    Args:
        labels: The classes.

    Returns:
        uint8 (256,); numbers that are not classes stay as they are.
    """
    table = np.arange(256, dtype=np.uint8)
    table[: len(labels)] = labels.mirrored
    return table


MIRRORED_CIHP = mirrored_classes(CIHP)


@dataclass
class Scene:
    """A picture and what is known about it, painted over from back to front.

    Attributes:
        pixels: uint8 (S, S, 3), RGB.
        classes: uint8 (S, S), the class of each pixel, 255 unknown; or a number that stands for
            several classes, see wears.py.
        person: float32 (S, S), the probability that the pixel is a person.
        people: int16 (S, S), 0 nobody, 1..n the person, -1 unknown.
        teacher_trust: How much the teacher counts, 0 to 1.
        num_people: n.
        possible: For each person in turn, the classes that may be seen on them, as bits.
    """

    pixels: np.ndarray
    classes: np.ndarray
    person: np.ndarray
    people: np.ndarray
    teacher_trust: float = 0.0
    num_people: int = field(default=0)
    possible: list[int] = field(default_factory=list)


class SceneMaker:
    """Makes the scenes of a run.

    Args:
        photos: The training split.
        seed: The seed of the run.
    """

    def __init__(self, photos: Photos, seed: int):
        self.photos = photos
        self.seed = seed
        self.rarity = rarity([photo.possible for photo in photos.labelled])
        self.everyday_rarity, self.tagged_rarity = (
            rarity([_listed(photo) for photo in of_kind])
            for of_kind in (photos.everyday, photos.tagged)
        )
        self.cuttable = _cuttable(photos.everyday)

    def make(self, index: int, size: int) -> Scene:
        """Return a square scene of `size` pixels, the same for the same (seed, index, size)."""
        rng = np.random.default_rng((self.seed, index))
        kind = rng.choice(list(KINDS), p=list(KINDS.values()))
        if kind in WITHOUT and not getattr(self.photos, kind):
            kind = WITHOUT[kind]
        scene = getattr(self, f"_{kind}")(rng, size)
        if kind not in ("unlabelled", "everyday") and rng.random() < 0.2:
            _occlude(rng, scene, self._background(rng).pixels)
        scene.pixels = through_camera(rng, scene.pixels)
        scene.teacher_trust = TEACHER_TRUST[kind]
        return scene

    def _people(self, rng: np.random.Generator, size: int) -> Scene:
        """One to five people pasted on a photo without people, or on one with a person."""
        scene = self._photo(rng, size) if rng.random() < 0.25 else self._empty(rng, size)
        count = rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.3, 0.25, 0.15, 0.1])
        height = size * np.exp(rng.uniform(np.log(0.28), np.log(2.2)))
        spread = rng.uniform(0.25, 0.6) * height
        middle = rng.uniform(0.2, 0.8) * size
        for slot in rng.permutation(count):
            photo, number = self._anybody(rng)
            paste_person(
                rng,
                scene,
                photo,
                number,
                height_px=height * np.exp(rng.normal(0, 0.12)),
                x=middle + (slot - (count - 1) / 2) * spread + rng.normal(0, 0.1) * height,
                y=size * 0.5
                + rng.normal(0, 0.12) * size
                + max(0.0, height - size) * rng.uniform(-0.5, 0.5),
                angle=random_angle(rng),
                flip=rng.random() < 0.5,
                colours=random_colours(rng),
            )
        return scene

    def _photo(self, rng: np.random.Generator, size: int) -> Scene:
        """A labelled photo with its surroundings."""
        return _paste_photo(rng, self._empty(rng, size), self._labelled(rng))

    def _everyday(self, rng: np.random.Generator, size: int) -> Scene:
        """An everyday photo, usually about as large as it is when it is parsed."""
        photo = self.photos.everyday[rng.choice(len(self.everyday_rarity), p=self.everyday_rarity)]
        height, width = photo.pixels.shape[:2]
        zoom = np.sqrt(PARSED_PX / (height * width)) * np.exp(rng.normal(0.05, 0.3))
        return _paste_photo(rng, self._empty(rng, size), photo, zoom)

    def _tagged(self, rng: np.random.Generator, size: int) -> Scene:
        """A photo of one person with a list."""
        photo = self.photos.tagged[rng.choice(len(self.tagged_rarity), p=self.tagged_rarity)]
        return _paste_photo(rng, self._empty(rng, size), photo)

    def _unlabelled(self, rng: np.random.Generator, size: int) -> Scene:
        """An unlabelled photo, on which only the teacher knows anything."""
        return _paste_photo(
            rng,
            self._empty(rng, size),
            self.photos.unlabelled[rng.integers(len(self.photos.unlabelled))],
        )

    def _empty(self, rng: np.random.Generator, size: int) -> Scene:
        """A part of a photo without people, or rarely a plain colour."""
        scene = empty_scene(rng, self._background(rng), size)
        if rng.random() < 0.08:
            scene.pixels[:] = rng.integers(0, 256, 3, dtype=np.uint8)
        elif rng.random() < 0.5:
            scene.pixels = random_colours(rng)(scene.pixels)
        return scene

    def _anybody(self, rng: np.random.Generator) -> tuple[Photo, int]:
        """A person to paste: a photo, and the person's number on it."""
        if self.cuttable and rng.random() < EVERYDAY_PASTED:
            return self.cuttable[rng.integers(len(self.cuttable))]
        return self._labelled(rng), 1

    def _labelled(self, rng: np.random.Generator) -> Photo:
        return self.photos.labelled[rng.choice(len(self.rarity), p=self.rarity)]

    def _background(self, rng: np.random.Generator) -> Photo:
        return self.photos.backgrounds[rng.integers(len(self.photos.backgrounds))]


def empty_scene(rng: np.random.Generator, photo: Photo, size: int) -> Scene:
    """Return a square part of a photo without people, slightly turned and perhaps mirrored.

    Args:
        rng: The scene's random generator.
        photo: A photo without people.
        size: The side of the scene in pixels.
    """
    height, width = photo.pixels.shape[:2]
    zoom = size / min(height, width) * rng.uniform(1.0, 2.0)
    slack = np.array([width, height]) * zoom - size
    matrix = placed(
        (height, width),
        zoom,
        rng.normal(0, 4),
        rng.random() < 0.5,
        size / 2 + rng.uniform(-0.5, 0.5, 2) * slack,
    )
    zeros = np.zeros((size, size))
    return Scene(
        warp(photo.pixels, matrix, size, border=cv2.BORDER_REFLECT),
        zeros.astype(np.uint8),
        zeros.astype(np.float32),
        zeros.astype(np.int16),
    )


def paste_person(
    rng: np.random.Generator,
    scene: Scene,
    photo: Photo,
    number: int = 1,
    *,
    height_px: float,
    x: float,
    y: float,
    angle: float,
    flip: bool,
    colours: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Paint a person of a labelled photo over a scene.

    Args:
        rng: The scene's random generator.
        scene: The scene to change.
        photo: The photo.
        number: The person's number on it.
        height_px: The person's height in the scene.
        x: Column of the person's middle, in pixels.
        y: Row of the person's middle, in pixels.
        angle: The rotation in degrees.
        flip: Whether to mirror the person.
        colours: Changes the colours of pixels, see `random_colours`.
    """
    labels, people = photo.maps
    body = people == number
    ys, xs = np.nonzero(body)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    cut = np.s_[top:bottom, left:right]
    size = scene.classes.shape[0]
    matrix = placed((bottom - top, right - left), height_px / (bottom - top), angle, flip, (x, y))
    alpha = warp(body[cut].astype(np.uint8) * 255, matrix, size)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.1))[..., None] / np.float32(255)
    here = alpha[..., 0] > 0.5
    if here.sum() < 64:
        return
    pixels = warp(colours(photo.pixels[cut]), matrix, size)
    scene.pixels = (scene.pixels * (1 - alpha) + pixels * alpha).astype(np.uint8)
    labels = warp(labels[cut], matrix, size, cv2.INTER_NEAREST)
    # Blurred edges and enclosed pixels belong to the person, but their class is unknown.
    labels[labels == 0] = IGNORE
    scene.classes[here] = (MIRRORED_CIHP[labels] if flip else labels)[here]
    scene.person[here] = 1
    scene.num_people += 1
    scene.people[here] = scene.num_people
    scene.possible += _possible((photo.possible[number - 1],), flip)


def _paste_photo(
    rng: np.random.Generator, scene: Scene, photo: Photo, zoom: float | None = None
) -> Scene:
    """Lay a whole photo, scaled, turned and shifted, over the scene.

    zoom: None takes a random one, as for whole people.
    """
    size = scene.classes.shape[0]
    if zoom is None:
        # Mostly whole people, but close-ups too.
        heights = (0.8, 1.6) if rng.random() < 0.6 else (0.7, 3.2)
        zoom = size * np.exp(rng.uniform(*np.log(heights))) / photo.pixels.shape[0]
    slack = np.abs(np.array(photo.pixels.shape[1::-1]) * zoom - size) / 2
    flip = rng.random() < 0.5
    matrix = placed(
        photo.pixels.shape, zoom, random_angle(rng), flip, size / 2 + rng.uniform(-1, 1, 2) * slack
    )
    inside = (
        warp(np.full(photo.pixels.shape[:2], 255, np.uint8), matrix, size, cv2.INTER_NEAREST) > 0
    )
    scene.pixels[inside] = warp(random_colours(rng)(photo.pixels), matrix, size)[inside]
    teacher: np.ndarray | np.float32 = np.float32(0.5)  # unknown
    if photo.teacher is not None:
        teacher = warp(
            cv2.resize(photo.teacher, photo.pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR),
            matrix,
            size,
        )
    if photo.labels is None:
        scene.classes[inside] = IGNORE
        scene.person[inside] = np.broadcast_to(teacher, inside.shape)[inside]
        scene.people[inside] = UNKNOWN_PERSON
        return scene
    labels, people = (warp(one, matrix, size, cv2.INTER_NEAREST) for one in photo.maps)
    scene.classes[inside] = (MIRRORED_CIHP[labels] if flip else labels)[inside]
    scene.person[inside] = np.where(people < 0, teacher, people > 0)[inside]
    scene.people[inside] = np.where(people > 0, people + scene.num_people, people)[inside]
    scene.num_people += len(photo.possible)
    scene.possible += _possible(photo.possible, flip)
    return scene


def _possible(sets: tuple[int, ...], flip: bool) -> list[int]:
    return [mirrored_bits(one, CIHP) if flip else one for one in sets]


def _occlude(rng: np.random.Generator, scene: Scene, texture: np.ndarray) -> None:
    """Put an object in front of the people: a strip at the bottom, like a table, or a shape."""
    size = scene.classes.shape[0]
    shape = np.zeros((size, size), np.uint8)
    if rng.random() < 0.5:
        level = rng.uniform(0.55, 0.9, 2) * size
        points = [(0, level[0]), (size, level[1]), (size, size), (0, size)]
    else:
        centre, radius = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0.06, 0.22) * size
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        points = centre + radius * rng.uniform(0.6, 1.4, (7, 1)) * np.stack(
            [np.cos(angles), np.sin(angles)], 1
        )
    cv2.fillPoly(shape, [np.asarray(points).astype(np.int32)], 255)
    here = shape > 0
    height, width = texture.shape[:2]
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    part = texture[top : top + height // 2, left : left + width // 2]
    scene.pixels[here] = cv2.resize(part, (size, size))[here]
    scene.classes[here], scene.person[here], scene.people[here] = 0, 0, 0


def _listed(photo: Photo) -> tuple[int, ...]:
    """What can certainly be seen on each listed person of a photo, as bits."""
    return tuple(bits(one.wears) for one in photo.lists if one)


def _cuttable(photos: list[Photo]) -> list[tuple[Photo, int]]:
    """The people who may be cut out of everyday photos: described ones of some size."""
    found = []
    for photo in photos:
        _, people = photo.maps
        pixels = np.bincount(people[people > 0], minlength=len(photo.possible) + 1)
        found += [
            (photo, number)
            for number, one in enumerate(photo.possible, start=1)
            if one != ANYTHING and pixels[number] > MIN_PASTED_PX
        ]
    return found


def rarity(seen: list[tuple[int, ...]], num_classes: int = len(CIHP)) -> np.ndarray:
    """Return how often to show each photo: those with a rare class more often.

    Args:
        seen: For each photo and each person on it, the classes that can be seen, as bits.
        num_classes: The number of classes.

    Returns:
        float (N,), which adds up to one.
    """
    if not seen:
        return np.zeros(0)
    sets = [np.bitwise_or.reduce(np.array((0, *one), np.int64)) for one in seen]
    present = np.array(sets)[:, None] >> np.arange(num_classes) & 1 > 0  # (N, C)
    present[:, 0] = True
    frequency = present.mean(0)
    rarity = (present / np.sqrt(np.maximum(frequency, 1e-3))).max(1)
    return rarity / rarity.sum()
