"""Draws static/sample-colours.webp, the colours over the sample photo on the welcome screen, which
are what the model in the package finds.

    python tests/page/welcome_picture.py

Run it when the model or the drawing of overlays has changed; a test fails then.
"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

import humanparse
from humanparse import HumanParser

PACKAGE = Path(humanparse.__file__).parent
SAMPLE = PACKAGE / "cli/demo/astronaut.jpg"
FILE = PACKAGE / "service/page/static/sample-colours.webp"
OPACITY = 0.62
COLOURS = 44  # more make the file larger than they are worth


def drawn() -> Image.Image:
    """Return the overlay of the sample without the photo, transparent where nothing is drawn."""
    parsing = HumanParser().parse(SAMPLE)
    on_black, on_white = (
        np.asarray(
            dataclasses.replace(parsing, image=np.full_like(parsing.image, shade)).overlay(
                opacity=OPACITY, legend=False
            )
        )
        for shade in (0, 255)
    )
    alpha = 1 - (on_white.astype(float) - on_black).mean(2, keepdims=True) / 255
    colour = np.where(alpha > 0.004, on_black / np.maximum(alpha, 1e-6), 0)
    rgba = np.dstack([colour, 255 * alpha]).clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(rgba).quantize(COLOURS, method=Image.Quantize.FASTOCTREE).convert("RGBA")


if __name__ == "__main__":
    drawn().save(FILE, lossless=True, quality=100, method=6)
