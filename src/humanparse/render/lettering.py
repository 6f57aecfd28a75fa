"""Type and its measures: how large, in which font, and where it stands. Lines and type grow with
the photo."""

from __future__ import annotations

import math
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from humanparse.labels import Colour

PAPER: Colour = (250, 250, 248)  # behind the legend
INK: Colour = (32, 33, 38)  # its type
FAINT: Colour = (112, 114, 122)  # its lesser type


def unit_px(size_hw: tuple[int, int]) -> float:
    """The length that lines and type are measured in: 1 at 800×800, growing with the photo's
    side."""
    return math.sqrt(size_hw[0] * size_hw[1]) / 800


def type_px(size_hw: tuple[int, int]) -> int:
    """Type size in pixels; never too small to read."""
    return max(11, round(18 * unit_px(size_hw)))


@lru_cache(maxsize=64)
def font_of(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font; its small fixed one where Pillow was built without FreeType."""
    try:
        return ImageFont.load_default(size)
    except (ImportError, OSError):
        return ImageFont.load_default()


def write(
    draw: ImageDraw.ImageDraw,
    at_xy: tuple[float, float],
    text: str,
    colour: tuple,
    font,
    align: float = 0,
) -> None:
    """Text whose capitals are centred on y and which starts (align 0), has its middle (0.5) or ends
    (1) at x."""
    x, (_, top, _, bottom) = at_xy[0] - align * text_width(text, font), font.getbbox("A0")
    for word in text.split():
        draw.text((round(x), round(at_xy[1] - (top + bottom) / 2)), word, colour, font)
        x += font.getlength(word) + _space(font)


def text_width(text: str, font) -> float:
    """Pixels that `write` takes."""
    words = text.split()
    return sum(font.getlength(word) for word in words) + (len(words) - 1) * _space(font)


def _space(font) -> float:
    """Between words; the font's own space is too narrow to be seen at small sizes."""
    return 0.5 * font.getlength("n")
