"""Left taken for right: how often a pixel of one side of the body is labelled as the other side.

For one pair, such as Left-arm and Right-arm, only the pixels count whose truth is one of the two
and whose prediction is one of the two as well; the swap rate is the share of them whose sides
differ. 0 is perfect, 0.5 is as good as tossing a coin. Whether an arm is found at all is the
business of IoU: a pixel of an arm that is called background or coat is not counted here. Over all
pairs, any left class against any right class is a swap, so that a left leg called right shoe is
one, and a left leg called left shoe is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.labels import LabelSet


@dataclass(frozen=True)
class Swaps:
    """Pixels whose side is right or wrong. left, right: names of the pair; empty for all pairs
    together."""

    left: str
    right: str
    kept: int
    swapped: int

    @property
    def rate(self) -> float:
        """Swapped over all that count; NaN if none do."""
        pixels = self.kept + self.swapped
        return self.swapped / pixels if pixels else float("nan")


def overall_swaps(confusion: np.ndarray, labels: LabelSet) -> Swaps:
    """All sides together: any left class against any right class. confusion: int (C, C), pixels by
    [truth, prediction]."""
    pairs = np.array(labels.left_right_pairs, int).reshape(-1, 2)
    return _swaps(confusion, "", "", pairs[:, 0], pairs[:, 1])


def swaps_of_pairs(confusion: np.ndarray, labels: LabelSet) -> list[Swaps]:
    """Each pair of the label set by itself, in its order. confusion: int (C, C), pixels by [truth,
    prediction]."""
    names = labels.names
    return [
        _swaps(confusion, names[left], names[right], [left], [right])
        for left, right in labels.left_right_pairs
    ]


def _swaps(confusion: np.ndarray, left_name: str, right_name: str, left, right) -> Swaps:
    kept = confusion[np.ix_(left, left)].sum() + confusion[np.ix_(right, right)].sum()
    swapped = confusion[np.ix_(left, right)].sum() + confusion[np.ix_(right, left)].sum()
    return Swaps(left_name, right_name, int(kept), int(swapped))
