"""image.py: everything a photo can be, and everything that only looks like one."""

from __future__ import annotations

import io
import os
import struct
import sys
import tarfile
import time
import tracemalloc
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, features

from humanparse import image as reading
from humanparse.errors import (
    BrokenImage,
    ImageError,
    ImageTooLarge,
    MissingExtra,
    NotAnImage,
    OptionError,
)
from humanparse.image import MAX_MEGAPIXELS, Picture, read_image

WHITE, BLACK, RED, GREEN, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
LOSSLESS = ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF"]
FORMATS = ["JPEG", *LOSSLESS, *(["AVIF"] if features.check("avif") else [])]


def four_colours(width: int = 3, height: int = 2) -> np.ndarray:
    """uint8 (H, W, 3): white with a red, a green and a blue corner, which show turns and flips."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[0, 0], pixels[0, -1], pixels[-1, 0] = RED, GREEN, BLUE
    return pixels


def encoded(image: np.ndarray | Image.Image, format: str = "PNG", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    if format == "WEBP":
        options.setdefault("lossless", True)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, rows: bytes = b"", depth: int = 8, colour: int = 2, extra: bytes = b""
) -> bytes:
    """A PNG made by hand.

    rows: uncompressed, each with its filter byte. colour: 0 grey, 2 RGB, 4 grey and alpha.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def noise(width: int = 24, height: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def pixels_of(source, **options) -> list:
    return read_image(source, **options).pixels.tolist()


# Where a picture comes from


def test_a_path_gives_pixels_and_the_name_of_the_file(tmp_path):
    path = tmp_path / "street.corner.png"
    path.write_bytes(encoded(four_colours()))
    for source in (path, str(path)):
        picture = read_image(source)
        assert (picture.name, picture.file_name) == ("street.corner", "street.corner.png")
        assert np.array_equal(picture.pixels, four_colours())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_read(kind):
    picture = read_image(kind(encoded(four_colours())))
    assert picture.name == "image"
    assert np.array_equal(picture.pixels, four_colours())


def test_a_file_object_is_read_from_its_start_and_stays_open():
    file = io.BytesIO(encoded(four_colours()))
    file.seek(0, os.SEEK_END)  # where it is after writing
    assert np.array_equal(read_image(file).pixels, four_colours())
    assert not file.closed
    assert np.array_equal(read_image(file).pixels, four_colours())


@pytest.mark.parametrize("format", FORMATS)
def test_an_open_file_gives_its_name_and_stays_open(tmp_path, format):
    path = tmp_path / "beach.dat"
    path.write_bytes(encoded(four_colours(), format))
    with open(path, "rb") as file:
        picture = read_image(file)
        assert (picture.name, picture.file_name) == ("beach", "beach.dat")
        assert not file.closed
        assert file.seek(0) == 0


def test_a_member_of_a_tar_file_is_not_called_like_the_archive(tmp_path):
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        data = encoded(four_colours())
        info = tarfile.TarInfo("d/beach.png")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    with tarfile.open(tmp_path / "archive.tar") as tar:
        picture = read_image(tar.extractfile("d/beach.png"))
    assert np.array_equal(picture.pixels, four_colours())
    # before Python 3.13, and since
    assert (picture.name, picture.file_name) in [("image", ""), ("beach", "beach.png")]


def test_a_member_of_a_zip_file_has_its_own_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("d/beach.png", encoded(four_colours()))
    archive = zipfile.ZipFile(tmp_path / "archive.zip")
    with archive, archive.open("d/beach.png") as member:
        assert read_image(member).file_name == "beach.png"


def test_something_that_can_only_read_is_enough():
    class Socket:
        def __init__(self, data):
            self.read = io.BytesIO(data).read

    assert np.array_equal(read_image(Socket(encoded(four_colours()))).pixels, four_colours())


def test_a_pipe_is_read_to_its_end():
    reading, writing = os.pipe()
    os.write(writing, encoded(four_colours()))
    os.close(writing)
    with open(reading, "rb") as pipe:
        picture = read_image(pipe)
    assert picture.name == "image"
    assert np.array_equal(picture.pixels, four_colours())


@pytest.mark.parametrize("name", ["<stdin>", "", "..", "a/..", 7, None, b"bytes"])
def test_a_file_object_with_an_odd_name_is_called_image(name):
    file = io.BytesIO(encoded(four_colours()))
    file.name = name
    picture = read_image(file)
    assert (picture.name, picture.file_name) == ("image", "")


def test_a_pil_image_is_read_and_left_as_it_was():
    image = Image.fromarray(four_colours())
    picture = read_image(image)
    assert (picture.name, image.size, image.mode) == ("image", (3, 2), "RGB")
    assert np.array_equal(picture.pixels, four_colours())


def test_an_rgb_array_is_copied():
    array = four_colours()
    pixels = read_image(array).pixels
    array[:] = 0
    assert np.array_equal(pixels, four_colours())


def test_a_grey_array_becomes_rgb():
    assert pixels_of(np.array([[0, 200]], np.uint8)) == [[[0, 0, 0], [200, 200, 200]]]


def test_an_array_with_alpha_shows_white_below():
    array = np.array([[(10, 20, 30, 255), (0, 0, 0, 0), (0, 0, 0, 128)]], np.uint8)
    assert pixels_of(array) == [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]]


