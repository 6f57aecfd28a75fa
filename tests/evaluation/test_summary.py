"""From pictures to the figures of a data set, and how they are printed."""

import json

import numpy as np
import pytest
from drawn import drawn_prediction, drawn_truth
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from humanparse.errors import OptionError
from humanparse.evaluation.ground_truth import GroundTruth, Prediction
from humanparse.evaluation.overlap import measure
from humanparse.evaluation.report import as_json, as_text
from humanparse.evaluation.summary import Summary, picture_iou
from humanparse.labels import LabelSet

LABELS = LabelSet("made-up", ("Background", "Coat", "Left-arm", "Right-arm"))


def summary(*pictures, matching="standard") -> Summary:
    total = Summary(LABELS, matching)
    for number, (true, prediction) in enumerate(pictures):
        total.add(measure(str(number), true, prediction, len(LABELS), matching))
    return total


TWO_PEOPLE = ("12..13", "12..13"), ("11..22", "11..22")


def test_a_perfect_prediction_scores_one_everywhere():
    figures = summary((drawn_truth(*TWO_PEOPLE), drawn_prediction(*TWO_PEOPLE))).figures()
    assert set(figures["pixels"].values()) == {1.0} and figures["swaps"]["rate"] == 0
    people = figures["people"]
    for name in ("ap_r", "ap_p", "ap_h"):
        assert set(people[name].values()) == {1.0}
    assert people["pcp_50"] == people["pq"]["pq"] == 1 and people["pq"]["found"] == 2


