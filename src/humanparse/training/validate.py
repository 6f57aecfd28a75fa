"""Measure a model on held-out photos: on single people as they were photographed, and composites.

Composites are pictures of 720×960 with two to four held-out people pasted on held-out backgrounds;
they are the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from humanparse.evaluation.ground_truth import GroundTruth
from humanparse.evaluation.mean_iou import IGNORE, MeanIoU
from humanparse.evaluation.person_pq import PersonPQ
from humanparse.evaluation.sheet import Case
from humanparse.parser import HumanParser
from humanparse.training.photos import Photos
from humanparse.training.scenes import Scene, empty_scene, paste_person

COMPOSITES = 150
SIZE = 960  # composites are made as squares of this side and cut to CROP
CROP = np.s_[120:840]


@dataclass
class Score:
    """The figures of one kind of picture.

    Attributes:
        classes: Of the label maps.
        people: Of the person maps.
        person: Of people against the background.
    """

    classes: MeanIoU
    people: PersonPQ = field(default_factory=PersonPQ)
    person: MeanIoU = field(default_factory=lambda: MeanIoU(2))

    def add(self, parser: HumanParser, scene: Scene) -> None:
        """Parse a scene and count how well the result agrees with it."""
        result = parser.parse(scene.pixels)
        self.classes.add(scene.classes, result.label_map)
        self.people.add(scene.people, result.person_map)
        truth = np.where(scene.people < 0, IGNORE, scene.people > 0).astype(np.uint8)
        self.person.add(truth, (result.person_map > 0).astype(np.uint8))


def validate(parser: HumanParser, photos: Photos) -> dict[str, Score]:
    """Measure a model.

    Args:
        parser: The model.
        photos: The validation split, see photos.py.

    Returns:
        Scores by kind of picture: "single" and "composite".
    """
    scores = {}
    for kind, scenes in pictures(photos).items():
        scores[kind] = Score(MeanIoU(len(parser.labels)))
        for scene in scenes:
            scores[kind].add(parser, scene)
    return scores


def false_alarms(parser: HumanParser, photos: Photos) -> int:
    """Return on how many of the photos without people somebody is found."""
    return sum(bool(parser.parse(photo.pixels).people) for photo in photos.backgrounds)


def write_pictures(photos: Photos, folder: Path) -> dict[str, int]:
    """Write the same pictures as data sets for `humanparse eval`, in the plain layout.

    Args:
        photos: The validation split, see photos.py.
        folder: Where to write the folders single and composite; existing files are replaced.

    Returns:
        The number of pictures of each kind.
    """
    counts = {}
    for kind, scenes in pictures(photos).items():
        for counts[kind], scene in enumerate(scenes, start=1):
            _write(scene, folder / kind, f"{counts[kind]:04}.png")
    return counts


def _write(scene: Scene, folder: Path, file: str) -> None:
    """Write a picture, its classes and its people; unknown people have an unknown class."""
    maps = {
        "images": cv2.cvtColor(scene.pixels, cv2.COLOR_RGB2BGR),
        "labels": scene.classes,
        "persons": np.maximum(scene.people, 0).astype(np.uint8),
    }
    for name, values in maps.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / file), values)


def good_and_bad(parser: HumanParser, photos: Photos, per_kind: int) -> dict[str, list[Case]]:
    """Return good and bad cases of each kind of picture, by the picture's own mean IoU.

    Args:
        parser: The model.
        photos: The validation split, see photos.py.
        per_kind: The number of pictures of each kind: the best, the worst, and others between them
            at even steps of rank.
    """
    cases = {}
    for kind, scenes in pictures(photos).items():
        ranked = sorted((_case(parser, scene) for scene in scenes), key=lambda case: -case.score)
        ranks = np.unique(np.linspace(0, len(ranked) - 1, per_kind).round().astype(int))
        cases[kind] = [replace(ranked[rank], name=f"{rank + 1} of {len(ranked)}") for rank in ranks]
    return cases


def _case(parser: HumanParser, scene: Scene) -> Case:
    parsing = parser.parse(scene.pixels)
    score = MeanIoU(len(parser.labels))
    score.add(scene.classes, parsing.label_map)
    return Case(
        "",
        score.mean,
        scene.pixels,
        GroundTruth(scene.classes, np.maximum(scene.people, 0)),
        parsing,
    )


def report(scores: dict[str, Score], names: tuple[str, ...]) -> str:
    """Return the scores as a text table.

    Args:
        scores: Scores by kind of picture.
        names: The names of the classes.
    """
    lines = [f"{'':18}" + "".join(f"{kind:>12}" for kind in scores)]
    rows = {
        "mIoU": lambda s: s.classes.mean,
        "pixel accuracy": lambda s: s.classes.pixel_accuracy,
        "person IoU": lambda s: s.person.per_class[1],
        "person PQ": lambda s: s.people.pq,
    }
    for name, read in rows.items():
        lines.append(f"{name:18}" + "".join(f"{read(score):12.3f}" for score in scores.values()))
    for name in ("found", "missed", "false"):
        lines.append(
            f"people {name:11}"
            + "".join(f"{getattr(score.people, name):12d}" for score in scores.values())
        )
    for index, name in enumerate(names):
        lines.append(
            f"  {name:16}"
            + "".join(f"{score.classes.per_class[index]:12.3f}" for score in scores.values())
        )
    return "\n".join(lines)


def pictures(photos: Photos) -> dict[str, Iterator[Scene]]:
    """Return all held-out pictures by kind."""
    return {"single": singles(photos), "composite": composites(photos)}


def singles(photos: Photos) -> Iterator[Scene]:
    """Yield each held-out labelled photo as it is.

    Unknown pixels outside the person (passers-by) do not count.
    """
    for photo in photos.labelled:
        labels, people = photo.maps
        person = (people > 0).astype(np.float32)
        yield Scene(photo.pixels, labels, person, people, num_people=1)


def composites(photos: Photos) -> Iterator[Scene]:
    """Yield COMPOSITES pictures of two to four people.

    They may touch and hide each other, and be cut off at the edge.
    """
    for index in range(COMPOSITES):
        rng = np.random.default_rng((2, index))
        scene = empty_scene(rng, photos.backgrounds[rng.integers(len(photos.backgrounds))], SIZE)
        count = int(rng.integers(2, 5))
        height = rng.uniform(330, 680)
        middle, spread = rng.uniform(0.4, 0.6) * SIZE, rng.uniform(0.3, 0.6) * height
        for slot in rng.permutation(count):
            paste_person(
                rng,
                scene,
                photos.labelled[rng.integers(len(photos.labelled))],
                height_px=height * rng.uniform(0.85, 1.15),
                x=middle + (slot - (count - 1) / 2) * spread,
                y=SIZE / 2 + rng.uniform(-60, 60),
                angle=rng.normal(0, 3),
                flip=rng.random() < 0.5,
                colours=lambda pixels: pixels,
            )
        yield Scene(
            scene.pixels[CROP],
            scene.classes[CROP],
            scene.person[CROP],
            scene.people[CROP],
            num_people=count,
        )
