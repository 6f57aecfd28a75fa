"""retouch.py: cut-out, blur, recolour."""

import dataclasses

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image

from humanparse import render
from humanparse.errors import OptionError
from humanparse.labels import CIHP


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


# Cut-out


def test_cutout_keeps_a_person_s_pixels_and_nothing_else_of_the_photo():
    parsing = made_up_parsing()
    picture = pixels(render.cutout(parsing, [2], feather_px=0, crop=False))
    mine = parsing.person_map == 2
    assert picture.shape == (120, 160, 4)
    assert np.array_equal(picture[..., 3], mine * np.uint8(255))
    assert np.array_equal(picture[mine][:, :3], parsing.image[mine]) and not picture[~mine].any()


def test_cutout_is_cut_to_the_box_of_what_it_keeps():
    parsing = made_up_parsing()
    assert render.cutout(parsing).size == (80, 80)
    assert render.cutout(parsing, 1, "Face").size == (16, 16)
    face = pixels(render.cutout(parsing, 1, "Face", feather_px=0))
    assert (
        np.array_equal(face[..., :3], parsing.image[26:42, 52:68]) and (face[..., 3] == 255).all()
    )


def test_cutout_chooses_labels_of_all_people():
    parsing = made_up_parsing()
    alpha = pixels(render.cutout(parsing, labels=["Left-arm", "Hair"], feather_px=0, crop=False))[
        ..., 3
    ]
    chosen = np.isin(parsing.label_map, [CIHP.index("Left-arm"), CIHP.index("Hair")])
    assert np.array_equal(alpha > 0, chosen)


def test_cutout_s_soft_edge_lies_inside_the_mask():
    parsing = made_up_parsing()
    alpha = pixels(render.cutout(parsing, 1, feather_px=3, crop=False))[..., 3]
    assert not alpha[parsing.person_map != 1].any()
    assert (
        alpha[60, 40:46].tolist() == sorted(alpha[60, 40:46].tolist()) and 0 < alpha[60, 40] < 100
    )
    assert alpha[60, 60] == 255


def test_cutout_has_no_soft_edge_at_the_photo_s_border():
    full = np.ones((9, 9), np.uint8)
    alpha = pixels(render.cutout(parsing_from_maps(full, full.astype(np.uint16)), feather_px=2))[
        ..., 3
    ]
    assert (alpha == 255).all()


def test_cutout_of_nothing_is_transparent_and_the_size_of_the_photo():
    for picture in (
        render.cutout(empty_parsing((4, 5))),
        render.cutout(made_up_parsing(), labels="Hat"),
    ):
        assert picture.mode == "RGBA" and not pixels(picture).any()
    assert picture.size == (160, 120)


def test_cutout_refuses_people_labels_and_feathers_that_cannot_be():
    parsing = made_up_parsing()
    for ids in (0, 3, [1, 7], -1):
        with pytest.raises(OptionError, match="choose from 1 to 2"):
            render.cutout(parsing, ids)
    with pytest.raises(OptionError, match="no people were found"):
        render.cutout(empty_parsing(), [1])
    with pytest.raises(OptionError, match="Tail"):
        render.cutout(parsing, labels=["Tail"])
    for feather_px in (-1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="feather_px"):
            render.cutout(parsing, feather_px=feather_px)


# Blur


