"""Pseudo-labels: label photos with a model where it agrees with itself, to train on the result.

The average over the photo, its mirror image and other sizes (see tta.py) labels each pixel. Where a
single look at the photo or at its mirror image gives another class, the class is unknown (255);
where it gives another person, the person is unknown too. The folder has the layout that `humanparse
eval` and `humanparse train` read, and an interrupted run continues with the photos that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from humanparse.errors import ImageError, OptionError
from humanparse.image import read_image
from humanparse.parser import HumanParser
from humanparse.system.files import whole_file
from humanparse.training.scenes import mirrored_classes
from humanparse.training.wears import IGNORE
from humanparse.vocabulary import PICTURE_ENDINGS

MIN_PERSON_SCORE = 0.5  # the pixels of people with a lower score are unknown
MIN_SHARED = 0.5  # the IoU above which two people are the same person
MAX_PEOPLE = 255  # the most that a PNG of 8 bits can number; the pixels of more are unknown


def pseudo_label(
    photos: Path,
    out: Path,
    model: str | None = None,
    *,
    scales: Sequence[float] = (0.75, 1.0, 1.25),
    log: Callable[[str], None] = print,
) -> int:
    """Label the photos of a folder; write images/, labels/, persons/ and labels.txt below `out`.

    Photos that cannot be read, or in which nothing is certain, are left out.

    Args:
        photos: The folder of the photos.
        out: The folder to write.
        model: A model's name or .onnx file; None takes the one inside the package.
        scales: Input sizes to average over, as factors.
        log: Called with what is left out, and with the progress now and then.

    Returns:
        The number of labelled photos in `out`.

    Raises:
        OptionError: For a folder without photos, and for a model that cannot be averaged (M2FP's
            query head).
    """
    paths = sorted(path for path in photos.glob("*") if path.suffix.lower() in PICTURE_ENDINGS)
    if not paths:
        endings = " ".join(PICTURE_ENDINGS)
        raise OptionError(f"there are no photos in {photos}; expected files that end in {endings}")
    plain, averaging = HumanParser(model), HumanParser(model, flip=True, scales=scales)
    for name in ("images", "labels", "persons"):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out / "labels.txt").write_text("\n".join(plain.labels.names) + "\n", encoding="utf-8")
    for number, path in enumerate(paths, start=1):
        files = {name: out / name / f"{path.stem}.png" for name in ("persons", "labels", "images")}
        if not files["images"].exists():  # written last
            try:
                pixels = read_image(path).pixels
            except ImageError as error:
                log(f"{path.name}: left out ({error})")
                continue
            classes, people = sure_labels(plain, averaging, pixels)
            if (people > 0).any():
                _write(files["persons"], people)
                _write(files["labels"], classes)
                _write(files["images"], cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        if number % 50 == 0:
            log(f"{number} of {len(paths)} photos")
    return len(list((out / "images").glob("*.png")))


def sure_labels(
    plain: HumanParser, averaging: HumanParser, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a photo where the model agrees with itself.

    Args:
        plain: The model.
        averaging: The model, averaging over views.
        pixels: uint8 (H, W, 3) RGB.

    Returns:
        Classes, uint8 (H, W), 255 unknown; and people, uint8 (H, W), 0 nobody.
    """
    best = averaging.parse(pixels)
    straight, mirror = plain.parse(pixels), plain.parse(np.ascontiguousarray(pixels[:, ::-1]))
    classes, people = best.label_map.copy(), best.person_map.astype(np.int64)
    looks = (
        (straight.label_map, straight.person_map),
        (mirrored_classes(plain.labels)[mirror.label_map[:, ::-1]], mirror.person_map[:, ::-1]),
    )
    other_person, other_class = np.zeros(classes.shape, bool), np.zeros(classes.shape, bool)
    for other_classes, other_people in looks:
        other_person |= ~_same_person(people, other_people.astype(np.int64))
        other_class |= classes != other_classes
    for person in best.people:
        if person.score < MIN_PERSON_SCORE or person.id > MAX_PEOPLE:
            other_person |= people == person.id
    classes[other_person | other_class] = IGNORE
    return classes, np.where(other_person, 0, people).astype(np.uint8)


def _same_person(people: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool (H, W): whether both maps have nobody there, or people whose overlap makes them one."""
    count = int(others.max()) + 1
    shared = np.bincount(
        (people * count + others).ravel(), minlength=(int(people.max()) + 1) * count
    ).reshape(-1, count)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    same = shared / np.maximum(union, 1) > MIN_SHARED
    same[0, :], same[:, 0], same[0, 0] = False, False, True
    return same[people, others]


def _write(path: Path, values: np.ndarray) -> None:
    with whole_file(path) as part:
        part.write_bytes(cv2.imencode(".png", values)[1].tobytes())
