"""Scenes from any labelled data set that `humanparse eval` reads: your own photos, CIHP, LIP …

A photo is moved, turned, scaled, mirrored and coloured at random; where the labels tell people
apart, people from other photos may be pasted into it. Scene number i of a run is the same on every
machine and after every restart. Where a file wears.json says what people wear (wears.py), their
unknown pixels learn from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.datasets import Sample
from humanparse.evaluation.ground_truth import GroundTruth
from humanparse.image import read_image
from humanparse.labels import LabelSet
from humanparse.training.photos import MOSTLY_UNKNOWN, UNKNOWN_PERSON
from humanparse.training.picture import placed, random_angle, random_colours, through_camera, warp
from humanparse.training.scenes import Scene, mirrored_classes
from humanparse.training.wears import (
    ANYTHING,
    IGNORE,
    LISTED,
    MAX_LISTED_CLASSES,
    Wears,
    bits,
    mirrored_bits,
    read_wears,
)

WEARS_FILE = "wears.json"
OUTSIDE = 114  # grey value beyond the photo's edge
TEACHER_TRUST = 1.0  # full photos are what the teacher was trained on
MIN_PASTED_PX = 400  # people smaller than this in their own photo are not pasted elsewhere


class FolderScenes:
    """Makes the scenes of a run.

    Args:
        samples: The labelled photos.
        labels: The classes.
        seed: The seed of the run.
        compose: The share of scenes into which people from other photos are pasted.
        lists: What people wear, by photo name and person's number, see `folder_lists`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: LabelSet,
        seed: int,
        compose: float,
        lists: Mapping[str, Mapping[int, Wears]] | None = None,
    ):
        self.samples, self.seed, self.compose = tuple(samples), seed, compose
        self.mirrored, self.labels, self.lists = mirrored_classes(labels), labels, lists or {}

    def make(self, index: int, size: int) -> Scene:
        """Return a square scene of `size` pixels, the same for the same (seed, index, size)."""
        rng = np.random.default_rng((self.seed, index))
        scene = self._photo(rng, size)
        if scene.num_people and rng.random() < self.compose:
            for _ in range(rng.integers(1, 4)):
                self._paste(rng, scene)
        scene.pixels = through_camera(rng, scene.pixels)
        scene.person = person_probability(scene.classes, scene.people)
        scene.teacher_trust = TEACHER_TRUST
        return scene

    def _photo(self, rng: np.random.Generator, size: int) -> Scene:
        """A part of a photo, or all of it with a margin."""
        pixels, classes, people, possible = self.read(self._any(rng))
        short = min(classes.shape)
        zoom = size / short * np.exp(rng.uniform(np.log(0.6), np.log(2.0)))
        slack = np.abs(np.array(classes.shape[::-1]) * zoom - size) / 2
        flip = rng.random() < 0.5
        matrix = placed(
            classes.shape, zoom, rng.normal(0, 5), flip, size / 2 + rng.uniform(-1, 1, 2) * slack
        )
        inside = warp(np.full(classes.shape, 255, np.uint8), matrix, size, cv2.INTER_NEAREST) > 0
        scene = Scene(
            np.full((size, size, 3), OUTSIDE, np.uint8),
            np.full((size, size), IGNORE, np.uint8),
            np.zeros((size, size), np.float32),
            np.full((size, size), UNKNOWN_PERSON, np.int16),
            num_people=int(people.max()),
        )
        scene.pixels[inside] = warp(random_colours(rng)(pixels), matrix, size)[inside]
        labels = warp(classes, matrix, size, cv2.INTER_NEAREST)
        scene.classes[inside] = (self.mirrored[labels] if flip else labels)[inside]
        scene.people[inside] = warp(people, matrix, size, cv2.INTER_NEAREST)[inside]
        scene.possible = self._seen(possible, flip)
        return scene

    def _paste(self, rng: np.random.Generator, scene: Scene) -> None:
        """Cut a person out of another photo and lay them over the scene."""
        pixels, classes, people, possible = self.read(self._any(rng))
        numbers, areas = np.unique(people[people > 0], return_counts=True)
        numbers = numbers[areas >= MIN_PASTED_PX]
        if not len(numbers):
            return
        number = rng.choice(numbers)
        body = people == number
        ys, xs = np.nonzero(body)
        cut = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        body, size = body[cut], scene.classes.shape[0]
        height = size * np.exp(rng.uniform(np.log(0.25), np.log(1.2)))
        flip = rng.random() < 0.5
        matrix = placed(
            body.shape,
            height / body.shape[0],
            random_angle(rng),
            flip,
            rng.uniform(0.1, 0.9, 2) * size,
        )
        alpha = cv2.GaussianBlur(
            warp(body.astype(np.uint8) * 255, matrix, size), (0, 0), rng.uniform(0.4, 1.1)
        ) / np.float32(255)
        here = alpha > 0.5
        alpha = alpha[..., None]
        pasted = warp(random_colours(rng)(pixels[cut]), matrix, size)
        scene.pixels = (scene.pixels * (1 - alpha) + pasted * alpha).astype(np.uint8)
        labels = warp(classes[cut], matrix, size, cv2.INTER_NEAREST)
        labels[labels == 0] = IGNORE  # the edge of the cut-out, of no known class
        scene.classes[here] = (self.mirrored[labels] if flip else labels)[here]
        scene.num_people += 1
        scene.people[here] = scene.num_people
        scene.possible += self._seen(possible[number - 1 : number], flip)

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
        """Read a photo, its labels and its lists.

        Returns:
            Pixels, classes and people as `read_scene_maps` returns them, and for each person the
                classes that may be seen, as bits. Unknown pixels of people with a list are LISTED.

        Raises:
            ImageError: For a bad photo.
            OptionError: For bad labels, or a list for a person who is not there.
        """
        pixels, classes, people = read_scene_maps(sample, len(self.labels))
        lists, possible = _by_place(sample, self.lists.get(sample.name, {})), []
        classes = classes.copy() if lists else classes
        for number in range(1, int(people.max()) + 1):
            body = people == number
            if wears := lists.get(number):
                classes[body & (classes == IGNORE)] = LISTED
            possible.append(wears.possible if wears else self._labelled(classes[body]))
        return pixels, classes, people, possible

    def _labelled(self, classes: np.ndarray) -> int:
        """What may be seen on a person whose pixels have these labels, as bits."""
        unknown = classes == IGNORE
        if len(self.labels) > MAX_LISTED_CLASSES or unknown.mean() > MOSTLY_UNKNOWN:
            return ANYTHING
        return bits(set(np.unique(classes[~unknown]).tolist()) - {0})

    def _seen(self, possible: Sequence[int], flip: bool) -> list[int]:
        return [mirrored_bits(one, self.labels) if flip else one for one in possible]

    def _any(self, rng: np.random.Generator) -> Sample:
        return self.samples[rng.integers(len(self.samples))]


