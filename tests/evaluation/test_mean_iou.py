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
