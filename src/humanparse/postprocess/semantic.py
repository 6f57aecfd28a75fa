"""From the query head of a single-person model to Maps: the queries vote on every pixel's class.

All queries vote on the class of every pixel. Everything that is not background is the person. The
probability of a class at a pixel is the sum over the queries of class probability × mask
probability, at the network's input size; it is then resized to the photo, and the largest wins.
Source: the paper (arXiv 2301.00394) and Mask2Former (arXiv 2112.01527), semantic inference.
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

STRIDE = 4  # input pixels per cell of the mask logits
QUERIES_AT_ONCE = 20  # masks in the input's size at the same time, to bound memory


@dataclass(frozen=True)
class SemanticSettings:
    """There are no thresholds: every pixel has a likeliest class."""


def parse_semantic(
    outputs: dict[str, np.ndarray], geometry: Geometry, settings: SemanticSettings, labels: LabelSet
) -> Maps:
    """Find the person in the outputs of the query head.

    All pixels that are not background belong to one person.

    Args:
        outputs: pred_logits (1, Q, C + 1): C classes including the background, then no object; and
            pred_masks (1, Q, h, w), logits at stride 4. Or votes, (C, h, w), which `class_votes`
            makes of these.
        geometry: Where the photo lies in the network's input.
        settings: Not used.
        labels: Not used.

    Returns:
        The maps in the photo's size.
    """
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
    """Add up the queries' votes for each class.

    Args:
        outputs: See `parse_semantic`.
        geometry: Where the photo lies in the network's input.

    Returns:
        float32 (C, h, w), at every input pixel that belongs to the photo.
    """
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
