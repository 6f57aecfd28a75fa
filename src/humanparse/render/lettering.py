"""Type: its size, its font and its position. Lines and type grow with the photo."""

from __future__ import annotations

import math
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from humanparse.labels import Colour

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

PAPER: Colour = (250, 250, 248)  # behind the legend
INK: Colour = (32, 33, 38)  # the legend's type
FAINT: Colour = (112, 114, 122)  # its less important type


def unit_px(size_hw: tuple[int, int]) -> float:
    """Return the unit of lines and type in pixels: 1 at 800×800, growing with the photo's sides."""
    return math.sqrt(size_hw[0] * size_hw[1]) / 800


def type_px(size_hw: tuple[int, int]) -> int:
    """Return the type size in pixels; it is never too small to read."""
    return max(11, round(18 * unit_px(size_hw)))


@lru_cache(maxsize=64)
def font_of(size: int) -> Font:
    """Return Pillow's own font, or its small fixed one if Pillow was built without FreeType."""
    try:
        return ImageFont.load_default(size)
    except (ImportError, OSError):
        return ImageFont.load_default()


def write(
    draw: ImageDraw.ImageDraw,
    at_xy: tuple[float, float],
    text: str,
    colour: tuple[int, ...],
    font: Font,
    align: float = 0,
) -> None:
    """Draw text whose capitals are vertically centred on y.

    Args:
        draw: Where to draw.
        at_xy: The x and y of the text.
        text: A single line.
        colour: RGB or RGBA.
        font: The font.
        align: 0 starts the text at x, 0.5 centres it there, and 1 ends it there.
    """
    x, (_, top, _, bottom) = at_xy[0] - align * text_width(text, font), font.getbbox("A0")
    for word in text.split():
        draw.text((round(x), round(at_xy[1] - (top + bottom) / 2)), word, colour, font)
        x += font.getlength(word) + _space(font)


def text_width(text: str, font: Font) -> float:
    """Return the width in pixels of what `write` draws."""
    words = text.split()
    return sum(font.getlength(word) for word in words) + (len(words) - 1) * _space(font)


def _space(font: Font) -> float:
    """Return the width of a space; the font's own is too narrow to be seen at small sizes."""
    return 0.5 * font.getlength("n")
