"""A data folder of made-up photos, small enough to train on in a test."""

import shutil

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Four labelled photos of a stick person, two unlabelled, two backgrounds, a random teacher.

    Photo 240 and background 9 belong to the validation split.
    """
    # Here, so that what needs no PyTorch neither waits for it nor misses it.
    import torch

    from humanparse.model.bodypix import BodyPix
    from humanparse.training.photos import TEACHER_FILE

    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder in (
        "ccp/train/photos",
        "ccp/train/labels",
        "ccp/unlabelled",
        "backgrounds",
        "teachers",
    ):
        (root / folder).mkdir(parents=True)
    for number in (1, 2, 3, 240):
        pixels, labels = _person(rng)
        cv2.imwrite(str(root / f"ccp/train/photos/{number:04}.jpg"), pixels)
        cv2.imwrite(str(root / f"ccp/train/labels/{number:04}.png"), labels)
    for number in (1005, 1006):
        cv2.imwrite(str(root / f"ccp/unlabelled/{number}.jpg"), _person(rng)[0])
    for number in (1, 9):
        cv2.imwrite(
            str(root / f"backgrounds/house-{number:03}.jpg"),
            rng.integers(0, 256, (90, 120, 3), dtype=np.uint8),
        )
    torch.manual_seed(0)
    weights = {
        name.removeprefix("backbone.").replace(".", "__"): value.numpy().astype(np.float16)
        for name, value in BodyPix().state_dict().items()
    }
    np.savez(root / TEACHER_FILE, **weights)
    return root


@pytest.fixture(scope="session", autouse=True)
def one_look():
    """The teacher looks at each photo once, as that takes long, also for those who keep no file."""
    from humanparse.training import photos as module

    ask, seen = module.teacher_masks, {}

    def remembered(photos, weights, cache):
        if cache:
            return ask(photos, weights, cache)
        keys = [(photo.name, photo.pixels.tobytes(), weights) for photo in photos]
        new = [photo for photo, key in zip(photos, keys, strict=True) if key not in seen]
        masks = ask(new, weights, None)
        seen.update({key: masks[key[0]] for key in keys if key not in seen})
        return {key[0]: seen[key] for key in keys}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "teacher_masks", remembered)
        yield


@pytest.fixture(scope="session")
def teacher_masks(data, tmp_path_factory):
    """The teacher's masks of the photos, made once for all runs, as that takes long."""
    from humanparse.training.photos import load_photos

    file = tmp_path_factory.mktemp("teacher") / "teacher.npz"
    load_photos(data, validation=False, cache=file)
    return file


@pytest.fixture
def out(tmp_path, teacher_masks):
    """A folder to train into, which has the teacher's masks already."""
    shutil.copy(teacher_masks, tmp_path)
    return tmp_path


def _person(rng) -> tuple[np.ndarray, np.ndarray]:
    """A photo of 96 × 64: face, clothes, left and right limbs, and an unlabelled passer-by."""
    labels = np.zeros((96, 64), np.uint8)
    for label, (top, bottom, left, right) in {
        13: (10, 22, 26, 38),
        5: (22, 50, 24, 40),
        15: (24, 48, 18, 24),
        14: (24, 48, 40, 46),
        17: (50, 86, 24, 31),
        16: (50, 86, 33, 40),
        255: (30, 60, 54, 62),
    }.items():
        labels[top:bottom, left:right] = label
    colours = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    return colours[labels], labels
