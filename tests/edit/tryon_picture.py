"""Draws docs/images/tryon.jpg: the demo photos, their parses, and what is painted over.

    python tests/edit/tryon_picture.py

Run it after new weights.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from humanparse import HumanParser
from humanparse.system.packaged import packaged
from humanparse.tryon import agnostic_photo

FILE = Path(__file__).parents[2] / "docs/images/tryon.jpg"
HEIGHT = 240  # pixels


def draw() -> Image.Image:
    parser, tiles = HumanParser(), []
    for name in ("astronaut.jpg", "hopper.jpg"):
        parsing = parser.parse(packaged("cli/demo") / name)
        tiles += [Image.fromarray(parsing.image), parsing.overlay(legend=False)]
        tiles.append(Image.fromarray(agnostic_photo(parsing, "upper")))
    sized = [tile.resize((round(tile.width * HEIGHT / tile.height), HEIGHT)) for tile in tiles]
    sheet, left = Image.new("RGB", (sum(tile.width for tile in sized), HEIGHT)), 0
    for tile in sized:
        sheet.paste(tile, (left, 0))
        left += tile.width
    return sheet


if __name__ == "__main__":
    draw().save(FILE, quality=88)
