"""The legend: the labels found, with their colours and shares, and the panel that shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from humanparse.labels import Colour
from humanparse.render.lettering import FAINT, INK, PAPER, font_of, text_width, type_px, write
from humanparse.result import Parsing


class LegendEntry(NamedTuple):
    """One line of the legend: a label that was found.

    Attributes:
        name: The label.
        colour: Its RGB colour.
        share: Its share of all labelled pixels, from 0 to 1.
    """

    name: str
    colour: Colour
    share: float


def legend_entries(parsing: Parsing, palette: str = "clear") -> list[LegendEntry]:
    """Return the labels found, largest first, with their colours and shares."""
    colours = parsing.labels.palette(palette)
    counts = cv2.calcHist(
        [np.ascontiguousarray(parsing.label_map)], [0], None, [256], [0, 256]
    ).ravel()
    counts[0] = 0  # the background is not listed
    found = sorted(np.flatnonzero(counts), key=lambda one: -counts[one])
    return [
        LegendEntry(parsing.labels.names[one], colours[one], float(counts[one] / counts.sum()))
        for one in found
    ]


def legend_heading(parsing: Parsing) -> str:
    """Return the number of people found, in words."""
    count = len(parsing.people)
    return "no people found" if count == 0 else "1 person" if count == 1 else f"{count} people"


class Panel:
    """The legend: where it is placed and what it looks like. All lengths are in pixels.

    Args:
        heading: The line above the entries.
        entries: The entries, see `legend_entries`.
        size_hw: The photo's height and width.
    """

    def __init__(self, heading: str, entries: list[LegendEntry], size_hw: tuple[int, int]):
        self.heading, self.entries, self.size_hw = heading, entries, size_hw
        self.em = type_px(size_hw)
        self.font, self.head_font = font_of(self.em), font_of(round(1.35 * self.em))
        self.shares = [_percent(entry.share) for entry in entries]
        self.margin, self.gap, self.row = (
            round(1.2 * self.em),
            round(2.2 * self.em),
            round(1.65 * self.em),
        )
        self.head = round((2.4 if entries else 1.5) * self.em)
        self.column = self._column_width()
        self.columns, self.rows, self.beside = self._best_layout()

    def canvas(self) -> np.ndarray:
        """Return the picture with the finished legend, uint8 (H', W', 3).

        The legend is beside or below the place for the photo at the top left, which is not filled.
        """
        width, height = self._canvas_wh(self.columns, self.rows, self.beside)
        photo_height, photo_width = self.size_hw
        canvas = np.empty((height, width, 3), np.uint8)
        # A row of bytes takes a third of the time that pixels take.
        paper = np.tile(np.array(PAPER, np.uint8), width)
        rows = canvas.reshape(height, 3 * width)
        rows[:photo_height, 3 * photo_width :] = paper[3 * photo_width :]
        rows[photo_height:] = paper
        y, x = (0, photo_width) if self.beside else (photo_height, 0)
        panel_width, panel_height = self._panel_wh(self.columns, self.rows)
        self._draw(canvas[y : y + panel_height, x : x + panel_width])
        return canvas

    def _column_width(self) -> int:
        names = max((text_width(entry.name, self.font) for entry in self.entries), default=0)
        shares = max((text_width(share, self.font) for share in self.shares), default=0)
        return math.ceil(names + shares + 3 * self.em) if self.entries else 0

    def _best_layout(self) -> tuple[int, int, bool]:
        """Return columns, rows, and whether beside the photo, for the layout with the smaller
        picture.
        """
        count = len(self.entries)
        height, width = self.size_hw
        room = (height - 2 * self.margin - self.head) // self.row
        tall = math.ceil(count / max(room, min(count, 8), 1))
        wide = max(
            1, min(count, (width - 2 * self.margin + self.gap) // max(1, self.column + self.gap))
        )
        layouts = [
            (columns, math.ceil(count / max(1, columns)), beside)
            for columns, beside in ((tall, True), (wide, False))
        ]
        return min(layouts, key=lambda layout: math.prod(self._canvas_wh(*layout)))

    def _panel_wh(self, columns: int, rows: int) -> tuple[int, int]:
        across = columns * self.column + max(0, columns - 1) * self.gap
        return (
            2 * self.margin + max(across, math.ceil(text_width(self.heading, self.head_font))),
            2 * self.margin + self.head + rows * self.row,
        )

    def _canvas_wh(self, columns: int, rows: int, beside: bool) -> tuple[int, int]:
        panel_w, panel_h = self._panel_wh(columns, rows)
        height, width = self.size_hw
        return (
            (width + panel_w, max(height, panel_h))
            if beside
            else (max(width, panel_w), height + panel_h)
        )

    def _draw(self, panel: np.ndarray) -> None:
        """Draw the lines on the panel, which is empty paper, uint8 (h, w, 3).

        A line is drawn on a small picture, since Pillow takes longer to make and hand over a
        picture of the whole panel than to draw on it.
        """
        at = self.margin, self.margin + 0.7 * self.em
        with _piece(panel, (0, 0, panel.shape[1], self.margin + self.head)) as (piece, _, _):
            write(ImageDraw.Draw(piece), at, self.heading, INK, self.head_font)
        for i, (entry, share) in enumerate(zip(self.entries, self.shares, strict=True)):
            x = self.margin + i // self.rows * (self.column + self.gap)
            y = self.margin + self.head + i % self.rows * self.row + self.row // 2
            box = (
                x - self.margin // 2,
                y - self.row // 2,
                x + self.column + self.margin // 2,
                y - self.row // 2 + self.row,
            )
            with _piece(panel, box) as (piece, left, top):
                draw = ImageDraw.Draw(piece)
                swatch = _swatch(entry.colour, round(1.1 * self.em))
                piece.paste(swatch, (x - left, y - swatch.height // 2 - top), swatch)
                write(draw, (x + 1.7 * self.em - left, y - top), entry.name, INK, self.font)
                end = x + self.column - left, y - top
                write(draw, end, share, FAINT, self.font, align=1)


@contextmanager
def _piece(
    panel: np.ndarray, box_xyxy: tuple[int, int, int, int]
) -> Iterator[tuple[Image.Image, int, int]]:
    """Yield a picture of paper, and where its corner lies; what is drawn on it goes to the panel.

    It covers the box, as far as the panel goes. Its corner has even coordinates, so that rounding,
    which takes halves to even numbers, is that of the panel.
    """
    x0, y0 = (max(0, side - side % 2) for side in box_xyxy[:2])
    x1, y1 = min(box_xyxy[2], panel.shape[1]), min(box_xyxy[3], panel.shape[0])
    picture = Image.new("RGB", (x1 - x0, y1 - y0), PAPER)
    yield picture, x0, y0
    panel[y0:y1, x0:x1] = np.asarray(picture)


def _swatch(colour: Colour, side: int) -> Image.Image:
    """Draw a rounded square with a slightly darker rim, so that white is visible on paper; RGBA."""
    fine = 4
    swatch = Image.new("RGBA", (fine * side, fine * side), (*colour, 0))
    rim = tuple(round(0.72 * value) for value in colour)
    ImageDraw.Draw(swatch).rounded_rectangle(
        (0, 0, fine * side - 1, fine * side - 1),
        fine * side // 4,
        fill=colour,
        outline=rim,
        width=max(fine, side // 3),
    )
    return swatch.resize((side, side), Image.Resampling.BOX)


def _percent(share: float) -> str:
    return "<1%" if share < 0.01 else f"{share:.0%}"
