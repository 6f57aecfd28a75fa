"""Pictures of a Parsing: colour map, overlay with outlines and legend, people map, cut-out.

Large photos are coloured in bands of rows and lines are blended only where they fall, so that drawing needs little
more memory than the picture it returns. Lines and type grow with the photo: what reads well at 200 pixels reads well
at 6000.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from humanparse.errors import OptionError
from humanparse.labels import Colour
from humanparse.masks import Mask
from humanparse.result import Parsing, Person

PAPER: Colour = (250, 250, 248)   # behind the legend
INK: Colour = (32, 33, 38)        # its type
FAINT: Colour = (112, 114, 122)   # its lesser type

_BAND_ROWS = 256
_PERSON_COLOURS = (  # neighbours in number differ in hue and in lightness
    (255, 178, 0), (0, 122, 232), (232, 58, 92), (96, 212, 120), (150, 84, 220),
    (120, 220, 240), (214, 96, 24), (20, 132, 116), (255, 150, 200), (196, 204, 60),
)  # fmt: skip


class LegendEntry(NamedTuple):
    """One line of the legend: a label that was found."""

    name: str
    colour: Colour
    share: float  # of all labelled pixels, 0 to 1


def colormap(parsing: Parsing, *, palette: str = "clear") -> Image.Image:
    """The label map in the colours of `palette`; RGB, the size of the photo. Raises OptionError for an unknown palette."""
    return Image.fromarray(_coloured(parsing.label_map, _table(parsing.labels.palette(palette))))


def people_map(parsing: Parsing) -> Image.Image:
    """Each person in a colour of their own (see `person_colours`), black elsewhere; RGB, the size of the photo."""
    table = _table(person_colours(min(len(parsing.people), 255)))
    return Image.fromarray(_coloured(person_index(parsing.person_map), table))


def overlay(
    parsing: Parsing, *, palette: str = "clear", opacity: float = 0.55, outlines: bool = True, legend: bool = True
) -> Image.Image:
    """The photo with people's parts in colour; the background stays as it is.

    opacity:  of the colours, 0 (the photo alone) to 1 (colours alone)
    outlines: a line round every person, finer lines between parts and, where there are two or more people, their numbers
    legend:   a panel to the right of the photo or below it, whichever makes the smaller picture, with the labels found
    Returns RGB; the photo is at the top left, so its pixels keep their coordinates.
    Raises OptionError for an unknown palette or an opacity outside 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise OptionError(f"opacity is {opacity!r}; choose a number from 0 (the photo alone) to 1 (the colours alone)")
    colours = parsing.labels.palette(palette)
    panel = _Panel(legend_heading(parsing), legend_entries(parsing, palette), parsing.size_hw) if legend else None
    canvas = panel.canvas() if panel else np.empty(parsing.image.shape, np.uint8)
    height, width = parsing.size_hw
    photo = canvas[:height, :width]  # a view: what is drawn here appears on the canvas
    photo[:] = parsing.image
    _tint(photo, parsing.label_map, _table(colours), opacity)
    if outlines:
        _draw_outlines(photo, parsing)
        _draw_numbers(photo, parsing.people)
    return Image.fromarray(canvas)


def cutout(
    parsing: Parsing,
    person_ids: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    feather_px: float = 1.0,
    crop: bool = True,
) -> Image.Image:
    """The chosen people or parts alone, transparent elsewhere; what is transparent holds nothing of the photo.

    person_ids: whom to keep; None keeps everybody, and parts that belong to nobody. labels: which parts of them to
    keep; None keeps all. feather_px: width of the soft edge, which lies inside the mask. crop: cut to the box of what
    is kept. Returns RGBA; where nothing is kept it is transparent and the size of the photo.
    Raises OptionError for a person or label that does not exist and for a feather below 0.
    """
    if not 0 <= feather_px < math.inf:
        raise OptionError(f"feather_px is {feather_px!r}; choose 0 for a hard edge or the width of the soft edge in pixels")
    kept = Mask.from_dense(_chosen(parsing, person_ids, labels))
    x0, y0, x1, y1 = kept.box_xyxy if crop and kept.area else (0, 0, *parsing.size_hw[::-1])
    rgba = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
    if kept.area:
        left, top, right, bottom = kept.box_xyxy
        inside = rgba[top - y0 : bottom - y0, left - x0 : right - x0]
        inside[..., 3] = _soft_alpha(kept, feather_px)
        inside[..., :3] = parsing.image[top:bottom, left:right] * (inside[..., 3:] > 0)
    return Image.fromarray(rgba)


