"""Options are the same in form, query and JSON; wrong ones give clear errors."""

import pytest

from humanparse import formats
from humanparse.service import options
from humanparse.service.options import Options, parse_options, picture_options, wanted_encoding
from humanparse.service.problems import KINDS, Problem
from humanparse.service.settings import Settings
from humanparse.vocabulary import MIN_SIDE

SETTINGS = Settings(max_side=1000)


def test_the_formats_written_down_here_are_those_of_the_package():
    assert sorted(options.FILES) == sorted(formats.FORMATS)
    assert options.MIN_SIDE == MIN_SIDE


def test_without_a_word_the_answer_is_the_json_with_run_lengths():
    assert parse_options({}, SETTINGS) == Options(
        format="answer", include=("rle",), palette="clear"
    )


def test_all_options_at_once_as_text():
    fields = {
        "model": "m",
        "format": "coco",
        "include": "overlay,rle",
        "min_score": "0.5",
        "palette": "classic",
        "max_side": "512",
    }
    assert parse_options(fields, SETTINGS) == Options(
        "m", "coco", ("rle", "overlay"), 0.5, "classic", 512
    )


def test_numbers_and_lists_of_json_mean_the_same():
    assert parse_options(
        {"min_score": 0.5, "max_side": 512, "include": ["rle", "labels"]}, SETTINGS
    ) == parse_options({"min_score": "0.5", "max_side": "512", "include": "labels,rle"}, SETTINGS)


def test_empty_fields_are_as_if_not_there():
    assert (
        parse_options({"model": "", "include": "", "min_score": "", "max_side": ""}, SETTINGS)
        == Options()
    )


def test_none_leaves_the_masks_out():
    assert parse_options({"include": "none"}, SETTINGS).include == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"palette": "loud"},
        {"format": "gif"},
        {"include": "everything"},
        {"min_score": "high"},
        {"min_score": "1.5"},
        {"min_score": "nan"},
        {"max_side": "32"},
        {"max_side": "1001"},
        {"max_side": "512.5"},
        {"max_side": "inf"},
        {"colour": "red"},
        {"palette": ["clear", "classic"]},
        {"min_score": {"a": 1}},
        {"min_score": True},
        {"palette": ["clear", ["x"]]},
        {"format": [["x"]]},
        {"include": {"rle": 1}},
        {"include": [["rle"]]},
    ],
)
def test_impossible_options_are_named(fields):
    with pytest.raises(Problem) as caught:
        parse_options(fields, SETTINGS)
    assert caught.value.code == "bad_option"
    assert next(iter(fields)) in caught.value.detail


def test_a_long_value_is_not_thrown_back_whole():
    with pytest.raises(Problem) as caught:
        parse_options({"palette": "x" * 5000}, SETTINGS)
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", "jpeg"),
        ("*/*", "jpeg"),
        ("image/*", "jpeg"),
        ("image/png", "png"),
        ("image/webp,*/*;q=0.8", "webp"),
        ("text/html,image/png;q=0.9,*/*;q=0.1", "png"),
        ("image/jpeg;q=0,*/*", "png"),
        ("image/png;q=0.2, image/webp;q=0.3", "webp"),
    ],
)
def test_accept_chooses_the_encoding(accept, encoding):
    assert wanted_encoding(accept) == encoding
    assert picture_options({}, accept, SETTINGS).encoding == encoding


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "image/*;q=0", "image/png;q=x"])
def test_an_accept_header_that_wants_none_of_ours(accept):
    with pytest.raises(Problem) as caught:
        wanted_encoding(accept)
    assert caught.value.code == "not_acceptable" and "image/png" in caught.value.detail


def test_what_is_transparent_is_never_a_jpeg():
    assert picture_options({"style": "cutout"}, "*/*", SETTINGS).encoding == "png"
    with pytest.raises(Problem):
        picture_options({"style": "cutout"}, "image/jpeg", SETTINGS)


def test_every_problem_has_a_status_that_is_an_error():
    assert all(400 <= kind.status < 600 and kind.title for kind in KINDS.values())
    assert all(kind.retryable for kind in KINDS.values() if kind.status in (408, 429, 503, 504))