def test_a_mirrored_bgr_view_is_read_like_any_array():
    assert np.array_equal(
        read_image(four_colours()[:, ::-1, ::-1]).pixels, four_colours()[:, ::-1, ::-1]
    )


@pytest.mark.parametrize(
    "source", [four_colours(), Image.fromarray(four_colours()), encoded(four_colours())]
)
def test_pixels_are_contiguous_writable_bytes(source):
    pixels = read_image(source).pixels
    assert (
        pixels.dtype == np.uint8
        and pixels.flags.c_contiguous
        and pixels.flags.writeable
        and pixels.flags.owndata
    )


@pytest.mark.parametrize(
    ("array", "arrived"),
    [
        (np.zeros((4, 5, 3)), r"float64 of shape \(4, 5, 3\)"),
        (np.zeros((4, 5), np.uint16), r"uint16 of shape \(4, 5\)"),
        (np.zeros((4, 5), bool), r"bool of shape \(4, 5\)"),
        (np.zeros((3, 4, 5), np.uint8), r"uint8 of shape \(3, 4, 5\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"uint8 of shape \(1, 4, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 of shape \(0, 5, 3\)"),
        (np.zeros(7, np.uint8), r"uint8 of shape \(7,\)"),
    ],
)
def test_another_array_is_told_what_arrived_and_what_is_expected(array, arrived):
    with pytest.raises(
        NotAnImage, match=rf"the array is {arrived}; expected uint8 of shape \(H, W, 3\)"
    ):
        read_image(array)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], object()])
def test_something_else_is_told_what_can_be_read(source):
    with pytest.raises(
        NotAnImage, match=f"from {type(source).__name__}; give a path, bytes, an open file"
    ):
        read_image(source)


# What is not a picture


def test_text_named_jpg_is_shown_by_its_first_words(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("Hello, this is no photo")
    with pytest.raises(
        NotAnImage,
        match=r"photo.jpg starts with 'Hello, this is n'; expected a picture: JPEG, PNG, WebP",
    ):
        read_image(path)


def test_unknown_bytes_are_shown_as_numbers():
    with pytest.raises(NotAnImage, match="starts with the bytes 00 01 02 ff; expected a picture"):
        read_image(b"\x00\x01\x02\xff")


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7", b"<svg xmlns=", b"%!PS-Adobe-3.0 EPSF", b"8BPS\0\1", b"\0\0\1\0\1\0"]
)
def test_types_outside_of_the_list_are_refused_unopened(data):
    with pytest.raises(NotAnImage, match="expected a picture"):
        read_image(data + bytes(100))


def test_a_film_is_not_taken_for_a_heic_photo():
    with pytest.raises(NotAnImage):
        read_image(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100))


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(NotAnImage, match=r"a.png is empty \(0 bytes\)"):
        read_image(tmp_path / "a.png")


