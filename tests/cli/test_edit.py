"""`humanparse edit`."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from humanparse.cli.errors import BAD_USAGE, SOME_FAILED


@pytest.fixture
def street(here):
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(here / "street.png")
    return pixels


def test_an_edited_photo_lies_beside_its_photo_and_is_not_taken_for_one(run, parser, street, here):
    result = run("edit", "street.png", "--fill", "face=black")
    assert result.exit_code == 0, result.stderr
    edited = np.asarray(Image.open(here / "street.edited.png"))
    assert not edited[:20].any() and np.array_equal(edited[20:], street[20:])
    again = run("edit", ".", "--fill", "face=white", "-o", "out")
    assert again.exit_code == 0 and [file.name for file in (here / "out").iterdir()] == [
        "street.edited.png"
    ]


def test_encodings(run, parser, street, here):
    assert run("edit", "street.png", "--cutout", "face", "--encoding", "webp").exit_code == 0
    with Image.open(here / "street.edited.webp") as picture:
        assert picture.mode == "RGBA"
    assert run("edit", "street.png", "--blur", "face", "--encoding", "jpeg").exit_code == 0
    with Image.open(here / "street.edited.jpg") as picture:
        assert picture.format == "JPEG"
    refused = run("edit", "street.png", "--cutout", "face", "--encoding", "jpeg")
    assert refused.exit_code == BAD_USAGE and "no transparency" in refused.stderr
    assert run("edit", "street.png", "--blur", "face", "--encoding", "bmp").exit_code == BAD_USAGE


def test_what_is_there_is_replaced_only_if_that_is_wanted(run, parser, street, here):
    (here / "street.edited.png").write_text("precious")
    refused = run("edit", "street.png", "--blur", "face")
    assert refused.exit_code == BAD_USAGE and "already exists" in refused.stderr
    assert (here / "street.edited.png").read_text() == "precious"
    assert run("edit", "street.png", "--blur", "face", "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["beach.jpg", "notes.jpg", "whit"])
def test_a_background_that_cannot_be_is_told_once_before_any_photo(run, street, here, name):
    (here / "notes.jpg").write_text("shopping list")
    told = run("edit", "street.png", "street.png", "--background", name, "-o", "out")
    assert told.exit_code == BAD_USAGE and told.stderr.count("\n") == 1
    assert name in told.stderr and "'white'" in told.stderr and not (here / "out").exists()


def test_what_was_not_found_is_said_even_where_all_else_is_quiet(run, parser, street):
    result = run("edit", "street.png", "--blur", "face", "--blur", "shoes", "--quiet")
    assert result.exit_code == 0
    assert "person 1 has no shoes; look at the picture before you rely on it" in result.stderr


def test_people_by_number(run, parser, street, here):
    assert run("edit", "street.png", "--fill", "face=black", "--without-people", 1).exit_code == 0
    assert np.array_equal(np.asarray(Image.open(here / "street.edited.png")), street)
    only = run("edit", "street.png", "--fill", "face=black", "--people", 1, "--overwrite")
    assert only.exit_code == 0, only.stderr
    assert not np.asarray(Image.open(here / "street.edited.png"))[:20].any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ((), "nothing to do"),
        (("--blur", "face", "--people", "me"), "--people is 'me'; give numbers of people"),
        (("--blur", "face", "--people", "1", "--without-people", "2"), "exclude each other"),
        (("--blur", "fase"), "did you mean 'face'?"),
        (("--blur", "face +"), "ends too soon"),
        (("--recolour", "upper"), "give a region and a colour"),
    ],
)
def test_mistakes_are_told_before_the_work(run, parser, street, options, word):
    result = run("edit", "street.png", *options)
    assert result.exit_code == BAD_USAGE and word in result.stderr
    assert parser.seen == []


def test_a_photo_without_that_person_does_not_stop_the_others(run, parser, street, here):
    result = run("edit", "street.png", "--blur", "face:2")
    assert result.exit_code == SOME_FAILED and "there is no person 2" in result.stderr
    assert not (here / "street.edited.png").exists()