def chequered(parsing):
    """The parsing on a photo of black and white squares, 2 pixels wide: all detail, no colour."""
    rows, columns = np.indices(parsing.size_hw)
    squares = (((rows // 2 + columns // 2) % 2) * 255).astype(np.uint8)
    return dataclasses.replace(parsing, image=np.repeat(squares[..., None], 3, axis=2))


def test_blur_hides_all_detail_of_the_faces_and_nothing_far_from_them():
    parsing = chequered(made_up_parsing())
    picture = pixels(render.blur(parsing))
    face = parsing.label_map == CIHP.index("Face")
    assert np.ptp(picture[face].astype(int)) < 60 and np.ptp(parsing.image[face].astype(int)) == 255
    assert np.array_equal(picture[:22], parsing.image[:22]) and np.array_equal(
        picture[48:], parsing.image[48:]
    )


def test_blur_hides_the_eyes_behind_glasses_with_the_face():
    label_map, people = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint16)
    people[10:50, 10:50], label_map[10:50, 10:50] = 1, CIHP.index("Face")
    label_map[18:34, 14:46] = CIHP.index("Sunglasses")
    parsing = chequered(parsing_from_maps(label_map, people))
    assert np.ptp(pixels(render.blur(parsing))[10:50, 10:50].astype(int)) < 60
    assert np.ptp(pixels(render.blur(parsing, "Face"))[24:28, 24:36].astype(int)) == 255


def test_blur_is_stronger_with_strength():
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    parsing = dataclasses.replace(made_up_parsing(), image=image)
    face = parsing.label_map == CIHP.index("Face")
    left_over = [
        pixels(render.blur(parsing, strength=strength))[face].std() for strength in (0.5, 1, 2, 100)
    ]
    assert left_over == sorted(left_over, reverse=True) and left_over[-1] < 5


def test_blur_chooses_people_and_labels():
    parsing = chequered(made_up_parsing())
    changed = (pixels(render.blur(parsing, ["Face", "Pants"], person_ids=2)) != parsing.image).any(
        2
    )
    assert (
        not changed[:, :80].any()
        and changed[26:42, 92:108].mean() > 0.9
        and changed[76:100, 90:110].mean() > 0.9
    )
    assert np.array_equal(pixels(render.blur(parsing, person_ids=[])), parsing.image)


def test_blur_reaches_parts_that_belong_to_nobody():
    label_map = np.zeros((40, 40), np.uint8)
    label_map[10:30, 10:30] = CIHP.index("Face")
    parsing = chequered(parsing_from_maps(label_map, np.zeros((40, 40), np.uint16)))
    assert np.ptp(pixels(render.blur(parsing))[10:30, 10:30].astype(int)) < 60


# Recolour


def test_recolour_gives_the_part_the_colour_and_keeps_light_and_shade():
    shade = np.linspace(100, 160, 160)[None, :, None] * np.ones((120, 1, 3))
    parsing = dataclasses.replace(made_up_parsing(), image=shade.astype(np.uint8))
    picture = pixels(render.recolour(parsing, "Pants", (200, 40, 40))).astype(int)
    inside = picture[80:96, 54:66]
    assert np.abs(np.median(inside, axis=(0, 1)) - (200, 40, 40)).max() < 12
    assert inside[0, -1].sum() > inside[0, 0].sum()  # it still grows lighter to the right
    others = parsing.label_map != CIHP.index("Pants")
    assert np.array_equal(picture[others], parsing.image[others])


def test_recolour_takes_several_labels_of_a_person_as_one():
    parsing = made_up_parsing()
    flat = dataclasses.replace(parsing, image=np.full_like(parsing.image, 90))
    picture = pixels(
        render.recolour(flat, ["UpperClothes", "Left-arm"], (30, 90, 220), person_ids=1)
    )
    # across the border of the two
    assert (np.abs(picture[50:60, 55:75].astype(int) - (30, 90, 220)) < 6).all()
    assert np.array_equal(picture[:, 80:], flat.image[:, 80:])


def test_blur_and_recolour_refuse_what_cannot_be():
    parsing = made_up_parsing()
    for draw in (
        render.blur,
        lambda *args, **options: render.recolour(*args, (0, 0, 0), **options),
    ):
        with pytest.raises(OptionError, match="Tail"):
            draw(parsing, "Tail")
        with pytest.raises(OptionError, match="choose from 1 to 2"):
            draw(parsing, "Face", person_ids=3)
    for strength in (0, -1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="strength"):
            render.blur(parsing, strength=strength)
    for colour in ((0, 0), (0, 0, 256), (-1, 0, 0)):
        with pytest.raises(OptionError, match="colour"):
            render.recolour(parsing, "Face", colour)
