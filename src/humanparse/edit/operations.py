"""What can be done with a region of a photo. Each takes the pixels, uint8 (H, W, 3), and a
selection, and returns new pixels.

Regions that hide somebody are hidden wholly: an edge fades outside of the region, never inside it.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from humanparse.labels import Colour
from humanparse.masks import Mask
from humanparse.regions import Selection
from humanparse.render.drawing import bands
from humanparse.render.retouch import blend, median_of, moved_to

BLUR_SHARE = 8  # about so many values are left across a blurred component, at strength 1
PIXELS_ACROSS = 8  # blocks across a pixelated component, at strength 1


def blur(pixels: np.ndarray, selection: Selection, strength: float = 1.0) -> np.ndarray:
    """Return the photo with the region blurred beyond recognition, component by component."""
    return _few_values(pixels, selection, BLUR_SHARE / strength, cv2.INTER_CUBIC)


def pixelate(pixels: np.ndarray, selection: Selection, strength: float = 1.0) -> np.ndarray:
    """Return the photo with the region in large blocks, component by component."""
    return _few_values(pixels, selection, PIXELS_ACROSS / strength, cv2.INTER_NEAREST)


def fill(pixels: np.ndarray, selection: Selection, colour: Colour) -> np.ndarray:
    """Return the photo with the region in one colour."""
    return laid_over(pixels, np.full_like(pixels, np.array(colour, np.uint8)), selection.alpha)


def recolour(
    pixels: np.ndarray, selection: Selection, colour: Colour, people: Iterable[Mask] = ()
) -> np.ndarray:
    """Return the photo with the region in another colour; light, shade and texture stay.

    The median colour of each person's share of the region becomes `colour`, in CIELAB. Lighter and
    darker stay so, and other hues keep a third of their difference. What is around people or
    belongs to nobody moves as the whole region does.

    Args:
        pixels: uint8 (H, W, 3).
        selection: The region.
        colour: Red, green and blue.
        people: The masks of everybody in the photo.
    """
    if not selection.mask.area:
        return pixels
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    chosen = selection.mask.to_dense()
    above = _moved(lab, lab[_window(selection.mask)], selection.mask.crop, colour)
    for person in people:
        window = _window(person)
        theirs = chosen[window] & person.crop
        if theirs.any():
            above[window][theirs] = _moved(lab[window], lab[window], theirs, colour)[theirs]
    return laid_over(pixels, above, selection.alpha)


def _window(mask: Mask) -> tuple[slice, slice]:
    x0, y0, x1, y1 = mask.box_xyxy
    return np.s_[y0:y1, x0:x1]


def _moved(lab: np.ndarray, sample: np.ndarray, where: np.ndarray, colour: Colour) -> np.ndarray:
    """The picture with the median colour of a sample, where it counts, moved to another colour."""
    sample = np.ascontiguousarray(sample)
    return moved_to(lab, [median_of(sample, channel, where) for channel in range(3)], colour)


def laid_over(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return `above` where alpha is 255, `below` where it is 0, and both mixed in between.

    Args:
        below: uint8 (H, W, 3).
        above: uint8 (H, W, 3).
        alpha: uint8 (H, W).
    """
    out = below.copy()
    for rows in bands(len(below)):  # a band at a time: the mixing needs floats
        blend(out[rows], above[rows], alpha[rows, :, None].astype(np.float32) / 255)
    return out


def _few_values(
    pixels: np.ndarray, selection: Selection, across: float, interpolation: int
) -> np.ndarray:
    """The region with about `across` values over the side of each of its connected components."""
    hidden = selection.alpha
    if not selection.mask.area:
        return pixels
    above = pixels.copy()
    dense = (hidden > 0).view(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(dense, connectivity=8)
    for left, top, width, height, area in boxes[1:]:
        window = np.s_[top : top + height, left : left + width]
        side = max(1.0, float(np.sqrt(area)))
        few = [max(1, round(across * length / side)) for length in (width, height)]
        small = cv2.resize(pixels[window], few, interpolation=cv2.INTER_AREA)
        if interpolation == cv2.INTER_CUBIC:
            small = cv2.GaussianBlur(small, (3, 3), 0)
        above[window] = cv2.resize(small, (int(width), int(height)), interpolation=interpolation)
    return laid_over(pixels, above, hidden)