def test_a_folder_is_called_a_folder(tmp_path):
    with pytest.raises(NotAnImage, match="is a folder; give the path of one picture"):
        read_image(tmp_path)


def test_a_file_open_as_text_is_told_how_to_open_it(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    with (
        open(tmp_path / "a.txt") as file,
        pytest.raises(NotAnImage, match="open it with mode 'rb'"),
    ):
        read_image(file)


def test_a_missing_file_is_the_file_system_s_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nowhere.jpg")


def test_an_error_of_the_reader_s_own_file_object_is_passed_on():
    class Unplugged:
        def read(self, *_):
            raise ConnectionResetError("unplugged")

    with pytest.raises(ConnectionResetError):
        read_image(Unplugged())


def test_heic_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # makes the import fail, installed or not
    with pytest.raises(MissingExtra, match=r"pip install 'pillow-heif>="):
        read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_heic_is_read_where_its_package_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (96, 64), RED)).save(file, exif=exif(6))
    picture = read_image(file.getvalue())
    assert picture.pixels.shape == (96, 64, 3)
    assert np.abs(picture.pixels[50, 30].astype(int) - RED).max() < 6


# Types and modes


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_types_keep_every_pixel(format):
    assert np.array_equal(read_image(encoded(four_colours(), format)).pixels, four_colours())


@pytest.mark.parametrize("format", [format for format in FORMATS if format not in LOSSLESS])
def test_lossy_types_keep_the_colours(format):
    pixels = read_image(encoded(Image.new("RGB", (32, 24), (200, 100, 50)), format)).pixels
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() < 12


def test_of_a_phone_s_mpo_the_first_photo_is_read():
    data = encoded(
        Image.new("RGB", (32, 24), RED),
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", (8, 8), BLUE)],
    )
    pixels = read_image(data).pixels
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels.astype(int) - RED).max() < 6


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_is_read_from_a_path(tmp_path, compression):
    path = tmp_path / "scan.tif"
    path.write_bytes(encoded(four_colours(), "TIFF", compression=compression))
    assert np.array_equal(read_image(path).pixels, four_colours())


def test_grey_becomes_rgb():
    assert pixels_of(encoded(np.array([[0, 77, 255]], np.uint8))) == [
        [[0] * 3, [77] * 3, [255] * 3]
    ]


def test_black_and_white_becomes_rgb():
    image = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert pixels_of(encoded(image, "PNG")) == [[[0] * 3, [255] * 3, [255] * 3]]


def test_a_palette_is_looked_up():
    image = Image.fromarray(four_colours()).quantize(8)
    assert np.array_equal(read_image(encoded(image, "PNG")).pixels, four_colours())


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["one-entry", "alpha-of-each"])
def test_transparent_palette_entries_show_white(transparency):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert pixels_of(encoded(image, "PNG", transparency=transparency)) == [
        [[10, 20, 30], [255, 255, 255]]
    ]


def test_a_transparent_colour_of_an_rgb_or_grey_file_shows_white():
    rgb = png(
        2, 1, b"\0" + bytes([9, 9, 9, 1, 2, 3]), extra=chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    )
    grey = png(2, 1, b"\0" + bytes([9, 5]), colour=0, extra=chunk(b"tRNS", struct.pack(">H", 5)))
    assert pixels_of(rgb) == pixels_of(grey) == [[[9, 9, 9], [255, 255, 255]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa"])
def test_alpha_shows_white_and_not_the_colour_hidden_below(mode):
    image = Image.fromarray(np.array([[(80, 80, 80, 255), (0, 0, 0, 0)]], np.uint8))
    image = image.convert("LA" if mode == "La" else "RGBA").convert(mode)
    assert pixels_of(image) == [[[80, 80, 80], [255, 255, 255]]]


def test_a_palette_with_alpha_shows_white():
    image = Image.new("PA", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), (1, 255))  # entry, alpha
    assert pixels_of(image) == [[[40, 50, 60], [255, 255, 255]]]


def test_half_transparent_black_is_grey():
    assert pixels_of(encoded(np.array([[(0, 0, 0, 128)]], np.uint8))) == [[[127, 127, 127]]]


def test_a_cmyk_jpeg_keeps_its_colours():  # Pillow writes and reads them inverted, as Adobe does
    pixels = read_image(
        encoded(Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), "JPEG")
    ).pixels
    assert np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_other_colour_spaces_become_rgb(mode):
    pixels = read_image(Image.new("RGB", (3, 2), (200, 100, 50)).convert(mode)).pixels
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() < 6


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_clipped(format):
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert read_image(encoded(grey, format)).pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_grey_of_either_byte_order_is_scaled(mode):
    assert pixels_of(Image.new(mode, (1, 1), 200 * 257)) == [[[200, 200, 200]]]


