"""Average precision by hand, against COCO's own matching, and its properties on made-up
overlaps."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from humanparse.evaluation.instance_ap import (
    HUMAN_THRESHOLDS,
    PART_THRESHOLDS,
    PCP,
    AveragePrecision,
    Overlaps,
    area_under,
    match_any,
    match_first,
    match_once,
)


def overlaps(scores, iou, judged=None) -> Overlaps:
    iou = np.array(iou, float).reshape(len(scores), -1)
    return Overlaps(
        np.array(scores, float),
        iou,
        np.ones(len(scores), bool) if judged is None else np.array(judged),
    )


def ap(*pictures: Overlaps, matching="standard", kind="region", threshold=0.5) -> float:
    score = AveragePrecision([threshold], matching, kind)
    for one in pictures:
        score.add(one)
    return float(score.per_threshold[0])


def test_the_thresholds_are_those_of_the_field():
    assert np.allclose(PART_THRESHOLDS, np.arange(1, 10) / 10, atol=1e-12, rtol=0)
    assert np.allclose(HUMAN_THRESHOLDS, 0.5 + 0.05 * np.arange(10), atol=1e-12, rtol=0)


def test_the_area_is_taken_under_the_best_precision_from_each_recall_on():
    # Right, false, right of three instances: recall 1/3, 1/3, 2/3 and precision 1, 1/2, 2/3. The
    # best precision is 1 up to a recall of 1/3, 2/3 up to 2/3, and 0 beyond that.
    assert area_under(np.array([1, 1, 2]) / 3, np.array([1, 1 / 2, 2 / 3])) == pytest.approx(
        1 / 3 + 1 / 3 * 2 / 3
    )


def test_the_same_by_way_of_overlaps():
    picture = overlaps([0.9, 0.8, 0.7], [[0.6, 0, 0], [0, 0.4, 0], [0, 0, 0.9]])
    assert ap(picture) == pytest.approx(1 / 3 + 2 / 9)


def test_everything_found_scores_one_and_nothing_found_zero():
    assert ap(overlaps([0.2, 0.9], [[1, 0], [0, 1]])) == 1
    empty = Overlaps(np.zeros(0), np.zeros((0, 2)), np.zeros(0, bool))
    assert ap(empty) == ap(empty, matching="reference") == 0


def test_without_ground_truth_there_is_no_figure_but_zero_in_the_reference_if_nothing_was_found():
    false_alarm = Overlaps(np.array([0.9]), np.zeros((1, 0)), np.ones(1, bool))
    assert (
        np.isnan(ap())
        and np.isnan(ap(false_alarm))
        and np.isnan(ap(false_alarm, matching="reference"))
    )
    assert ap(matching="reference") == 0


def test_a_duplicate_is_false_in_the_standard_and_right_in_the_reference():
    twice = overlaps([0.9, 0.8, 0.7], [[0.8, 0], [0.7, 0], [0, 0.9]])
    # Right, false, right of two instances: precision 1 up to recall 1/2, then 2/3.
    assert ap(twice) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    # Right three times of two instances: recall 1/2, 1, 3/2, all at precision 1.
    assert ap(twice, matching="reference") == pytest.approx(1.5)
    # In the reference, AP^p does mark an instance as found.
    assert ap(twice, matching="reference", kind="person") == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_the_standard_takes_the_second_best_instance_and_the_reference_does_not():
    # Both overlap the first instance most; the second prediction also overlaps the second instance
    # enough.
    both = overlaps([0.9, 0.8], [[0.8, 0.1], [0.7, 0.6]])
    assert ap(both) == 1
    assert ap(both, matching="reference", kind="person") == pytest.approx(0.5)


def test_an_overlap_of_just_the_threshold_is_enough_in_the_standard_only():
    exact = overlaps([0.9], [[0.5]])
    assert (
        ap(exact),
        ap(exact, matching="reference"),
        ap(exact, matching="reference", kind="person"),
    ) == (1, 0, 0)


def test_of_equal_scores_the_reference_takes_the_last_first_for_regions_and_the_first_for_people():
    tie = overlaps([0.5, 0.5], [[0.9], [0.1]])
    # The false one first: precision 1/2 at recall 1. The right one first: 1.
    assert ap(tie, matching="reference") == pytest.approx(1 / 2)
    assert ap(tie, matching="reference", kind="person") == 1
    # In the standard both count together: one of two is right.
    assert ap(tie) == pytest.approx(1 / 2)


def test_predictions_on_unknown_ground_count_only_if_they_find_somebody():
    assert ap(overlaps([0.9, 0.8], [[0.1], [0.9]], judged=[False, True])) == 1
    assert ap(overlaps([0.9], [[0.9]], judged=[False])) == 1


def test_pictures_are_ranked_together():
    # A false one first, then a right one: precision 1/2 at recall 1/2, for one of two instances.
    assert ap(overlaps([0.3], [[0.9]]), overlaps([0.9], [[0.0]])) == pytest.approx(1 / 2 * 1 / 2)


def test_pcp_is_the_mean_share_of_right_parts_over_all_true_people():
    score = PCP()
    # Two true people of four and two parts: the first is found with three right ones, the second
    # not at all.
    score.add(np.array([0]), np.array([[3, 0]]), np.array([4, 2]))
    assert score.value == pytest.approx((3 / 4 + 0) / 2)
    assert np.isnan(PCP().value)


def test_the_standard_matching_is_cocos():
    mask = pytest.importorskip("pycocotools.mask")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng, matched = np.random.default_rng(0), 0
    for _ in range(20):
        truths, predictions = (_boxes(rng, rng.integers(2, 5)) for _ in range(2))
        scores = rng.permutation(len(predictions)) / 10 + 0.1
        coco = _coco(COCO, mask, truths)
        results = [
            {
                "image_id": 1,
                "category_id": 1,
                "score": float(score),
                "segmentation": _rle(mask, one),
            }
            for one, score in zip(predictions, scores, strict=True)
        ]
        official = COCOeval(coco, coco.loadRes(results), "segm")
        official.params.iouThrs = np.array(HUMAN_THRESHOLDS)
        official.evaluate()
        wanted = official.evalImgs[0]
        iou = np.array([[(a & b).sum() / (a | b).sum() for b in truths] for a in predictions])
        # Of equal overlaps COCO would take the last.
        assert all(len(np.unique(row)) == len(row) for row in iou)
        order = np.argsort(-scores, kind="stable")
        for row, threshold in enumerate(HUMAN_THRESHOLDS):
            matched += int((wanted["dtMatches"][row] > 0).sum())
            # COCO counts true instances from 1; 0 is none.
            ours = match_once(iou, order, threshold)[order] + 1
            assert ours.tolist() == wanted["dtMatches"][row].astype(int).tolist()
    assert matched > 50


def _boxes(rng, count) -> list[np.ndarray]:
    masks = []
    for y, x, height, width in rng.integers((0, 0, 50, 50), (12, 12, 80, 80), (count, 4)):
        one = np.zeros((100, 100), bool)
        one[y : y + height, x : x + width] = True
        masks.append(one)
    return masks


def _rle(mask, dense: np.ndarray) -> dict:
    return mask.encode(np.asfortranarray(dense.astype(np.uint8)))


def _coco(COCO, mask, truths):
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": 1, "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "area": int(one.sum()),
                "segmentation": _rle(mask, one),
            }
            for number, one in enumerate(truths, start=1)
        ],
    }
    coco.createIndex()
    return coco


shares = st.integers(0, 20).map(lambda n: n / 20)


@st.composite
def pictures(draw):
    num_truths = draw(st.integers(0, 4))
    scores = draw(st.lists(st.integers(1, 5).map(lambda n: n / 5), max_size=5))
    iou = [draw(st.lists(shares, min_size=num_truths, max_size=num_truths)) for _ in scores]
    return Overlaps(
        np.array(scores, float),
        np.array(iou, float).reshape(len(scores), num_truths),
        np.ones(len(scores), bool),
    )


datasets = st.lists(pictures(), min_size=1, max_size=4)


def mean_ap(some, matching="standard") -> float:
    score = AveragePrecision(PART_THRESHOLDS, matching)
    for one in some:
        score.add(one)
    return score.mean


@settings(deadline=None)
@given(datasets)
def test_standard_ap_lies_between_0_and_1_and_does_not_depend_on_the_order_of_pictures(some):
    value = mean_ap(some)
    assume(not np.isnan(value))
    assert 0 <= value <= 1
    assert mean_ap(reversed(some)) == pytest.approx(value)


@settings(deadline=None)
@given(datasets, st.data())
def test_a_further_duplicate_never_raises_the_standard_ap(some, data):
    value = mean_ap(some)
    copied = data.draw(st.sampled_from(some))
    assume(len(copied.scores) > 0 and not np.isnan(value))
    row = data.draw(st.integers(0, len(copied.scores) - 1))
    # A duplicate has the overlaps of the prediction that it repeats, but only with the instance
    # that this one found, and a slightly lower score.
    again = np.zeros((1, copied.iou.shape[1]))
    if copied.iou.shape[1]:
        best = copied.iou[row].argmax()
        rivals = np.delete(copied.iou, row, axis=0)
        assume(copied.iou[row, best] >= (rivals[:, best].max() if len(rivals) else 0))
        again[0, best] = copied.iou[row, best]
    alone = Overlaps(
        np.append(copied.scores, copied.scores[row] - 0.01),
        np.vstack([copied.iou, again]),
        np.ones(len(copied.scores) + 1, bool),
    )
    # Where the first of the two has found that instance at a threshold, the second cannot.
    taken = match_once(copied.iou, np.argsort(-copied.scores, kind="stable"), 0.05)
    assume(copied.iou.shape[1] and taken[row] == best)
    assert mean_ap([alone if one is copied else one for one in some]) <= value + 1e-12


@settings(deadline=None)
@given(pictures())
def test_what_is_found_is_found_once_and_overlaps_enough(picture):
    order = np.argsort(-picture.scores, kind="stable")
    for threshold in PART_THRESHOLDS:
        for match in (match_once, match_first, match_any):
            hits = match(picture.iou, order, threshold)
            assert all(picture.iou[p, t] >= threshold for p, t in enumerate(hits) if t >= 0)
            taken = hits[hits >= 0].tolist()
            assert match is match_any or len(taken) == len(set(taken))
        assert (match_any(picture.iou, order, threshold) >= 0).sum() >= (
            match_first(picture.iou, order, threshold) >= 0
        ).sum()