def legend_entries(parsing: Parsing, palette: str = "clear") -> list[LegendEntry]:
    """The labels found, largest first, with their colour and their share of all labelled pixels."""
    colours = parsing.labels.palette(palette)
    counts = cv2.calcHist([np.ascontiguousarray(parsing.label_map)], [0], None, [256], [0, 256]).ravel()
    counts[0] = 0  # the background is not listed
    found = sorted(np.flatnonzero(counts), key=lambda one: -counts[one])
    return [LegendEntry(parsing.labels.names[one], colours[one], float(counts[one] / counts.sum())) for one in found]


def legend_heading(parsing: Parsing) -> str:
    """How many people were found, in words."""
    count = len(parsing.people)
    return "no people found" if count == 0 else "1 person" if count == 1 else f"{count} people"


def person_colours(count: int) -> tuple[Colour, ...]:
    """Black for nobody, then one RGB colour for each of `count` people."""
    def generated(number: int) -> Colour:
        rgb = colorsys.hls_to_rgb(number * 0.618 % 1, (0.45, 0.62, 0.78)[number % 3], 0.7)
        return tuple(round(255 * value) for value in rgb)

    colours = _PERSON_COLOURS[:count] + tuple(generated(number) for number in range(len(_PERSON_COLOURS), count))
    return ((0, 0, 0), *colours)


def person_index(person_map: np.ndarray) -> np.ndarray:
    """Person map → uint8 (H, W) into `person_colours(255)`: person 256 shares the colour of person 1, and so on."""
    index = np.empty(person_map.shape, np.uint8)
    for rows in _bands(len(person_map)):
        index[rows] = np.where(person_map[rows] > 255, (person_map[rows] - 1) % 255 + 1, person_map[rows])
    return index


# Colouring

def _bands(height: int) -> Iterator[slice]:
    return (slice(top, min(top + _BAND_ROWS, height)) for top in range(0, height, _BAND_ROWS))


def _table(colours: tuple[Colour, ...]) -> np.ndarray:
    """Colours → uint8 (256, 3), black where there is none."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return table


def _coloured(index: np.ndarray, table: np.ndarray) -> np.ndarray:
    """uint8 (H, W) of row numbers of `table` (256, 3) → uint8 (H, W, 3)."""
    index = np.ascontiguousarray(index)
    return cv2.merge([cv2.LUT(index, np.ascontiguousarray(table[:, channel])) for channel in range(3)])


def _tint(photo: np.ndarray, label_map: np.ndarray, table: np.ndarray, opacity: float) -> None:
    """Blend the labels' colours into `photo` in place, where there is a label."""
    for rows in _bands(len(photo)):
        labelled = label_map[rows] > 0
        columns = np.flatnonzero(labelled.any(0))
        if len(columns) == 0:
            continue
        window = slice(columns[0], columns[-1] + 1)
        part = photo[rows, window]
        blended = cv2.addWeighted(part, 1 - opacity, _coloured(label_map[rows, window], table), opacity, 0)
        np.copyto(part, blended, where=labelled[:, window, None])


# Lines

def _unit(size_hw: tuple[int, int]) -> float:
    """The length that lines and type are measured in: 1 at 800×800, growing with the photo's side."""
    return math.sqrt(size_hw[0] * size_hw[1]) / 800


def _draw_outlines(photo: np.ndarray, parsing: Parsing) -> None:
    """Fine dark lines between parts; round people a white line in a dark casing, which shows on any background."""
    unit = _unit(parsing.size_hw)
    fine, line = max(1, round(unit)), max(1, round(1.6 * unit))
    parts = [part.mask for person in parsing.people for part in person.parts.values()]
    parts += [part.mask for part in parsing.loose_parts]
    people = [_contours(person.mask, line) for person in parsing.people]
    _stroke(photo, [_contours(mask, fine) for mask in parts], fine, INK, 0.45)
    _stroke(photo, people, line + 2 * max(1, round(unit)), INK, 0.6)
    _stroke(photo, people, line, (255, 255, 255), 0.95)


