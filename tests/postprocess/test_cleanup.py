"""Small connected components go where they belong.

The maps are drawn: each class is 5 where it wins.
"""

import numpy as np
import pytest

from humanparse.postprocess.cleanup import (
    drop_faceless,
    drop_islands,
    join_patches,
    person_means,
    steered,
)

COAT, SHIRT, FACE = 0, 1, 2


def drawn(part: np.ndarray) -> np.ndarray:
    """Class maps (3, h, w) in which `part` wins."""
    return np.stack([np.where(part == c, 5.0, 0.0) for c in range(3)]).astype(np.float32)


def winners(parts: np.ndarray) -> np.ndarray:
    return parts.argmax(0).astype(np.uint8)


def joined(part: np.ndarray, owner: np.ndarray | None = None, **given) -> np.ndarray:
    """Which class wins after joining; everything is one person's if nothing is said."""
    rules = {
        "share": 0.02,
        "garment_share": 0.1,
        "surrounded": 0.6,
        "garments": {COAT, SHIRT},
    } | given
    owner = np.zeros(part.shape, int) if owner is None else owner
    parts = drawn(part)
    join_patches(parts, winners(parts), owner, owner.max() + 1, **rules)
    return parts.argmax(0)


def coat_with(value: int, window) -> np.ndarray:
    part = np.full((20, 20), COAT)
    part[window] = value
    return part


def test_a_patch_of_shirt_in_a_coat_is_coat():
    assert (joined(coat_with(SHIRT, np.s_[8:13, 8:13])) == COAT).all()


def test_a_large_piece_stays():
    part = coat_with(SHIRT, np.s_[5:12, 5:12])
    assert (joined(part) == part).all()


def test_what_is_no_garment_must_be_smaller_to_be_a_patch():
    part = coat_with(FACE, np.s_[8:13, 8:13])
    assert (joined(part) == part).all()
    assert (joined(coat_with(FACE, np.s_[8:10, 8:11])) == COAT).all()


def test_a_patch_between_two_parts_stays():
    part = np.where(np.arange(20)[:, None] < 10, COAT, FACE) * np.ones((1, 20), int)
    part[8:12, 8:12] = SHIRT
    assert (joined(part) == part).all()
    assert (joined(part, surrounded=0.4)[8:12, 8:12] != SHIRT).all()


def test_only_the_person_s_own_parts_count_as_neighbours():
    part = coat_with(SHIRT, np.s_[8:13, 8:13])
    owner = np.ones(part.shape, int)
    owner[8:13, 8:13] = 0  # the patch is all there is of another person
    assert (joined(part, owner, garment_share=2.0) == part).all()


def test_components_of_nobody_are_left_alone():
    part = coat_with(SHIRT, np.s_[8:13, 8:13])
    owner = np.full(part.shape, -1)
    owner[0, 0] = 0
    assert (joined(part, owner) == part).all()


def test_the_winner_leaves_no_trace_of_the_patch_between_cells():
    parts = drawn(coat_with(SHIRT, np.s_[8:10, 8:10]))
    join_patches(
        parts,
        winners(parts),
        np.zeros((20, 20), int),
        1,
        share=0.02,
        garment_share=0.1,
        surrounded=0.6,
        garments={COAT, SHIRT},
    )
    assert (parts[COAT] == 5).all()
    assert (parts[SHIRT] <= 0).all()


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_islands_of_a_person_are_nobody_s(share):
    owner = np.full((20, 20), -1)
    owner[2:18, 2:10], owner[0, 19] = 0, 0
    drop_islands(owner, 1, share)
    assert (owner[0, 19] == -1) == (share > 0) and (owner[2:18, 2:10] == 0).all()


def test_hair_without_a_face_is_something_else_if_its_person_has_a_face():
    hair, face, coat = range(3)
    owner = np.full((12, 30), -1)
    owner[:, :10], owner[:, 10:20] = 0, 1
    best = np.full((12, 30), coat)
    best[1:3, :20], best[3:5, 2:8], best[9:11, 2:18] = hair, face, hair  # person 1 shows no face
    best[8, 14] = hair
    parts = np.stack(
        [np.where(best == c, 3.0, 1.0 if c == coat else 0.0) for c in range(3)]
    ).astype(np.float32)
    before = parts.copy()
    drop_faceless(parts, winners(parts), owner, 2, [hair, face], [face])
    part = parts.argmax(0)
    assert (part[9:11, 2:10] == coat).all()
    untouched = np.ones((12, 30), bool)
    untouched[9:11, 2:10] = False
    assert (part[untouched] == best[untouched]).all() and (
        parts[:, untouched] == before[:, untouched]
    ).all()


def test_without_classes_of_a_head_nothing_is_dropped():
    parts = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    before = parts.copy()
    drop_faceless(parts, winners(parts), np.zeros((8, 8), int), 1, [], [])
    assert (parts == before).all()


def test_what_speaks_for_a_class_is_averaged_over_each_person_and_added_to_their_cells_alone():
    owner = np.array([[0, 0, 1], [-1, 1, 1]])
    maps = np.array([[[1, 3, 6], [9, 6, 9]], [[0, 0, -3], [9, -3, 0]]], np.float32)
    means = person_means(maps, owner, count=3)
    assert means.tolist() == [[2, 0], [7, -2], [0, 0]]
    parts = np.zeros((2, 2, 3), np.float32)
    raised = steered(parts, means, owner)
    assert raised[0].tolist() == [[2, 2, 7], [0, 7, 7]] and raised[1].tolist() == [
        [0, 0, -2],
        [0, -2, -2],
    ]
    assert not parts.any()
