"""masks.py: compact masks, run lengths equal to pycocotools', and polygons that fill to them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
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
    # runs of several letters
    assert_equals_pycocotools(np.kron(noise < share, np.ones((17, 13), bool)))


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


def test_runs_whose_sum_would_overflow_are_refused():
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


@pytest.mark.parametrize("size", [[1, 1 << 29], [1 << 20, 1 << 20], [10**30, 1], [-1, -6], [-2, 3]])
def test_a_picture_of_impossible_size_is_refused_before_anything_is_made(size):
    for counts in ("6:8", [size[0] * size[1]]):
        with pytest.raises(ValueError, match="is not read; the limit is"):
            Mask.from_rle({"size": size, "counts": counts})


@pytest.mark.parametrize(
    ("size", "counts"),
    [([2.0, 3], [6]), (["2", "3"], [6]), ([2, 3], [1.5, 4.5]), ([2, 3], ["6"]), ([2, 3], [None]),
     ([2, 3, 1], [6]), ([6], [6]), ([2, 3], 6), (None, [6]), ([2, 3], {"6": 1})],
)  # fmt: skip
def test_sizes_and_runs_that_are_not_whole_numbers_are_refused_as_values(size, counts):
    with pytest.raises(ValueError):
        Mask.from_rle({"size": size, "counts": counts})


# Polygons


@st.composite
def blobs(draw) -> np.ndarray:
    """bool (H, W): discs, bars and lines over 200 pixels, with holes as masks of people have."""
    picture = np.zeros((draw(st.integers(30, 120)), draw(st.integers(30, 120))), np.uint8)
    near = st.integers(-10, 130)
    for _ in range(draw(st.integers(1, 5))):
        value, at = draw(st.sampled_from([1, 1, 1, 0])), (draw(near), draw(near))
        shape = draw(st.sampled_from(["disc", "line", "bar"]))
        if shape == "disc":
            axes, angle = (
                (draw(st.integers(1, 50)), draw(st.integers(1, 50))),
                draw(st.integers(0, 180)),
            )
            cv2.ellipse(picture, at, axes, angle, 0, 360, value, -1)
        elif shape == "line":
            cv2.line(picture, at, (draw(near), draw(near)), value, draw(st.integers(1, 9)))
        else:
            cv2.rectangle(picture, at, (draw(near), draw(near)), value, -1)
    assume(picture.sum() > 200)
    return picture.astype(bool)


def filled_by_pycocotools(mask: Mask, tolerance_px: float = 0.5) -> np.ndarray:
    polygons = [polygon.ravel().tolist() for polygon in mask.to_polygons(tolerance_px)]
    return Mask.from_rle(coco.merge(coco.frPyObjects(polygons, *mask.size_hw))).to_dense()


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@given(blobs())
@settings(max_examples=150, deadline=None)
def test_polygons_fill_to_nearly_the_same_mask(mask):
    # 0.993 is the worst of 20,000 shapes of this kind, drawn at random
    assert overlap(filled_by_pycocotools(Mask.from_dense(mask)), mask) >= 0.99


def test_straight_edges_keep_their_outermost_pixels():
    """A corner that is cut must not move a whole edge by half a pixel, onto the pixels' centres."""
    picture = np.zeros((84, 84), np.uint8)
    cv2.ellipse(picture, (8, 42), (26, 19), 0, 0, 360, 1, -1)  # beyond the picture's left edge
    filled = filled_by_pycocotools(Mask.from_dense(picture.astype(bool)))
    assert picture[:, 0].sum() == 37 and filled[:, 0].sum() >= 35


@given(hnp.arrays(bool, (20, 22), elements=st.sampled_from([True, True, True, False])))
@settings(max_examples=100, deadline=None)
def test_polygons_without_tolerance_miss_only_specks_and_pinholes(mask):
    mask[:2] = True  # something to hold on to
    assert (
        overlap(filled_by_pycocotools(Mask.from_dense(mask), tolerance_px=0), mask) >= 1 - 2 * 0.002
    )


def test_a_slanted_edge_becomes_a_straight_line():
    stairs = np.tri(100, 100, dtype=bool)
    [polygon] = Mask.from_dense(stairs).to_polygons()
    assert (
        len(polygon) <= 7 and overlap(filled_by_pycocotools(Mask.from_dense(stairs)), stairs) > 0.99
    )


def test_polygons_are_in_the_photo_s_coordinates():
    mask = np.zeros((50, 60), bool)
    mask[10:30, 20:50] = True
    [polygon] = Mask.from_dense(mask).to_polygons()
    assert polygon.min(0).tolist() == [20, 10] and polygon.max(0).tolist() == [50, 30]


def test_a_single_pixel_is_a_polygon_and_an_empty_mask_is_none():
    [polygon] = Mask.from_dense(one_pixel(4, 6, 2, 3)).to_polygons()
    assert polygon.min(0).tolist() == [3, 2] and polygon.max(0).tolist() == [4, 3]
    assert Mask.from_dense(np.zeros((4, 6), bool)).to_polygons() == []


def test_pieces_come_largest_first_and_specks_are_left_out():
    mask = np.zeros((100, 100), bool)
    mask[2:12, 2:12] = mask[40:90, 40:90] = mask[20:25, 50:55] = mask[95, 3] = True
    tops = [polygon[:, 1].min() for polygon in Mask.from_dense(mask).to_polygons()]
    assert tops == [40, 2, 20]


def test_a_hole_is_cut_out_and_an_island_in_it_is_another_polygon():
    ring = np.ones((60, 60), bool)
    ring[10:50, 10:50] = False
    island = ring.copy()
    island[25:35, 25:35] = True
    assert [len(Mask.from_dense(mask).to_polygons()) for mask in (ring, island)] == [1, 2]
    for mask in (ring, island):
        assert overlap(filled_by_pycocotools(Mask.from_dense(mask)), mask) > 0.99
    [polygon] = Mask.from_dense(ring).to_polygons()
    assert cv2.contourArea(polygon.astype(np.float32)) == pytest.approx(ring.sum(), rel=0.01)


def test_a_larger_tolerance_saves_points():
    rows, columns = np.indices((200, 200)) - 100
    disc = Mask.from_dense(rows**2 + columns**2 < 90**2)
    lengths = [len(disc.to_polygons(tolerance_px)[0]) for tolerance_px in (0, 0.5, 2, 8)]
    assert (
        lengths == sorted(lengths, reverse=True)
        and lengths[0] > 2 * lengths[1]
        and lengths[-1] < 12
    )


@pytest.mark.parametrize("tolerance_px", [-1, float("nan")])
def test_an_impossible_tolerance_is_refused(tolerance_px):
    with pytest.raises(ValueError, match="tolerance_px"):
        Mask.from_dense(one_pixel(4, 6, 2, 3)).to_polygons(tolerance_px)


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
