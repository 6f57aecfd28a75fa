"""Draw a run's curves: losses above, figures of held-out photos below, over the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from humanparse.render.lettering import FAINT, INK, PAPER, font_of, text_width, write

WIDTH, HEIGHT = 900, 320  # of one panel, pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 34, 40
GRID = (222, 222, 218)
COLOURS = (
    (32, 33, 38),
    (214, 84, 30),
    (30, 110, 190),
    (60, 150, 80),
    (150, 80, 170),
    (200, 160, 20),
    (110, 112, 120),
    (190, 40, 90),
)
TYPE_PX = 13

Series = dict[str, tuple[list[float], list[float]]]  # name → steps, values


def draw_curves(entries: Sequence[dict[str, Any]]) -> Image.Image:
    """Draw the curves of a run.

    Args:
        entries: The lines of the run's log, see log.py.
    """
    losses, figures = _losses(entries), _figures(entries)
    panels = [("Loss", losses, None)] + ([("Held out", figures, (0.0, 1.0))] if figures else [])
    picture = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), PAPER)
    draw = ImageDraw.Draw(picture)
    last = max((steps[-1] for _, series, _ in panels for steps, _ in series.values()), default=1)
    for row, (title, series, limits) in enumerate(panels):
        _panel(draw, row * HEIGHT, title, series, last, limits)
    return picture


def _losses(entries: Sequence[dict[str, Any]]) -> Series:
    series: Series = {}
    for entry in entries:
        if "losses" in entry:
            for name, value in ({"all": entry["loss"]} | entry["losses"]).items():
                _add(series, name, entry["step"], value)
    return series


def _figures(entries: Sequence[dict[str, Any]]) -> Series:
    series: Series = {}
    for entry in entries:
        for name, value in entry.get("validation", {}).items():
            _add(series, name, entry["step"], value)
    return series


def _add(series: Series, name: str, step: int, value: float | None) -> None:
    if value is not None and np.isfinite(value):
        steps, values = series.setdefault(name, ([], []))
        steps.append(float(step))
        values.append(float(value))


def _panel(
    draw: ImageDraw.ImageDraw,
    top: int,
    title: str,
    series: Series,
    last: float,
    limits: tuple[float, float] | None,
) -> None:
    """Draw axes with their curves. limits: of the values; None takes them from the curves."""
    font = font_of(TYPE_PX)
    x0, x1, y0, y1 = LEFT, WIDTH - RIGHT, top + TOP, top + HEIGHT - BOTTOM
    values = [value for _, ys in series.values() for value in ys]
    low, high = limits or (0.0, 1.05 * _upper(series) if values else 1.0)
    write(draw, (x0, top + TOP / 2), title, INK, font_of(TYPE_PX + 3))
    for share in np.linspace(0, 1, 5):
        y = y1 - share * (y1 - y0)
        draw.line([(x0, y), (x1, y)], GRID)
        write(draw, (x0 - 8, y), f"{low + share * (high - low):.3g}", FAINT, font, align=1)
        write(
            draw, (x0 + share * (x1 - x0), y1 + 14), f"{share * last:.0f}", FAINT, font, align=0.5
        )
    write(draw, ((x0 + x1) / 2, y1 + 30), "step", FAINT, font, align=0.5)
    for number, (name, (steps, ys)) in enumerate(list(series.items())[: len(COLOURS)]):
        colour = COLOURS[number]
        points = [
            (
                x0 + step / last * (x1 - x0),
                y1 - (min(max(y, low), high) - low) / (high - low) * (y1 - y0),
            )
            for step, y in zip(steps, ys, strict=True)
        ]
        if len(points) > 1:
            draw.line(points, colour, width=2, joint="curve")
        else:
            draw.ellipse(
                [points[0][0] - 2, points[0][1] - 2, points[0][0] + 2, points[0][1] + 2], colour
            )
        y = y0 + 8 + number * 20
        draw.line([(x1 + 12, y), (x1 + 28, y)], colour, width=3)
        write(draw, (x1 + 34, y), _fitting(f"{name} {ys[-1]:.3g}", font), INK, font)


def _upper(series: Series) -> float:
    """The largest value after the first tenth of each curve, where losses are so high that they
    would flatten the rest."""
    return max((max(ys[len(ys) // 10 :]) for _, ys in series.values()), default=1.0) or 1.0


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The text, shortened to fit beside the axes."""
    while text_width(text, font) > RIGHT - 40 and len(text) > 4:
        text = text[:-1]
    return text
