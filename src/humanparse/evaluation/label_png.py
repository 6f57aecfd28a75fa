"""PNGs whose values are numbers: a class, a person or a part in every pixel.

Such a file is easily taken for another: a label map in colours, a mask of black and white, values
that a reader rounds or scales. None of these is guessed at; each is refused with what it is.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from humanparse.errors import OptionError

GREY, INDEXED = 0, 3  # colour types in a PNG's header
# signature, length, "IHDR", width, height; bits, colour type
HEADER = struct.Struct(">8x4x4x4x4xBB")
WANTED = "expected one channel of numbers in 8 or 16 bits, or an indexed PNG"


def read_numbers(path: Path) -> np.ndarray:
    """Read a PNG of numbers: int (H, W); of an indexed one the indices, whatever their colours.

    Three equal channels are one (MHP-v2 is saved so), and so is a channel with opaque alpha.
    Raises OptionError for a file that is missing, damaged or not such a PNG.
    """
    if not path.is_file():
        raise OptionError(f"there is no {path}; the data set is incomplete")
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as png:
            values = np.array(png)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's
        raise OptionError(
            f"{path} cannot be read as a PNG of numbers ({error}); get it again"
        ) from error
    _check_kind(path, *HEADER.unpack_from(content))
    return values if values.ndim == 2 else _one_channel(path, values)


def _check_kind(path: Path, bits: int, colour_type: int) -> None:
    """Raises OptionError for values that Pillow does not give as they are."""
    if colour_type == GREY and bits < 8:
        # PNG means shades by these: the highest is white, which is 255 elsewhere.
        plural = "s" if bits > 1 else ""
        raise OptionError(f"{path} is a greyscale PNG of {bits} bit{plural} a pixel; {WANTED}")
    if colour_type not in (GREY, INDEXED) and bits > 8:
        raise OptionError(f"{path} has several channels of {bits} bits; {WANTED}")


def _one_channel(path: Path, values: np.ndarray) -> np.ndarray:
    """The channel of (H, W, 2 to 4) that all others repeat. Raises OptionError if they do not."""
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
            f"{path} is in colours, such as {colour} at row {row}, column {column}; {WANTED}. "
            "Write each colour's class or person as its number"
        )
    return first
