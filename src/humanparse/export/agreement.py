"""Whether two ways of computing the same network agree: compared on noise and on photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from humanparse.card import ModelCard
from humanparse.errors import ModelError
from humanparse.image import read_image

NOISE_HW = (192, 256)  # size of the noise on which files are compared
# Largest accepted difference between two files, as `difference` measures it.
TOLERANCE = 1e-3

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Agreement:
    """How far two ways of computing the same network differ on one picture.

    Attributes:
        picture: The name of the picture.
        difference: The difference of the network's outputs, see `difference`.
        labels: Share of the photo's pixels with equal labels; None if no maps were made.
        people: Share of the photo's pixels with equal people; None if no maps were made.
    """

    picture: str
    difference: float = 0.0
    labels: float | None = None
    people: float | None = None


def difference(
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    *,
    units: Mapping[str, float] | None = None,
    share: float = 1.0,
) -> float:
    """Return the largest difference between two sets of outputs.

    A difference is measured in units of its output, or in tenths of the output's largest value
    where that is more, since rounding grows with the values.

    Args:
        expected: Arrays by output name.
        actual: Arrays by output name; outputs that are not expected are ignored.
        units: What counts as a difference of one, by output name; 1 for outputs without an entry.
        share: The share of the values of each output that is compared: those that agree best.
            Less than 1 is for networks that take decisions inside.

    Returns:
        The difference of the worst output; infinity if an actual output is missing, of another
        shape or not finite, and NaN if an expected one is not a number.
    """
    differences = [0.0]
    for name, value in expected.items():
        other = actual.get(name)
        if other is None or other.shape != value.shape or not np.isfinite(other).all():
            return float("inf")
        one = (units or {}).get(name, 1.0)
        largest = float(np.abs(value).max(initial=0))
        distance = np.abs(value - other)
        worst = np.quantile(distance, share) if share < 1 else distance.max(initial=0)
        differences.append(float(worst) / (one * max(1.0, largest / one / 10)))
    return float(np.max(differences))  # unlike Python's max, this keeps NaN


def compare(
    expected: Run, actual: Run, inputs: Iterable[tuple[str, np.ndarray]], tolerance: float
) -> tuple[Agreement, ...]:
    """Run both on each input and return how well they agree.

    Args:
        expected: Runs the original: float32 (1, 3, H, W) → outputs by name.
        actual: Runs the exported model in the same way.
        inputs: Pairs of a picture's name and the network's input, float32 (1, 3, H, W).
        tolerance: The largest accepted difference, see `difference`.

    Raises:
        ModelError: If they differ by more than `tolerance` on any input.
    """
    agreements = tuple(
        Agreement(name, difference(expected(pixels), actual(pixels))) for name, pixels in inputs
    )
    if bad := [one for one in agreements if not one.difference <= tolerance]:
        raise ModelError(
            f"the exported model differs by {bad[0].difference:.2g} on {bad[0].picture}, "
            f"more than {tolerance:g}; nothing was written"
        )
    return agreements


def network_inputs(photos: Sequence[Path], card: ModelCard) -> list[tuple[str, np.ndarray]]:
    """Return noise and each photo as the network takes them, float32 (1, 3, H, W), with names."""
    noise = np.random.default_rng(0).integers(0, 256, (*NOISE_HW, 3), np.uint8)
    named = [("noise", noise), *((photo.name, read_image(photo).pixels) for photo in photos)]
    return [(name, card.preprocess(pixels)[0]) for name, pixels in named]