def test_a_dark_16_bit_picture_stays_dark():
    assert pixels_of(Image.new("I;16", (1, 1), 255)) == [[[1, 1, 1]]]


def test_16_bit_rgb_keeps_its_high_bytes():
    assert pixels_of(png(1, 1, b"\0" + struct.pack(">3H", 65535, 256 * 100, 0), depth=16)) == [
        [[255, 100, 0]]
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),  # bytes in a wider type
        ([0, 257, 65535], [0, 1, 255]),  # 16 bits
        ([0, 500_000, 1_000_000], [0, 128, 255]),  # anything else: from lowest to highest
        ([-100, 0, 100], [0, 128, 255]),
        ([900_000, 900_000, 900_000], [0, 0, 0]),
    ],
)
def test_32_bit_grey_is_scaled_by_its_range(values, expected):
    assert (
        read_image(Image.fromarray(np.array([values], np.int32))).pixels[0, :, 0].tolist()
        == expected
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([0, 25.7, 65535], [0, 0, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([np.nan, 0, 1], [0, 0, 255]),
        ([-np.inf, 0, np.inf], [0, 0, 255]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([-3e38, 0, 3e38], [0, 128, 255]),
    ],
)
def test_float_grey_is_scaled_by_its_range(values, expected):
    data = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert read_image(data).pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(format):
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE))
    assert pixels_of(encoded(red, format, save_all=True, append_images=[blue]))[0][0] == list(RED)


def test_of_an_animated_pil_image_the_current_frame_is_read():
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE))
    image = Image.open(io.BytesIO(encoded(red, "GIF", save_all=True, append_images=[blue])))
    image.seek(1)
    assert pixels_of(image)[0][0] == list(BLUE)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 30_000), (30_000, 1), (3, 700_001)])
def test_tiny_and_very_wide_pictures_are_read(size_hw):
    pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    assert np.array_equal(read_image(encoded(pixels)).pixels, pixels)


def test_a_picture_of_several_strips_has_no_seams():
    # 1.5 MP: a dozen strips
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1001, 3), np.uint8)
    for source in (pixels, Image.fromarray(pixels)):
        assert np.array_equal(read_image(source).pixels, pixels)


@pytest.fixture
def all_count_as_large(monkeypatch):
    monkeypatch.setattr(reading, "_LARGE_PIXELS", 0)


def test_a_large_photo_is_decoded_into_our_memory(all_count_as_large, monkeypatch):
    data = encoded(noise(1000, 700), "JPEG", exif=exif(6))
    assert reading._fills_frames()
    frames, frame_of = [], reading._frame
    monkeypatch.setattr(
        reading, "_frame", lambda image: frames.append(frame_of(image)) or frames[-1]
    )
    pixels = read_image(data).pixels
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert len(frames) == 1 and np.array_equal(pixels, np.asarray(upright))


def test_a_pillow_that_decodes_only_into_its_own_memory_will_do(all_count_as_large, monkeypatch):
    def refuse(*_):
        raise ValueError("images do not match")

    data = encoded(noise(), "JPEG")
    reading._fills_frames.cache_clear()
    monkeypatch.setattr(Image, "frombuffer", refuse)
    try:
        assert pixels_of(data) == np.asarray(Image.open(io.BytesIO(data))).tolist()
    finally:
        reading._fills_frames.cache_clear()


