"""Does `--matching reference` give the figures of M2FP's official evaluation code?

    python benchmarks/agreement_evaluation.py --official DIR [--cases N] [--seed N]

Many made-up data sets go through both. DIR is a clone of github.com/soeaver/M2FP (CC BY-NC 4.0; it
is only run, and nothing of it is here). It needs tqdm and pycocotools.

Each case is a small data set: images with none to four people, unknown pixels (255), predictions
that are shifted, split in two (duplicates), of the wrong class, left out or invented, and scores of
which many are equal. What the official code leaves to chance is fixed for both sides: pictures are
taken by name, and equal scores keep their order (NumPy's default sort does not define it; the order
of pictures is that of the file system). AP^p of a data set without any prediction cannot be
compared: there the official code stops with an error.
"""

from __future__ import annotations

import argparse
import glob
import importlib
import io
import itertools
import json
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from humanparse.evaluation.ground_truth import GroundTruth, Prediction
from humanparse.evaluation.overlap import measure
from humanparse.evaluation.summary import Summary
from humanparse.labels import LabelSet

SIZE_HW = (40, 48)
LABELS = LabelSet("made-up", ("Background", "Hat", "Left-arm", "Right-arm", "Coat", "Socks"))
CLASSES = len(LABELS)


def main() -> None:
    options = _options()
    official = load_official(options.official)
    worst: dict[str, float] = {}
    skipped = above_one = other = 0
    for case in range(options.cases):
        rng = np.random.default_rng((options.seed, case))
        pictures = [made_up(rng, f"{number:03}") for number in range(rng.integers(1, 6))]
        with tempfile.TemporaryDirectory() as folder:
            theirs, whole = run_official(official, pictures, Path(folder))
        skipped += not whole
        ours = run_ours(pictures)
        above_one += any(value is not None and value > 1 for value in ours["APr"])
        other += run_ours(pictures, "standard")["APr"] != ours["APr"]
        for name, wanted in theirs.items():
            difference = _difference(np.asarray(ours[name], float), np.asarray(wanted, float))
            worst[name] = max(worst.get(name, 0.0), difference)
            if difference > 1e-6:
                print(f"case {case}: {name} is {ours[name]} but {wanted} in the official code")
    print(
        f"{options.cases} data sets, {skipped} of them without any person found "
        "(AP^p and PCP not compared there)"
    )
    print(
        f"in {above_one} of them duplicates raise AP^r above 1; "
        f"in {other} the standard matching gives another AP^r"
    )
    for name, difference in worst.items():
        print(f"  {name:14} largest difference {difference:.1e}")


def made_up(rng: np.random.Generator, name: str) -> tuple[str, GroundTruth, Prediction]:
    """Return one image: what it shows, and a prediction for it."""
    labels, people, parts = (np.zeros(SIZE_HW, int) for _ in range(3))
    part_classes: dict[int, int] = {}
    for person in range(1, rng.integers(0, 5) + 1):
        y, x = rng.integers(0, SIZE_HW[0] - 12), rng.integers(0, SIZE_HW[1] - 10)
        people[y : y + 12, x : x + 10] = person
        for window, label in _blocks(rng, y, x):
            labels[window] = label
            part_classes[len(part_classes) + 1] = label
            parts[window] = len(part_classes)
        if rng.random() < 0.3:
            labels[y : y + 3, x : x + 4] = 255
    if rng.random() < 0.3:
        labels[:4, :9] = 255
    return (
        name,
        GroundTruth(labels.astype(np.uint8), people, parts, part_classes),
        _found(rng, labels, people, parts, part_classes),
    )


def _blocks(rng: np.random.Generator, y: int, x: int) -> list:
    """Windows of a person of 12 rows and 10 columns, each with a class."""
    cuts = [
        0,
        *sorted(rng.choice(np.arange(1, 12), rng.integers(1, 4), replace=False).tolist()),
        12,
    ]
    windows = [np.s_[y + top : y + bottom, x : x + 10] for top, bottom in itertools.pairwise(cuts)]
    return [(window, int(rng.integers(1, CLASSES))) for window in windows]


def _found(rng, labels, people, parts, part_classes) -> Prediction:
    """A worse copy of the truth: moved, with parts missing, split, renamed and invented."""
    move = tuple(rng.integers(-2, 3, 2)) if rng.random() < 0.7 else (0, 0)
    labels = np.where(labels == 255, 0, np.roll(labels, move, (0, 1)))
    labels[labels == 255] = 0
    if rng.random() < 0.5:
        labels[labels == rng.integers(1, CLASSES)] = rng.integers(0, CLASSES)
    return Prediction(
        labels.astype(np.uint8),
        *_worse(rng, np.roll(people, move, (0, 1)), None),
        *_worse(rng, np.roll(parts, move, (0, 1)), part_classes),
    )


def _worse(rng, numbered, classes):
    """A map of instances 1..n, some left out, cut in two or invented, and their scores."""
    made = np.zeros_like(numbered)
    kinds: list[int] = []
    for number in range(1, numbered.max() + 1):
        region = numbered == number
        if not region.any() or rng.random() < 0.2:
            continue
        half = (
            rng.random(SIZE_HW[0])[:, None] < rng.random()
            if rng.random() < 0.3
            else np.zeros((SIZE_HW[0], 1), bool)
        )
        for piece in (region & half, region & ~half):
            if piece.any():
                kinds.append(
                    0
                    if classes is None
                    else classes[number]
                    if rng.random() < 0.9
                    else int(rng.integers(1, CLASSES))
                )
                made[piece] = len(kinds)
    if rng.random() < 0.4:
        kinds.append(int(rng.integers(1, CLASSES)))
        made[-4:, -6:] = len(kinds)
    present = [number for number in range(1, len(kinds) + 1) if (made == number).any()]
    table = np.zeros(len(kinds) + 1, int)
    table[present] = np.arange(1, len(present) + 1)
    scores = (
        rng.integers(1, 6, len(present)) / 5 if rng.random() < 0.5 else rng.random(len(present))
    )
    if classes is None:
        # A few have too low a score to count.
        ranks = np.where(rng.random(len(present)) < 0.1, 0.004, scores)
        return table[made], scores, ranks
    return table[made], np.array([kinds[number - 1] for number in present], int), scores


