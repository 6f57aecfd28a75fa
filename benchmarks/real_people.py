"""Are the people in real photos found, and outlined better than by BodyPix?

    python benchmarks/real_people.py PHOTOS [--model FILE] [--bodypix WEIGHTS.npz] [--markdown]

PHOTOS holds eight photos of drewnoakes/metadata-extractor-images with several people, which
`real_people.json` names: their sources there, and the file names that are expected here. Their
people were outlined by eye, on the photo alone, with 20 to 60 corners each: a person IoU of 1.0
cannot be reached, but a better result still scores better. No model learns from them.

BodyPix does not tell people apart; it sees the photo as large as the model does, and at three fixed
sizes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from humanparse.evaluation.mean_iou import IGNORE, MeanIoU
from humanparse.evaluation.person_pq import PersonPQ
from humanparse.parser import HumanParser
from humanparse.preprocess import Preprocess
from humanparse.training.photos import teacher_input

OUTLINES = Path(__file__).with_suffix(".json")
DRAWN_AT = 960  # width in pixels of the photo on which the corners were placed
BODYPIX_LONG_SIDES = (480, 640, 960)


def main() -> None:
    options = _options()
    parser = HumanParser(options.model)
    bodypix = _bodypix(options.bodypix, parser.preprocess)
    everybody, masks = PersonPQ(), {}
    for name, outlines in json.loads(OUTLINES.read_text()).items():
        file = options.photos / f"{name}.jpg"
        if not file.is_file():
            raise SystemExit(
                f"there is no {file}; "
                f"it is {outlines['source']!r} of drewnoakes/metadata-extractor-images"
            )
        pixels = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        truth = people(outlines, pixels.shape[:2])
        result = parser.parse(pixels)
        everybody.add(truth, result.person_map)
        line = [name, f"{len(outlines['people'])} people, {len(result.people)} found"]
        for who, mask in {"humanparse": result.person_map > 0, **bodypix(pixels)}.items():
            one = MeanIoU(2)
            one.add(np.where(truth < 0, IGNORE, truth > 0).astype(np.uint8), mask.astype(np.uint8))
            masks.setdefault(who, MeanIoU(2)).add_confusion(one.confusion)
            line.append(f"{who} {one.per_class[1]:.3f}")
        print(", ".join(line), flush=True)
    _report(everybody, masks, options.markdown)


def people(outlines: dict, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the outlined people of a photo, int16 (H, W): 0 nobody, 1.. the person, -1 unknown.

    Of `people`, later ones stand in front.
    """
    truth, scale = np.zeros(size_hw, np.int16), size_hw[1] / DRAWN_AT
    values = [
        *enumerate(outlines["people"], start=1),
        (0, outlines.get("nobody", [])),
        (-1, outlines.get("unknown", [])),
    ]
    for value, polygons in values:
        for corners in polygons:
            cv2.fillPoly(truth, [np.int32(np.array(corners) * scale)], value)
    return truth


def _bodypix(
    weights: Path | None, preprocess: Preprocess
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function from a photo to masks by name; to none without weights.

    preprocess: the model's, so that BodyPix sees the photo as large as the model does.
    """
    if weights is None:
        return lambda pixels: {}
    import torch

    from humanparse.model.bodypix import load_bodypix

    network = load_bodypix(weights).eval()

    def masks(pixels: np.ndarray) -> dict[str, np.ndarray]:
        height, width = pixels.shape[:2]
        alike = max(preprocess.geometry((height, width)).resized_hw)
        sizes = {"BodyPix, as large": alike} | {
            f"BodyPix, {side}": side for side in BODYPIX_LONG_SIDES
        }
        found = {}
        for name, long_side in sizes.items():
            with torch.inference_mode():
                logit = network(torch.from_numpy(teacher_input(pixels, long_side)))["segments"][
                    0, 0
                ].numpy()
            found[name] = cv2.resize(logit, (width, height), interpolation=cv2.INTER_LINEAR) > 0
        return found

    return masks


def _report(everybody: PersonPQ, masks: dict[str, MeanIoU], markdown: bool) -> None:
    print(
        f"\nperson PQ {everybody.pq:.3f}: {everybody.found} found, {everybody.missed} missed, "
        f"{everybody.false} false\n"
    )
    if markdown:
        print("| | person IoU |\n|---|---|")
    for who, score in masks.items():
        print(
            f"| {who} | {score.per_class[1]:.3f} |"
            if markdown
            else f"{who:20} person IoU {score.per_class[1]:.3f}"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", help="an .onnx file (default: the model inside the package)")
    parser.add_argument(
        "--bodypix", type=Path, help="BodyPix's weights (docs/training.md), to compare with"
    )
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
