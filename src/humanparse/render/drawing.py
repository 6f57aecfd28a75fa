"""Colours and lines: colour map, people map, overlay and outlines.

Large photos are coloured in bands of rows, and lines are blended only where they fall, so that
drawing needs little more memory than the picture that it returns.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from humanparse.arguments import number_between
from humanparse.labels import Colour
from humanparse.masks import Mask
from humanparse.render.legend import Panel, legend_entries, legend_heading
from humanparse.render.lettering import INK, font_of, text_width, type_px, unit_px, write
from humanparse.result import Parsing, Person

_BAND_ROWS = 128
_PERSON_COLOURS = (  # consecutive colours differ in hue and in lightness
    (255, 178, 0), (0, 122, 232), (232, 58, 92), (96, 212, 120), (150, 84, 220),
    (120, 220, 240), (214, 96, 24), (20, 132, 116), (255, 150, 200), (196, 204, 60),
)  # fmt: skip


def colormap(parsing: Parsing, *, palette: str = "clear") -> Image.Image:
    """Draw the label map in colours.

    Args:
        parsing: The result to draw.
        palette: The name of the palette.

    Returns:
        An RGB picture in the size of the photo.

    Raises:
        OptionError: If the palette is unknown.
    """
    return Image.fromarray(colormap_pixels(parsing, palette=palette))


def colormap_pixels(parsing: Parsing, *, palette: str = "clear") -> np.ndarray:
    """Return the pixels of `colormap`, uint8 (H, W, 3) RGB.

    Turning pixels into a PIL image and back takes longer than drawing them.
    """
    return _coloured(parsing.label_map, _table(parsing.labels.palette(palette)))


def people_map(parsing: Parsing) -> Image.Image:
    """Draw each person in a colour of their own (see `person_colours`), and black elsewhere.

    Returns:
        An RGB picture in the size of the photo.
    """
    table = _table(person_colours(min(len(parsing.people), 255)))
    return Image.fromarray(_coloured(person_index(parsing.person_map), table))


def overlay(
    parsing: Parsing,
    *,
    palette: str = "clear",
    opacity: float = 0.55,
    outlines: bool = True,
    legend: bool = True,
    numbers: bool | None = None,
) -> Image.Image:
    """Draw the photo with people's parts in colour; the background stays as it is.

    Args:
        parsing: The result to draw.
        palette: The name of the palette.
        opacity: The opacity of the colours, from 0 (only the photo) to 1 (only the colours).
        outlines: Draw a line around every person, finer lines between parts, and numbers.
        legend: Add a panel with the labels found to the right of the photo or below it, whichever
            makes the smaller picture.
        numbers: Draw people's numbers with the outlines; None draws them if there are two or more.

    Returns:
        An RGB picture. The photo is at its top left, so that its pixels keep their coordinates.

    Raises:
        OptionError: If the palette is unknown, or the opacity is not between 0 and 1.
    """
    return Image.fromarray(
        overlay_pixels(
            parsing,
            palette=palette,
            opacity=opacity,
            outlines=outlines,
            legend=legend,
            numbers=numbers,
        )
    )


def overlay_pixels(
    parsing: Parsing,
    *,
    palette: str = "clear",
    opacity: float = 0.55,
    outlines: bool = True,
    legend: bool = True,
    numbers: bool | None = None,
) -> np.ndarray:
    """Return the pixels of `overlay`, which explains the arguments, uint8 (H, W, 3) RGB."""
    number_between("opacity", opacity, 0, 1, ": 0 for only the photo, 1 for only the colours")
    colours = parsing.labels.palette(palette)
    panel = (
        Panel(legend_heading(parsing), legend_entries(parsing, palette), parsing.size_hw)
        if legend
        else None
    )
    canvas = panel.canvas() if panel else np.empty(parsing.image.shape, np.uint8)
    height, width = parsing.size_hw
    photo = canvas[:height, :width]  # a view: what is drawn here appears on the canvas
    photo[:] = parsing.image
    _tint(photo, parsing.label_map, _table(colours), opacity)
    if outlines:
        _draw_outlines(photo, parsing)
        if len(parsing.people) > 1 if numbers is None else numbers:
            _draw_numbers(photo, parsing.people)
    return canvas


def outlines(parsing: Parsing, *, palette: str = "clear") -> Image.Image:
    """Draw only lines on the photo: around every part in its colour, and around people in white.

    If there are two or more people, their numbers are drawn as well.

    Args:
        parsing: The result to draw.
        palette: The name of the palette.

    Returns:
        An RGB picture in the size of the photo.

    Raises:
        OptionError: If the palette is unknown.
    """
    return Image.fromarray(outlines_pixels(parsing, palette=palette))


def outlines_pixels(parsing: Parsing, *, palette: str = "clear") -> np.ndarray:
    """Return the pixels of `outlines`, uint8 (H, W, 3) RGB."""
    photo = parsing.image.copy()
    _draw_outlines(photo, parsing, parsing.labels.palette(palette))
    if len(parsing.people) > 1:
        _draw_numbers(photo, parsing.people)
    return photo


def person_colours(count: int) -> tuple[Colour, ...]:
    """Return black for nobody, and then an RGB colour for each of `count` people."""

    def generated(number: int) -> Colour:
        rgb = colorsys.hls_to_rgb(number * 0.618 % 1, (0.45, 0.62, 0.78)[number % 3], 0.7)
        red, green, blue = (round(255 * value) for value in rgb)
        return red, green, blue

    colours = _PERSON_COLOURS[:count] + tuple(
        generated(number) for number in range(len(_PERSON_COLOURS), count)
    )
    return ((0, 0, 0), *colours)


def person_index(person_map: np.ndarray) -> np.ndarray:
    """Turn a person map into indices of `person_colours(255)`.

    Person 256 has the colour of person 1, and so on.

    Args:
        person_map: int (H, W), 0 nobody, 1..n the person.

    Returns:
        uint8 (H, W).
    """
    index = np.empty(person_map.shape, np.uint8)
    for rows in bands(len(person_map)):
        index[rows] = np.where(
            person_map[rows] > 255, (person_map[rows] - 1) % 255 + 1, person_map[rows]
        )
    return index


# Colouring


def bands(height: int) -> Iterator[slice]:
    """Return the slices of the bands of rows in which a picture of that height is processed."""
    return (slice(top, min(top + _BAND_ROWS, height)) for top in range(0, height, _BAND_ROWS))


def _table(colours: tuple[Colour, ...]) -> np.ndarray:
    """Colours → uint8 (256, 3), black for the rest."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return table


