"""Edits in their order: what a command line, an HTTP form or a call names, checked and carried out.

The steps follow one another in one order whatever order they were named in, so that the same words
always mean the same: what hides, what recolours, the background, the cut-out and last the crop.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from humanparse.arguments import number_between, one_or_more
from humanparse.edit import background, operations
from humanparse.errors import ImageError, OptionError
from humanparse.image import read_image
from humanparse.labels import Colour
from humanparse.masks import Mask
from humanparse.regions import Region, Selection, among, select
from humanparse.result import Parsing
from humanparse.vocabulary import MAX_STRENGTH, MIN_STRENGTH

MOST_STEPS = 50  # of one edit, since they come over HTTP, too


@dataclass(frozen=True)
class Means:
    """What steps are carried out with.

    Attributes:
        strength: Of blurring and pixelating; 2 leaves half the detail of 1.
        read: Reads the file of another background, uint8 (h, w, 3); None refuses files.
        people: The masks of everybody in the photo.
    """

    strength: float
    read: Callable[[str], np.ndarray] | None
    people: tuple[Mask, ...]


@dataclass(frozen=True)
class Operation:
    """One kind of edit.

    Attributes:
        takes: What stands beside the region: "" for nothing, "colour" or "background".
        run: Photo, selection, value and means → photo; None for what is done after all others.
    """

    takes: str
    run: Callable[[np.ndarray, Selection, str, Means], np.ndarray] | None


@dataclass(frozen=True)
class Step:
    """One edit of a photo.

    Attributes:
        operation: One of `OPERATIONS`.
        region: Where it is made.
        value: The name or number of a colour, for the background also a file or "blur"; "" where
            none is taken.
    """

    operation: str
    region: Region
    value: str = ""


@dataclass(frozen=True, eq=False)
class Edited:
    """An edited photo.

    Attributes:
        image: RGB, or RGBA after a cut-out.
        missing: In words, what was asked for and not found. Hiding faces is not perfect: look at
            the picture before you rely on it.
    """

    image: Image.Image
    missing: tuple[str, ...]


def step(operation: str, text: str) -> Step:
    """Return the step that a text asks for: a region, and after a last "=" the colour where there
    is one.

    `step("blur", "face")`, `step("recolour", "upper:1=#c02020")`, `step("background", "white")` (of
    everybody) or `step("background", "person:2=beach.jpg")`.

    Raises:
        OptionError: There is no such operation, or the text does not fit it.
    """
    if operation not in OPERATIONS:
        raise OptionError(f"there is no edit {operation!r}; choose one of {', '.join(OPERATIONS)}")
    takes = OPERATIONS[operation].takes
    if not isinstance(text, str):
        raise OptionError(f"{operation} is {text!r}; give a region as text, such as 'face'")
    if not takes:
        return Step(operation, Region.parse(text))
    region, equals, value = text.rpartition("=")
    if takes == "background" and (not equals or not _is_region(region)):
        region, value = "person", text
    elif not equals:
        raise OptionError(
            f"{operation} is {text!r}; give a region and a colour, such as 'upper=#c02020'"
        )
    if not value:
        raise OptionError(f"{operation} is {text!r}; after '=' a {takes} is missing")
    if takes == "colour" or not (value == "blur" or _is_file(value)):
        colour_of(value)  # raises now for what is none
    return Step(operation, Region.parse(region), value)


def edit(
    parsing: Parsing,
    steps: Iterable[Step],
    *,
    people: str | int | Iterable[int] | None = None,
    without_people: str | int | Iterable[int] | None = None,
    strength: float = 1.0,
    read: Callable[[str], np.ndarray] | None = None,
    choose: Callable[[Parsing, Region, tuple[int, ...] | None], Selection] = select,
) -> Edited:
    """Return the photo of a result with all steps carried out.

    Args:
        parsing: The result, with its photo.
        steps: As `step` makes them, in any order.
        people: Of whom all regions are that name no person themselves, by number: 2, [1, 3] or
            "1,3"; None for everybody.
        without_people: Instead of `people`, those of whom they are not.
        strength: Of blurring and pixelating; 2 leaves half the detail of 1.
        read: How the file of another background is read, uint8 (h, w, 3); None refuses files, as a
            server must.
        choose: Where a region lies in the photo; video also looks at the frames before.

    Raises:
        OptionError: A region, a person, a colour or the strength does not exist, or there are too
            many steps.
        ImageError: The other background cannot be read.
    """
    strength = number_between(
        "strength", strength, MIN_STRENGTH, MAX_STRENGTH, ": 2 hides more than 1"
    )
    steps = list(steps)
    if not 1 <= len(steps) <= MOST_STEPS:
        raise OptionError(
            f"{len(steps)} edits were asked for; give 1 to {MOST_STEPS}, such as blur of 'face'"
        )
    order = list(OPERATIONS)
    whose = among(parsing, people, without_people)
    chosen = [
        (one, choose(parsing, one.region, whose))
        for one in sorted(steps, key=lambda one: order.index(one.operation))
    ]
    means = Means(strength, read, tuple(person.mask for person in parsing.people))
    pixels = parsing.image
    kept: Selection | None = None
    box = (0, 0, pixels.shape[1], pixels.shape[0])
    for one, selection in chosen:
        if run := OPERATIONS[one.operation].run:
            pixels = run(pixels, selection, one.value, means)
        elif one.operation == "cutout":
            kept = _both(kept, selection)
        else:
            box = _box(selection, one)
    if kept:
        pixels = background.cut_out(pixels, kept)
    x0, y0, x1, y1 = box
    missing = dict.fromkeys(words for _, selection in chosen for words in selection.missing)
    return Edited(Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1])), tuple(missing))


def edited(
    parsing: Parsing, operations: Mapping[str, str | Iterable[str]], **options: Any
) -> Image.Image:
    """Return the photo after steps that are named by their operations; see `Parsing.edit`.

    Args:
        parsing: The result, with its photo.
        operations: By name of `OPERATIONS`, the text of one step or of several, as `step` takes it.
        **options: `people`, `without_people` and `strength` of `edit`.

    Raises:
        OptionError: As `edit` raises it; ImageError for a background that cannot be read.
    """
    steps = [
        step(name, text) for name, one in operations.items() for text in one_or_more(name, one)
    ]
    done = edit(parsing, steps, **options, read=read_file)
    for words in done.missing:
        logging.getLogger("humanparse").warning("%s: %s", parsing.name, words)
    return done.image


def read_file(path: str) -> np.ndarray:
    """uint8 (h, w, 3) RGB of another background's file. Raises ImageError or OSError."""
    return read_image(Path(path)).pixels