def _by_place(sample: Sample, lists: Mapping[int, Wears]) -> dict[int, Wears]:
    """The lists by the numbers that `people_of` gives, instead of those in persons/."""
    if not lists:
        return {}
    truth = sample.load()
    numbers = (
        [1]
        if truth.person_map is None
        else np.unique(truth.person_map[truth.person_map > 0]).tolist()
    )
    if strangers := sorted(set(lists) - set(numbers)):
        raise OptionError(
            f"{WEARS_FILE} says what person {strangers[0]} of {sample.name!r} wears, "
            f"but its people are {numbers}; give the numbers used in persons/"
        )
    return {
        place: lists[number] for place, number in enumerate(numbers, start=1) if number in lists
    }


def folder_lists(folder: Path, labels: LabelSet) -> dict[str, dict[int, Wears]]:
    """Return what `folder/wears.json` says people wear.

    Returns:
        Lists by photo name and person's number; nothing if there is no such file.

    Raises:
        OptionError: If the file cannot be used.
    """
    file = folder / WEARS_FILE
    if not file.is_file():
        return {}
    if len(labels) > MAX_LISTED_CLASSES:
        raise OptionError(
            f"{file} can be used with at most {MAX_LISTED_CLASSES} classes, "
            f"but there are {len(labels)}; remove it"
        )
    return read_wears(file, labels)


def read_scene_maps(sample: Sample, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a labelled photo.

    Labels that do not tell people apart are taken for one person's.

    Args:
        sample: The photo and its labels.
        num_classes: The number of classes.

    Returns:
        pixels, uint8 (H, W, 3); classes, uint8 (H, W), 255 unknown; people, int16 (H, W), 0 nobody,
            1.. the person, -1 unknown.

    Raises:
        ImageError: For a bad photo.
        OptionError: For labels of another size, or with unknown classes.
    """
    pixels, truth = read_image(sample.image).pixels, sample.load()
    if pixels.shape[:2] != truth.label_map.shape:
        (height, width), (h, w) = pixels.shape[:2], truth.label_map.shape
        turned = (height, width) == (w, h)
        raise OptionError(
            f"{sample.image} is {width}x{height} but its labels are {w}x{h}; "
            + ("turn them as the photo is shown" if turned else "make them the same size")
        )
    known = truth.label_map[truth.label_map != IGNORE]
    if known.size and known.max() >= num_classes:
        raise OptionError(
            f"{sample.image} has labels of class {known.max()}, "
            f"but there are {num_classes} classes; "
            "name all of them in labels.txt, one per line, the background first"
        )
    return pixels, truth.label_map, people_of(truth)


def people_of(truth: GroundTruth) -> np.ndarray:
    """Return the people of a labelled photo, numbered without gaps.

    Returns:
        int16 (H, W): 0 nobody, 1.. the person, -1 where there may be somebody.
    """
    if truth.person_map is None:
        people = ((truth.label_map > 0) & (truth.label_map != IGNORE)).astype(np.int16)
    else:
        _, inverse = np.unique(np.append(0, truth.person_map), return_inverse=True)
        people = inverse[1:].reshape(truth.person_map.shape).astype(np.int16)
    people[(truth.label_map == IGNORE) & (people == 0)] = UNKNOWN_PERSON
    return people


def person_probability(classes: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Return float32 (H, W): 1 on people, 0 elsewhere, one half where it is unknown."""
    person = ((people > 0) | ((classes > 0) & (classes != IGNORE))).astype(np.float32)
    person[people == UNKNOWN_PERSON] = 0.5
    return person


def held_out_scenes(samples: Sequence[Sample], num_classes: int) -> Iterator[Scene]:
    """Yield the photos as they are, with their labels."""
    for sample in samples:
        pixels, classes, people = read_scene_maps(sample, num_classes)
        yield Scene(
            pixels,
            classes,
            person_probability(classes, people),
            people,
            num_people=int(people.max()),
        )
