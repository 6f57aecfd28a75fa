"""Mean IoU, by hand on tiny maps."""

import numpy as np
import pytest

from humanparse.evaluation.mean_iou import MeanIoU


def test_a_perfect_prediction_scores_one():
    truth = np.array([[0, 1], [2, 2]], np.uint8)
    score = MeanIoU(3)
    score.add(truth, truth)
    assert score.mean == 1 and score.pixel_accuracy == 1


def test_overlap_is_divided_by_union_class_by_class():
    score = MeanIoU(3)
    score.add(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8))
    assert score.per_class[:2] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(score.per_class[2]) and score.mean == pytest.approx(7 / 12)
    assert score.pixel_accuracy == 0.75


def test_unknown_pixels_do_not_count():
    score = MeanIoU(2)
    score.add(np.array([[255, 1]], np.uint8), np.array([[0, 1]], np.uint8))
    assert score.per_class[1] == 1 and np.isnan(score.per_class[0])


def test_pictures_add_up_before_the_division():
    score = MeanIoU(2)
    score.add(np.ones((1, 9), np.uint8), np.ones((1, 9), np.uint8))
    score.add(np.ones((1, 1), np.uint8), np.zeros((1, 1), np.uint8))
    assert score.per_class[1] == pytest.approx(0.9)


def test_maps_of_different_size_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        MeanIoU(2).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


def test_the_four_measures_of_one_small_map():
    # Class 0: two true, one right; class 1: two true, two right, one too many; class 2 occurs
    # nowhere.
    score = MeanIoU(3)
    score.add(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8))
    assert score.class_accuracy[:2].tolist() == [0.5, 1] and score.mean_accuracy == 0.75
    assert score.frequency_weighted == pytest.approx(2 / 4 * 1 / 2 + 2 / 4 * 2 / 3)


def test_absent_classes_can_count_as_zero_like_in_the_official_code():
    score = MeanIoU(3, absent=0.0)
    score.add(np.array([[0, 1]], np.uint8), np.array([[0, 1]], np.uint8))
    assert score.mean == score.mean_accuracy == pytest.approx(2 / 3)


def test_a_confusion_counts_like_its_picture():
    truth, prediction = np.array([[0, 1, 1, 255]], np.uint8), np.array([[0, 1, 0, 0]], np.uint8)
    maps, counts = MeanIoU(2), MeanIoU(2)
    maps.add(truth, prediction)
    counts.add_confusion(np.array([[1, 0], [1, 1]]))
    assert (maps.confusion == counts.confusion).all()


def test_nothing_measured_is_not_a_number():
    assert (
        np.isnan(MeanIoU(2).mean)
        and np.isnan(MeanIoU(2).mean_accuracy)
        and np.isnan(MeanIoU(2).frequency_weighted)
    )
