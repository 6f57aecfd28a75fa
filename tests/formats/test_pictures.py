"""pictures.py: indexed pictures, and encoding without metadata."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from made_up import made_up_parsing, parsing_from_maps
from PIL import Image, ImageCms, PngImagePlugin

from humanparse import formats, render
from humanparse.errors import OptionError
from humanparse.formats import pictures
from humanparse.labels import CIHP


def crowd(count: int):
    """Return a row with one pixel for each of `count` people."""
    row = np.arange(count + 1)[None]
    return parsing_from_maps((row > 0).astype(np.uint8), row.astype(np.uint16))


# Indexed pictures


def test_values_of_the_labels_picture_are_the_classes_and_its_palette_the_label_set_s(tmp_path):
    parsing = made_up_parsing()
    for palette in ("clear", "classic"):
        [path] = formats.save(parsing, tmp_path, "labels", palette=palette)
        picture = Image.open(path)
        assert picture.mode == "P" and np.array_equal(np.asarray(picture), parsing.label_map)
        colours = np.reshape(picture.getpalette(), (-1, 3))[: len(CIHP)]
        assert [tuple(colour) for colour in colours.tolist()] == list(CIHP.palette(palette))


def test_values_of_the_people_picture_are_their_numbers(tmp_path):
    for parsing, mode in ((made_up_parsing(), "P"), (crowd(255), "P"), (crowd(300), "I;16")):
        [path] = formats.save(parsing, tmp_path, "people")
        picture = Image.open(path)
        assert picture.mode == mode and np.array_equal(np.asarray(picture), parsing.person_map)


def test_the_people_picture_shows_the_colours_of_the_people_map():
    parsing = made_up_parsing()
    assert (
        formats.people_image(parsing).convert("RGB").tobytes()
        == render.people_map(parsing).tobytes()
    )


# Encoding


def decoded(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def noise(mode: str, size=(31, 17)) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(values.squeeze())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_png_keeps_every_pixel_and_the_mode(mode):
    again = decoded(formats.encode_picture(noise(mode), "png"))
    assert again.mode == mode and again.tobytes() == noise(mode).tobytes()


def test_png_keeps_indexed_pictures_and_numbers_above_255():
    labels = formats.labels_image(made_up_parsing())
    again = decoded(formats.encode_picture(labels, "png"))
    assert (
        again.mode == "P"
        and again.tobytes() == labels.tobytes()
        and again.getpalette() == labels.getpalette()
    )
    people = decoded(formats.encode_picture(formats.people_image(crowd(300)), "png"))
    assert people.mode == "I;16" and np.asarray(people).max() == 300


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_jpeg_and_webp_look_like_the_picture(kind):
    picture = render.colormap(made_up_parsing())
    again = decoded(formats.encode_picture(picture, kind))
    assert again.format == kind.upper() and again.size == picture.size
    assert np.abs(np.asarray(again, int) - np.asarray(picture, int)).mean() < 3


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_higher_quality_takes_more_bytes(kind):
    small, large = (
        len(formats.encode_picture(noise("RGB"), kind, quality)) for quality in (20, 95)
    )
    assert small < large


def test_what_is_transparent_is_white_in_jpeg_and_stays_transparent_in_webp():
    picture = render.cutout(made_up_parsing(), 1, crop=False)
    assert min(decoded(formats.encode_picture(picture, "jpeg")).getpixel((150, 5))) > 250
    assert decoded(formats.encode_picture(picture, "webp")).getpixel((150, 5))[3] == 0


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1", "CMYK"])
@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_pictures_of_every_mode_can_be_encoded(kind, mode):
    assert decoded(formats.encode_picture(Image.new(mode, (5, 4)), kind)).size == (5, 4)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_no_metadata_of_the_picture_reaches_the_file(kind, mode):
    picture = Image.new(mode, (8, 8))
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E], secret = "secret place", b"secret place"
    text.add_text("where", "secret place")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.info.update(
        exif=exif.tobytes(),
        icc_profile=profile,
        comment=secret,
        xmp=secret,
        dpi=(300, 300),
        pnginfo=text,
    )
    plain = Image.new(mode, (8, 8))
    assert formats.encode_picture(picture, kind) == formats.encode_picture(plain, kind)
    assert "icc_profile" in picture.info  # the caller's picture is not changed


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_array_gives_the_file_of_its_picture(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    of_image = formats.encode_picture(Image.fromarray(pixels), kind)
    assert formats.encode_picture(pixels, kind) == of_image
    with pytest.raises(OptionError, match="ndarray; give a PIL image"):
        formats.encode_picture(pixels[..., 0], kind)


def test_an_unknown_kind_quality_or_size_is_refused():
    with pytest.raises(OptionError, match="png, jpeg, webp"):
        formats.encode_picture(Image.new("RGB", (1, 1)), "gif")
    for quality in (0, 101, float("nan")):
        with pytest.raises(OptionError, match="quality"):
            formats.encode_picture(Image.new("RGB", (1, 1)), "jpeg", quality)
    for kind, side in (("webp", 16_384), ("jpeg", 65_501)):
        with pytest.raises(OptionError, match="choose png"):
            formats.encode_picture(Image.new("L", (side, 1)), kind)
        assert (
            decoded(formats.encode_picture(Image.new("L", (side - 1, 1)), kind)).width == side - 1
        )


# Our own PNG writer


@pytest.fixture(params=["isal", "zlib"])
def compressor(request, monkeypatch):
    """With ISA-L, if it is installed, and without."""
    if request.param == "isal":
        pytest.importorskip("isal", reason="there is no ISA-L for this processor")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (97, 203)])
def test_a_png_of_several_bands_is_read_by_everybody(compressor, monkeypatch, mode, size):
    monkeypatch.setattr(pictures, "_PNG_BAND", 4000)
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    picture = Image.fromarray(values)
    data = formats.encode_picture(picture, "png")
    again = decoded(data)
    assert again.mode == mode and again.tobytes() == picture.tobytes()
    order = {"RGB": cv2.COLOR_BGR2RGB, "RGBA": cv2.COLOR_BGRA2RGBA}[mode]
    by_opencv = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), order
    )
    assert np.array_equal(by_opencv, values)


def test_how_many_bands_a_png_has_does_not_show_in_its_pixels(compressor, monkeypatch):
    picture = render.overlay(made_up_parsing())
    whole = formats.encode_picture(picture, "png")
    monkeypatch.setattr(pictures, "_PNG_BAND", 1)
    row_by_row = formats.encode_picture(picture, "png")
    assert row_by_row != whole and decoded(row_by_row).tobytes() == decoded(whole).tobytes()


def test_the_checksum_of_the_whole_stream_is_right(monkeypatch):
    """Pillow and OpenCV do not check it; zlib does."""
    monkeypatch.setattr(pictures, "_PNG_BAND", 500)
    data, stream = formats.encode_picture(noise("RGB", (61, 43)), "png"), b""
    place = 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, place + 8 + length)[0]
        stream += body if kind == b"IDAT" else b""
        place += 12 + length
    assert len(zlib.decompress(stream)) == 43 * (1 + 3 * 61)


def test_checksums_are_joined():
    first, second = bytes(range(256)) * 300, b"\xff" * 70_000
    for a, b in ((first, second), (b"", first), (first, b""), (second, second)):
        assert pictures._adler32_joined(zlib.adler32(a), zlib.adler32(b), len(b)) == zlib.adler32(
            a + b
        )


def test_a_picture_of_which_only_a_window_is_given_can_be_encoded():
    window = Image.fromarray(np.asarray(noise("RGB", (40, 30)))[5:25, 3:20])
    assert decoded(formats.encode_picture(window, "png")).tobytes() == window.tobytes()
