"""The left/right swap rate, by hand."""

import numpy as np
import pytest

from humanparse.evaluation.swaps import overall_swaps, swaps_of_pairs
from humanparse.labels import PASCAL_PERSON_PART, LabelSet

LABELS = LabelSet(
    "made-up", ("Background", "Coat", "Left-arm", "Right-arm", "Left-leg", "Right-leg")
)
COAT, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = 1, 2, 3, 4, 5


def confusion(*pixels: tuple[int, int, int]) -> np.ndarray:
    """A confusion from (true class, predicted class, number of pixels)."""
    counts = np.zeros((6, 6), int)
    for true, found, count in pixels:
        counts[true, found] += count
    return counts


def test_the_rate_is_the_share_of_pixels_with_the_wrong_side():
    counts = confusion(
        (LEFT_ARM, LEFT_ARM, 6),
        (LEFT_ARM, RIGHT_ARM, 1),
        (RIGHT_ARM, LEFT_ARM, 2),
        (RIGHT_ARM, RIGHT_ARM, 1),
    )
    arms, legs = swaps_of_pairs(counts, LABELS)
    assert (arms.left, arms.right, arms.kept, arms.swapped, arms.rate) == (
        "Left-arm",
        "Right-arm",
        7,
        3,
        0.3,
    )
    assert np.isnan(legs.rate) and overall_swaps(counts, LABELS).rate == 0.3


def test_pixels_that_are_no_side_or_are_found_as_none_do_not_count():
    counts = confusion(
        (LEFT_ARM, LEFT_ARM, 1), (LEFT_ARM, COAT, 50), (COAT, RIGHT_ARM, 50), (COAT, COAT, 50)
    )
    assert overall_swaps(counts, LABELS).rate == 0


def test_over_all_pairs_a_left_arm_called_right_leg_is_a_swap_and_called_left_leg_is_none():
    counts = confusion((LEFT_ARM, RIGHT_LEG, 1), (LEFT_ARM, LEFT_LEG, 3))
    assert overall_swaps(counts, LABELS).rate == 0.25
    assert all(np.isnan(one.rate) for one in swaps_of_pairs(counts, LABELS))


def test_exchanging_all_sides_turns_the_rate_round():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (6, 6))
    exchanged = counts[:, [0, 1, 3, 2, 5, 4]]
    assert overall_swaps(exchanged, LABELS).rate == pytest.approx(
        1 - overall_swaps(counts, LABELS).rate
    )


def test_a_label_set_without_sides_has_no_rate():
    nothing = np.ones((7, 7), int)
    assert swaps_of_pairs(nothing, PASCAL_PERSON_PART) == [] and np.isnan(
        overall_swaps(nothing, PASCAL_PERSON_PART).rate
    )