def _coloured(index: np.ndarray, table: np.ndarray) -> np.ndarray:
    """uint8 (H, W), row numbers of `table` (256, 3) → uint8 (H, W, 3)."""
    index = np.ascontiguousarray(index)
    return cv2.merge(
        [cv2.LUT(index, np.ascontiguousarray(table[:, channel])) for channel in range(3)]
    )


def _tint(photo: np.ndarray, label_map: np.ndarray, table: np.ndarray, opacity: float) -> None:
    """Blend the labels' colours into `photo` where there is a label, in place."""
    for rows in bands(len(photo)):
        labels = np.ascontiguousarray(label_map[rows])
        x, y, width, height = cv2.boundingRect(labels)
        if width:
            labels = np.ascontiguousarray(labels[y : y + height, x : x + width])
            part = photo[rows][y : y + height, x : x + width]
            cv2.copyTo(
                cv2.addWeighted(part, 1 - opacity, _coloured(labels, table), opacity, 0),
                labels,
                part,
            )


# Lines


def _draw_outlines(photo: np.ndarray, parsing: Parsing, colours: tuple[Colour, ...] = ()) -> None:
    """Draw lines between parts, and a white line around people.

    The lines between parts are fine and dark, or in the parts' colours if `colours` has one for
    each class. A light line has a dark casing, so that it is visible on any background.
    """
    unit = unit_px(parsing.size_hw)
    fine, line = max(1, round(unit)), max(1, round(1.6 * unit))
    parts = [part for person in parsing.people for part in person.parts.values()] + list(
        parsing.loose_parts
    )
    edges = [_contours(part.mask, fine) for part in parts]
    people = [_contours(person.mask, line) for person in parsing.people]
    if colours:
        _stroke(photo, edges, line + 2 * fine, INK, 0.6)
        for part, contours in zip(parts, edges, strict=True):
            cv2.polylines(photo, contours, True, colours[part.class_id], line, cv2.LINE_AA)
    else:
        _stroke(photo, edges, fine, INK, 0.45)
    _stroke(photo, people, line + 2 * fine, INK, 0.6)
    _stroke(photo, people, line, (255, 255, 255), 0.95)


def _contours(mask: Mask, line: int) -> list[np.ndarray]:
    """Return the edges of a mask as smoothed polygons in the photo's pixels, without specks and
    pinholes.

    Where the mask meets the photo's border it is continued outwards, so that no line runs along the
    border.
    """
    if mask.area == 0:
        return []
    x0, y0, x1, y1 = mask.box_xyxy
    height, width = mask.size_hw
    beyond = 4 * line + 2
    top, left = beyond * (y0 == 0), beyond * (x0 == 0)
    bottom, right = beyond * (y1 == height), beyond * (x1 == width)
    crop: np.ndarray = mask.crop.view(np.uint8)
    if top or left or bottom or right:
        crop = cv2.copyMakeBorder(crop, top, bottom, left, right, cv2.BORDER_REPLICATE)
    contours, _ = cv2.findContours(
        crop, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(x0 - left, y0 - top)
    )
    spans = [max(cv2.boundingRect(one)[2:]) for one in contours]
    least = min(8 * line, max(spans) / 2)
    return [
        cv2.approxPolyDP(one, 0.4 + 0.3 * line, True)
        for one, span in zip(contours, spans, strict=True)
        if span > least
    ]


