"""Training photos in memory: labelled ones, unlabelled ones with a teacher's person mask, and people-free ones.

Folder layout, below one root: `ccp/train/photos/*.jpg` with `ccp/train/labels/*.png` of the same size (a CIHP class a
pixel, 255 = ignore), `ccp/unlabelled/*.jpg`, `backgrounds/*.jpg`, `teachers/bodypix_mnv1_075_dequant_fp16.npz`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

IGNORE = 255
TEACHER_FILE = "teachers/bodypix_mnv1_075_dequant_fp16.npz"
TEACHER_LONG_SIDE = 640
VALIDATION_BLOCK, VALIDATION_EVERY = 25, 10  # of every ten blocks of 25 consecutive photo numbers, one is held out


@dataclass(frozen=True)
class Photo:
    """One training photo.

    pixels: uint8 (H, W, 3), RGB. labels: uint8 (H, W), class of each pixel, 255 unknown; None if unlabelled.
    body: bool (H, W), the labelled person with what they wear or carry; None if unlabelled.
    teacher: float32 (h, w) in [0, 1], the teacher's person probability, coarse; None for people-free photos.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray | None = None
    body: np.ndarray | None = None
    teacher: np.ndarray | None = None


@dataclass(frozen=True)
class Photos:
    labelled: list[Photo]
    unlabelled: list[Photo]
    backgrounds: list[Photo]


def load_photos(root: Path, *, validation: bool, cache: Path | None = None) -> Photos:
    """The training split, or with `validation=True` the held-out one (which needs no teacher and no unlabelled photos).

    cache: an .npz that keeps the teacher's masks between runs. Raises FileNotFoundError if a folder is missing.
    """
    labelled = [_read(path, root / "ccp/train/labels") for path in _jpegs(root / "ccp/train/photos", validation)]
    backgrounds = [_read(path) for path in _jpegs(root / "backgrounds", validation)]
    if validation:
        return Photos(labelled, [], backgrounds)
    unlabelled = [_read(path) for path in _jpegs(root / "ccp/unlabelled", validation)]
    masks = _teacher_masks(labelled + unlabelled, root / TEACHER_FILE, cache)
    return Photos(
        [_with_teacher(photo, masks) for photo in labelled],
        [_with_teacher(photo, masks) for photo in unlabelled],
        backgrounds,
    )


def held_out(name: str) -> bool:
    """Whether a photo belongs to the validation split.

    Neighbouring numbers often show the same person or place, so whole blocks of numbers are held out.
    """
    number = int("".join(c for c in name if c.isdigit()))
    return (number // VALIDATION_BLOCK) % VALIDATION_EVERY == VALIDATION_EVERY - 1 if name[0].isdigit() else number % 10 == 9


def _jpegs(folder: Path, validation: bool) -> list[Path]:
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise FileNotFoundError(f"no .jpg files in {folder}; give the folder that holds ccp/, backgrounds/ and teachers/")
    return [path for path in paths if held_out(path.stem) == validation]


def _read(path: Path, label_folder: Path | None = None) -> Photo:
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    if label_folder is None:
        return Photo(path.stem, pixels)
    labels = cv2.imread(str(label_folder / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
    if labels.shape != pixels.shape[:2]:
        raise ValueError(f"{path.name}: the photo is {pixels.shape[:2]} but its label is {labels.shape}")
    return Photo(path.stem, pixels, labels, _body(labels))


def _body(labels: np.ndarray) -> np.ndarray:
    """The labelled person and the unknown pixels enclosed by them (belts, bags held close); not passers-by."""
    person = ((labels > 0) & (labels != IGNORE)).astype(np.uint8)
    closed = cv2.morphologyEx(person, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25)))
    return (person > 0) | ((closed > 0) & (labels == IGNORE))


def _with_teacher(photo: Photo, masks: dict[str, np.ndarray]) -> Photo:
    return Photo(photo.name, photo.pixels, photo.labels, photo.body, masks[photo.name].astype(np.float32) / 255)


def _teacher_masks(photos: list[Photo], weights: Path, cache: Path | None) -> dict[str, np.ndarray]:
    """uint8 (h, w) person probability × 255 by photo name, from BodyPix averaged over the photo and its mirror image."""
    if cache and cache.exists():
        with np.load(cache) as arrays:
            return dict(arrays)
    import torch

    from humanparse.model.bodypix import load_bodypix

    teacher = load_bodypix(weights).eval()
    masks = {}
    with torch.inference_mode():
        for photo in photos:
            pixels = torch.from_numpy(teacher_input(photo.pixels))                     # (1, 3, h, w)
            both = torch.cat([pixels, pixels.flip(3)])
            logits = teacher(both)["segments"]                                         # (2, 1, h/16, w/16)
            masks[photo.name] = (torch.sigmoid((logits[0, 0] + logits[1, 0].flip(1)) / 2).numpy() * 255).astype(np.uint8)
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(cache, **masks)
    return masks


def teacher_input(pixels: np.ndarray, long_side: float = TEACHER_LONG_SIDE) -> np.ndarray:
    """float32 (1, 3, h, w) in [-1, 1], sides 16n+1, as BodyPix was trained."""
    scale = long_side / max(pixels.shape[:2])
    height, width = (round(side * scale / 16) * 16 + 1 for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