def test_a_large_file_that_breaks_off_is_called_broken(all_count_as_large):
    data = encoded(noise(), "JPEG")
    for length in range(len(data) // 4, int(0.9 * len(data)), 29):
        with pytest.raises(BrokenImage):
            read_image(data[:length])


# Which way is up


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_is_turned_upright(orientation, format):
    shown = np.kron(four_colours(), np.ones((16, 16, 1), np.uint8))  # 48 x 32, whole JPEG blocks
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.swapaxes(0, 1),
        6: np.rot90(shown, -1),
        7: shown[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(shown),
    }[back]  # turning the other way undoes it
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    data = encoded(np.ascontiguousarray(stored), format, exif=exif(orientation), **options)
    pixels = read_image(data).pixels
    assert pixels.shape == shown.shape and pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - shown).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow_s_over_several_strips(orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (1030, 1100, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    assert np.array_equal(read_image(image).pixels, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_counts_as_upright(orientation):
    assert np.array_equal(
        read_image(encoded(four_colours(), exif=exif(orientation))).pixels, four_colours()
    )


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0garbage that is no TIFF", exif(6)[:20], exif(6)[:9]]
)
def test_damaged_exif_does_not_lose_the_photo(damage):
    assert read_image(encoded(noise(), "JPEG", exif=damage)).pixels.shape[2] == 3


# Size


def test_a_png_bomb_is_refused_from_its_header_in_no_time_and_no_memory():
    bomb = png(64250, 64250, bytes(5_000_000))
    assert len(bomb) < 10_000
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(
        ImageTooLarge,
        match=r"image is 64250x64250 \(4128.06 MP\) but the limit is 40 MP; resize it or",
    ):
        read_image(bomb)
    seconds, (_, peak_bytes) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1 and peak_bytes < 2_000_000


@pytest.mark.parametrize(
    "header",
    [
        b"P6 60000 60000 255\n",
        b"GIF89a"
        + struct.pack("<HH", 60000, 60000)
        + b"\0\0\0,"
        + struct.pack("<4H", 0, 0, 60000, 60000)
        + b"\0\2\0\0;",
        b"GIF89a"
        + struct.pack("<HH", 9, 9)
        + b"\0\0\0,"
        + struct.pack("<4H", 0, 0, 10000, 10000)
        + b"\0\2\0\0;",
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"RIFF\x2e\0\0\0WEBPVP8X\x0a\0\0\0"
        + bytes(4)
        + b"\xfe\x3f\0" * 2
        + b"VP8L\x0f\0\0\0\x2f\xfe\xbf\xff\x0f"
        + bytes(20),
        encoded(four_colours(), "JPEG").replace(
            struct.pack(">HH", 2, 3), struct.pack(">HH", 60000, 60000)
        ),
        encoded(four_colours(), "TIFF").replace(
            struct.pack("<HHII", 257, 4, 1, 2), struct.pack("<HHII", 257, 4, 1, 20_000_000)
        ),
    ],
    ids=["ppm", "gif", "gif-frame-beyond-its-screen", "bmp", "webp", "jpeg", "tiff"],
)
def test_bombs_of_other_types_are_refused_too(header):
    with pytest.raises(ImageTooLarge, match=r"the limit is 40 MP; resize it"):
        read_image(header)


def test_the_limit_holds_for_pil_images_and_arrays():
    for source in (
        Image.new("L", (100, 101)),
        np.zeros((101, 100), np.uint8),
        encoded(Image.new("L", (100, 101))),
    ):
        with pytest.raises(ImageTooLarge, match=r"100x101 \(0.0101 MP\) but the limit is 0.01 MP"):
            read_image(source, max_megapixels=0.01)


def test_a_picture_just_at_the_limit_is_read():
    assert read_image(np.zeros((100, 100), np.uint8), max_megapixels=0.01).pixels.shape == (
        100,
        100,
        3,
    )


def test_the_limit_is_40_megapixels_by_default():
    assert MAX_MEGAPIXELS == 40
    with pytest.raises(ImageTooLarge):
        read_image(np.broadcast_to(np.uint8(0), (5000, 8001)))


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_is_not_a_positive_number_is_refused(limit):
    with pytest.raises(OptionError, match="max_megapixels"):
        read_image(four_colours(), max_megapixels=limit)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "GIF"])
