"""masks.py: compact masks, and run lengths equal to pycocotools'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from humanparse.masks import Mask

dense_masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


def dense(*rows: str) -> np.ndarray:
    """bool (H, W) from rows such as ".##."."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def coco_rle(mask: np.ndarray) -> dict:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def one_pixel(height: int, width: int, y: int, x: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y, x] = True
    return mask


def assert_equals_pycocotools(mask: np.ndarray) -> None:
    assert Mask.from_dense(mask).to_rle() == coco_rle(mask)


# The compact form


def test_a_mask_keeps_only_its_box():
    mask = Mask.from_dense(dense("....", "..#.", ".##.", "...."))
    assert mask.box_xyxy == (1, 1, 3, 3)
    assert mask.crop.tolist() == [[False, True], [True, True]]
    assert (mask.size_hw, mask.area) == ((4, 4), 3)


def test_an_empty_mask_has_an_empty_box_and_no_area():
    mask = Mask.from_dense(np.zeros((3, 5), bool))
    assert (mask.box_xyxy, mask.crop.shape, mask.area) == ((0, 0, 0, 0), (0, 0), 0)
    assert not mask.to_dense().any() and mask.to_dense().shape == (3, 5)


@given(dense_masks)
@settings(max_examples=100, deadline=None)
def test_dense_and_back_is_the_same_mask(mask):
    assert np.array_equal(Mask.from_dense(mask).to_dense(), mask)


def test_a_window_of_the_picture_lands_where_it_was_cut_out():
    picture = np.zeros((10, 12), bool)
    picture[6:8, 5:9] = True
    mask = Mask.from_dense(picture[5:9, 4:10], (10, 12), at_xy=(4, 5))
    assert mask.box_xyxy == (5, 6, 9, 8)
    assert np.array_equal(mask.to_dense(), picture)


def test_an_empty_window_gives_an_empty_mask_of_the_whole_picture():
    mask = Mask.from_dense(np.zeros((2, 2), bool), (10, 12), at_xy=(4, 5))
    assert (mask.box_xyxy, mask.size_hw) == ((0, 0, 0, 0), (10, 12))


def test_a_mask_does_not_change_with_the_array_it_was_made_from():
    array = dense("##", "##")
    mask = Mask.from_dense(array)
    array[:] = False
    assert mask.to_dense().all()


# Run lengths


@given(dense_masks)
@settings(max_examples=150, deadline=None)
def test_run_lengths_equal_pycocotools_to_the_byte(mask):
    assert_equals_pycocotools(mask)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.5, 0.98]))
@settings(max_examples=20, deadline=None)
def test_run_lengths_of_large_masks_equal_pycocotools(seed, share):
    noise = np.random.default_rng(seed).random((30, 20))
    assert_equals_pycocotools(np.kron(noise < share, np.ones((17, 13), bool)))  # runs of several letters


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 6), (700, 900)])
@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_equal_pycocotools(size, value):
    assert_equals_pycocotools(np.full(size, value))


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 5), (3, 0), (3, 5), (2, 3)])
def test_a_single_pixel_in_a_corner_or_inside_equals_pycocotools(y, x):
    assert_equals_pycocotools(one_pixel(4, 6, y, x))


def test_a_mask_down_to_the_last_row_but_not_the_last_column_equals_pycocotools():
    assert_equals_pycocotools(dense("....", ".#..", ".#.."))


def test_a_mask_that_continues_from_one_column_into_the_next_equals_pycocotools():
    assert_equals_pycocotools(dense(".##", ".#.", "##."))


@given(dense_masks)
@settings(max_examples=100, deadline=None)
def test_run_lengths_and_back_are_the_same_mask(mask):
    again = Mask.from_rle(Mask.from_dense(mask).to_rle())
    assert again.box_xyxy == Mask.from_dense(mask).box_xyxy
    assert np.array_equal(again.to_dense(), mask)


def test_run_lengths_are_read_as_text_bytes_and_plain_numbers():
    mask = dense("..#", "###")
    text = coco_rle(mask)["counts"]
    for counts in (text, text.encode(), [1, 1, 1, 3]):
        assert np.array_equal(Mask.from_rle({"size": [2, 3], "counts": counts}).to_dense(), mask)


@pytest.mark.parametrize("counts", [[1, 2], [3, 4], [], [-1, 7], [9, -3]])
def test_runs_that_do_not_fill_the_picture_are_refused(counts):
    with pytest.raises(ValueError, match="the size 2x3 has 6"):
        Mask.from_rle({"size": [2, 3], "counts": counts})


def test_runs_whose_sum_would_wrap_around_are_refused():
    with pytest.raises(ValueError, match="add up to"):
        Mask.from_rle({"size": [2, 3], "counts": [2**62, 2**62, 2**62, 2**62, 6]})


def test_run_lengths_that_break_off_are_refused():
    with pytest.raises(ValueError, match="break off"):
        Mask.from_rle({"size": [2, 3], "counts": "P"})  # announces another letter


@pytest.mark.parametrize("counts", ["6 ", "6\x7f", b"6\xff", "é"])
def test_letters_outside_of_the_code_are_refused(counts):
    with pytest.raises(ValueError):
        Mask.from_rle({"size": [2, 3], "counts": counts})


def test_a_run_length_without_end_is_refused_at_once():
    with pytest.raises(ValueError, match="more than 60 bits"):
        Mask.from_rle({"size": [2, 3], "counts": "o" * 1_000_000})


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_is_either_read_or_refused_as_a_value(text):
    try:
        mask = Mask.from_rle({"size": [4, 5], "counts": text})
    except ValueError:
        return
    assert mask.size_hw == (4, 5)


# Overlap


@given(hnp.arrays(bool, (2, 9, 11)))
@settings(max_examples=100, deadline=None)
def test_overlap_equals_that_of_the_dense_masks(pair):
    a, b = (Mask.from_dense(mask) for mask in pair)
    shared, either = int((pair[0] & pair[1]).sum()), int((pair[0] | pair[1]).sum())
    assert a.intersection(b) == b.intersection(a) == shared
    assert a.iou(b) == b.iou(a) == (shared / either if either else 0.0)


def test_masks_in_different_corners_do_not_overlap():
    assert Mask.from_dense(one_pixel(4, 4, 0, 0)).iou(Mask.from_dense(one_pixel(4, 4, 3, 3))) == 0


def test_two_empty_masks_have_an_overlap_of_zero():
    empty = Mask.from_dense(np.zeros((2, 2), bool))
    assert empty.iou(empty) == 0


def test_a_mask_overlaps_itself_wholly():
    mask = Mask.from_dense(dense(".#", "##"))
    assert mask.iou(mask) == 1


def test_masks_of_pictures_of_different_size_cannot_be_compared():
    with pytest.raises(ValueError, match="different size"):
        Mask.from_dense(np.ones((2, 2), bool)).iou(Mask.from_dense(np.ones((2, 3), bool)))
