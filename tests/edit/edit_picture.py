"""Draws docs/images/edits.jpg: a demo photo and what edits make of it. Run it after new weights.

python tests/edit/edit_picture.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from humanparse import HumanParser
from humanparse.edit import edit, step
from humanparse.system.packaged import packaged

FILE = Path(__file__).parents[2] / "docs/images/edits.jpg"
TILE = 300  # pixels
EDITS = (
    None,
    ("blur", "face grow=2% feather=2%"),
    ("recolour", "clothes=#2050c0"),
    ("background", "#3a7d5d"),
    ("background", "blur"),
    ("cutout", "head"),
)


def draw() -> Image.Image:
    parsing = HumanParser().parse(packaged("cli/demo") / "astronaut.jpg")
    sheet = Image.new("RGB", (3 * TILE, 2 * TILE))
    for number, one in enumerate(EDITS):
        picture = edit(parsing, [step(*one)]).image if one else Image.fromarray(parsing.image)
        if picture.mode == "RGBA":
            board = Image.new("RGBA", picture.size, "#e8e8e8")
            picture = Image.alpha_composite(board, picture).convert("RGB")
        sheet.paste(picture.resize((TILE, TILE)), (number % 3 * TILE, number // 3 * TILE))
    return sheet


if __name__ == "__main__":
    draw().save(FILE, quality=88)
