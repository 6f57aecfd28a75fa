"""legend.py and lettering.py: what the legend says, and that it is beside the photo."""

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image, ImageFont

from humanparse import render
from humanparse.labels import CIHP
from humanparse.render import drawing, legend, lettering


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


# Legend


def test_legend_lists_only_the_labels_found_with_colour_and_share():
    entries = {entry.name: entry for entry in render.legend_entries(made_up_parsing(), "classic")}
    assert set(entries) == {"Hair", "Face", "UpperClothes", "Left-arm", "Right-arm", "Pants"}
    assert entries["Hair"].colour == CIHP.palette("classic")[CIHP.index("Hair")]
    assert entries["Face"].share == pytest.approx(
        16 * 16 / (6 * 16 + 16 * 16 + 34 * 20 + 30 * 10 * 2 + 24 * 20)
    )
    assert sum(entry.share for entry in entries.values()) == pytest.approx(1)


def test_legend_puts_the_largest_first():
    shares = [entry.share for entry in render.legend_entries(made_up_parsing())]
    assert shares == sorted(shares, reverse=True)


def test_legend_counts_the_people():
    one = parsing_from_maps(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint16))
    headings = [
        render.legend_heading(parsing) for parsing in (empty_parsing(), one, made_up_parsing())
    ]
    assert headings == ["no people found", "1 person", "2 people"]


def test_legend_stands_beside_the_photo_and_hides_none_of_it():
    parsing = made_up_parsing()
    for shape in ((120, 160), (600, 160), (120, 900)):
        larger = parsing_from_maps(
            *(np.resize(m, shape) for m in (parsing.label_map, parsing.person_map))
        )
        alone, both = pixels(render.overlay(larger, legend=False)), pixels(render.overlay(larger))
        assert np.array_equal(both[: shape[0], : shape[1]], alone)
        assert both.size > alone.size


def test_a_long_legend_goes_right_of_a_landscape_and_below_a_wide_strip():
    entries = [render.LegendEntry(name, (255, 0, 0), 1 / 19) for name in CIHP.names[1:]]
    assert legend.Panel("2 people", entries, (1000, 1400)).beside
    assert not legend.Panel("2 people", entries, (100, 3000)).beside


def test_empty_photo_is_shown_unchanged_with_a_legend_that_says_so():
    parsing = empty_parsing((40, 50))
    picture = pixels(render.overlay(parsing))
    assert np.array_equal(picture[:40, :50], parsing.image) and picture.size > parsing.image.size
    assert (
        not pixels(render.people_map(parsing)).any() and not pixels(render.colormap(parsing)).any()
    )


def test_type_and_lines_grow_with_the_photo():
    assert lettering.type_px((150, 200)) == 11
    assert lettering.type_px((6000, 6000)) == pytest.approx(
        10 * lettering.type_px((600, 600)), rel=0.1
    )


def test_legend_is_drawn_without_freetype_too(monkeypatch):
    fixed = ImageFont.load_default_imagefont()
    for module in (drawing, legend):
        monkeypatch.setattr(module, "font_of", lambda size: fixed)
    drawing._tag.cache_clear()
    render.overlay(made_up_parsing())
    drawing._tag.cache_clear()


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (2000, 3), (300, 2)])
def test_tiny_and_narrow_photos_are_drawn(size_hw):
    label_map = np.full(size_hw, 5, np.uint8)
    person_map = np.ones(size_hw, np.uint16)
    person_map[size_hw[0] // 2 :, size_hw[1] // 2 :] = 1 + (size_hw != (1, 1))
    for parsing in (parsing_from_maps(label_map, person_map), empty_parsing(size_hw)):
        assert pixels(render.overlay(parsing, legend=False)).shape == (*size_hw, 3)
        render.overlay(parsing)
        render.outlines(parsing)
        render.people_map(parsing)
        render.cutout(parsing)
        render.blur(parsing, CIHP.names[5])
        render.recolour(parsing, CIHP.names[5], (200, 20, 20))