def run_ours(pictures, matching: str = "reference") -> dict:
    summary = Summary(LABELS, matching)
    for name, truth, found in pictures:
        summary.add(measure(name, truth, found, CLASSES, matching))
    figures = summary.figures()
    people, classes = figures["people"], figures["classes"]
    return {
        "mIoU": summary.classes.mean,
        "PixelACC": summary.classes.pixel_accuracy,
        "MeanACC": summary.classes.mean_accuracy,
        "IoU": [one["iou"] for one in classes],
        "APr": _by_threshold(people["ap_r"]),
        "APr per class": [one["ap_r"] for one in classes[1:]],
        "APh": _by_threshold(people["ap_h"]),
        "APp": _by_threshold(people["ap_p"]),
        "PCP at 0.5": people["pcp_50"],
    }


def _by_threshold(figures: dict) -> list:
    return [value for key, value in figures.items() if key != "mean"]


def load_official(root: Path) -> SimpleNamespace:
    """Import the official modules.

    They get the names that NumPy has removed, and sorting and listing that leave nothing to chance.
    """
    sys.path.insert(0, str(root / "m2fp/evaluation"))
    parsing, semantic = (
        importlib.import_module(f"parsing_eval.{name}") for name in ("parsing_eval", "semseg_eval")
    )
    for module in (parsing, semantic):
        module.np = _Numpy()
        module.glob = SimpleNamespace(glob=lambda pattern: sorted(glob.glob(pattern)))
    return parsing


class _Numpy:
    float, int = float, int  # dropped from NumPy 1.24

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def argsort(values):
        return np.argsort(values, kind="stable")


class _Dense:
    """Stands in for the sparse matrices that the official code expects as predictions."""

    def __init__(self, array):
        self.array = array

    def toarray(self):
        return self.array


def run_official(official, pictures, root: Path) -> tuple[dict, bool]:
    """Write the pictures in the official code's format, and run it.

    Returns its figures, and whether AP^p is among them.
    """
    predictions = _write(pictures, root)
    semantic = {
        "semseg_format": "mask",
        "ignore_label": 255,
        "label_shift": 0,
        "name_trans": ("jpg", "png"),
    }
    metadata = SimpleNamespace(
        category_gt_root=str(root / "category"),
        instance_gt_root=str(root / "instance"),
        human_gt_root=str(root / "human"),
        num_parsing=CLASSES,
        semseg=semantic,
    )
    metrics = ["mIoU", "APr", "APh"] + (["APp"] if predictions else [])
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
        stats = official.ParsingEval(
            predictions, metadata, str(root / "pred"), 0.01, metrics=metrics
        ).evaluate()
    figures = {
        "mIoU": stats["mIoU"],
        "PixelACC": stats["PixelACC"],
        "MeanACC": stats["MeanACC"],
        "IoU": stats["IoU"],
        "APr": list(stats["APr"].values()),
        "APr per class": stats["APr_cat"],
        "APh": list(stats["APh"].values()),
    }
    if predictions:
        figures |= {"APp": list(stats["APp"].values()), "PCP at 0.5": stats["PCP"][0.5]}
    return figures, bool(predictions)


def _write(pictures, root: Path) -> list[dict]:
    for folder in ("category", "instance", "human", "pred/semantic", "pred/part", "pred/human"):
        (root / folder).mkdir(parents=True)
    predictions = []
    for name, truth, found in pictures:
        _png(root / f"category/{name}.png", truth.label_map)
        _png(root / f"human/{name}.png", truth.person_map)
        _png(root / f"instance/{name}.png", truth.part_map)
        lines = [f"{part} {label} 1" for part, label in truth.part_classes.items()]
        (root / f"instance/{name}.txt").write_text("\n".join(lines))
        _png(root / f"pred/semantic/{name}.png", found.label_map)
        _png(root / f"pred/part/{name}.png", found.part_map)
        _png(root / f"pred/human/{name}.png", found.person_map)
        parts = zip(found.part_classes.tolist(), found.part_scores.tolist(), strict=True)
        people = enumerate(found.person_scores.tolist(), 1)
        _json(
            root / f"pred/part/{name}.json",
            [
                {"category_id": label, "score": score, "part_id": number}
                for number, (label, score) in enumerate(parts, 1)
            ],
        )
        _json(
            root / f"pred/human/{name}.json",
            [{"score": score, "human_id": number} for number, score in people],
        )
        predictions += [
            {
                "img_name": name,
                "score": float(score),
                "parsing": _Dense(found.label_map * (found.person_map == number)),
            }
            for number, score in enumerate(found.parsing_scores, 1)
        ]
    return predictions


def _png(path: Path, values: np.ndarray) -> None:
    cv2.imwrite(str(path), values.astype(np.uint8))


def _json(path: Path, data: list) -> None:
    path.write_text(json.dumps(data))


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference; NaN equals only NaN."""
    if (np.isnan(ours) != np.isnan(theirs)).any():
        return float("inf")
    return float(np.abs(np.nan_to_num(ours) - np.nan_to_num(theirs)).max(initial=0))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--official", type=Path, required=True, help="a clone of github.com/soeaver/M2FP"
    )
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