def _contours(mask: Mask, line: int) -> list[np.ndarray]:
    """The edges of a mask as polygons in the photo's pixels, steps smoothed away; specks and pinholes are left out.

    Where the mask meets the photo's border it is continued outwards, so that no line runs along the border.
    """
    if mask.area == 0:
        return []
    x0, y0, x1, y1 = mask.box_xyxy
    height, width = mask.size_hw
    beyond = 4 * line + 2
    top, left = beyond * (y0 == 0), beyond * (x0 == 0)
    bottom, right = beyond * (y1 == height), beyond * (x1 == width)
    crop = cv2.copyMakeBorder(mask.crop.view(np.uint8), top, bottom, left, right, cv2.BORDER_REPLICATE)
    contours, _ = cv2.findContours(crop, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(x0 - left, y0 - top))
    spans = [max(cv2.boundingRect(one)[2:]) for one in contours]
    least = min(8 * line, max(spans) / 2)
    return [cv2.approxPolyDP(one, 0.4 + 0.3 * line, True) for one, span in zip(contours, spans, strict=True) if span > least]


def _stroke(photo: np.ndarray, shapes: list[list[np.ndarray]], line: int, colour: Colour, strength: float) -> None:
    """Draw polygons in place, `line` pixels wide, anti-aliased, `strength` of 1 hiding what lies below."""
    ink = np.zeros(photo.shape[:2], np.uint8)
    for contours in shapes:
        cv2.polylines(ink, contours, True, 255, line, cv2.LINE_AA)
    hits = cv2.findNonZero(ink)
    if hits is None:
        return
    x, y = hits.reshape(-1, 2).T
    below = photo[y, x].astype(np.float32)                          # (N, 3)
    alpha = ink[y, x, None].astype(np.float32) * (strength / 255)   # (N, 1)
    photo[y, x] = below + (np.float32(colour) - below) * alpha + 0.5


# Numbers

def _draw_numbers(photo: np.ndarray, people: tuple[Person, ...]) -> None:
    """A small tag with each person's number above their head, where there are two or more people."""
    if len(people) < 2:
        return
    em = _em(photo.shape[:2])
    taken: list[tuple[int, int, int, int]] = []
    for person in people:
        if person.area == 0:
            continue
        tag = _tag(str(person.id), em)
        place = _free_place(_above_head(person.mask, tag.size, em), tag.size, photo.shape[:2], taken)
        taken.append(place)
        _paste(photo, tag, place)


