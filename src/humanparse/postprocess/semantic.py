"""Query head of a single-person model → Maps: all queries vote on the class of every pixel, and the
person is the rest.

The probability of a class at a pixel is the sum over queries of class probability × mask
probability, at the network's input size; it is then brought to the photo's size and the largest
wins. Source: the paper (arXiv 2301.00394) and Mask2Former (arXiv 2112.01527), semantic inference.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.paste import paste_winners
from humanparse.postprocess.probability import sigmoid, softmax
from humanparse.preprocess import Geometry

STRIDE = 4  # input pixels a cell of the mask logits
QUERIES_AT_ONCE = 20  # bounds memory: this many masks of the input's size


@dataclass(frozen=True)
class SemanticSettings:
    """No thresholds: every pixel has a likeliest class."""


def parse_semantic(
    outputs: dict[str, np.ndarray], geometry: Geometry, settings: SemanticSettings, labels: LabelSet
) -> Maps:
    """outputs: pred_logits (1, Q, C + 1), C classes with background, then no object; pred_masks (1,
    Q, h, w) logits at stride 4; or votes, (C, h, w), what `class_votes` makes of these. All pixels
    that are not background are one person's."""
    # (C, h, w) of the resized photo
    votes = outputs["votes"] if "votes" in outputs else class_votes(outputs, geometry)
    photo = Geometry(geometry.photo_hw, geometry.resized_hw, geometry.resized_hw)
    everywhere = np.ones(votes.shape[1:], np.float32)
    label_map = np.zeros(geometry.photo_hw, np.uint8)
    boxes = paste_winners(votes, everywhere, photo, 1, label_map, np.arange(len(votes)))
    maps = Maps(label_map, (label_map > 0).astype(np.uint16), [], {}, class_boxes=boxes)
    winner = votes.argmax(0)
    if (winner > 0).any():
        share = votes / np.maximum(votes.sum(0), 1e-6)
        maps.person_scores = [float(1 - share[0][winner > 0].mean())]
        maps.part_scores = {
            (1, int(c)): float(share[c][winner == c].mean()) for c in np.unique(winner) if c > 0
        }
    return maps


def class_votes(outputs: dict[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """float32 (C, h, w): the classes' votes at every input pixel that saw the photo. outputs: see
    `parse_semantic`."""
    class_logits, masks = outputs["pred_logits"][0], outputs["pred_masks"][0]
    # (Q, C), "no object" left out
    probability = softmax(class_logits, axis=1)[:, :-1].astype(np.float32)
    (top, left), (height, width) = geometry.corner_yx, geometry.resized_hw
    votes = np.zeros((probability.shape[1], height * width), np.float32)
    for first in range(0, len(masks), QUERIES_AT_ONCE):
        some = slice(first, first + QUERIES_AT_ONCE)
        full = np.stack(
            [
                cv2.resize(mask, None, fx=STRIDE, fy=STRIDE, interpolation=cv2.INTER_LINEAR)[
                    top : top + height, left : left + width
                ]
                for mask in masks[some]
            ]
        )
        votes += probability[some].T @ sigmoid(full).reshape(len(full), -1)
    return votes.reshape(-1, height, width)
