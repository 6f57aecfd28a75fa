"""edit/: photos changed by their regions."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
from made_up import made_up_parsing, parsing_from_maps
from PIL import Image

from humanparse.edit import OPERATIONS, background, edit, step
from humanparse.edit.background import fitted, foreground_colours
from humanparse.edit.steps import MOST_STEPS, colour_of, read_file
from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.vocabulary import EDITS

FACE, COAT = CIHP.index("Face"), CIHP.index("Coat")
SIZE = 96


def photo(seed: int = 1):
    """A noisy photo with one person: a face above a coat."""
    labels, people = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint16)
    people[20:80, 30:66] = 1
    labels[20:44, 30:66], labels[44:80, 30:66] = FACE, COAT
    image = np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    return parsing_from_maps(labels, people, image=image)


def done(parsing, *steps, **options) -> np.ndarray:
    return np.asarray(edit(parsing, [step(*one) for one in steps], **options).image)


@pytest.mark.parametrize("operation", ["blur", "pixelate"])
def test_what_is_hidden_is_gone_and_the_rest_is_untouched(operation):
    parsing = photo()
    got = done(parsing, (operation, "face"))
    face = parsing.label_map == FACE
    assert np.array_equal(got[~face], parsing.image[~face])
    flat = got[face].astype(float).std(axis=0).max()
    assert flat < 0.35 * parsing.image[face].astype(float).std(axis=0).max()
    harder = done(parsing, (operation, "face"), strength=4)
    assert harder[face].astype(float).std() < got[face].astype(float).std()


def test_nothing_of_a_hidden_region_is_left_at_its_edge():
    """Two photos that differ in the face alone give the same result but for its average colours."""
    one, other = photo(), photo()
    face = one.label_map == FACE
    other.image[face] = np.random.default_rng(9).integers(0, 255, (face.sum(), 3), np.uint8)
    same = done(one, ("fill", "face feather=3=black")) == done(
        other, ("fill", "face feather=3=black")
    )
    assert same.all()


def test_filling_and_recolouring():
    parsing = photo()
    coat = parsing.label_map == COAT
    assert (done(parsing, ("fill", "Coat=#102030"))[coat] == (16, 32, 48)).all()
    parsing.image[coat] = 100, 100, 100
    parsing.image[50:60, 40:50] = 60, 60, 60  # a shade
    red = done(parsing, ("recolour", "Coat=#c02020"))
    assert np.abs(red[75, 60].astype(int) - (192, 32, 32)).max() < 6
    assert red[55, 45].sum() < red[75, 60].sum(), "the shade is gone"
    assert np.array_equal(red[~coat], parsing.image[~coat])


def test_everybody_gets_the_colour_whatever_they_wore():
    labels, people = np.zeros((40, 90), np.uint8), np.zeros((40, 90), np.uint16)
    image = np.full((40, 90, 3), 128, np.uint8)
    for number, worn in ((1, (20, 30, 90)), (2, (230, 120, 10))):
        box = np.s_[8:32, 40 * number - 32 : 40 * number - 8 * number]
        people[box], labels[box], image[box] = number, COAT, worn
    got = done(parsing_from_maps(labels, people, image=image), ("recolour", "upper=#208040"))
    assert np.abs(got[labels == COAT].astype(int) - (32, 128, 64)).max() < 6
    assert np.array_equal(got[labels == 0], image[labels == 0])


def test_backgrounds_are_replaced_and_the_people_stay():
    parsing = photo()
    deep = np.s_[30:70, 40:56]
    white = done(parsing, ("background", "white"))
    assert (white[:10] == 255).all() and np.array_equal(white[deep], parsing.image[deep])
    blurred = done(parsing, ("background", "blur"))
    assert blurred[:15].std() < 0.6 * parsing.image[:15].std()
    assert np.array_equal(blurred[deep], parsing.image[deep])


def test_a_blurred_background_does_not_glow_in_the_colour_of_the_people():
    parsing = photo()
    parsing.image[:] = 40
    parsing.image[parsing.person_map > 0] = 255, 0, 0
    got = done(parsing, ("background", "blur"))
    assert np.abs(got[:16].astype(int) - 40).max() <= 2


def test_another_picture_fills_the_background(tmp_path):
    file = tmp_path / "beach.png"
    Image.new("RGB", (30, 200), (0, 120, 240)).save(file)
    got = done(photo(), ("background", f"person={file}"), read=read_file)
    assert (got[:10] == (0, 120, 240)).all()
    with pytest.raises(OptionError, match="no colour"):
        done(photo(), ("background", f"person={file}"))  # a server reads no files


def test_cut_outs_hold_nothing_of_what_is_transparent():
    parsing = photo()
    got = done(parsing, ("cutout", "face"))
    assert got.shape == (SIZE, SIZE, 4)
    assert not got[got[..., 3] == 0].any()
    assert (got[28:36, 40:56, 3] == 255).all() and got[60, 48, 3] == 0
    both = done(parsing, ("cutout", "face"), ("cutout", "Coat"))
    assert both[60, 48, 3] == 255


def test_cutting_to_a_region():
    assert done(photo(), ("crop", "face")).shape == (24, 36, 3)
    with pytest.raises(OptionError, match="cannot be cut"):
        done(photo(), ("crop", "shoes"))


def test_edges_lose_the_colour_that_shines_through_from_behind():
    """A red square before green: at its edge, half and half, what is in front is red."""
    alpha = np.zeros((64, 64), np.uint8)
    alpha[16:48, 16:48] = 255
    alpha[16, 16:48] = alpha[47, 16:48] = alpha[16:48, 16] = alpha[16:48, 47] = 128
    share = alpha[..., None] / 255
    pixels = (share * (220, 30, 30) + (1 - share) * (30, 220, 30)).astype(np.uint8)
    front = foreground_colours(pixels, alpha)
    edge = alpha == 128
    before = np.abs(pixels[edge].astype(int) - (220, 30, 30)).max(1).mean()
    after = np.abs(front[edge].astype(int) - (220, 30, 30)).max(1).mean()
    assert after < 0.15 * before


def test_bands_of_rows_do_not_show(monkeypatch):
    alpha = cv2.GaussianBlur((photo().person_map > 0).astype(np.uint8) * 255, (0, 0), 4)
    pixels = photo().image
    whole = foreground_colours(pixels, alpha)
    monkeypatch.setattr(background, "ROWS", 7)
    assert np.abs(foreground_colours(pixels, alpha).astype(int) - whole).max() <= 1


def test_steps_are_carried_out_in_one_order_whatever_order_they_come_in():
    steps = [("crop", "person"), ("background", "black"), ("fill", "face=white")]
    assert np.array_equal(done(photo(), *steps), done(photo(), *reversed(steps)))


def test_what_is_missing_is_said_once(caplog):
    steps = [step("blur", "shoes"), step("pixelate", "shoes"), step("blur", "face")]
    assert edit(photo(), steps).missing == ("person 1 has no shoes",)
    with caplog.at_level(logging.WARNING, "humanparse"):
        image = photo().edit(blur=["face", "shoes"], background="white")
    assert image.size == (SIZE, SIZE) and "person 1 has no shoes" in caplog.text


def test_some_people_are_edited_and_others_left_as_they_are():
    parsing = made_up_parsing()
    face, whose = parsing.label_map == FACE, parsing.person_map
    for options, edited in (
        ({"people": 1}, face & (whose == 1)),
        ({"people": [2, 1]}, face),
        ({"without_people": "1"}, face & (whose == 2)),
        ({"without_people": [1, 2]}, face & (whose > 2)),
    ):
        got = done(parsing, ("fill", "face=#010203"), **options)
        assert np.array_equal((got == (1, 2, 3)).all(axis=2), edited), options
    got = done(parsing, ("fill", "face:2=#010203"), people=1)  # as it names somebody itself
    assert np.array_equal((got == (1, 2, 3)).all(axis=2), face & (whose == 2))
    alone = done(parsing, ("background", "#010203"), ("crop", "person"), people=[2])
    assert alone.shape == (80, 40, 3)
    assert edit(parsing, [step("blur", "shoes")], people=[2]).missing == ("person 2 has no shoes",)


def test_leaving_somebody_out_leaves_parts_of_nobody_in():
    labels, people = np.full((8, 8), FACE, np.uint8), np.zeros((8, 8), np.uint16)
    people[:4] = 1
    parsing = parsing_from_maps(labels, people)
    got = np.asarray(parsing.edit(fill="face=#010203", without_people=1))
    assert np.array_equal((got == (1, 2, 3)).all(axis=2), people == 0)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"people": 3}, "no person 3 in this photo: it shows people 1 to 2"),
        ({"without_people": "3"}, "no person 3"),
        ({"people": 1, "without_people": 2}, "exclude each other"),
        ({"people": 0}, "at least 1"),
        ({"people": "one"}, "such as '2' or '1,3'"),
        ({"people": []}, "is empty"),
    ],
)
def test_impossible_people_are_refused(options, word):
    with pytest.raises(OptionError, match=word):
        edit(made_up_parsing(), [step("blur", "face")], **options)


@pytest.mark.parametrize(
    ("operation", "text", "word"),
    [
        ("smear", "face", "no edit 'smear'; choose one of blur"),
        ("blur", None, "give a region as text"),
        ("blur", "face=red", "numbers|understood|region"),
        ("fill", "face", "give a region and a colour"),
        ("fill", "face=", "a colour is missing"),
        ("recolour", "face=reddish", "no colour 'reddish'"),
        ("background", "person=", "is missing"),
    ],
)
def test_what_is_no_step_is_refused(operation, text, word):
    with pytest.raises(OptionError, match=word):
        edit(photo(), [step(operation, text)])


def test_impossible_numbers_are_refused():
    with pytest.raises(OptionError, match="1 to 50"):
        edit(photo(), [])
    with pytest.raises(OptionError, match="1 to 50"):
        edit(photo(), [step("blur", "face")] * (MOST_STEPS + 1))
    with pytest.raises(OptionError, match="strength"):
        edit(photo(), [step("blur", "face")], strength=0)


def test_colours_by_name_and_number():
    assert colour_of("white") == (255, 255, 255) and colour_of("1,2,3") == (1, 2, 3)
    assert colour_of("#c02020") == (192, 32, 32) and colour_of("#c02020ff") == (192, 32, 32)
    for wrong in ("", "300,0,0", "reddish", "#12"):
        with pytest.raises(OptionError, match="no colour"):
            colour_of(wrong)


@pytest.mark.parametrize("size_hw", [(40, 30), (3, 500), (77, 77)])
def test_other_pictures_fill_any_size(size_hw):
    assert fitted(np.full((50, 20, 3), 7, np.uint8), size_hw).shape == (*size_hw, 3)


def test_the_closed_list_of_edits_is_that_of_the_operations():
    assert list(EDITS) == list(OPERATIONS)


def test_every_operation_leaves_the_photo_itself_alone():
    parsing = photo()
    before = parsing.image.copy()
    texts = {"colour": "face=red", "background": "blur", "": "face"}
    for name, operation in OPERATIONS.items():
        edit(parsing, [step(name, texts[operation.takes])])
    assert np.array_equal(parsing.image, before)
