"""drawing.py: colour map, people map, overlay, outlines."""

import dataclasses

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image

from humanparse import render
from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.render import drawing


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def plain_overlay(parsing, **options) -> np.ndarray:
    return pixels(render.overlay(parsing, outlines=False, legend=False, **options))


# Colour map and people map


@pytest.mark.parametrize("palette", ["clear", "classic"])
def test_colormap_gives_each_class_its_colour(palette):
    parsing = made_up_parsing()
    colours = np.array(CIHP.palette(palette))
    assert np.array_equal(
        pixels(render.colormap(parsing, palette=palette)), colours[parsing.label_map]
    )


def test_people_map_gives_touching_people_different_colours_and_nobody_black():
    parsing = made_up_parsing()
    picture = pixels(render.people_map(parsing))
    nobody, first, second = (
        set(map(tuple, picture[parsing.person_map == one].tolist())) for one in (0, 1, 2)
    )
    assert nobody == {(0, 0, 0)} and len(first) == len(second) == 1 and first != second


def test_people_map_draws_more_than_255_people():
    row = np.arange(301, dtype=np.uint16)[None]
    picture = pixels(render.people_map(parsing_from_maps((row > 0).astype(np.uint8), row)))
    assert picture.shape == (1, 301, 3) and picture[0, 1:].any(1).all()
    assert np.array_equal(picture[0, 1], picture[0, 256])  # colours start again


def test_person_colours_are_all_different():
    colours = render.person_colours(60)
    assert colours[0] == (0, 0, 0) and len(set(colours)) == 61


# Overlay


def test_overlay_leaves_the_background_untouched():
    parsing = made_up_parsing()
    background = parsing.label_map == 0
    assert np.array_equal(plain_overlay(parsing)[background], parsing.image[background])


def test_overlay_at_opacity_0_is_the_photo_and_at_1_the_colours():
    parsing = made_up_parsing()
    labelled = parsing.label_map > 0
    assert np.array_equal(plain_overlay(parsing, opacity=0), parsing.image)
    assert np.array_equal(
        plain_overlay(parsing, opacity=1)[labelled], pixels(render.colormap(parsing))[labelled]
    )


def test_overlay_at_half_opacity_lies_midway():
    parsing = made_up_parsing()
    labelled = parsing.label_map > 0
    midway = (parsing.image.astype(float) + pixels(render.colormap(parsing))) / 2
    assert np.abs(plain_overlay(parsing, opacity=0.5)[labelled] - midway[labelled]).max() <= 0.5


def test_overlay_does_not_change_the_parsing():
    parsing = made_up_parsing()
    before = parsing.image.copy()
    render.overlay(parsing)
    assert np.array_equal(parsing.image, before)


def test_a_read_only_photo_can_be_drawn():
    parsing = made_up_parsing()
    for array in (parsing.image, parsing.label_map, parsing.person_map):
        array.flags.writeable = False
    render.overlay(parsing)
    render.outlines(parsing)
    render.people_map(parsing)
    render.cutout(parsing)
    render.blur(parsing)
    render.recolour(parsing, "Pants", (200, 20, 20))


def test_maps_in_any_order_of_memory_are_drawn():
    parsing = made_up_parsing()
    turned = dataclasses.replace(
        parsing,
        label_map=np.asfortranarray(parsing.label_map),
        image=np.asfortranarray(parsing.image),
    )
    assert np.array_equal(pixels(render.overlay(turned)), pixels(render.overlay(parsing)))
    assert np.array_equal(pixels(render.outlines(turned)), pixels(render.outlines(parsing)))


def test_a_white_line_runs_between_touching_people():
    parsing = made_up_parsing()
    drawn = pixels(render.overlay(parsing, legend=False))
    assert drawn[60, 79:81].min() > 200  # where left arm meets right arm
    assert drawn[60, 65:70].max(axis=(0, 1)).min() < 200  # but not within one person


def test_no_line_runs_along_the_photo_s_border():
    label_map = np.full((60, 60), CIHP.index("Coat"), np.uint8)
    parsing = parsing_from_maps(label_map, np.ones((60, 60), np.uint16))
    assert np.array_equal(pixels(render.overlay(parsing, legend=False)), plain_overlay(parsing))


def test_two_people_are_numbered_and_one_is_not(monkeypatch):
    written = []
    tag = drawing._tag
    monkeypatch.setattr(drawing, "_tag", lambda text, em: written.append(text) or tag(text, em))
    made_up = made_up_parsing()
    render.overlay(made_up)
    assert written == ["1", "2"]
    written.clear()
    render.overlay(
        parsing_from_maps(made_up.label_map, (made_up.person_map == 1).astype(np.uint16))
    )
    render.overlay(made_up, outlines=False)
    assert written == []


def test_numbers_stay_in_the_photo_and_off_each_other():
    taken = [(0, 0, 10, 10)]
    assert drawing._free_place((-5, -5), (10, 10), (40, 40), taken) == (0, 10, 10, 20)
    assert drawing._free_place((35, 20), (10, 10), (40, 40), taken) == (30, 20, 40, 30)
    # Without room, it is on top of the other.
    assert drawing._free_place((0, 0), (10, 10), (12, 10), taken) == (0, 0, 10, 10)


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_impossible_opacity_is_refused(opacity):
    with pytest.raises(OptionError, match="opacity"):
        render.overlay(made_up_parsing(), opacity=opacity)


def test_an_unknown_palette_is_refused():
    for draw in (render.overlay, render.colormap):
        with pytest.raises(OptionError, match="pale"):
            draw(made_up_parsing(), palette="pale")


# Outlines


def test_outlines_leave_what_lies_inside_and_outside_as_it_is():
    parsing = made_up_parsing()
    drawn = pixels(render.outlines(parsing))
    assert drawn.shape == parsing.image.shape
    for rows, columns in (
        (slice(0, 17), slice(0, 30)),
        (slice(32, 36), slice(57, 63)),
        (slice(105, 120), slice(None)),
    ):
        assert np.array_equal(drawn[rows, columns], parsing.image[rows, columns])
    assert drawn[60, 79:81].min() > 200  # the white line between the people


def test_each_part_is_outlined_in_its_colour():
    parsing = made_up_parsing()
    for palette in ("clear", "classic"):
        colour = CIHP.palette(palette)[CIHP.index("Pants")]
        drawn = pixels(render.outlines(parsing, palette=palette))
        assert np.abs(drawn[76, 60].astype(int) - colour).max() < 30  # the line is anti-aliased
    with pytest.raises(OptionError, match="pale"):
        render.outlines(parsing, palette="pale")


def test_outlines_of_a_photo_without_people_are_the_photo():
    parsing = empty_parsing((40, 50))
    assert np.array_equal(pixels(render.outlines(parsing)), parsing.image)
