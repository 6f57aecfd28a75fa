"""Resizing, normalising and padding, and the way back."""

import numpy as np
import pytest
from PIL import Image
from sampled import sample_map

from humanparse.errors import OptionError
from humanparse.preprocess import TILE_PX, Geometry, Preprocess

BY_AREA = Preprocess(
    mean=(127.5,) * 3, std=(127.5,) * 3, area_px=480 * 640, max_long_side=1280, multiple=16
)
BY_SIDE = Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), short_side=640)


@pytest.mark.parametrize(
    ("photo", "resized", "padded"),
    [
        ((480, 640), (480, 640), (480, 640)),
        ((960, 1280), (480, 640), (480, 640)),
        ((3000, 1500), (784, 392), (784, 400)),
        ((10, 4000), (3, 1280), (16, 1280)),
        ((1, 1), (554, 554), (560, 560)),
    ],
)
def test_photos_are_brought_to_about_the_same_area(photo, resized, padded):
    geometry = BY_AREA.geometry(photo)
    assert (geometry.resized_hw, geometry.input_hw) == (resized, padded)


def test_short_side_rule_is_the_references():
    assert BY_SIDE.geometry((480, 640)).resized_hw == (640, 853)
    assert BY_SIDE.geometry((480, 640)).input_hw == (640, 864)
    assert BY_SIDE.geometry((400, 2000)).resized_hw == (267, 1333)


def test_pixels_are_normalised_per_channel_and_padding_is_zero():
    photo = np.empty((100, 90, 3), np.uint8)
    photo[:] = (0, 128, 255)
    rule = Preprocess(mean=(0, 128, 55), std=(1, 2, 100), short_side=90, multiple=32)
    pixels, geometry = rule(photo)
    assert pixels.shape == (1, 3, 128, 96) and pixels.dtype == np.float32
    assert geometry.resized_hw == (100, 90)
    assert np.allclose(pixels[0, :, :100, :90].mean((1, 2)), (0, 0, 2))
    assert (pixels[0, :, 100:] == 0).all() and (pixels[0, :, :, 90:] == 0).all()


@pytest.mark.parametrize("photo_hw", [(48, 64), (97, 33), (300, 411), (1000, 700)])
def test_geometry_finds_every_photo_pixel_again(photo_hw):
    """A map of each cell's position, sampled at a photo pixel, gives that pixel's position."""
    geometry = BY_AREA.geometry(photo_hw)
    rows, columns = geometry.cells(4)
    down, across = geometry.scale_yx
    ys, xs = np.mgrid[:rows, :columns].astype(np.float32)
    whole = (0, 0, photo_hw[1], photo_hw[0])
    photo_x = (sample_map(xs, 4, geometry, whole) + 0.5) * 4 / across - 0.5
    photo_y = (sample_map(ys, 4, geometry, whole) + 0.5) * 4 / down - 0.5
    want_y, want_x = np.mgrid[: photo_hw[0], : photo_hw[1]]
    # outside the outermost cells' centres the border value is repeated
    edge = 3 + int(4 / min(down, across))
    inner = np.s_[edge:-edge, edge:-edge]
    assert np.abs(photo_x - want_x)[inner].max() < 0.2
    assert np.abs(photo_y - want_y)[inner].max() < 0.2


def test_the_input_size_can_be_chosen():
    assert BY_AREA.resized(short_side=240).geometry((480, 640)).resized_hw == (240, 320)
    assert BY_SIDE.resized(max_side=512).geometry((480, 640)).resized_hw == (384, 512)
    assert BY_AREA.resized(max_side=320).geometry((480, 640)).resized_hw == (240, 320)
    assert BY_AREA.resized() == BY_AREA


@pytest.mark.parametrize(
    ("rule", "sides"),
    [
        (BY_AREA, {"short_side": 0}),
        (BY_AREA, {"max_side": 63}),
        (BY_SIDE, {"short_side": -5}),
        (Preprocess((0,) * 3, (1,) * 3, fit_hw=(400, 400)), {"max_side": 200}),
    ],
)
def test_impossible_input_sizes_are_refused(rule, sides):
    with pytest.raises(OptionError):
        rule.resized(**sides)


def test_tiles_cover_the_photo_once():
    geometry = Geometry((TILE_PX + 5, 2 * TILE_PX + 1), (10, 20), (16, 32))
    seen = np.zeros(geometry.photo_hw, np.uint8)
    for x0, y0, x1, y1 in geometry.tiles():
        seen[y0:y1, x0:x1] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("photo", "resized"),
    [((232, 688), (449, 1333)), ((344, 116), (1333, 449)), ((407, 2294), (237, 1333))],
)
def test_sizes_are_rounded_in_the_references_order(photo, resized):
    assert BY_SIDE.geometry(photo).resized_hw == resized


@pytest.mark.parametrize("photo_hw", [(50, 70), (300, 410)])
def test_pil_bilinear_is_pillows_filter_both_ways(photo_hw):
    photo = np.random.default_rng(0).integers(0, 256, (*photo_hw, 3), np.uint8)
    pixels, geometry = Preprocess((0,) * 3, (1,) * 3, short_side=100, filter="pil-bilinear")(photo)
    height, width = geometry.resized_hw
    wanted = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))
    assert np.array_equal(pixels[0, :, :height, :width].transpose(1, 2, 0), wanted)


def test_a_rule_that_sets_no_size_is_refused():
    with pytest.raises(ValueError, match="give area_px, short_side or fit_hw"):
        Preprocess((0,) * 3, (1,) * 3)


def test_an_unknown_filter_is_refused():
    with pytest.raises(ValueError, match=r"'lanczos'.*area, pil-bilinear"):
        Preprocess((0,) * 3, (1,) * 3, short_side=640, filter="lanczos")
