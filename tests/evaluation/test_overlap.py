"""The score of one picture, computed by hand on maps that are drawn as letters."""

import json

import numpy as np
import pytest
from drawn import drawn_prediction, drawn_truth, grid
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up import empty_parsing, made_up_parsing

from humanparse.errors import OptionError
from humanparse.evaluation.ground_truth import GroundTruth, prediction_of
from humanparse.evaluation.mean_iou import MeanIoU
from humanparse.evaluation.overlap import PictureScore, measure
from humanparse.evaluation.person_pq import PersonPQ

CLASSES = 4  # background, 1, 2 and 3


def test_the_confusion_counts_pixels_by_true_and_found_class():
    score = measure(
        "x", drawn_truth(("0112",), None), drawn_prediction(("0122",), ("0111",)), CLASSES
    )
    assert score.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert score.instances is None  # this ground truth does not separate people


def test_parts_are_compared_with_parts_of_their_own_class():
    # Two people: class 1 above class 2. The prediction has person 2's class 2 as class 3 in its
    # last two pixels.
    score = measure(
        "x",
        drawn_truth(("11.11", "22.22"), ("11.22", "11.22")),
        drawn_prediction(("11.1.", "22.33"), ("11.2.", "11.22"), part_scores=[0.9, 0.8, 0.7, 0.6]),
        CLASSES,
    )
    ones, twos, threes = (score.instances.parts[class_id] for class_id in (1, 2, 3))
    assert ones.scores.tolist() == [0.9, 0.7] and ones.iou.tolist() == [[1, 0], [0, 0.5]]
    assert twos.scores.tolist() == [0.8] and twos.iou.tolist() == [[1, 0]]
    assert threes.scores.tolist() == [0.6] and threes.iou.shape == (1, 0)


def test_people_overlap_by_the_mean_iou_of_their_classes_with_the_background():
    # Four of eight pixels are the person. Class 1: two true, three found, two shared: 2/3. Class 2:
    # two true, one found: 1/2. Background: the other four, all right: 1.
    score = measure(
        "x",
        drawn_truth(("1122....",), ("1111....",)),
        drawn_prediction(("1112....",), ("1111....",)),
        CLASSES,
    )
    assert score.instances.people.iou.tolist() == [[pytest.approx((2 / 3 + 1 / 2 + 1) / 3)]]
    # 1/2 does not exceed one half
    assert score.instances.true_parts.tolist() == [2] and score.instances.right_parts.tolist() == [
        [1]
    ]
    assert score.instances.humans.iou.tolist() == [[1.0]]


def test_what_others_have_is_background_for_a_person():
    # Person 2 is predicted as part of person 1: half of the prediction is too much for person 1.
    score = measure(
        "x", drawn_truth(("1111",), ("1122",)), drawn_prediction(("1111",), ("1111",)), CLASSES
    )
    # Ground truth 1: class 1 two of four, background none of two.
    assert score.instances.people.iou.tolist() == [[pytest.approx((2 / 4 + 0) / 2)] * 2]
    assert score.instances.humans.iou.tolist() == [[0.5, 0.5]]


def test_unknown_pixels_do_not_count():
    known = measure("x", drawn_truth(("11",), ("11",)), drawn_prediction(("11",), ("11",)), CLASSES)
    score = measure(
        "x", drawn_truth(("11??",), ("11..",)), drawn_prediction(("1122",), ("1111",)), CLASSES
    )
    assert score.confusion.tolist() == known.confusion.tolist()
    assert (
        score.instances.humans.iou.tolist()
        == score.instances.people.iou.tolist()
        == score.instances.parts[1].iou.tolist()
        == [[1.0]]
    )
    # Exactly half of the person is known; part 2 lies on unknown pixels only, so it is not false.
    assert score.instances.humans.judged.tolist() == [True]
    assert score.instances.parts[2].judged.tolist() == [False]


def test_the_reference_keeps_unknown_pixels_where_the_official_code_does():
    score = measure(
        "x",
        drawn_truth(("11??",), ("11..",)),
        drawn_prediction(("1122",), ("1111",)),
        CLASSES,
        "reference",
    )
    assert score.confusion[1, 1] == 2 and score.confusion.sum() == 2
    assert score.instances.humans.iou.tolist() == [[0.5]]
    # Class 1 is right, class 2 is found where the person is not, so that no background is left: 1,
    # 0 and 0.
    assert score.instances.people.iou.tolist() == [[pytest.approx(1 / 3)]]
    assert score.instances.parts[2].judged.tolist() == [True]


def test_the_reference_leaves_unknown_pixels_of_the_person_out():
    score = measure(
        "x",
        drawn_truth(("11?.",), ("111.",)),
        drawn_prediction(("112.",), ("111.",)),
        CLASSES,
        "reference",
    )
    assert score.instances.people.iou.tolist() == [[1.0]]
    assert score.instances.humans.iou.tolist() == [[1.0]]


