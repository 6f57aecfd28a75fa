"""From the query head to instances: the queries that pass, each with its class, score and mask.

A query's score for a class is its class probability times the mean mask probability inside its
mask, which the reference measures at the photo's full size; here it is measured at some of the
pixels of large masks. Masks are kept as margins, 2 × probability - 1: they are positive where the
mask is, and a single function away from the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.paste import intersect, photo_box
from humanparse.postprocess.probability import softmax
from humanparse.postprocess.resample import Sampler
from humanparse.preprocess import Geometry

STRIDE = 4  # input pixels per cell of the mask logits
TOP_K = 100  # pairs of query and class that are considered; person numbers fit in a byte
# In boxes of more pixels than this, certainty is estimated on a subsampled grid (every second,
# third … pixel, at least two samples per cell).
SCORED_PX = 1 << 16
# Margins of at most this many pixels in all are kept until they are pasted, from boxes that were
# measured at every pixel.
KEPT_PX = 1 << 22
NOWHERE: Box = (0, 0, 0, 0)


@dataclass(frozen=True)
class QueryMask:
    """The mask of one query.

    Attributes:
        logits: float32 (h, w), padding included; not a copy.
        inside: bool (h, w), the positive cells.
        box: The photo pixels that the mask can reach, NOWHERE if there are none.
        certainty: The mean probability of its pixels; 0 if there are none.
        margin: float32, 2 × probability - 1 at the pixels of the box; None if it was not kept.
    """

    logits: np.ndarray
    inside: np.ndarray
    box: Box
    certainty: float
    margin: np.ndarray | None


@dataclass(frozen=True)
class Instances:
    """Scored pairs of a query and a class.

    Attributes:
        masks: The masks of the queries.
        classes: int (N,).
        scores: float (N,).
    """

    masks: Sequence[QueryMask]
    classes: np.ndarray
    scores: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Instances:
        """Return some of the instances; `which` is bool (N,) or indices."""
        some = np.arange(len(self.masks))[which]
        return Instances(
            [self.masks[index] for index in some], self.classes[some], self.scores[some]
        )

    @property
    def logits(self) -> list[np.ndarray]:
        """The logits of each, float32 (h, w), padding included."""
        return [mask.logits for mask in self.masks]

    @property
    def boxes(self) -> list[Box]:
        """The photo pixels that each can reach."""
        return [mask.box for mask in self.masks]

    def inside(self, rows: int, columns: int) -> np.ndarray:
        """Return the positive cells of each, bool (N, rows, columns), without the padding."""
        cells = np.empty((len(self.masks), rows, columns), bool)
        for one, mask in zip(cells, self.masks, strict=True):
            one[:] = mask.inside[:rows, :columns]
        return cells


def find_instances(
    outputs: dict[str, np.ndarray],
    geometry: Geometry,
    min_score: float,
    sampler: Sampler | None = None,
) -> Instances:
    """Return those of the TOP_K likeliest pairs of query and class that reach `min_score`.

    A query may stand for two classes.

    Args:
        outputs: pred_logits (1, Q, C + 1), "no object" last, and pred_masks (1, Q, h, w), logits at
            stride 4.
        geometry: Where the photo lies in the network's input.
        min_score: The least score.
        sampler: A sampler of these masks if there is one already.
    """
    class_logits, logits = outputs["pred_logits"][0], outputs["pred_masks"][0]
    # (Q, C), "no object" left out
    probability = softmax(class_logits, axis=1)[:, :-1]
    pairs = np.argsort(-probability, axis=None, kind="stable")[:TOP_K]
    # The mask can only lower the score.
    pairs = pairs[probability.ravel()[pairs] >= min_score]
    queries, classes = np.unravel_index(pairs, probability.shape)
    sampler = sampler or Sampler.of(geometry, STRIDE, logits.shape[1:])
    masks: dict[int, QueryMask] = {}
    room = KEPT_PX
    for query in queries.tolist():
        if query not in masks:
            masks[query] = mask = _mask(logits[query], geometry, sampler, room)
            room -= 0 if mask.margin is None else mask.margin.size
    scores = probability[queries, classes] * np.array(
        [masks[query].certainty for query in queries.tolist()], np.float32
    )
    keep = np.flatnonzero((scores >= min_score) & (scores > 0))
    return Instances(
        [masks[query] for query in queries[keep].tolist()], classes[keep], scores[keep]
    )


def _mask(logits: np.ndarray, geometry: Geometry, sampler: Sampler, room: int) -> QueryMask:
    """Measure the mask of one query. room: the number of pixels whose margins may be kept."""
    inside = logits > 0
    x, y, width, height = cv2.boundingRect(inside.view(np.uint8))
    photo = 0, 0, geometry.photo_hw[1], geometry.photo_hw[0]
    box = (
        intersect(photo_box((x, y, x + width, y + height), geometry, STRIDE), photo)
        if width
        else None
    )
    if box is None:
        return QueryMask(logits, inside, NOWHERE, 0.0, None)
    step = max(1, round(((box[2] - box[0]) * (box[3] - box[1]) / SCORED_PX) ** 0.5))
    margin = margin_of(sampler.within(box, step)(logits))
    # A margin of zero adds nothing to the sum.
    positive = cv2.max(margin, 0)  # type: ignore[call-overload]  # OpenCV omits numbers
    count = cv2.countNonZero(positive)
    certainty = 0.5 + 0.5 * cv2.sumElems(positive)[0] / count if count else 0.0
    return QueryMask(
        logits, inside, box, certainty, margin if step == 1 and margin.size <= room else None
    )


def margin_of(logits: np.ndarray) -> np.ndarray:
    """Return 2 × probability - 1, which is tanh(logit / 2) and has the sign of the logit.

    Overwrites the logits.
    """
    logits *= 0.5
    return np.tanh(logits, out=logits)
