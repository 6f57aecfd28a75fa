"""Open the data of a run: the folder of the embedded model's photos, or any labelled data set.

    ccp/, backgrounds/, teachers/   the embedded model's photos, see photos.py
    anything else                   what `humanparse eval` reads, see evaluation/datasets.py

Of a data set with splits, Training (or train) is learnt and Validation (or val) is held out; of a
folder without splits, every tenth photo is held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.datasets import SPLITS, Dataset, Sample, counted, open_dataset
from humanparse.labels import CIHP, LabelSet
from humanparse.search import spread
from humanparse.training.folder import (
    WEARS_FILE,
    FolderScenes,
    folder_lists,
    held_out_scenes,
    read_scene_maps,
)
from humanparse.training.look import look_through
from humanparse.training.losses import CLASS_WEIGHTS
from humanparse.training.photos import TEACHER_FILE, held_out_names, load_photos
from humanparse.training.recipe import Recipe
from humanparse.training.scenes import Scene, SceneMaker
from humanparse.training.validate import composites, singles
from humanparse.training.wears import IGNORE

TRAINING_SPLITS = ("Training", "train")
TEACHER_MASKS = "teacher.npz"  # in the run's folder: the teacher's masks of the photos
MAX_COUNTED = 200  # photos in which pixels are counted for the classes' weights


class Maker(Protocol):
    """Makes the scenes of a run."""

    def make(self, index: int, size: int) -> Scene:
        """Return scene number `index`, the same one for the same number and size."""


@dataclass(frozen=True)
class Data:
    """What a run learns from and is measured on.

    Attributes:
        labels: The classes.
        maker: Makes the scenes to learn from.
        held_out: Returns the scenes to measure on, from the first one each time.
        class_weights: How much a pixel of each class counts.
        teacher: The weights file of BodyPix, if there is one.
    """

    labels: LabelSet
    maker: Maker
    held_out: Callable[[], Iterator[Scene]]
    class_weights: tuple[float, ...]
    teacher: Path | None = None


def open_data(recipe: Recipe, folder: Path, out: Path) -> Data:
    """Open the data of a run.

    Args:
        recipe: The recipe of the run.
        folder: The data folder.
        out: The run's folder, where the teacher's masks are kept between runs.

    Raises:
        OptionError: If the folder holds nothing to learn from.
        FileNotFoundError: If a part of it is missing.
    """
    data = (
        _embedded(recipe, folder, out) if (folder / "ccp").is_dir() else _labelled(recipe, folder)
    )
    if not recipe.also:
        return data
    more = open_dataset(recipe.also)
    maker = _Mixed(
        data.maker, _also(recipe, more, folder, data.labels), recipe.also_share, recipe.seed
    )
    return Data(data.labels, maker, data.held_out, data.class_weights, data.teacher)


def classes_of(recipe: Recipe, folder: Path) -> LabelSet:
    """Return the classes that the data below `folder` teaches.

    Raises:
        OptionError: If the folder holds nothing to learn from.
    """
    if (folder / "ccp").is_dir():
        return CIHP
    train, _ = _splits(folder, recipe.format or None, recipe.holdout)
    return train.labels or CIHP


def look_at_data(recipe: Recipe, folder: Path, log: Callable[[str], None]) -> None:
    """Read all labelled photos of the run once, except the embedded model's own.

    Those are read by `open_data` in any case.

    Args:
        recipe: The recipe of the run.
        folder: The data folder.
        log: Called with what is left out, and with the progress now and then if it takes long.

    Raises:
        OptionError: If the folder holds nothing to learn from, or if photos or labels cannot be
            read; it names all of them.
    """
    learnt: list[FolderScenes] = []
    held_out: list[tuple[Sample, Callable[[Sample], tuple]]] = []
    notes: list[str] = []
    labels, embedded = CIHP, (folder / "ccp").is_dir()
    if not embedded:
        train, held = _splits(folder, recipe.format or None, recipe.holdout)
        labels = train.labels or CIHP
        learnt.append(_scenes(recipe, train, labels))
        notes += (*train.notes, *held.notes, *_lists_alone(learnt[0], train, held))
        if recipe.validate_every:
            read = partial(read_scene_maps, num_classes=len(labels))
            samples = spread(held.samples, recipe.validate_pictures)
            held_out += [(sample, read) for sample in samples]
    if recipe.also:
        more = open_dataset(recipe.also)
        learnt.append(_also(recipe, more, folder, labels))
        notes += (*more.notes, *_lists_alone(learnt[-1], more))
    for note in notes:
        log(note)
    photos = [(sample, scenes.read) for scenes in learnt for sample in scenes.samples]
    seen = look_through([*photos, *held_out], log)
    if not embedded and (unseen := _unseen(labels, learnt, seen[: len(photos)])):
        log(f"no photo to learn from shows {', '.join(unseen)}: the model will not find these")


def _unseen(
    labels: LabelSet, learnt: Sequence[FolderScenes], seen: Sequence[frozenset[int]]
) -> list[str]:
    """The names of the classes that neither labels nor lists teach."""
    listed = (
        wears.wears | wears.unsure
        for scenes in learnt
        for people in scenes.lists.values()
        for wears in people.values()
    )
    taught = frozenset({0}).union(*seen, *listed)
    return [name for number, name in enumerate(labels.names) if number not in taught]


def _lists_alone(scenes: FolderScenes, *datasets: Dataset) -> list[str]:
    """A note on lists of what people wear, of the first data set, that no photo has."""
    names = {sample.name for dataset in datasets for sample in dataset.samples}
    alone = sorted(set(scenes.lists) - names)
    if not alone:
        return []
    return [
        f"left out of {datasets[0].folder / WEARS_FILE}: {counted(alone, 'list')} without a photo "
        "of that name; names there have no ending"
    ]


def _scenes(recipe: Recipe, dataset: Dataset, labels: LabelSet) -> FolderScenes:
    """Scenes of all photos of a labelled data set."""
    return FolderScenes(
        dataset.samples, labels, recipe.seed, recipe.compose, folder_lists(dataset.folder, labels)
    )


def _also(recipe: Recipe, more: Dataset, folder: Path, labels: LabelSet) -> FolderScenes:
    """Scenes of the second folder. Raises OptionError if it has other classes, or only photos that
    are held out."""
    _same_classes(more, labels)
    return _scenes(recipe, replace(more, samples=_learnt(more.samples, folder)), labels)


def word_before(folder: Path, out: Path) -> str:
    """Return what to tell the user before `open_data` if it will take long, else ""."""
    kept = out / TEACHER_MASKS
    if not (folder / "ccp").is_dir() or kept.is_file():
        return ""
    return (
        f"the teacher looks at each photo of {folder} once, which takes minutes; "
        f"its masks are kept in {kept}"
    )


def _embedded(recipe: Recipe, folder: Path, out: Path) -> Data:
    guesses = Path(recipe.guesses) if recipe.guesses else None
    if guesses and not guesses.is_dir():
        raise OptionError(
            f"guesses is {guesses}, which is not a folder; "
            "make it with `python -m humanparse.training guess`, or leave it out"
        )
    photos = load_photos(folder, validation=False, cache=out / TEACHER_MASKS, guesses=guesses)

    def held_out() -> Iterator[Scene]:
        held, half = load_photos(folder, validation=True), -(-recipe.validate_pictures // 2)
        return islice(
            chain(islice(singles(held), half), composites(held)), recipe.validate_pictures
        )

    return Data(
        CIHP, SceneMaker(photos, recipe.seed), held_out, CLASS_WEIGHTS, folder / TEACHER_FILE
    )


def _learnt(samples: Sequence[Sample], folder: Path) -> tuple[Sample, ...]:
    """The samples without the embedded model's held-out photos, labelled or not.

    Pseudo-labels of those would teach what the model is measured on.
    """
    held = held_out_names(folder)
    learnt = tuple(one for one in samples if one.name not in held)
    if not learnt:
        raise OptionError(
            f"all {len(samples)} photos of `also` are held out; give some that are not"
        )
    return learnt


def _labelled(recipe: Recipe, folder: Path) -> Data:
    train, held = _splits(folder, recipe.format or None, recipe.holdout)
    labels = train.labels or CIHP
    samples = spread(held.samples, recipe.validate_pictures)
    weights = (
        CLASS_WEIGHTS
        if labels == CIHP
        else class_weights(spread(train.samples, MAX_COUNTED), len(labels))
    )
    teacher = folder / TEACHER_FILE
    return Data(
        labels,
        _scenes(recipe, train, labels),
        lambda: held_out_scenes(samples, len(labels)),
        weights,
        teacher if teacher.is_file() else None,
    )


def _splits(folder: Path, format: str | None, holdout: int) -> tuple[Dataset, Dataset]:
    """The training split and what is held out, which may be nothing."""
    for name in TRAINING_SPLITS:
        if (folder / name).is_dir():
            train = open_dataset(folder / name, format)
            other = any((folder / split).is_dir() for split in SPLITS)
            return train, open_dataset(folder, format) if other else replace(
                train, samples=(), notes=()
            )
    whole = open_dataset(folder, format)
    numbered = list(enumerate(whole.samples, start=1))
    held = tuple(one for number, one in numbered if holdout and number % holdout == 0)
    learnt = tuple(one for number, one in numbered if not holdout or number % holdout)
    if not learnt:
        raise OptionError(
            f"{folder} has {len(whole.samples)} photos, and all of them are held out; "
            "give more, or set holdout = 0"
        )
    return replace(whole, samples=learnt), replace(whole, samples=held, notes=())


def class_weights(samples: Sequence[Sample], num_classes: int) -> tuple[float, ...]:
    """Return how much a pixel of each class counts.

    This is the cube root of the class's rarity, kept between 0.4 and 2.5, as for CIHP.

    Args:
        samples: Labelled photos in which to count pixels.
        num_classes: The number of classes.
    """
    pixels = np.zeros(num_classes)
    for sample in samples:
        known = sample.load().label_map
        pixels += np.bincount(known[known != IGNORE].ravel(), minlength=num_classes)[:num_classes]
    share = np.maximum(pixels, 1) / max(pixels.sum(), 1)
    weights = np.cbrt(np.median(share) / share)
    return tuple(float(weight) for weight in np.clip(weights, 0.4, 2.5))


def _same_classes(more: Dataset, labels: LabelSet) -> None:
    if more.labels is not None and more.labels.names != labels.names:
        raise OptionError(
            f"{more.folder} has other classes than the data; `also` needs the same classes"
        )


class _Mixed:
    """Scenes of two makers; which of them makes scene number i depends on i and the seed alone."""

    def __init__(self, one: Maker, other: Maker, share: float, seed: int):
        self.one, self.other, self.share, self.seed = one, other, share, seed

    def make(self, index: int, size: int) -> Scene:
        from_other = np.random.default_rng((self.seed, index, 1)).random() < self.share
        return (self.other if from_other else self.one).make(index, size)