def test_above_pillow_s_own_limit_ours_decides_and_no_warning_leaks(monkeypatch, format):
    # Pillow warns above 4 pixels and raises above 8
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    assert np.array_equal(read_image(encoded(four_colours(), format)).pixels, four_colours())


def test_where_pillow_refuses_itself_the_error_is_still_ours(monkeypatch):
    data = encoded(noise(), "TIFF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(
        ImageTooLarge, match=r"more than 0.0002 MP but the limit is 0.0002 MP; resize it"
    ):
        read_image(data)


# Damage


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_breaks_off_anywhere_is_called_broken(format):
    data = encoded(noise(), format)
    for length in range(20, len(data) - 20, 23):
        try:
            read_image(data[:length])
        except BrokenImage:
            continue
        assert length > 0.9 * len(data), length  # the very end may contain nothing that is needed


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_a_truncated_file_says_where_it_breaks_off(tmp_path, format):
    data = encoded(noise(), format)
    path = tmp_path / "half.img"
    path.write_bytes(data[: int(0.8 * len(data))])
    with pytest.raises(
        BrokenImage,
        match=rf"half.img breaks off after {path.stat().st_size} bytes; expected the rest of the",
    ):
        read_image(path)


def test_a_damaged_file_names_the_reason():
    data = encoded(noise(), "WEBP", lossless=False)
    with pytest.raises(
        BrokenImage, match=r"image starts like WebP but is damaged inside \(.+\); get it again"
    ):
        read_image(data[:20] + bytes(len(data) - 20))


def test_a_closed_pil_image_says_what_to_do(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(four_colours()))
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(BrokenImage, match="pass it before its file is closed"):
        read_image(image)


def test_memory_running_out_is_not_called_a_broken_picture(monkeypatch):
    def load(_):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        read_image(encoded(four_colours(), "BMP"))


def test_global_settings_of_pillow_are_left_alone():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for format in FORMATS:
        read_image(encoded(noise(), format))
    assert (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        list(warnings.filters),
    ) == before


SMALL_FILES = [
    encoded(noise(11, 7), "JPEG", exif=exif(6)),
    encoded(noise(11, 7), "JPEG", progressive=True),
    encoded(noise(11, 7), "PNG"),
    encoded(Image.fromarray(noise(11, 7)).quantize(16), "PNG", transparency=3),
    encoded(noise(11, 7), "GIF"),
    encoded(noise(11, 7), "WEBP"),
    encoded(noise(11, 7), "WEBP", lossless=False, exif=exif(3)),
    encoded(noise(11, 7), "TIFF"),
    encoded(noise(11, 7), "TIFF", compression="tiff_lzw"),
    encoded(noise(11, 7), "BMP"),
    encoded(Image.fromarray(noise(11, 7)).quantize(16), "BMP"),
    encoded(noise(11, 7), "PPM"),
    b"P3 2 1 255 1 2 3 4 5 6 ",
]


@given(
    st.sampled_from(SMALL_FILES),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=12),
    st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_file_is_read_or_refused_and_nothing_else(data, changes, cut):
    mutated = bytearray(data)
    for position, value in changes:
        # headers get half of the hits
        mutated[position % (len(data) if position % 2 else min(len(data), 120))] = value
    mutated = mutated[: cut or None] if cut % 4 == 0 else mutated
    try:
        picture = read_image(bytes(mutated), max_megapixels=1)
    except ImageError as error:
        assert str(error)
        return
    assert isinstance(picture, Picture)
    assert (
        picture.pixels.dtype == np.uint8
        and picture.pixels.ndim == 3
        and picture.pixels.shape[2] == 3
    )


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_at_all_are_refused_with_an_error_of_ours(data):
    with pytest.raises(ImageError):
        read_image(data)


