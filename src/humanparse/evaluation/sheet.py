"""A contact sheet of pictures: photo, ground truth and prediction side by side, and a legend."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from humanparse.evaluation.ground_truth import GroundTruth
from humanparse.evaluation.mean_iou import IGNORE
from humanparse.labels import Colour
from humanparse.render import FAINT, INK, PAPER
from humanparse.result import Parsing

ROW_PX, WIDEST_PX = 340, 480  # the greatest height and width of a picture
MARGIN_PX, GAP_PX, TITLE_PX = 28, 12, 44
COLUMNS = ("photo", "ground truth", "prediction")
# Unknown pixels are striped, since no class has a pattern.
UNKNOWN = (225, 225, 225), (60, 60, 60)
# The weight of the colours; the rest is the photo in grey, for orientation.
COLOUR_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class Case:
    """One row of the sheet.

    Attributes:
        name: The picture's name.
        score: The picture's mean IoU, for its title.
        photo: uint8 (H, W, 3) RGB.
        ground_truth: What the picture shows.
        parsing: What was found in it.
    """

    name: str
    score: float
    photo: np.ndarray
    ground_truth: GroundTruth
    parsing: Parsing


def draw_sheet(
    cases: list[Case], palette: str = "clear", *, photos: bool = True, across: int = 1
) -> Image.Image:
    """Draw the cases from top to bottom, `across` of them side by side.

    Args:
        cases: The cases.
        palette: The name of the palette.
        photos: Whether the photos are shown, beside the colours and dimly below them; False if they
            must not be shown.
        across: The number of cases in a row.

    Returns:
        An RGB picture.

    Raises:
        OptionError: If the palette is unknown.
        ValueError: If there are no cases.
    """
    if not cases:
        raise ValueError("there are no cases to draw")
    colours = cases[0].parsing.labels.palette(palette)
    blocks = [_tiles(case, colours, photos) for case in cases]
    column_px = max(tile.width for block in blocks for tile in block)
    block_px = len(blocks[0]) * (column_px + GAP_PX) - GAP_PX
    width = MARGIN_PX + across * (block_px + MARGIN_PX)
    lines = [
        range(first, min(first + across, len(cases))) for first in range(0, len(cases), across)
    ]
    heights = [TITLE_PX + max(blocks[one][0].height for one in line) + GAP_PX for line in lines]
    classes = _classes(cases)
    sheet = Image.new(
        "RGB", (width, MARGIN_PX + sum(heights) + _legend_height(len(classes), width)), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    top = MARGIN_PX // 2
    for line, height in zip(lines, heights, strict=True):
        for place, one in enumerate(line):
            left = MARGIN_PX + place * (block_px + MARGIN_PX)
            _title(draw, cases[one], left, top, block_px)
            for column, tile in enumerate(blocks[one]):
                x = left + column * (column_px + GAP_PX)
                sheet.paste(tile, (x, top + TITLE_PX))
                if line[0] == 0:
                    draw.text(
                        (x, top + TITLE_PX - 32),
                        COLUMNS[column - len(blocks[one])],
                        FAINT,
                        _font(14),
                        anchor="ls",
                    )
        top += height
    _legend(draw, classes, colours, cases[0].parsing.labels.names, top + GAP_PX, width)
    return sheet


def _tiles(case: Case, colours: tuple[Colour, ...], photos: bool) -> list[Image.Image]:
    """Return the pictures of one case in one size: the last ones of COLUMNS."""
    predicted, true = case.parsing, case.ground_truth
    photo = case.photo if photos else np.zeros_like(case.photo)
    height, width = photo.shape[:2]
    scale = min(ROW_PX / height, WIDEST_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    people = (
        true.person_map if true.person_map is not None else np.zeros(true.label_map.shape, np.uint8)
    )
    pictures = [
        photo,
        _coloured(photo, true.label_map, colours),
        _coloured(photo, predicted.label_map, colours),
    ]
    tiles = [Image.fromarray(one).resize(size, Image.Resampling.LANCZOS) for one in pictures]
    return [
        *tiles[: 1 if photos else 0],
        _outlined(tiles[1], people),
        _outlined(tiles[2], predicted.person_map),
    ]


def _coloured(photo: np.ndarray, label_map: np.ndarray, colours: tuple[Colour, ...]) -> np.ndarray:
    """Return the photo in dim grey with the classes' colours, uint8 (H, W, 3)."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    dim = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2
    coloured = np.where(label_map[..., None] == IGNORE, _stripes(label_map.shape), table[label_map])
    mixed = cv2.addWeighted(coloured, COLOUR_SHARE, dim, 1 - COLOUR_SHARE, 0)
    return np.where(label_map[..., None] > 0, mixed, dim)


