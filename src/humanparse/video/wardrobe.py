"""What somebody wears, by the vote of their whole track: nobody changes clothes between frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.regions import LOWER, UPPER, WHOLE, kind_of

_ZONES = {"upper": UPPER, "lower": LOWER, "whole": WHOLE}  # kinds of classes, see regions.py
_WORN = 0.35  # the least share of a garment, of that of the one it is mistaken for
_MOST_FRAMES = 150  # that count; then old ones fade, since people do take off their coats


class Wardrobe:
    """What one person wears.

    Args:
        labels: The classes.
    """

    def __init__(self, labels: LabelSet):
        self._zones = _zones(labels)
        self._shares = np.zeros(len(labels))  # the mean share of each class, of all garments
        self._frames = 0
        self._waist = 0.5  # where lower clothes begin, as a share of the person's height

    def look(self, classes: np.ndarray) -> None:
        """Count the vote of a frame.

        Args:
            classes: uint8 (h, w), the classes in the person's box; 0 where the person is not.
        """
        counts = cv2.calcHist([classes], [0], None, [256], [0, 256]).ravel()[: len(self._shares)]
        garments = sum(self._zones.values(), ())
        total = counts[list(garments)].sum()
        if not total:
            return
        share = np.zeros(len(counts))
        share[list(garments)] = counts[list(garments)] / total
        self._frames = min(self._frames + 1, _MOST_FRAMES)
        self._shares += (share - self._shares) / self._frames
        upper, lower = (_rows(classes, self._zones[zone]) for zone in ("upper", "lower"))
        if len(upper) and len(lower):
            waist = (np.median(upper) + np.median(lower)) / 2 / len(classes)
            self._waist += (waist - self._waist) / self._frames

    def instead(self) -> Mapping[int, tuple[int, int]]:
        """Return the garments that are not worn: what each is, above and below the waist."""
        upper, lower, whole = (self._most(zone) for zone in ("upper", "lower", "whole"))
        found: dict[int, tuple[int, int]] = {}
        for zone, others in (("upper", (upper, whole)), ("lower", (lower, whole))):
            rival = max(others, key=self._share)
            found |= dict.fromkeys(self._outdone(zone, self._share(rival)), (rival, rival))
        apart = self._share(upper) + self._share(lower)
        if upper and lower:
            found |= dict.fromkeys(self._outdone("whole", apart), (upper, lower))
        return found

    def corrected(self, classes: np.ndarray, mine: np.ndarray) -> np.ndarray:
        """Return the classes with the garments that the person wears.

        Args:
            classes: uint8 (h, w), the classes in the person's box.
            mine: bool (h, w), where the person is.
        """
        instead = self.instead()
        if not instead:
            return classes
        waist, corrected = round(self._waist * len(classes)), classes.copy()
        above, below = (np.arange(256, dtype=np.uint8) for _ in range(2))
        for one, (upper, lower) in instead.items():
            above[one], below[one] = upper, lower
        for rows, table in ((np.s_[:waist], above), (np.s_[waist:], below)):
            if corrected[rows].size:
                np.copyto(corrected[rows], cv2.LUT(classes[rows], table), where=mine[rows])
        return corrected

    def _share(self, one: int) -> float:
        return float(self._shares[one]) if one else 0.0

    def _most(self, zone: str) -> int:
        """The class of a zone that is seen most, 0 if none is."""
        found = max(self._zones[zone], key=self._share, default=0)
        return found if self._share(found) else 0

    def _outdone(self, zone: str, most: float) -> list[int]:
        return [one for one in self._zones[zone] if self._share(one) < _WORN * most]


def _rows(classes: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """The rows that show one of some classes."""
    table = np.zeros(256, np.uint8)
    table[list(wanted)] = 1
    return np.flatnonzero(cv2.reduce(cv2.LUT(classes, table), 1, cv2.REDUCE_MAX))


@cache
def _zones(labels: LabelSet) -> dict[str, tuple[int, ...]]:
    return {
        zone: tuple(i for i, name in enumerate(labels.names) if i and kind_of(name) in kinds)
        for zone, kinds in _ZONES.items()
    }
