"""PNGs whose values are numbers: a class, a person or a part in every pixel.

Other files are easily mistaken for them: a coloured label map, a black and white mask, or values
that a reader rounds or scales. None of these is guessed at: each is refused with an error that says
what the file is.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from humanparse.errors import OptionError

GREY, INDEXED = 0, 3  # colour types in a PNG's header
# signature, length, "IHDR", width, height; bits, colour type
HEADER = struct.Struct(">8x4x4x4x4xBB")
WANTED = "expected one channel of 8-bit or 16-bit numbers, or an indexed PNG"


def read_numbers(path: Path) -> np.ndarray:
    """Read a PNG of numbers.

    Three equal channels count as one (MHP-v2 is saved that way), and so does a channel with opaque
    alpha.

    Returns:
        int (H, W); for an indexed PNG the indices, whatever their colours are.

    Raises:
        OptionError: If the file is missing, damaged or not such a PNG.
    """
    if not path.is_file():
        raise OptionError(f"there is no file {path}; the data set is incomplete")
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as png:
            values = np.array(png)
    except UnidentifiedImageError:  # Pillow's words would only name an object in memory
        raise OptionError(f"{path} is not a PNG, or is damaged; {WANTED}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OptionError(
            f"{path} cannot be read as a PNG of numbers ({error}); download it again"
        ) from error
    _check_kind(path, *HEADER.unpack_from(content))
    return values if values.ndim == 2 else _one_channel(path, values)


def _check_kind(path: Path, bits: int, colour_type: int) -> None:
    """Raise OptionError for values that Pillow does not return as they are."""
    if colour_type == GREY and bits < 8:
        # In such a PNG the values are shades: the highest one is white, which is 255 elsewhere.
        plural = "s" if bits > 1 else ""
        raise OptionError(f"{path} is a greyscale PNG with {bits} bit{plural} per pixel; {WANTED}")
    if colour_type not in (GREY, INDEXED) and bits > 8:
        raise OptionError(f"{path} has several channels of {bits} bits; {WANTED}")


def _one_channel(path: Path, values: np.ndarray) -> np.ndarray:
    """Return the channel of (H, W, 2 to 4) that all others repeat.

    Raises OptionError if they do not.
    """
    channels = values.shape[2]
    if channels in (2, 4):
        if (values[:, :, -1] != 255).any():
            raise OptionError(f"{path} has transparent pixels; {WANTED}")
        values = values[:, :, :-1]
    first = values[:, :, 0]
    differing = (values != first[:, :, None]).any(2)
    if differing.any():
        row, column = np.argwhere(differing)[0]
        colour = tuple(int(value) for value in values[row, column])
        raise OptionError(
            f"{path} is in colour, for example {colour} at row {row}, column {column}; {WANTED}. "
            "Save each pixel's class or person as a number"
        )
    return first