def test_faint_people_do_not_count_in_the_references_ap_p():
    score = measure(
        "x",
        drawn_truth(("11",), ("11",)),
        drawn_prediction(("11",), ("11",), scores=[0.009]),
        CLASSES,
        "reference",
    )
    assert score.instances.people.iou.tolist() == [
        [0.0]
    ] and score.instances.people.judged.tolist() == [False]
    assert score.instances.humans.iou.tolist() == [[1.0]]


def test_part_instances_of_the_data_set_are_used_where_it_has_some():
    whole = drawn_truth(("1111",), ("1111",))
    halves = GroundTruth(whole.label_map, whole.person_map, grid("7799"), {7: 1, 9: 1, 8: 2})
    prediction = drawn_prediction(("1111",), ("1111",))
    assert measure("x", whole, prediction, CLASSES).instances.parts[1].iou.tolist() == [[1.0]]
    score = measure("x", halves, prediction, CLASSES)
    assert score.instances.parts[1].iou.tolist() == [[0.5, 0.5]]
    assert 2 not in score.instances.parts  # part 8 is listed but has no pixel


def test_pictures_without_people_on_either_side_are_ordinary():
    nobody = drawn_truth(("....",), ("....",)), drawn_prediction(("....",), ("....",))
    score = measure("x", *nobody, CLASSES)
    assert (
        score.instances.parts == {}
        and score.instances.people.iou.shape == score.instances.humans.iou.shape == (0, 0)
    )
    invented = measure("x", nobody[0], drawn_prediction(("11..",), ("11..",)), CLASSES)
    assert invented.instances.humans.iou.shape == (1, 0)
    missed = measure("x", drawn_truth(("11..",), ("11..",)), nobody[1], CLASSES)
    assert missed.instances.humans.iou.shape == (0, 1)


def test_sizes_that_differ_and_classes_that_do_not_exist_are_refused():
    with pytest.raises(
        OptionError, match=r"street: the ground truth is 2x1 but the prediction is 3x1"
    ):
        measure("street", drawn_truth(("11",), None), drawn_prediction(("111",), ("111",)), CLASSES)
    with pytest.raises(OptionError, match="street: the ground truth has class 7; expected 0 to 3"):
        measure("street", drawn_truth(("17",), None), drawn_prediction(("11",), ("11",)), CLASSES)


def test_a_result_brings_its_parts_and_scores():
    prediction = prediction_of(made_up_parsing())
    assert prediction.person_scores.tolist() == [0.9, 0.8]
    assert prediction.parsing_scores == pytest.approx([0.9 * 0.7, 0.8 * 0.7])
    assert len(prediction.part_classes) == 12 and set(prediction.part_scores) == {0.7}
    for number, label in enumerate(prediction.part_classes, start=1):
        assert set(prediction.label_map[prediction.part_map == number]) == {label}
    assert prediction_of(empty_parsing()).part_classes.size == 0


labels = arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 1, 2, 3, 255]))
people = arrays(np.int16, (4, 6), elements=st.sampled_from([0, 1, 2, 5]))


@settings(deadline=None)
@given(labels, people, labels, people, st.sampled_from(["standard", "reference"]))
def test_the_table_agrees_with_counting_on_the_maps(
    true_labels, true_people, labels, people, matching
):
    people = np.minimum(people, 3)  # 1, 2, 3
    prediction = drawn_prediction(_rows(labels % 255), _rows(people))
    score = measure("x", GroundTruth(true_labels, true_people), prediction, CLASSES, matching)
    pixels = MeanIoU(CLASSES)
    pixels.add(true_labels, prediction.label_map)
    assert (score.confusion == pixels.confusion).all()
    unknown = (true_labels == 255) & (true_people == 0)
    pq = PersonPQ()
    pq.add(np.where(unknown, -1, true_people), people)
    assert sorted(score.instances.pq.overlaps) == pytest.approx(sorted(pq.overlaps))
    assert (score.instances.pq.missed, score.instances.pq.false) == (pq.missed, pq.false)
    left_out = unknown & (matching == "standard")
    for p in range(1, len(prediction.person_scores) + 1):
        for t, person in enumerate(sorted({*true_people.ravel().tolist()} - {0})):
            mine, theirs = (people == p) & ~left_out, true_people == person
            either = (mine | theirs).sum()
            assert score.instances.humans.iou[p - 1, t] == pytest.approx(
                (mine & theirs).sum() / either if either else 0
            )


@settings(deadline=None)
@given(labels, people, labels, people)
def test_scores_survive_being_written_and_read(true_labels, true_people, labels, people):
    score = measure(
        "x",
        GroundTruth(true_labels, true_people),
        drawn_prediction(_rows(labels % 255), _rows(people)),
        CLASSES,
    )
    again = PictureScore.from_dict(json.loads(json.dumps(score.to_dict())))
    assert again.to_dict() == score.to_dict()
    assert (
        again.confusion == score.confusion
    ).all() and again.instances.humans.iou.shape == score.instances.humans.iou.shape
    assert (again.instances.people.iou == score.instances.people.iou).all()


def _rows(values: np.ndarray) -> tuple[str, ...]:
    return tuple("".join(str(one) for one in row) for row in values)
