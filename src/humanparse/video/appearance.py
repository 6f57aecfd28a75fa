"""What somebody looks like: the colours and kinds of their hair, upper and lower clothes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from humanparse.labels import LabelSet
from humanparse.regions import LEGS, LOWER, ON_HEAD, UPPER, WHOLE, kind_of

# The kinds of classes (regions.py) of each region whose colours are compared. What clothes the
# whole body counts as both upper and lower clothes, for it is easily mistaken for them.
_REGIONS = (
    {"hair", "head"} | ON_HEAD,
    UPPER | WHOLE,
    LOWER | WHOLE | LEGS,
)
_BINS = 16  # of lightness, and of each of the two axes of colour in CIELAB
_KINDS_WEIGHT = 0.2  # of what is worn, beside its colours
_MIN_PIXELS = 12  # a region of fewer says nothing


@dataclass(frozen=True, eq=False)
class Look:
    """What somebody looks like.

    Attributes:
        colours: float (R, 3, B), for each region the shares of lightness and of both colour axes.
        pixels: float (R,), how many pixels each was seen on, 0 if it was not.
        kinds: float (C,), the share of each class.
    """

    colours: np.ndarray
    pixels: np.ndarray
    kinds: np.ndarray

    def likeness(self, other: Look) -> float:
        """Return how much two people look alike, from 0 to 1; 0.5 where nothing can be compared."""
        both = np.minimum(self.pixels, other.pixels)
        if not both.any():
            return 0.5
        shared = np.sqrt(self.colours * other.colours).sum(2)  # Bhattacharyya's, (R, 3)
        by_region = np.sqrt(shared[:, 0]) * shared[:, 1] * shared[:, 2]
        colours = float(np.average(by_region, weights=np.sqrt(both)))
        kinds = float(np.minimum(self.kinds, other.kinds).sum())
        return (1 - _KINDS_WEIGHT) * colours + _KINDS_WEIGHT * kinds

    def mixed(self, newer: Look, share: float) -> Look:
        """Return the look with that share of a newer one."""
        # A region that only one of them shows is as that one shows it.
        weight = np.where(self.pixels == 0, 1.0, np.where(newer.pixels == 0, 0.0, share))
        return Look(
            self.colours + weight[:, None, None] * (newer.colours - self.colours),
            self.pixels + weight * (newer.pixels - self.pixels),
            self.kinds + share * (newer.kinds - self.kinds),
        )


def look_of(lab: np.ndarray, classes: np.ndarray, labels: LabelSet) -> Look:
    """Return what somebody looks like.

    Args:
        lab: uint8 (N, 3), the CIELAB colours of their pixels.
        classes: uint8 (N,), the classes of the same pixels.
        labels: What the classes are called.
    """
    kinds = np.bincount(classes, minlength=256).astype(float)
    regions = _regions(labels)  # (R, 256)
    pixels = regions @ kinds
    pixels[pixels < _MIN_PIXELS] = 0
    bins = lab // (256 // _BINS) + classes[:, None].astype(np.uint16) * _BINS
    colours = np.zeros((len(regions), 3, _BINS))
    for axis in range(3):
        counts = np.bincount(bins[:, axis], minlength=256 * _BINS).reshape(256, _BINS)
        shares = regions @ counts  # (R, B)
        # Neighbouring bins count half: light changes a little all the time.
        padded = np.pad(shares, ((0, 0), (1, 1)))
        smooth = padded[:, :-2] / 2 + shares + padded[:, 2:] / 2
        colours[:, axis] = smooth / np.maximum(1, smooth.sum(1, keepdims=True))
    colours[pixels == 0] = 0
    kinds = kinds[: len(labels)]
    return Look(colours, pixels, kinds / max(1.0, kinds.sum()))


@cache
def _regions(labels: LabelSet) -> np.ndarray:
    """Which classes belong to each region, 0 or 1, (R, 256)."""
    table = np.zeros((len(_REGIONS), 256))
    for number, name in enumerate(labels.names):
        table[:, number] = [number > 0 and kind_of(name) in kinds for kinds in _REGIONS]
    return table
