"""Panoptic quality of people, by hand."""

import numpy as np
import pytest

from humanparse.evaluation.person_pq import PersonPQ


def scored(truth: str, prediction: str) -> PersonPQ:
    """One row of pixels each: '.' nobody, '?' unknown, digits people."""
    values = {".": 0, "?": -1}
    rows = [
        np.array([[values.get(c, 0) if c in values else int(c) for c in row]])
        for row in (truth, prediction)
    ]
    score = PersonPQ()
    score.add(*rows)
    return score


def test_people_found_exactly_score_one_whatever_their_numbers():
    assert scored("..11122.", "..77733.").pq == 1


def test_quality_is_overlap_over_found_and_half_of_the_wrong():
    score = scored("1111.2222", "1110.3...")
    assert (score.found, score.missed, score.false) == (1, 1, 1)
    assert score.pq == pytest.approx(0.75 / 2)


def test_a_second_prediction_of_one_person_is_false():
    score = scored("111111", "111122")
    assert (score.found, score.missed, score.false) == (1, 0, 1)


def test_half_overlap_is_not_enough():
    score = scored("11..", "1111")
    assert (score.found, score.missed, score.false) == (0, 1, 1)


def test_predictions_on_unknown_ground_are_neither_right_nor_false():
    score = scored("11???", "11222")
    assert (score.found, score.missed, score.false) == (1, 0, 0)
    assert scored("11??.", "11?22".replace("?", "2")).false == 0


def test_nobody_where_nobody_is_scores_one():
    assert scored("....", "....").pq == 1


def test_nobody_found_scores_zero():
    score = scored("11..", "....")
    assert (score.found, score.missed, score.false, score.pq) == (0, 1, 0, 0)