def _stroke(
    photo: np.ndarray, shapes: list[list[np.ndarray]], line: int, colour: Colour, strength: float
) -> None:
    """Draw anti-aliased polygons in place, `line` pixels wide.

    strength: the opacity; 1 hides what lies below.
    """
    flat = [contour for contours in shapes for contour in contours]
    if not flat:
        return
    x0, y0, width, height = cv2.boundingRect(np.concatenate(flat))
    left, top = max(0, x0 - line), max(0, y0 - line)
    photo = photo[top : y0 + height + line, left : x0 + width + line]
    ink = np.zeros(photo.shape[:2], np.uint8)
    for contours in shapes:
        cv2.polylines(
            ink, [contour - (left, top) for contour in contours], True, 255, line, cv2.LINE_AA
        )
    hits = np.flatnonzero(ink != 0)  # in half the time of cv2.findNonZero
    # One-dimensional indices take a quarter of the time.
    blends = ink.take(hits).astype(np.intp) << 8
    rows, columns = np.divmod(hits, photo.shape[1])
    memory, places = _memory(photo), rows * photo.strides[0] + 3 * columns
    for channel, value in enumerate(colour):
        here = places + channel
        memory[here] = _blended(value, strength).take(blends + memory.take(here))


@lru_cache(maxsize=32)
def _blended(value: int, strength: float) -> np.ndarray:
    """A table of a channel of ink over a photo, uint8 (65536,): 256 · the ink's opacity + below.

    value: of the ink in this channel. strength: multiplies its opacity.
    """
    alpha = np.arange(256, dtype=np.uint8)[:, None] * np.float32(strength / 255)
    below = np.arange(256, dtype=np.float32)
    return (below + (np.float32(value) - below) * alpha + np.float32(0.5)).astype(np.uint8).ravel()


def _memory(photo: np.ndarray) -> np.ndarray:
    """Return a view of the bytes from the first pixel of uint8 (H, W, 3) to the last.

    It includes the bytes between the rows.
    """
    height, width, channels = photo.shape
    return np.lib.stride_tricks.as_strided(
        photo, ((height - 1) * photo.strides[0] + width * channels,), (1,)
    )


# Numbers


def _draw_numbers(photo: np.ndarray, people: tuple[Person, ...]) -> None:
    """Draw a small tag with each person's number above their head."""
    em = type_px(photo.shape[:2])
    taken: list[tuple[int, int, int, int]] = []
    for person in people:
        if person.area == 0:
            continue
        tag = _tag(str(person.id), em)
        place = _free_place(
            _above_head(person.mask, tag.size, em), tag.size, photo.shape[:2], taken
        )
        taken.append(place)
        _paste(photo, tag, place)


def _above_head(mask: Mask, tag_wh: tuple[int, int], em: int) -> tuple[int, int]:
    """Return left and top of a tag that stands on the middle of the mask's upper edge."""
    x0, y0, _, y1 = mask.box_xyxy
    head = mask.crop[: max(1, (y1 - y0) // 12)]
    middle = x0 + np.flatnonzero(head.any(0)).mean() + 0.5
    return round(middle - tag_wh[0] / 2), round(y0 - tag_wh[1] - em / 4)


def _free_place(
    at_xy: tuple[int, int],
    tag_wh: tuple[int, int],
    size_hw: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Return the box of a tag.

    The tag is moved into the photo, and then down until it covers no other tag, if there is room.
    """
    (x, y), (w, h), (height, width) = at_xy, tag_wh, size_hw
    x, y = max(0, min(x, width - w)), max(0, min(y, height - h))
    first = (x, y, x + w, y + h)
    while y + h <= height:
        meets = [t for t in taken if x < t[2] and t[0] < x + w and y < t[3] and t[1] < y + h]
        if not meets:
            return (x, y, x + w, y + h)
        y = max(t[3] for t in meets)
    return first


def _paste(photo: np.ndarray, tag: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Blend an RGBA picture into `photo` in place; whatever reaches beyond the photo is cut off."""
    x0, y0, x1, y1 = box
    window = photo[y0:y1, x0:x1]
    pixels = np.asarray(tag, np.float32)[: window.shape[0], : window.shape[1]]  # (h, w, 4)
    window[:] = window + (pixels[..., :3] - window) * (pixels[..., 3:] / 255) + 0.5


@lru_cache(maxsize=64)
def _tag(text: str, em: int) -> Image.Image:
    """Draw white digits on a dark pill with a white rim; RGBA."""
    fine, font = 4, font_of(4 * em)  # drawn four times as large, for smooth edges
    height = round(1.35 * em) * fine
    width = max(height, round(text_width(text, font) + 0.8 * em * fine) // fine * fine)
    tag = Image.new("RGBA", (width, height), (*INK, 0))
    draw = ImageDraw.Draw(tag)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), height // 2, fill=(*INK, 255))
    rim = max(1, round(0.09 * em * fine))
    draw.rounded_rectangle(
        (rim, rim, width - 1 - rim, height - 1 - rim),
        height // 2,
        outline=(255, 255, 255, 255),
        width=rim,
    )
    write(draw, (width / 2, height / 2), text, (255, 255, 255, 255), font, align=0.5)
    return tag.resize((width // fine, height // fine), Image.Resampling.BOX)