def _stripes(size_hw: tuple[int, int]) -> np.ndarray:
    """Return slanted stripes, uint8 (H, W, 3), which are equally wide on any photo's tile."""
    rows, columns = np.indices(size_hw)
    width = max(1, max(size_hw) // 60)
    return np.array(UNKNOWN, np.uint8)[(rows + columns) // width % 2]


def _outlined(tile: Image.Image, person_map: np.ndarray) -> Image.Image:
    """Draw a thin white line around every person."""
    pixels = np.array(tile)
    small = cv2.resize(person_map.astype(np.float32), tile.size, interpolation=cv2.INTER_NEAREST)
    for number in np.unique(small[small > 0]):
        contours, _ = cv2.findContours(
            (small == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.polylines(pixels, contours, True, (255, 255, 255), 1, cv2.LINE_AA)
    return Image.fromarray(pixels)


def _title(draw: ImageDraw.ImageDraw, case: Case, left: int, top: int, block_px: int) -> None:
    """Draw the picture's name, score and number of people."""
    y = top + TITLE_PX - 8
    draw.text((left, y), case.name, INK, _font(17), anchor="ls")
    draw.text(
        (left + block_px, y),
        f"mIoU {case.score:.3f}    {_people(case)}",
        INK,
        _font(17),
        anchor="rs",
    )


def _people(case: Case) -> str:
    found = len(case.parsing.people)
    if case.ground_truth.person_map is None:
        return f"{found} found"
    true = len(np.unique(case.ground_truth.person_map[case.ground_truth.person_map > 0]))
    return f"{true} {'person' if true == 1 else 'people'}, {found} found"


def _classes(cases: list[Case]) -> list[int]:
    """Return the numbers of the classes that the sheet shows; unknown is last."""
    seen: set[int] = set()
    for case in cases:
        seen |= {
            *np.unique(case.ground_truth.label_map).tolist(),
            *np.unique(case.parsing.label_map).tolist(),
        }
    return sorted(seen - {0})


LEGEND_COLUMN_PX, LEGEND_ROW_PX = 168, 26


def _legend_height(count: int, width: int) -> int:
    return -(-count // _per_row(width)) * LEGEND_ROW_PX + 2 * GAP_PX + MARGIN_PX // 2


def _per_row(width: int) -> int:
    return max(1, (width - 2 * MARGIN_PX) // LEGEND_COLUMN_PX)


def _legend(
    draw: ImageDraw.ImageDraw,
    classes: list[int],
    colours: tuple[Colour, ...],
    names: tuple[str, ...],
    top: int,
    width: int,
) -> None:
    for place, number in enumerate(classes):
        x = MARGIN_PX + place % _per_row(width) * LEGEND_COLUMN_PX
        y = top + place // _per_row(width) * LEGEND_ROW_PX
        colour, name = (
            (UNKNOWN[0], "unknown") if number == IGNORE else (colours[number], names[number])
        )
        draw.rounded_rectangle(
            (x, y, x + 15, y + 15),
            4,
            fill=colour,
            outline=tuple(round(0.72 * value) for value in colour),
        )
        if number == IGNORE:
            draw.line((x + 2, y + 13, x + 13, y + 2), UNKNOWN[1], 5)
        draw.text((x + 23, y + 13), name, INK, _font(14), anchor="ls")


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
