"""Parts find their person."""

import numpy as np

from humanparse.postprocess.linking import drop_duplicates, link


def region(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((4, 20), bool)
    mask[:, x0:x1] = True
    return mask


def test_a_part_belongs_to_the_person_who_covers_most_of_it():
    people = np.stack([region(0, 10), region(8, 20)])
    parts = np.stack([region(1, 4), region(7, 12), region(15, 18)])
    assert link(parts, people, np.array([0.9, 0.8])).tolist() == [0, 1, 1]


def test_ties_go_to_the_surer_person():
    people = np.stack([region(0, 12), region(4, 20)])
    part = region(5, 10)[None]
    assert link(part, people, np.array([0.4, 0.8])).tolist() == [1]
    assert link(part, people, np.array([0.8, 0.4])).tolist() == [0]


def test_a_part_outside_everybody_belongs_to_nobody():
    assert link(region(15, 20)[None], region(0, 16)[None], np.array([0.9])).tolist() == [-1]


def test_nobody_and_nothing_are_ordinary():
    none = np.zeros((0, 4, 20), bool)
    assert link(region(0, 3)[None], none, np.zeros(0)).tolist() == [-1]
    assert link(none, region(0, 3)[None], np.ones(1)).tolist() == []
    assert drop_duplicates(none, np.zeros(0), 0.5).tolist() == []


def test_of_two_masks_of_one_person_the_surer_stays():
    masks = np.stack([region(0, 10), region(0, 9), region(11, 20)])
    assert drop_duplicates(masks, np.array([0.5, 0.9, 0.4]), 0.7).tolist() == [1, 2]
    assert drop_duplicates(masks, np.array([0.5, 0.9, 0.4]), 0.95).tolist() == [1, 0, 2]
