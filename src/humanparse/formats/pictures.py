"""Pictures as files: the maps as indexed pictures, and any picture encoded without a word about where it came from."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from humanparse import render
from humanparse.errors import OptionError
from humanparse.labels import Colour
from humanparse.result import Parsing

MAX_SIDES = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}  # what each kind of file can hold

# A run of equal bytes after taking off the row above: half the time of Pillow's quickest PNG, and no larger.
_QUICK_PNG = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # from OpenCV 4.12 on
    _QUICK_PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
_FLAT_MODES = ("P", "L", "1", "I;16")  # which OpenCV does not know, or would spread over three channels


def labels_image(parsing: Parsing, palette: str = "clear") -> Image.Image:
    """The label map as an indexed picture (mode P): each pixel's value is its class, shown in the palette's colour."""
    return _indexed(parsing.label_map, parsing.labels.palette(palette))


def people_image(parsing: Parsing) -> Image.Image:
    """The person map as a picture whose values are the people's numbers: mode P, or I;16 for more than 255 people."""
    if len(parsing.people) > 255:
        return Image.fromarray(parsing.person_map.astype(np.uint16))
    return _indexed(parsing.person_map.astype(np.uint8), render.person_colours(len(parsing.people)))


def encode_picture(picture: Image.Image, kind: str, quality: int = 90) -> bytes:
    """The bytes of a picture file, without metadata: no EXIF, no colour profile, no text.

    kind: "png", which keeps every pixel and the mode of `labels_image` and `people_image`; "jpeg", which shows what is
    transparent in white; "webp". quality: of the last two, 1 to 100. Quick rather than as small as can be.
    Raises OptionError for another kind or quality, and for a picture that is too large for its kind.
    """
    if kind not in MAX_SIDES:
        raise OptionError(f"there is no kind of picture {kind!r}; choose one of {', '.join(MAX_SIDES)}")
    if not 1 <= quality <= 100:
        raise OptionError(f"quality is {quality!r}; choose a number from 1 to 100")
    if max(picture.size) > MAX_SIDES[kind]:
        size = f"{picture.width}x{picture.height}"
        raise OptionError(f"the picture is {size} but {kind} holds at most {MAX_SIDES[kind]} pixels a side; choose png")
    if kind == "png" and picture.mode in _FLAT_MODES and not picture.has_transparency_data:
        return _encoded(picture.copy(), "PNG", compress_level=1)  # level 6 takes three times as long for a fifth less
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if kind == "png":
        order = cv2.COLOR_RGBA2BGRA if picture.mode == "RGBA" else cv2.COLOR_RGB2BGR
        return cv2.imencode(".png", cv2.cvtColor(np.asarray(picture), order), _QUICK_PNG)[1].tobytes()
    if kind == "webp":
        return _encoded(picture, "WEBP", quality=quality, method=0)  # method 4 takes three times as long for a sixth less
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return _encoded(picture, "JPEG", quality=quality)


def _encoded(picture: Image.Image, kind: str, **settings) -> bytes:
    """By Pillow. Changes the picture: what it carries besides its pixels, such as a colour profile, Pillow would write."""
    picture.info = {}
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def _indexed(values: np.ndarray, colours: tuple[Colour, ...]) -> Image.Image:
    """uint8 (H, W) → mode P. All 256 colours are given, so that the file keeps 8 bits a pixel, as simple readers expect."""
    picture = Image.fromarray(np.ascontiguousarray(values))
    picture.putpalette([channel for colour in colours for channel in colour] + [0] * 3 * (256 - len(colours)))
    return picture
