"""PNGs of numbers are read exactly; any other PNG is refused, with an error that says why."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from humanparse.errors import OptionError
from humanparse.evaluation.label_png import read_numbers

NUMBERS = np.array([[0, 1, 2], [7, 0, 255]], np.uint8)


@pytest.fixture
def saved(tmp_path):
    """`saved(picture)` saves a picture or an array as a PNG and returns its path."""

    def write(picture):
        picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
        picture.save(tmp_path / "a.png")
        return tmp_path / "a.png"

    return write


def coloured(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second, second], axis=2)


def png(bits: int, colour_type: int, rows: list[bytes]) -> bytes:
    """A PNG with one pixel per row, byte by byte, for kinds that Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 1, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_one_channel_is_read_as_it_is(saved):
    assert (read_numbers(saved(NUMBERS)) == NUMBERS).all()
    people = NUMBERS.astype(np.uint16) * 300
    assert (read_numbers(saved(people)) == people).all()


def test_of_an_indexed_picture_the_indices_are_read(saved):
    picture = Image.fromarray(NUMBERS % 4)
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    path = saved(picture)
    assert path.read_bytes()[24] == 2  # bits per pixel: so few that they are packed
    assert (read_numbers(path) == NUMBERS % 4).all()


def test_channels_that_repeat_each_other_are_one(saved):
    assert (read_numbers(saved(coloured(NUMBERS, NUMBERS))) == NUMBERS).all()
    opaque = np.full_like(NUMBERS, 255)
    assert (read_numbers(saved(np.dstack([coloured(NUMBERS, NUMBERS), opaque]))) == NUMBERS).all()
    assert (read_numbers(saved(Image.fromarray(NUMBERS).convert("LA"))) == NUMBERS).all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_map_in_colours_is_refused_with_the_first_colour(saved, channel):
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[1, 2, channel] = 255
    seen = tuple(255 if one == channel else 0 for one in range(3))
    with pytest.raises(OptionError) as refused:
        read_numbers(saved(colours))
    assert (
        f"a.png is in colour, for example {seen} at row 1, column 2; expected one channel"
        in str(refused.value)
    )


def test_transparent_pixels_are_refused(saved):
    see_through = np.dstack([coloured(NUMBERS, NUMBERS), np.full_like(NUMBERS, 128)])
    with pytest.raises(OptionError, match=r"a\.png has transparent pixels"):
        read_numbers(saved(see_through))


def test_shades_of_few_bits_are_refused_since_they_stand_for_others(saved):
    with pytest.raises(OptionError, match="is a greyscale PNG with 1 bit per pixel"):
        read_numbers(saved(NUMBERS == 1))


@pytest.mark.parametrize(
    ("bits", "colour_type", "row", "message"),
    [
        (2, 0, b"\x40", "is a greyscale PNG with 2 bits per pixel"),
        # Pillow would keep the first byte, which is 0.
        (16, 2, b"\x00\x05" * 3, "has several channels of 16 bits"),
        (16, 4, b"\x00\x05\xff\xff", "has several channels of 16 bits"),
    ],
)
def test_values_that_reading_would_change_are_refused(tmp_path, bits, colour_type, row, message):
    path = tmp_path / "a.png"
    path.write_bytes(png(bits, colour_type, [row, row]))
    with pytest.raises(OptionError, match=message):
        read_numbers(path)


def test_missing_damaged_and_huge_files_are_told_apart(tmp_path, saved, monkeypatch):
    with pytest.raises(
        OptionError, match=r"there is no file .*none\.png; the data set is incomplete"
    ):
        read_numbers(tmp_path / "none.png")
    path = saved(NUMBERS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(OptionError, match="cannot be read as a PNG of numbers"):
        read_numbers(path)
    half = path.read_bytes()[:40]
    Image.fromarray(NUMBERS).save(path, "JPEG")
    for content in (half, path.read_bytes(), b""):
        path.write_bytes(content)
        with pytest.raises(OptionError, match=r"a\.png is not a PNG, or is damaged; expected one"):
            read_numbers(path)
