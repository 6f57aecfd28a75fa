"""Garments are found by their share of a person's pixels, and judged by a list."""

import numpy as np
import pytest

from humanparse.evaluation.outfits import OutfitScore
from humanparse.labels import CIHP

HAT, UPPER, COAT, PANTS = map(CIHP.index, ("Hat", "UpperClothes", "Coat", "Pants"))


def shares(**parts: float) -> np.ndarray:
    values = np.zeros(20)
    for name, share in parts.items():
        values[CIHP.index(name)] = share
    return values


def test_an_outfit_is_right_if_all_its_main_garments_are_there_and_no_other():
    score = OutfitScore(CIHP)
    score.add(shares(UpperClothes=0.4, Pants=0.3), {UPPER, PANTS}, set())
    score.add(shares(UpperClothes=0.4, Pants=0.3, Coat=0.05), {UPPER, PANTS}, set())
    assert (
        score.outfits_right == 0.5
        and score.f1_per_kind["Coat"] == 0.0
        and score.f1_per_kind["Pants"] == 1.0
    )
    assert score.f1 == pytest.approx(2 * 4 / (2 * 4 + 1))


def test_a_few_pixels_are_no_garment():
    score = OutfitScore(CIHP)
    score.add(shares(UpperClothes=0.4, Coat=0.039, Hat=0.0099), {UPPER, HAT}, set())
    assert score.outfits_right == 1 and score.f1_per_kind["Hat"] == 0


def test_what_the_list_is_unsure_of_counts_neither_way():
    score = OutfitScore(CIHP)
    for coat in (0.0, 0.2):
        score.add(shares(UpperClothes=0.4, Coat=coat), {UPPER}, {COAT})
    assert score.outfits_right == 1 and np.isnan(score.f1_per_kind["Coat"])


def test_people_who_are_not_found_count_for_the_main_garment_alone():
    score = OutfitScore(CIHP)
    score.add(shares(UpperClothes=0.4, Pants=0.3), {UPPER, PANTS}, set(), main=UPPER)
    score.add(shares(UpperClothes=0.2, Pants=0.3), {UPPER, PANTS}, set(), main=UPPER)
    score.add(None, {UPPER, PANTS}, set(), main=UPPER)
    assert (score.people, score.found) == (3, 2)
    assert score.mains_right == pytest.approx(1 / 3) and score.f1 == 1


def test_of_nobody_there_are_no_figures():
    score = OutfitScore(CIHP)
    assert np.isnan([score.f1, score.mean_f1, score.outfits_right, score.mains_right]).all()