def check_backgrounds(steps: Iterable[Step]) -> None:
    """Raise OptionError for another background whose file cannot be read."""
    for one in steps:
        if one.operation == "background" and _is_file(one.value):
            try:
                read_file(one.value)
            except (ImageError, OSError) as error:
                why = getattr(error, "strerror", None) or error
                raise OptionError(
                    f"the background {one.value!r} cannot be read: {why}; "
                    "name the file of a picture, a colour such as 'white', or 'blur'"
                ) from error


def colour_of(text: str) -> Colour:
    """Return red, green and blue of a colour's name or number, such as "white", "#c02020" or
    "192,32,32".

    Raises:
        OptionError: There is no such colour.
    """
    if re.fullmatch(r"\d{1,3}(,\d{1,3}){2}", text) and all(
        int(one) < 256 for one in text.split(",")
    ):
        red, green, blue = map(int, text.split(","))
        return red, green, blue
    try:
        return ImageColor.getrgb(text.strip())[:3]
    except ValueError:
        raise OptionError(
            f"there is no colour {text[:60]!r}; give a name such as 'white', or '#c02020'"
        ) from None


def _is_file(background: str) -> bool:
    return bool(Path(background).suffix)


def _is_region(text: str) -> bool:
    try:
        Region.parse(text)
    except OptionError:
        return False
    return True


def _blurred(pixels: np.ndarray, chosen: Selection, value: str, means: Means) -> np.ndarray:
    return operations.blur(pixels, chosen, means.strength)


def _pixelated(pixels: np.ndarray, chosen: Selection, value: str, means: Means) -> np.ndarray:
    return operations.pixelate(pixels, chosen, means.strength)


def _filled(pixels: np.ndarray, chosen: Selection, value: str, means: Means) -> np.ndarray:
    return operations.fill(pixels, chosen, colour_of(value))


def _recoloured(pixels: np.ndarray, chosen: Selection, value: str, means: Means) -> np.ndarray:
    return operations.recolour(pixels, chosen, colour_of(value), means.people)


def _replaced(pixels: np.ndarray, chosen: Selection, value: str, means: Means) -> np.ndarray:
    if value == "blur":
        return background.blurred(pixels, chosen, means.strength)
    if means.read and _is_file(value):
        behind = background.fitted(means.read(value), pixels.shape[:2])
        return background.replaced(pixels, chosen, behind)
    return background.in_colour(pixels, chosen, colour_of(value))


# In the order in which they are carried out; `vocabulary.EDITS` has the same names.
OPERATIONS = {
    "blur": Operation("", _blurred),
    "pixelate": Operation("", _pixelated),
    "fill": Operation("colour", _filled),
    "recolour": Operation("colour", _recoloured),
    "background": Operation("background", _replaced),
    "cutout": Operation("", None),
    "crop": Operation("", None),
}


def _both(one: Selection | None, other: Selection) -> Selection:
    if one is None:
        return other
    mask = Mask.union([one.mask, other.mask])
    return Selection(one.region, mask, one.missing + other.missing)


def _box(selection: Selection, one: Step) -> tuple[int, int, int, int]:
    if not selection.mask.area:
        raise OptionError(
            f"the photo cannot be cut to {one.region.text!r}: nothing of it was found"
        )
    return selection.mask.box_xyxy
