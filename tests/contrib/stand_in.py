"""A parser without a model, and photos for it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from made_up import made_up_parsing
from PIL import Image

from humanparse.image import read_image
from humanparse.labels import CIHP
from humanparse.result import Parsing


class StandIn:
    """Finds the two people of `made_up_parsing` in every photo of 160×120 that can be read."""

    name, labels = "stand-in", CIHP

    def parse(self, image: Any, *, name: str | None = None) -> Parsing:
        assert read_image(image).pixels.shape == (120, 160, 3)
        return made_up_parsing()


def photo() -> bytes:
    """The photo of `made_up_parsing`, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(made_up_parsing().image).save(file, "PNG")
    return file.getvalue()


def photo_base64() -> str:
    return base64.b64encode(photo()).decode()


def opened(data: bytes) -> np.ndarray:
    """The pixels of a PNG file, in its own mode."""
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)
