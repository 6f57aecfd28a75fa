"""The embedded model's photos in memory: with labels, with lists, and without either.

Folder layout, below one root (docs/training.md has it with its sources):

    ccp/train/photos/*.jpg     one labelled person each
    ccp/train/labels/*.png     their CIHP classes, 255 unknown
    ccp/unlabelled/*.jpg       one person each
    ccp/tags.tsv               lists of what these people wear
    coco/photos/*.jpg          everyday photos
    coco/people.json           their people, outlined by hand, many with a list
    backgrounds/*.jpg          photos without people
    teachers/bodypix_mnv1_075_dequant_fp16.npz
                               tells people from background where nothing else does

All but the first two and the backgrounds may be missing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.outfits import FOUND_SHARE
from humanparse.labels import CIHP
from humanparse.training.wears import ANYTHING, IGNORE, LISTED, Wears, bits, wears_from

TEACHER_FILE = "teachers/bodypix_mnv1_075_dequant_fp16.npz"
TEACHER_LONG_SIDE = 640
UNKNOWN_PERSON = -1  # in Photo.people and Scene.people: there may be a person, but which is unknown
# Of every ten blocks of 25 consecutive photo numbers, one is held out.
VALIDATION_BLOCK, VALIDATION_EVERY = 25, 10
TAGGED_BLOCKS = (4, 9)  # which of every ten blocks are held out of the photos with tags
# Parts of the everyday photos, by a hash of their names.
EVERYDAY_PARTS, HELD_OUT_PARTS, CHOOSING_PARTS = 12, (0, 1), (2,)
# If more than this share of a labelled person's pixels is unknown, they may show any garment.
MOSTLY_UNKNOWN = 0.05
# The teacher's probability from which there may be an unlisted passer-by on a Penn-Fudan photo.
PASSER_BY = 0.35
GARMENT_KINDS = tuple(map(CIHP.index, FOUND_SHARE))


@dataclass(frozen=True)
class Photo:
    """One training photo.

    Attributes:
        name: Its file name without the ending.
        pixels: uint8 (H, W, 3), RGB.
        labels: uint8 (H, W), the class of each pixel or a number that stands for several (see
            wears.py), 255 unknown; None if nothing is known.
        people: int16 (H, W), 0 nobody, 1.. the person, -1 unknown; None if `labels` is None.
        lists: For each person in turn, what is known about them.
        possible: For each person, the classes that may be seen on them, as bits.
        teacher: float32 (h, w) in [0, 1], the teacher's person probability at a lower resolution;
            None if it was not asked.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray | None = None
    people: np.ndarray | None = None
    lists: tuple[Wears | None, ...] = ()
    possible: tuple[int, ...] = ()
    teacher: np.ndarray | None = None

    @property
    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """`labels` and `people` of a photo that has them. Raises ValueError for another."""
        if self.labels is None or self.people is None:
            raise ValueError(f"the photo {self.name} has no labels")
        return self.labels, self.people


@dataclass(frozen=True)
class Photos:
    """The photos of a split, by kind.

    Attributes:
        labelled: With a label map of one person.
        unlabelled: Of people, without labels.
        backgrounds: Without people.
        tagged: With a list of what the one person wears.
        everyday: With outlined people, many of them with a list.
    """

    labelled: list[Photo]
    unlabelled: list[Photo]
    backgrounds: list[Photo]
    tagged: list[Photo] = field(default_factory=list)
    everyday: list[Photo] = field(default_factory=list)


