"""What people wear, measured against lists of garments.

Is each garment found, is the outfit right, and is the main garment right? A garment counts as found
if it covers enough of the person's pixels (`FOUND_SHARE`). Garments of which a list is unsure do
not count.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from humanparse.labels import LabelSet

FOUND_SHARE = {  # the least share of a person's pixels
    "Hat": 0.01,
    "Glove": 0.005,
    "Sunglasses": 0.003,
    "UpperClothes": 0.04,
    "Dress": 0.04,
    "Coat": 0.04,
    "Socks": 0.01,
    "Pants": 0.03,
    "Scarf": 0.015,
    "Skirt": 0.03,
}
MAIN_GARMENTS = ("UpperClothes", "Dress", "Coat", "Pants", "Skirt")


class OutfitScore:
    """Add people with `add`, then read the figures.

    Args:
        labels: CIHP's classes, or another set with some of the same names.
    """

    def __init__(self, labels: LabelSet):
        self.kinds = {name: labels.index(name) for name in FOUND_SHARE if name in labels.names}
        self.main_garments = {self.kinds[name] for name in MAIN_GARMENTS if name in self.kinds}
        self.counts = {name: [0, 0, 0] for name in self.kinds}  # right, false, missed
        self.found = self.people = self.exact = self.main_asked = self.main_right = 0

    def add(
        self,
        shares: np.ndarray | None,
        wears: Collection[int],
        unsure: Collection[int],
        main: int | None = None,
    ) -> None:
        """Add one person.

        Args:
            shares: float (C,), the share of the person's pixels by class; None for a person who was
                not found.
            wears: The classes that can be seen on the person.
            unsure: The classes that may be seen on the person.
            main: The garment that covers most of the person, if it is known.
        """
        self.people += 1
        self.main_asked += main in self.main_garments
        if shares is None:
            return
        self.found += 1
        seen = {
            self.kinds[name] for name in self.kinds if shares[self.kinds[name]] >= FOUND_SHARE[name]
        }
        for name, c in self.kinds.items():
            if c not in unsure:
                outcome = (
                    c in seen and c in wears,
                    c in seen and c not in wears,
                    c not in seen and c in wears,
                )
                self.counts[name] = [a + b for a, b in zip(self.counts[name], outcome, strict=True)]
        asked = self.main_garments - set(unsure)
        self.exact += seen & asked == set(wears) & asked
        largest = max(self.main_garments, key=lambda c: shares[c])
        self.main_right += main in self.main_garments and shares[largest] > 0 and largest == main

    @property
    def f1(self) -> float:
        """F1 over all garments of all people found; NaN if nobody was found."""
        return _f1(*np.sum(list(self.counts.values()), axis=0))

    @property
    def f1_per_kind(self) -> dict[str, float]:
        """F1 of each kind of garment.

        It is NaN for a garment that nobody wears and that was found on nobody.
        """
        return {name: _f1(*counts) for name, counts in self.counts.items()}

    @property
    def mean_f1(self) -> float:
        """The mean of `f1_per_kind`."""
        values = [value for value in self.f1_per_kind.values() if not np.isnan(value)]
        return float(np.mean(values)) if values else float("nan")

    @property
    def outfits_right(self) -> float:
        """The share of the people found whose set of main garments is exactly right."""
        return self.exact / self.found if self.found else float("nan")

    @property
    def mains_right(self) -> float:
        """The share of people whose largest predicted garment is their main garment.

        It is taken of all people with a known main garment, found or not.
        """
        return self.main_right / self.main_asked if self.main_asked else float("nan")


def _f1(right: int, false: int, missed: int) -> float:
    asked = 2 * right + false + missed
    return float(2 * right / asked) if asked else float("nan")
