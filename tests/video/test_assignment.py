"""The assignment of greatest worth."""

from itertools import permutations

import numpy as np
import pytest

from humanparse.video.assignment import best_pairs


def worth_of_all_ways(worth: np.ndarray) -> float:
    """The greatest worth, found by trying every way."""
    if worth.shape[0] > worth.shape[1]:
        worth = worth.T
    useful, rows = np.maximum(worth, 0), range(worth.shape[0])
    return max(useful[rows, way].sum() for way in permutations(range(worth.shape[1]), len(rows)))


@pytest.mark.parametrize("seed", range(40))
def test_no_other_way_is_worth_more(seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 6, 2)
    worth = rng.uniform(-0.5, 1, (rows, columns))
    if seed % 2:
        worth = worth.round(1)  # with ties
    pairs = best_pairs(worth)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(worth[pair] > 0 for pair in pairs) and pairs == sorted(pairs)
    assert sum(worth[pair] for pair in pairs) == pytest.approx(worth_of_all_ways(worth))


def test_the_greedy_choice_is_not_taken_if_it_costs_others_more():
    assert best_pairs(np.array([[0.9, 0.8], [0.8, 0.1]])) == [(0, 1), (1, 0)]


def test_what_is_worth_nothing_is_not_paired():
    assert best_pairs(np.array([[0.0, -1.0], [0.0, 0.5]])) == [(1, 1)]
    assert best_pairs(np.zeros((0, 3))) == [] and best_pairs(np.zeros((3, 0))) == []