def load_photos(
    root: Path, *, validation: bool, cache: Path | None = None, guesses: Path | None = None
) -> Photos:
    """Load the training split, or the held-out one, which has no unlabelled photos and no teacher.

    Args:
        root: The data folder.
        validation: Whether to load the held-out split.
        cache: An .npz file that keeps the teacher's masks between runs.
        guesses: A folder that `guess` has written (guess.py): class maps of the photos with lists;
            without it only the lists teach.

    Raises:
        FileNotFoundError: If a folder is missing.
        OptionError: For a picture that is missing, damaged or of the wrong size.
    """
    labelled = [
        _read(path, root / "ccp/train/labels")
        for path in _jpegs(root / "ccp/train/photos", validation)
    ]
    backgrounds = [_read(path) for path in _jpegs(root / "backgrounds", validation)]
    tagged = load_tagged(root, validation=validation)
    if validation:
        return Photos(
            labelled, [], backgrounds, tagged, load_everyday(root, held_out_everyday, band=False)
        )
    names = {photo.name for photo in tagged}
    unlabelled = [
        _read(path)
        for path in _jpegs(root / "ccp/unlabelled", validation)
        if path.stem not in names
    ]
    unlabelled = [photo for photo in unlabelled if not held_out(photo.name, TAGGED_BLOCKS)]
    everyday = load_everyday(root, is_learnt_everyday)
    if not guesses:  # then only the teacher knows where the people of tagged photos are
        unlabelled += tagged
        tagged = []
    asked = [*labelled, *unlabelled, *filter(_may_lack_outlines, everyday)]
    masks = teacher_masks(asked, root / TEACHER_FILE, cache)
    labelled, unlabelled, everyday = (
        [_with_teacher(photo, masks) for photo in photos]
        for photos in (labelled, unlabelled, everyday)
    )
    if guesses:
        tagged, everyday = (
            [_with_guess(photo, guesses) for photo in photos] for photos in (tagged, everyday)
        )
    return Photos(labelled, unlabelled, backgrounds, tagged, everyday)


def load_known(root: Path) -> Photos:
    """Load what is known about people in the training split, without any teacher.

    Args:
        root: The data folder.

    Raises:
        FileNotFoundError: If a folder is missing.
        OptionError: For a picture that is missing, damaged or of the wrong size.
    """
    return Photos(
        [
            _read(path, root / "ccp/train/labels")
            for path in _jpegs(root / "ccp/train/photos", False)
        ],
        [],
        [_read(path) for path in _jpegs(root / "backgrounds", False)],
        load_tagged(root, validation=False),
        load_everyday(root, is_learnt_everyday),
    )