def test_figures_of_a_picture_with_one_mistake():
    # The second person's arm has the wrong side. Of twelve pixels (four background, four coat, two
    # and two arms) two are wrong.
    wrong = ("12..12", "12..12"), TWO_PEOPLE[1]
    figures = summary((drawn_truth(*TWO_PEOPLE), drawn_prediction(*wrong))).figures()
    # Background and coat 1, left arm 2 of 4, right arm 0 of 2.
    assert figures["pixels"]["mean_iou"] == pytest.approx((1 + 1 + 1 / 2 + 0) / 4)
    assert figures["pixels"]["pixel_accuracy"] == pytest.approx(10 / 12)
    counts = {"rate": 0.5, "kept": 2, "swapped": 2}
    assert figures["swaps"] == {
        **counts,
        "pairs": [{"left": "Left-arm", "right": "Right-arm", **counts}],
    }
    # Coats: 1. Left arms: one of the two found is right, with equal scores: precision 1/2 at
    # recall 1. Right arm: not found.
    assert [one["ap_r"] for one in figures["classes"]] == [None, 1.0, 0.5, 0.0]
    assert figures["people"]["ap_r"]["mean"] == pytest.approx(0.5)
    # The second person by parts: background and coat 1, both arms 0: 1/2; the first 1. Reached up
    # to a threshold of 0.5.
    assert figures["people"]["ap_p"]["0.50"] == 1 and figures["people"]["ap_p"][
        "0.60"
    ] == pytest.approx(1 / 2 * 1 / 2)
    assert figures["people"]["pcp_50"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["people"]["ap_h"]["mean"] == 1


def test_absent_classes_lower_the_references_means_only():
    coats = ("1.",), ("1.",)
    standard, reference = (
        summary((drawn_truth(*coats), drawn_prediction(*coats)), matching=one).figures()
        for one in ("standard", "reference")
    )
    assert standard["pixels"]["mean_iou"] == standard["people"]["ap_r"]["mean"] == 1
    assert reference["pixels"]["mean_iou"] == pytest.approx(2 / 4)
    assert reference["people"]["ap_r"]["mean"] == pytest.approx(1 / 3)


def test_a_data_set_that_does_not_tell_people_apart_has_no_figures_of_people():
    figures = summary((drawn_truth(("12",), None), drawn_prediction(("12",), ("11",)))).figures()
    assert figures["people"] is None and figures["pixels"]["mean_iou"] == 1
    assert {one["ap_r"] for one in figures["classes"]} == {None}


def test_nothing_measured_gives_no_figures_but_no_error_either():
    figures = summary().figures()
    assert (
        figures["images"] == 0
        and set(figures["pixels"].values()) == {None}
        and figures["swaps"]["rate"] is None
    )
    assert "0 images" in as_text(figures)


def test_an_unknown_matching_is_refused():
    with pytest.raises(OptionError, match="no matching 'best'; choose one of standard, reference"):
        Summary(LABELS, "best")


def test_the_json_has_the_documented_keys_and_no_nan():
    figures = summary((drawn_truth(*TWO_PEOPLE), drawn_prediction(*TWO_PEOPLE))).figures()
    text = as_json(figures)
    assert "NaN" not in text
    data = json.loads(text)
    assert list(data) == [
        "schema",
        "images",
        "label_set",
        "matching",
        "pixels",
        "swaps",
        "people",
        "classes",
    ]
    assert list(data["pixels"]) == [
        "mean_iou",
        "pixel_accuracy",
        "mean_accuracy",
        "frequency_weighted_iou",
    ]
    assert list(data["people"]) == ["pq", "ap_r", "ap_p", "ap_h", "pcp_50"]
    assert list(data["people"]["ap_r"]) == ["mean", *(f"0.{n}0" for n in range(1, 10))]
    assert list(data["people"]["ap_h"]) == ["mean", *(f"0.{n}" for n in range(50, 100, 5))]
    assert list(data["classes"][0]) == ["name", "iou", "accuracy", "ap_r", "pixels"]


def test_the_text_shows_every_figure_class_and_pair():
    text = as_text(summary((drawn_truth(*TWO_PEOPLE), drawn_prediction(*TWO_PEOPLE))).figures())
    aps = "AP^r at 0.5", "AP^p at 0.5", "AP^h at 0.75", "PCP at 0.5"
    for words in (
        "1 image, standard matching",
        "mIoU",
        *aps,
        "person PQ",
        "people missed",
        *LABELS.names,
    ):
        assert words in text
    assert "Left-arm, Right-arm" in text and "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_worst_picture_has_the_least_mean_iou():
    good, bad = (
        measure("x", drawn_truth(*TWO_PEOPLE), drawn_prediction(*one), 4)
        for one in (TWO_PEOPLE, (("1.....", "1....."), TWO_PEOPLE[1]))
    )
    assert picture_iou(good) == 1 > picture_iou(bad)
    assert np.isnan(
        picture_iou(measure("x", drawn_truth(("??",), None), drawn_prediction(("11",), ("11",)), 4))
    )


maps = arrays(np.uint8, (3, 8), elements=st.integers(0, 3))


@st.composite
def pictures(draw):
    """A ground truth and a prediction of random maps, with many equal scores."""
    true_labels, true_people, labels, people = (draw(maps) for _ in range(4))
    part_map = (people.astype(int) * 4 + labels) * (labels > 0)
    present = np.unique(part_map[part_map > 0])
    parts = np.searchsorted(present, part_map) + 1
    number_of_people = int(people.max())
    some = st.lists(st.integers(1, 3).map(lambda n: n / 4), min_size=12, max_size=12)
    scores = np.array(draw(some))
    return GroundTruth(true_labels, true_people), Prediction(
        labels,
        people,
        scores[:number_of_people],
        scores[:number_of_people],
        np.where(part_map > 0, parts, 0),
        present % 4,
        np.resize(scores, len(present)),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(pictures(), min_size=1, max_size=3))
def test_standard_figures_are_shares_and_do_not_depend_on_the_order_of_pictures(some):
    one, other = summary(*some).figures(), summary(*reversed(some)).figures()
    for first, second in zip(_numbers(one), _numbers(other), strict=True):
        assert first == pytest.approx(second)
    people = one["people"]
    shares = [*one["pixels"].values(), one["swaps"]["rate"], people["pq"]["pq"], people["pcp_50"]]
    shares += [value for name in ("ap_r", "ap_p", "ap_h") for value in people[name].values()]
    assert all(0 <= value <= 1 + 1e-12 for value in shares if value is not None)


def _numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in _numbers(one)]
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, int | float) else []
