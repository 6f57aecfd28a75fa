"""Scenes of stick people in plain colours, easy enough to be learnt in seconds, and a labelled
folder of them."""

from pathlib import Path

import cv2
import numpy as np

from humanparse.training.scenes import Scene

NAMES = ("Background", "Face", "Clothes", "Left-leg", "Right-leg")
PARTS = {  # class: top, bottom, left, right within 28 × 68 pixels; colour
    1: ((0, 18, 8, 24), (230, 180, 150)),
    2: ((18, 44, 4, 28), (200, 30, 40)),
    4: ((44, 68, 6, 15), (40, 60, 220)),
    3: ((44, 68, 17, 26), (40, 220, 60)),
}


def stick_scene(seed: int, size: int = 96, people: int = 2) -> Scene:
    """`people` side by side on dark noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
    classes, numbers = np.zeros((size, size), np.uint8), np.zeros((size, size), np.int16)
    for person in range(people):
        x, y = 8 + person * 44 + int(rng.integers(0, 8)), int(rng.integers(4, 20))
        for label, ((top, bottom, left, right), colour) in PARTS.items():
            here = np.s_[y + top : y + bottom, x + left : x + right]
            classes[here], numbers[here], pixels[here] = (
                label,
                person + 1,
                np.array(colour) - 20 * person,
            )
    return Scene(pixels, classes, (numbers > 0).astype(np.float32), numbers, num_people=people)


def write_folder(
    folder: Path, count: int, persons: bool = True, names: tuple[str, ...] = NAMES
) -> Path:
    """The scenes 0 … count - 1 as a folder of images, labels, persons and labels.txt."""
    for seed in range(count):
        scene = stick_scene(seed)
        maps = {"images": cv2.cvtColor(scene.pixels, cv2.COLOR_RGB2BGR), "labels": scene.classes}
        for name, values in (
            maps | ({"persons": scene.people.astype(np.uint8)} if persons else {})
        ).items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name / f"{seed:02}.png"), values)
    (folder / "labels.txt").write_text("\n".join(names) + "\n")
    return folder