def held_out(name: str, blocks: tuple[int, ...] = (VALIDATION_EVERY - 1,)) -> bool:
    """Return whether a street photo or a background belongs to the validation split.

    Neighbouring numbers often show the same person or place, so whole blocks of numbers are held
    out.

    Args:
        name: The photo's name, which holds a number.
        blocks: Which of every ten blocks are held out.
    """
    number = int("".join(c for c in name if c.isdigit()))
    return (
        (number // VALIDATION_BLOCK) % VALIDATION_EVERY in blocks
        if name[0].isdigit()
        else number % 10 == 9
    )


def held_out_names(root: Path) -> set[str]:
    """Return the names of all photos below `root` that nothing may learn from.

    They are measured on, or settings are chosen on them.
    """
    folders = {
        "ccp/train/photos": held_out,
        "ccp/unlabelled": lambda name: held_out(name, TAGGED_BLOCKS),
        "coco/photos": lambda name: not is_learnt_everyday(name),
    }
    return {
        path.stem
        for part, held in folders.items()
        for path in (root / part).glob("*.jpg")
        if held(path.stem)
    }


def held_out_everyday(name: str) -> bool:
    """Return whether an everyday photo belongs to the validation split: a sixth."""
    return _part(name) in HELD_OUT_PARTS


def for_choosing(name: str) -> bool:
    """Return whether an everyday photo is neither learnt nor held out.

    Settings are chosen on this twelfth.
    """
    return _part(name) in CHOOSING_PARTS


def is_learnt_everyday(name: str) -> bool:
    """Return whether an everyday photo belongs to the training split."""
    return not held_out_everyday(name) and not for_choosing(name)


def _part(name: str) -> int:
    """0 to EVERYDAY_PARTS - 1; equal for neighbours in Penn-Fudan, which often show one place."""
    return zlib.crc32((name[:-1] if name.startswith("pf_") else name).encode()) % EVERYDAY_PARTS


def load_tagged(root: Path, *, validation: bool) -> list[Photo]:
    """Load the photos of `ccp/tags.tsv`, with the list of what the one person on each wears.

    Their labels and people are unknown: a tag says what, not where. Without that file there are
    none.

    Args:
        root: The data folder.
        validation: Whether to load the held-out split.
    """
    table = root / "ccp/tags.tsv"
    if not table.is_file():
        return []
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    tags = {row[0]: row[1] for row in rows}
    # Hair, skin and shoes have no tags.
    untagged = frozenset(range(1, len(CIHP))) - frozenset(GARMENT_KINDS)
    photos = []
    for name, classes in sorted(tags.items()):
        if held_out(name, TAGGED_BLOCKS) == validation:
            wears = Wears(frozenset(map(CIHP.index, classes.split())), untagged)
            photos.append(
                replace(
                    _read(root / "ccp/unlabelled" / f"{name}.jpg"),
                    lists=(wears,),
                    possible=(wears.possible,),
                )
            )
    return photos


def load_everyday(root: Path, wanted: Callable[[str], bool], band: bool = True) -> list[Photo]:
    """Load photos of `coco/people.json`.

    Inside described people the labels are LISTED, inside others 255; along outlines, which are
    coarse, everything is unknown. Without that file there are none.

    Args:
        root: The data folder.
        wanted: Whether to load the photo of a name.
        band: Whether to leave the labels along the outlines unknown; not when measuring.
    """
    file = root / "coco/people.json"
    if not file.is_file():
        return []
    entries = json.loads(file.read_text(encoding="utf-8"))
    return [
        everyday_photo(name, root / "coco/photos", entries[name], band)
        for name in sorted(entries)
        if wanted(name)
    ]


def everyday_photo(name: str, photos: Path, entry: dict[str, Any], band: bool = True) -> Photo:
    """Load one photo with its entry in people.json.

    Args:
        name: The photo's name.
        photos: The folder of the photos.
        entry: The entry.
        band: Whether to leave the labels along the outlines unknown; not when measuring.
    """
    pixels = _read(photos / f"{name}.jpg").pixels
    shape, lists, possible = pixels.shape[:2], [], []
    people, labels = np.zeros(shape, np.int16), np.zeros(shape, np.uint8)
    # Smaller people come last, in front.
    for body, one in sorted(_bodies(entry, shape), key=lambda pair: -int(pair[0].sum())):
        described = one.get("described", {})
        if one["crowd"] or described.get("kind") == "several":
            people[body], labels[body] = UNKNOWN_PERSON, IGNORE
            continue
        wears = (
            wears_from(described, CIHP) if described.get("kind") in ("person", "piece") else None
        )
        lists.append(wears)
        possible.append(wears.possible if wears else ANYTHING)
        edge = outline_band(body) if band else np.zeros_like(body)
        labels[body], people[body] = LISTED if wears else IGNORE, len(lists)
        labels[edge], people[edge] = IGNORE, UNKNOWN_PERSON
    return Photo(name, pixels, labels, people, tuple(lists), tuple(possible))


def _bodies(
    entry: dict[str, Any], shape: tuple[int, int]
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    for one in entry["people"]:
        body = np.zeros(shape, np.uint8)
        for flat in one["polygons"]:
            if len(flat) > 5:
                cv2.fillPoly(
                    body, [np.round(np.array(flat, np.float32)).reshape(-1, 2).astype(np.int32)], 1
                )
        if body.any():
            yield body > 0, one


def outline_band(body: np.ndarray) -> np.ndarray:
    """Return the band along an outline in which it may be wrong; it is wider for larger people.

    Args:
        body: bool (H, W), the person.

    Returns:
        bool (H, W).
    """
    width = 1 + round(np.sqrt(body.sum()) / 100)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    return cv2.morphologyEx(body.astype(np.uint8), cv2.MORPH_GRADIENT, kernel) > 0


def _jpegs(folder: Path, validation: bool) -> list[Path]:
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise FileNotFoundError(
            f"no .jpg files in {folder}; give the folder with ccp/, backgrounds/ and teachers/"
        )
    return [path for path in paths if held_out(path.stem) == validation]


def _read(path: Path, label_folder: Path | None = None) -> Photo:
    pixels = cv2.cvtColor(_picture(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    if label_folder is None:
        return Photo(path.stem, pixels)
    labels = _picture(label_folder / f"{path.stem}.png", cv2.IMREAD_GRAYSCALE)
    if labels.shape != pixels.shape[:2]:
        raise OptionError(
            f"{path.name} is {pixels.shape[1]}x{pixels.shape[0]} pixels "
            f"but its label is {labels.shape[1]}x{labels.shape[0]}; they must be the same size"
        )
    body = _body(labels)
    people = np.where((labels == IGNORE) & ~body, UNKNOWN_PERSON, body).astype(np.int16)
    return Photo(path.stem, pixels, labels, people, (None,), (_possible(labels, body),))


def _picture(path: Path, how: int) -> np.ndarray:
    """A picture as OpenCV reads it. Raises OptionError if it is missing or damaged."""
    picture = cv2.imread(str(path), how)
    if picture is None:
        raise OptionError(
            f"{path} is missing or damaged; restore it, or remove its photo from the data"
        )
    return picture


def _body(labels: np.ndarray) -> np.ndarray:
    """The labelled person and the unknown pixels that they enclose: belts, bags held close."""
    person = ((labels > 0) & (labels != IGNORE)).astype(np.uint8)
    closed = cv2.morphologyEx(
        person, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))
    )
    return (person > 0) | ((closed > 0) & (labels == IGNORE))


def _possible(labels: np.ndarray, body: np.ndarray) -> int:
    """The classes of a labelled person, as bits; every garment if much of the person is unknown."""
    mine = labels[body]
    unknown = mine == IGNORE
    there = set(np.unique(mine[~unknown]).tolist()) - {0}
    return bits(there | set(GARMENT_KINDS) if unknown.mean() > MOSTLY_UNKNOWN else there)


def _may_lack_outlines(photo: Photo) -> bool:
    """Whether people of an everyday photo may have no outline: in Penn-Fudan, those far away."""
    return photo.name.startswith("pf_")


def _with_teacher(photo: Photo, masks: dict[str, np.ndarray]) -> Photo:
    if photo.name not in masks:
        return photo
    teacher = masks[photo.name].astype(np.float32) / 255
    if not _may_lack_outlines(photo):
        return replace(photo, teacher=teacher)
    labels, people = (values.copy() for values in photo.maps)
    maybe = (
        cv2.resize(teacher, labels.shape[::-1], interpolation=cv2.INTER_LINEAR) > PASSER_BY
    ) & (people == 0)
    labels[maybe], people[maybe] = IGNORE, UNKNOWN_PERSON
    return replace(photo, teacher=teacher, labels=labels, people=people)


def _with_guess(photo: Photo, guesses: Path) -> Photo:
    """The photo with the guessed class map; for tagged photos also with the person's outline."""
    file = guesses / f"{photo.name}.png"
    if not file.is_file():
        return photo
    guessed = _picture(file, cv2.IMREAD_GRAYSCALE)
    if guessed.shape != photo.pixels.shape[:2]:
        raise OptionError(
            f"{file} was not made for the photo {photo.name}: it has another size; "
            "delete it and run `python -m humanparse.training guess` again"
        )
    if photo.labels is None:
        people = np.where(guessed == IGNORE, UNKNOWN_PERSON, guessed > 0).astype(np.int16)
        return replace(photo, labels=guessed, people=people)
    return replace(photo, labels=np.where(photo.labels == LISTED, guessed, photo.labels))


def teacher_masks(photos: list[Photo], weights: Path, cache: Path | None) -> dict[str, np.ndarray]:
    """Return BodyPix's person probability, averaged over each photo and its mirror image.

    Args:
        photos: The photos to ask it about.
        weights: BodyPix's weights file.
        cache: An .npz file that keeps the masks; photos that it lacks are added.

    Returns:
        uint8 (h, w), the probability × 255, by photo name.
    """
    masks = {}
    if cache and cache.exists():
        with np.load(cache) as arrays:
            masks = dict(arrays)
    missing = [photo for photo in photos if photo.name not in masks]
    if not missing:
        return masks
    import torch

    from humanparse.model.bodypix import load_bodypix

    teacher = load_bodypix(weights).eval()
    with torch.inference_mode():
        for photo in missing:
            pixels = torch.from_numpy(teacher_input(photo.pixels))  # (1, 3, h, w)
            both = torch.cat([pixels, pixels.flip(3)])
            logits = teacher(both)["segments"]  # (2, 1, h/16, w/16)
            mean = torch.sigmoid((logits[0, 0] + logits[1, 0].flip(1)) / 2)
            masks[photo.name] = (mean.numpy() * 255).astype(np.uint8)
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(cache, **masks)
    return masks


def teacher_input(pixels: np.ndarray, long_side: float = TEACHER_LONG_SIDE) -> np.ndarray:
    """Return float32 (1, 3, h, w) in [-1, 1] with sides of 16n + 1, as BodyPix was trained."""
    scale = long_side / max(pixels.shape[:2])
    height, width = (round(side * scale / 16) * 16 + 1 for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