def _above_head(mask: Mask, tag_wh: tuple[int, int], em: int) -> tuple[int, int]:
    """Left and top of a tag that stands on the middle of the mask's upper edge."""
    x0, y0, _, y1 = mask.box_xyxy
    head = mask.crop[: max(1, (y1 - y0) // 12)]
    middle = x0 + np.flatnonzero(head.any(0)).mean() + 0.5
    return round(middle - tag_wh[0] / 2), round(y0 - tag_wh[1] - em / 4)


def _free_place(
    at_xy: tuple[int, int], tag_wh: tuple[int, int], size_hw: tuple[int, int], taken: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int]:
    """The box of a tag, moved into the photo and then down until it covers no other tag, if there is room."""
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
    """Blend an RGBA picture into `photo` in place; what reaches beyond the photo is cut off."""
    x0, y0, x1, y1 = box
    window = photo[y0:y1, x0:x1]
    pixels = np.asarray(tag, np.float32)[: window.shape[0], : window.shape[1]]  # (h, w, 4)
    window[:] = window + (pixels[..., :3] - window) * (pixels[..., 3:] / 255) + 0.5


@lru_cache(maxsize=64)
def _tag(text: str, em: int) -> Image.Image:
    """White figures on a dark pill with a white rim; RGBA."""
    fine, font = 4, _font(4 * em)  # drawn four times as large, for smooth edges
    height = round(1.35 * em) * fine
    width = max(height, round(_width(text, font) + 0.8 * em * fine) // fine * fine)
    tag = Image.new("RGBA", (width, height), (*INK, 0))
    draw = ImageDraw.Draw(tag)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), height // 2, fill=(*INK, 255))
    rim = max(1, round(0.09 * em * fine))
    draw.rounded_rectangle((rim, rim, width - 1 - rim, height - 1 - rim), height // 2, outline=(255, 255, 255, 255), width=rim)
    _write(draw, (width / 2, height / 2), text, (255, 255, 255, 255), font, align=0.5)
    return tag.resize((width // fine, height // fine), Image.Resampling.BOX)


# Legend

class _Panel:
    """The legend: where it goes and how it looks. All lengths are pixels."""

    def __init__(self, heading: str, entries: list[LegendEntry], size_hw: tuple[int, int]):
        self.heading, self.entries, self.size_hw = heading, entries, size_hw
        self.em = _em(size_hw)
        self.font, self.head_font = _font(self.em), _font(round(1.35 * self.em))
        self.shares = [_percent(entry.share) for entry in entries]
        self.margin, self.gap, self.row = round(1.2 * self.em), round(2.2 * self.em), round(1.65 * self.em)
        self.head = round((2.4 if entries else 1.5) * self.em)
        self.column = self._column_width()
        self.columns, self.rows, self.beside = self._best_layout()

    def canvas(self) -> np.ndarray:
        """uint8 (H', W', 3): room for the photo at the top left and the finished legend beside or below it."""
        width, height = self._canvas_wh(self.columns, self.rows, self.beside)
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = PAPER
        panel = np.asarray(self._picture())
        y, x = (0, self.size_hw[1]) if self.beside else (self.size_hw[0], 0)
        canvas[y : y + panel.shape[0], x : x + panel.shape[1]] = panel
        return canvas

    def _column_width(self) -> int:
        names = max((_width(entry.name, self.font) for entry in self.entries), default=0)
        shares = max((_width(share, self.font) for share in self.shares), default=0)
        return math.ceil(names + shares + 3 * self.em) if self.entries else 0

    def _best_layout(self) -> tuple[int, int, bool]:
        """Columns, rows and whether beside the photo: the one that makes the smaller picture."""
        count = len(self.entries)
        height, width = self.size_hw
        room = (height - 2 * self.margin - self.head) // self.row
        tall = math.ceil(count / max(room, min(count, 8), 1))
        wide = max(1, min(count, (width - 2 * self.margin + self.gap) // max(1, self.column + self.gap)))
        layouts = [(columns, math.ceil(count / max(1, columns)), beside) for columns, beside in ((tall, True), (wide, False))]
        return min(layouts, key=lambda layout: math.prod(self._canvas_wh(*layout)))

    def _panel_wh(self, columns: int, rows: int) -> tuple[int, int]:
        across = columns * self.column + max(0, columns - 1) * self.gap
        return (
            2 * self.margin + max(across, math.ceil(_width(self.heading, self.head_font))),
            2 * self.margin + self.head + rows * self.row,
        )

    def _canvas_wh(self, columns: int, rows: int, beside: bool) -> tuple[int, int]:
        panel_w, panel_h = self._panel_wh(columns, rows)
        height, width = self.size_hw
        return (width + panel_w, max(height, panel_h)) if beside else (max(width, panel_w), height + panel_h)

    def _picture(self) -> Image.Image:
        picture = Image.new("RGB", self._panel_wh(self.columns, self.rows), PAPER)
        draw = ImageDraw.Draw(picture)
        _write(draw, (self.margin, self.margin + 0.7 * self.em), self.heading, INK, self.head_font)
        for i, (entry, share) in enumerate(zip(self.entries, self.shares, strict=True)):
            x = self.margin + i // self.rows * (self.column + self.gap)
            y = self.margin + self.head + i % self.rows * self.row + self.row // 2
            swatch = _swatch(entry.colour, round(1.1 * self.em))
            picture.paste(swatch, (x, y - swatch.height // 2), swatch)
            _write(draw, (x + 1.7 * self.em, y), entry.name, INK, self.font)
            _write(draw, (x + self.column, y), share, FAINT, self.font, align=1)
        return picture


def _swatch(colour: Colour, side: int) -> Image.Image:
    """A rounded square with a rim a little darker than itself, so that white shows on paper; RGBA."""
    fine = 4
    swatch = Image.new("RGBA", (fine * side, fine * side), (*colour, 0))
    rim = tuple(round(0.72 * value) for value in colour)
    ImageDraw.Draw(swatch).rounded_rectangle(
        (0, 0, fine * side - 1, fine * side - 1), fine * side // 4, fill=colour, outline=rim, width=max(fine, side // 3)
    )
    return swatch.resize((side, side), Image.Resampling.BOX)


def _percent(share: float) -> str:
    return "<1%" if share < 0.01 else f"{share:.0%}"


def _em(size_hw: tuple[int, int]) -> int:
    """Type size in pixels; never too small to read."""
    return max(11, round(18 * _unit(size_hw)))


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font; its small fixed one where Pillow was built without FreeType."""
    try:
        return ImageFont.load_default(size)
    except (ImportError, OSError):
        return ImageFont.load_default()


def _write(draw: ImageDraw.ImageDraw, at_xy: tuple[float, float], text: str, colour: tuple, font, align: float = 0) -> None:
    """Text whose capitals are centred on y and which starts (align 0), has its middle (0.5) or ends (1) at x."""
    x, (_, top, _, bottom) = at_xy[0] - align * _width(text, font), font.getbbox("A0")
    for word in text.split():
        draw.text((round(x), round(at_xy[1] - (top + bottom) / 2)), word, colour, font)
        x += font.getlength(word) + _space(font)


def _width(text: str, font) -> float:
    """Pixels that `_write` takes."""
    words = text.split()
    return sum(font.getlength(word) for word in words) + (len(words) - 1) * _space(font)


def _space(font) -> float:
    """Between words; the font's own space is too narrow to be seen at small sizes."""
    return 0.5 * font.getlength("n")


# Cut-out

def _chosen(parsing: Parsing, person_ids: Iterable[int] | int | None, labels: Iterable[str] | str | None) -> np.ndarray:
    """bool (H, W): the pixels of these people that carry these labels; None for all."""
    if person_ids is None:
        chosen = (parsing.person_map > 0) | (parsing.label_map > 0)
    else:
        chosen = np.zeros(parsing.size_hw, bool)
        for number in [person_ids] if isinstance(person_ids, int | np.integer) else person_ids:
            mask = _person(parsing, number).mask
            x0, y0, x1, y1 = mask.box_xyxy
            chosen[y0:y1, x0:x1] |= mask.crop
    if labels is not None:
        wanted = np.zeros(256, np.uint8)
        wanted[[parsing.labels.index(name) for name in ([labels] if isinstance(labels, str) else labels)]] = 1
        chosen &= cv2.LUT(np.ascontiguousarray(parsing.label_map), wanted).view(bool)
    return chosen


def _person(parsing: Parsing, number: int) -> Person:
    if number not in range(1, len(parsing.people) + 1):
        known = f"choose from 1 to {len(parsing.people)}" if parsing.people else "no people were found in this photo"
        raise OptionError(f"there is no person {number!r}; {known}")
    return parsing.people[number - 1]


def _soft_alpha(mask: Mask, feather_px: float) -> np.ndarray:
    """uint8 (h, w) within the mask's box: 0 outside the mask, rising to 255 over `feather_px` inside it."""
    if feather_px == 0:
        return mask.crop.view(np.uint8) * 255
    x0, y0, x1, y1 = mask.box_xyxy
    height, width = mask.size_hw
    # Outside the box there is nothing, but beyond the photo's border the person goes on: no soft edge there.
    beyond = [int(side) for side in (y0 > 0, y1 < height, x0 > 0, x1 < width)]
    crop = cv2.copyMakeBorder(mask.crop.view(np.uint8), *beyond, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(crop, cv2.DIST_L2, 3)[beyond[0] :, beyond[2] :][: y1 - y0, : x1 - x0]
    return (np.clip(depth / (feather_px + 1), 0, 1) * 255 + 0.5).astype(np.uint8)