# Warnings and threads


def talkative_tiff() -> bytes:
    """A readable TIFF with a tag whose value lies outside of the file: Pillow warns."""
    entries = [
        (256, 4, 1, 1),
        (257, 4, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
    ]
    entries += [(278, 4, 1, 1), (279, 4, 1, 1), (305, 2, 400, 9_999_999)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0"
        + struct.pack("<I", 10)
        + b"\x64\0"
        + struct.pack("<H", len(entries))
        + table
        + bytes(4)
    )


def talkative_jpeg() -> bytes:
    """A readable JPEG whose EXIF says orientation 6 and then breaks off: Pillow warns."""
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    text = struct.pack("<HHII", 0x010E, 2, 40, 9999)
    return encoded(
        noise(24, 16), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0" + tag + text + bytes(4)
    )


def test_pillow_does_warn_about_these_files():
    with pytest.warns(UserWarning):
        Image.open(io.BytesIO(talkative_tiff())).load()
    with pytest.warns(UserWarning):
        Image.open(io.BytesIO(talkative_jpeg())).getexif()


def test_warnings_turned_into_errors_do_not_lose_a_photo():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels_of(talkative_tiff()) == [[[0x64] * 3]]
        # turned: the tag before the damage counts
        assert read_image(talkative_jpeg()).pixels.shape == (24, 16, 3)
        assert read_image(Image.open(io.BytesIO(encoded(noise(), "TIFF")))).pixels.shape == (
            16,
            24,
            3,
        )


def test_many_threads_read_at_once_and_leave_the_warning_filters_as_they_were():
    before = list(warnings.filters)
    bomb = png(64250, 64250, bytes(1000))
    sources = [encoded(noise(), format) for format in FORMATS] + [
        talkative_tiff(),
        talkative_jpeg(),
        bomb,
    ]

    def outcome(data):
        try:
            return read_image(data).pixels.shape
        except ImageTooLarge:
            return "too large"

    expected = [outcome(data) for data in sources] * 20
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outcome, sources * 20)) == expected
    assert warnings.filters == before


# Memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_a_large_photo_needs_less_than_three_copies_at_the_peak(tmp_path):
    import subprocess

    path = tmp_path / "large.jpg"
    Image.new("RGB", (6000, 4000), RED).save(path)  # 24 MP: 72 MB as RGB
    script = (
        "import sys; from humanparse.image import read_image\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "peak = lambda: int(status().split('VmHWM:')[1].split()[0]) // 1000\n"
        "before = peak(); read_image(sys.argv[1]); print(peak() - before)"
    )
    grown_mb = int(
        subprocess.run(
            [sys.executable, "-c", script, path], check=True, capture_output=True, text=True
        ).stdout
    )
    assert grown_mb < 3 * 72


# What is not a picture at all


class Upload:
    """An upload like FastAPI's: its methods are coroutines."""

    async def read(self, size: int = -1) -> bytes:
        return b""


class Broken:
    def read(self, size: int = -1) -> bytes:
        raise RuntimeError("the camera is off")


class NoPath:
    def __fspath__(self):
        return 5


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\0b.jpg", "'a.x00b.jpg' .*null byte"),
        ("\ud800.jpg", "cannot be read from"),
        (closed_file(), "this BytesIO .*closed"),
        (Upload(), "asynchronous Upload; give its bytes"),
        (Broken(), "the camera is off"),
        (NoPath(), "cannot be read from"),
        (None, "cannot read a picture from NoneType"),
    ],
)
def test_what_cannot_be_read_is_not_an_image(source, reason):
    with pytest.raises(NotAnImage, match=reason):
        read_image(source)


@pytest.mark.parametrize("limit", ["10", None, True, float("nan")])
def test_a_limit_that_is_not_a_number_is_refused(limit):
    with pytest.raises(OptionError, match=r"max_megapixels is .* positive number"):
        read_image(np.zeros((2, 2, 3), np.uint8), max_megapixels=limit)
