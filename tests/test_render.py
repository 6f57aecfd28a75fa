import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image, ImageFont

from humanparse import render
from humanparse.errors import OptionError
from humanparse.labels import CIHP


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def plain_overlay(parsing, **options) -> np.ndarray:
    return pixels(render.overlay(parsing, outlines=False, legend=False, **options))


# Colour map and people map

@pytest.mark.parametrize("palette", ["clear", "classic"])
def test_colormap_gives_each_class_its_colour(palette):
    parsing = made_up_parsing()
    colours = np.array(CIHP.palette(palette))
    assert np.array_equal(pixels(render.colormap(parsing, palette=palette)), colours[parsing.label_map])


def test_people_map_gives_touching_people_different_colours_and_nobody_black():
    parsing = made_up_parsing()
    picture = pixels(render.people_map(parsing))
    nobody, first, second = (set(map(tuple, picture[parsing.person_map == one].tolist())) for one in (0, 1, 2))
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
    assert np.array_equal(plain_overlay(parsing, opacity=1)[labelled], pixels(render.colormap(parsing))[labelled])


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
    render.people_map(parsing)
    render.cutout(parsing)


def test_a_white_line_runs_between_touching_people():
    parsing = made_up_parsing()
    drawn = pixels(render.overlay(parsing, legend=False))
    assert drawn[60, 79:81].min() > 200            # where left arm meets right arm
    assert drawn[60, 65:70].max(axis=(0, 1)).min() < 200  # but not within one person


def test_no_line_runs_along_the_photo_s_border():
    label_map = np.full((60, 60), CIHP.index("Coat"), np.uint8)
    parsing = parsing_from_maps(label_map, np.ones((60, 60), np.uint16))
    assert np.array_equal(pixels(render.overlay(parsing, legend=False)), plain_overlay(parsing))


def test_two_people_are_numbered_and_one_is_not(monkeypatch):
    written = []
    tag = render._tag
    monkeypatch.setattr(render, "_tag", lambda text, em: written.append(text) or tag(text, em))
    made_up = made_up_parsing()
    render.overlay(made_up)
    assert written == ["1", "2"]
    written.clear()
    render.overlay(parsing_from_maps(made_up.label_map, (made_up.person_map == 1).astype(np.uint16)))
    render.overlay(made_up, outlines=False)
    assert written == []


def test_numbers_stay_in_the_photo_and_off_each_other():
    taken = [(0, 0, 10, 10)]
    assert render._free_place((-5, -5), (10, 10), (40, 40), taken) == (0, 10, 10, 20)
    assert render._free_place((35, 20), (10, 10), (40, 40), taken) == (30, 20, 40, 30)
    assert render._free_place((0, 0), (10, 10), (12, 10), taken) == (0, 0, 10, 10)  # no room: on top of the other


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_impossible_opacity_is_refused(opacity):
    with pytest.raises(OptionError, match="opacity"):
        render.overlay(made_up_parsing(), opacity=opacity)


def test_an_unknown_palette_is_refused():
    for draw in (render.overlay, render.colormap):
        with pytest.raises(OptionError, match="pale"):
            draw(made_up_parsing(), palette="pale")


# Legend

def test_legend_lists_only_the_labels_found_with_colour_and_share():
    entries = {entry.name: entry for entry in render.legend_entries(made_up_parsing(), "classic")}
    assert set(entries) == {"Hair", "Face", "UpperClothes", "Left-arm", "Right-arm", "Pants"}
    assert entries["Hair"].colour == CIHP.palette("classic")[CIHP.index("Hair")]
    assert entries["Face"].share == pytest.approx(16 * 16 / (6 * 16 + 16 * 16 + 34 * 20 + 30 * 10 * 2 + 24 * 20))
    assert sum(entry.share for entry in entries.values()) == pytest.approx(1)


def test_legend_puts_the_largest_first():
    shares = [entry.share for entry in render.legend_entries(made_up_parsing())]
    assert shares == sorted(shares, reverse=True)


