"""Change the photo where parts were found: cut-out, blur and recolour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from humanparse.arguments import is_number, number_between, one_or_more
from humanparse.errors import OptionError
from humanparse.labels import Colour
from humanparse.masks import Mask, class_pixels
from humanparse.render.drawing import bands
from humanparse.result import Parsing, Person


def cutout(
    parsing: Parsing,
    person_ids: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    feather_px: float = 1.0,
    crop: bool = True,
) -> Image.Image:
    """Keep only the chosen people or parts; everything else is transparent.

    Transparent pixels are black: nothing of the photo remains in them.

    Args:
        parsing: The result.
        person_ids: The people to keep; None keeps all of them, and parts that belong to nobody.
        labels: The parts of them to keep; None keeps all.
        feather_px: The width of the soft edge in pixels, which lies inside the mask.
        crop: Crop the picture to the box of what is kept.

    Returns:
        An RGBA picture. If nothing is kept, it is transparent and has the size of the photo.

    Raises:
        OptionError: If a person or label does not exist, or if the feather is below 0.
    """
    number_between(
        "feather_px", feather_px, 0, hint=": the width of the soft edge in pixels, 0 for none"
    )
    kept = Mask.from_dense(_chosen(parsing, person_ids, labels))
    x0, y0, x1, y1 = kept.box_xyxy if crop and kept.area else (0, 0, *parsing.size_hw[::-1])
    rgba = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
    if kept.area:
        left, top, right, bottom = kept.box_xyxy
        inside = rgba[top - y0 : bottom - y0, left - x0 : right - x0]
        inside[..., 3] = _soft_alpha(kept, feather_px)
        inside[..., :3] = parsing.image[top:bottom, left:right] * (inside[..., 3:] > 0)
    return Image.fromarray(rgba)


def blur(
    parsing: Parsing,
    labels: Iterable[str] | str | None = None,
    *,
    person_ids: Iterable[int] | int | None = None,
    strength: float = 1.0,
) -> Image.Image:
    """Blur the chosen parts beyond recognition.

    A little around them is blurred as well, since masks are uncertain there. A face that was not
    found stays sharp: look at the result before you rely on it.

    Args:
        parsing: The result.
        labels: The parts to blur, each by itself. None means faces, together with the glasses
            that were found on them.
        person_ids: The people whose parts are blurred; None means everybody's, and those that
            belong to nobody.
        strength: At 1, about eight values are left across a part, at 2 about four; all finer detail
            is removed from the picture.

    Returns:
        An RGB picture in the size of the photo.

    Raises:
        OptionError: If a person or label does not exist, or if the strength is not above 0.
    """
    if not is_number(strength) or not 0 < strength < math.inf:
        raise OptionError(
            f"strength is {strength!r}; choose a number above 0: "
            "1 hides a face, and larger numbers hide more"
        )
    faces = labels is None
    if labels is None:
        labels = ["Face", *(parsing.labels.names[one] for one in parsing.labels.eyewear)]
    photo = parsing.image.copy()
    for masks in _owned_parts(parsing, person_ids, labels):
        for mask in [Mask.union(masks)] if faces and masks else masks:
            _blur_part(photo, parsing.image, mask, strength)
    return Image.fromarray(photo)


def recolour(
    parsing: Parsing,
    labels: Iterable[str] | str,
    colour: Colour,
    *,
    person_ids: Iterable[int] | int | None = None,
) -> Image.Image:
    """Give the chosen parts another colour; light, shade and texture stay.

    Args:
        parsing: The result.
        labels: The parts, taken together for each person: their median colour becomes `colour`, in
            CIELAB. Lighter and darker pixels stay so, and other hues keep a third of their
            difference.
        colour: RGB, from 0 to 255 each.
        person_ids: The people whose parts are recoloured; None means everybody's, and those that
            belong to nobody.

    Returns:
        An RGB picture in the size of the photo.

    Raises:
        OptionError: If a person or label does not exist, or if the colour is invalid.
    """
    if not _is_colour(colour):
        raise OptionError(f"colour is {colour!r}; give red, green and blue, 0 to 255 each")
    photo = parsing.image.copy()
    for masks in _owned_parts(parsing, person_ids, labels):
        if masks:
            _recolour_part(photo, Mask.union(masks), colour)
    return Image.fromarray(photo)


def _is_colour(value: Any) -> bool:
    try:
        return len(value) == 3 and all(is_number(one) and 0 <= one <= 255 for one in value)
    except TypeError:
        return False


# Cut-out


def _chosen(
    parsing: Parsing, person_ids: Iterable[int] | int | None, labels: Iterable[str] | str | None
) -> np.ndarray:
    """Return the pixels of these people that have these labels, bool (H, W); None means all."""
    if person_ids is None:
        chosen = (parsing.person_map > 0) | (parsing.label_map > 0)
    else:
        chosen = np.zeros(parsing.size_hw, bool)
        for number in one_or_more("person_ids", person_ids):
            mask = _person(parsing, number).mask
            x0, y0, x1, y1 = mask.box_xyxy
            chosen[y0:y1, x0:x1] |= mask.crop
    if labels is not None:
        wanted = [parsing.labels.index(name) for name in one_or_more("labels", labels)]
        chosen &= class_pixels(parsing.label_map, wanted)
    return chosen


def _person(parsing: Parsing, number: int) -> Person:
    if number not in range(1, len(parsing.people) + 1):
        known = (
            f"choose from 1 to {len(parsing.people)}"
            if parsing.people
            else "no people were found in this photo"
        )
        raise OptionError(f"there is no person {number!r}; {known}")
    return parsing.people[number - 1]


def _soft_alpha(mask: Mask, feather_px: float) -> np.ndarray:
    """Return the alpha channel within the mask's box, uint8 (h, w).

    It is 0 outside the mask and rises to 255 over `feather_px` inside it.
    """
    if feather_px == 0:
        return mask.crop.view(np.uint8) * 255
    x0, y0, x1, y1 = mask.box_xyxy
    height, width = mask.size_hw
    # There is nothing outside the box, but beyond the photo's border the person continues, so there
    # is no soft edge at the border.
    top, bottom, left, right = (int(side) for side in (y0 > 0, y1 < height, x0 > 0, x1 < width))
    crop = cv2.copyMakeBorder(
        mask.crop.view(np.uint8), top, bottom, left, right, cv2.BORDER_CONSTANT
    )
    depth = cv2.distanceTransform(crop, cv2.DIST_L2, 3)[top:, left:][: y1 - y0, : x1 - x0]
    return (np.clip(depth / (feather_px + 1), 0, 1) * 255 + 0.5).astype(np.uint8)


# Blur and recolour


def _owned_parts(
    parsing: Parsing, person_ids: Iterable[int] | int | None, labels: Iterable[str] | str
) -> list[list[Mask]]:
    """Return the parts that have these labels, person by person.

    If `person_ids` is None, all people are followed by the parts that belong to nobody.
    """
    wanted = {parsing.labels.index(name) for name in one_or_more("labels", labels)}
    if person_ids is None:
        owned = [[*person.parts.values()] for person in parsing.people] + [
            [part] for part in parsing.loose_parts
        ]
    else:
        ids = one_or_more("person_ids", person_ids)
        owned = [[*_person(parsing, number).parts.values()] for number in ids]
    return [
        [part.mask for part in parts if part.class_id in wanted and part.area] for parts in owned
    ]


def _blur_part(photo: np.ndarray, sharp: np.ndarray, mask: Mask, strength: float) -> None:
    """Replace a part and its surroundings by a few values of `sharp`, spread smoothly, in place."""
    (height, width), (left, top, right, bottom) = mask.size_hw, mask.box_xyxy
    side = math.sqrt(mask.area)
    # Half of the margin is blurred completely, half of it fades out.
    margin = max(1, round(0.12 * side))
    x0, y0, x1, y1 = (
        max(0, left - margin),
        max(0, top - margin),
        min(width, right + margin),
        min(height, bottom + margin),
    )
    crop = np.pad(mask.crop.view(np.uint8), ((top - y0, y1 - bottom), (left - x0, x1 - right)))
    distance = cv2.distanceTransform(1 - crop, cv2.DIST_L2, 3)  # (h, w), 0 inside the mask
    alpha = np.clip(2 * (1 - distance / margin), 0, 1)[..., None]
    few_wh = [max(1, round(8 * length / side / strength)) for length in (x1 - x0, y1 - y0)]
    few = cv2.GaussianBlur(
        cv2.resize(sharp[y0:y1, x0:x1], few_wh, interpolation=cv2.INTER_AREA), (3, 3), 0
    )
    smooth = cv2.resize(few, (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
    blend(photo[y0:y1, x0:x1], smooth, alpha)


def _recolour_part(photo: np.ndarray, mask: Mask, colour: Colour) -> None:
    """Shift a region's colours so that their median becomes `colour`, in place.

    Light and shade stay, other hues fade.
    """
    x0, y0, x1, y1 = mask.box_xyxy
    window = photo[y0:y1, x0:x1]
    lab = cv2.cvtColor(np.ascontiguousarray(window), cv2.COLOR_RGB2LAB)  # uint8 (h, w, 3)
    median = [median_of(lab, channel, mask.crop) for channel in range(3)]
    alpha = _soft_alpha(mask, 1.0)[..., None] / np.float32(255)
    blend(window, moved_to(lab, median, colour), alpha)


def moved_to(lab: np.ndarray, median: Sequence[int], colour: Colour) -> np.ndarray:
    """Shift colours so that a median becomes another colour; other hues keep a third of theirs.

    Args:
        lab: The picture in CIELAB, uint8 (h, w, 3).
        median: The colour in it that is to become `colour`, in CIELAB.
        colour: Red, green and blue.

    Returns:
        The shifted picture, uint8 (h, w, 3) RGB.
    """
    target = np.array([[colour]]).astype(np.uint8)
    wanted = cv2.cvtColor(target, cv2.COLOR_RGB2LAB)[0, 0].astype(int)
    # (256, 3): old value → new value
    moved = (np.arange(256)[:, None] - median) * (1, 0.3, 0.3) + wanted
    table = np.clip(moved + 0.5, 0, 255).astype(np.uint8)
    shifted = cv2.merge([cv2.LUT(lab[..., one], table[:, one]) for one in range(3)])
    return cv2.cvtColor(shifted, cv2.COLOR_LAB2RGB)


def median_of(picture: np.ndarray, channel: int, where: np.ndarray) -> int:
    """Return the median of one channel of uint8 (h, w, 3), where bool (h, w) is set.

    It is read from the histogram, which needs no copy.
    """
    counts = (
        cv2.calcHist([picture], [channel], where.view(np.uint8), [256], [0, 256]).ravel().cumsum()
    )
    return int(np.searchsorted(counts, counts[-1] / 2))


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> None:
    """Blend uint8 pictures (h, w, 3), in place, one band of rows after the other.

    alpha: float (h, w, 1); 0 keeps what is below.
    """
    for rows in bands(len(below)):
        below[rows] = (
            below[rows] + (above[rows].astype(np.float32) - below[rows]) * alpha[rows] + 0.5
        )
