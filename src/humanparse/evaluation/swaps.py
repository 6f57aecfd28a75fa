"""Left and right confused: how often a pixel of one side of the body is labelled as the other side.

For one pair, for example Left-arm and Right-arm, only those pixels count whose true class is one of
the two and whose predicted class is one of the two as well. The swap rate is the share of them
whose sides differ: 0 is perfect, and 0.5 is as good as tossing a coin. Whether an arm is found at
all is measured by IoU: a pixel of an arm that is predicted as background or coat is not counted
here. Over all pairs, any left class with any right class is a swap, so that a left leg predicted as
right shoe is one, and a left leg predicted as left shoe is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanparse.labels import LabelSet


@dataclass(frozen=True)
class Swaps:
    """Pixels whose side is right or wrong.

    Attributes:
        left: The name of the left class; empty for all pairs together.
        right: The name of the right class; empty for all pairs together.
        kept: Pixels whose side is right.
        swapped: Pixels whose side is wrong.
    """

    left: str
    right: str
    kept: int
    swapped: int

    @property
    def rate(self) -> float:
        """The swapped pixels over all that count; NaN if there are none."""
        pixels = self.kept + self.swapped
        return self.swapped / pixels if pixels else float("nan")


def overall_swaps(confusion: np.ndarray, labels: LabelSet) -> Swaps:
    """Count all pairs together: any left class with any right class.

    Args:
        confusion: int (C, C), pixels by [true class, predicted class].
        labels: The classes.
    """
    pairs = np.array(labels.left_right_pairs, int).reshape(-1, 2)
    return _swaps(confusion, "", "", pairs[:, 0], pairs[:, 1])


def swaps_of_pairs(confusion: np.ndarray, labels: LabelSet) -> list[Swaps]:
    """Count each pair of the label set by itself, in the order of the set.

    Args:
        confusion: int (C, C), pixels by [true class, predicted class].
        labels: The classes.
    """
    names = labels.names
    return [
        _swaps(confusion, names[left], names[right], np.array([left]), np.array([right]))
        for left, right in labels.left_right_pairs
    ]


def _swaps(
    confusion: np.ndarray, left_name: str, right_name: str, left: np.ndarray, right: np.ndarray
) -> Swaps:
    kept = confusion[np.ix_(left, left)].sum() + confusion[np.ix_(right, right)].sum()
    swapped = confusion[np.ix_(left, right)].sum() + confusion[np.ix_(right, left)].sum()
    return Swaps(left_name, right_name, int(kept), int(swapped))