def test_legend_counts_the_people():
    one = parsing_from_maps(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint16))
    headings = [render.legend_heading(parsing) for parsing in (empty_parsing(), one, made_up_parsing())]
    assert headings == ["no people found", "1 person", "2 people"]


def test_legend_stands_beside_the_photo_and_hides_none_of_it():
    parsing = made_up_parsing()
    for shape in ((120, 160), (600, 160), (120, 900)):
        larger = parsing_from_maps(*(np.resize(m, shape) for m in (parsing.label_map, parsing.person_map)))
        alone, legend = pixels(render.overlay(larger, legend=False)), pixels(render.overlay(larger))
        assert np.array_equal(legend[: shape[0], : shape[1]], alone)
        assert legend.size > alone.size


def test_a_long_legend_goes_right_of_a_landscape_and_below_a_wide_strip():
    entries = [render.LegendEntry(name, (255, 0, 0), 1 / 19) for name in CIHP.names[1:]]
    assert render._Panel("2 people", entries, (1000, 1400)).beside
    assert not render._Panel("2 people", entries, (100, 3000)).beside


def test_empty_photo_is_shown_unchanged_with_a_legend_that_says_so():
    parsing = empty_parsing((40, 50))
    picture = pixels(render.overlay(parsing))
    assert np.array_equal(picture[:40, :50], parsing.image) and picture.size > parsing.image.size
    assert not pixels(render.people_map(parsing)).any() and not pixels(render.colormap(parsing)).any()


def test_type_and_lines_grow_with_the_photo():
    assert render._em((150, 200)) == 11
    assert render._em((6000, 6000)) == pytest.approx(10 * render._em((600, 600)), rel=0.1)


def test_legend_is_drawn_without_freetype_too(monkeypatch):
    fixed = ImageFont.load_default_imagefont()
    monkeypatch.setattr(render, "_font", lambda size: fixed)
    render._tag.cache_clear()
    render.overlay(made_up_parsing())
    render._tag.cache_clear()


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (2000, 3), (300, 2)])
def test_tiny_and_narrow_photos_are_drawn(size_hw):
    label_map = np.full(size_hw, 5, np.uint8)
    person_map = np.ones(size_hw, np.uint16)
    person_map[size_hw[0] // 2 :, size_hw[1] // 2 :] = 1 + (size_hw != (1, 1))
    for parsing in (parsing_from_maps(label_map, person_map), empty_parsing(size_hw)):
        assert pixels(render.overlay(parsing, legend=False)).shape == (*size_hw, 3)
        render.overlay(parsing)
        render.people_map(parsing)
        render.cutout(parsing)


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
    assert np.array_equal(face[..., :3], parsing.image[26:42, 52:68]) and (face[..., 3] == 255).all()


def test_cutout_chooses_labels_of_all_people():
    parsing = made_up_parsing()
    alpha = pixels(render.cutout(parsing, labels=["Left-arm", "Hair"], feather_px=0, crop=False))[..., 3]
    chosen = np.isin(parsing.label_map, [CIHP.index("Left-arm"), CIHP.index("Hair")])
    assert np.array_equal(alpha > 0, chosen)


def test_cutout_s_soft_edge_lies_inside_the_mask():
    parsing = made_up_parsing()
    alpha = pixels(render.cutout(parsing, 1, feather_px=3, crop=False))[..., 3]
    assert not alpha[parsing.person_map != 1].any()
    assert alpha[60, 40:46].tolist() == sorted(alpha[60, 40:46].tolist()) and 0 < alpha[60, 40] < 100
    assert alpha[60, 60] == 255


def test_cutout_has_no_soft_edge_at_the_photo_s_border():
    full = np.ones((9, 9), np.uint8)
    alpha = pixels(render.cutout(parsing_from_maps(full, full.astype(np.uint16)), feather_px=2))[..., 3]
    assert (alpha == 255).all()


def test_cutout_of_nothing_is_transparent_and_the_size_of_the_photo():
    for picture in (render.cutout(empty_parsing((4, 5))), render.cutout(made_up_parsing(), labels="Hat")):
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
