"""Foreground and background apart: soft edges, colours without a halo, and other backgrounds."""

from __future__ import annotations

import cv2
import numpy as np

from humanparse.edit.operations import laid_over
from humanparse.labels import Colour
from humanparse.regions import Selection

EDGE_SHARE = 0.002  # of the photo's longer side: half the width of a soft edge, at least one pixel
ESTIMATE_PX = (90, 6)  # windows in which foreground colours are estimated, first wide, then narrow
REACH = sum(ESTIMATE_PX) // 2 + 1  # rows above and below that a colour depends on
ROWS = 256  # whose colours are estimated at once
BLURRED_SHARE = 0.02  # of the photo's longer side: how far a blurred background is smeared


def soft_alpha(selection: Selection) -> np.ndarray:
    """uint8 (H, W): how much of each pixel belongs to the region; its edge is soft and centred."""
    dense = selection.mask.to_dense().view(np.uint8) * np.uint8(255)
    half = max(1.0, EDGE_SHARE * max(selection.mask.size_hw))
    return cv2.GaussianBlur(dense, (0, 0), half, borderType=cv2.BORDER_REPLICATE)


def foreground_colours(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the colours of what is in front, without what shines through from behind at its edge.

    Args:
        pixels: uint8 (H, W, 3), the photo.
        alpha: uint8 (H, W), how much of each pixel is in front.

    Returns:
        uint8 (H, W, 3). Where alpha is 0 or 255 it says little more than the photo.

    Source: blur fusion, "Approximate Fast Foreground Colour Estimation" (Forte, ICIP 2021).
    """
    edge = (alpha > 0) & (alpha < 255)
    if not edge.any():
        return pixels
    ys, xs = np.flatnonzero(edge.any(1)), np.flatnonzero(edge.any(0))
    around = ESTIMATE_PX[0]
    window = np.s_[
        max(0, ys[0] - around) : ys[-1] + around, max(0, xs[0] - around) : xs[-1] + around
    ]
    out = pixels.copy()
    image, share = pixels[window], alpha[window]
    for top in range(0, len(image), ROWS):  # a band at a time: large photos in floats take much
        first, last = max(0, top - REACH), min(len(image), top + ROWS + REACH)
        front = _front(image[first:last], share[first:last])
        out[window][top : top + ROWS] = front[top - first : top - first + ROWS]
    return out


def replaced(pixels: np.ndarray, selection: Selection, behind: np.ndarray) -> np.ndarray:
    """Return the region in front of another background, uint8 (H, W, 3) both."""
    alpha = soft_alpha(selection)
    return laid_over(behind, foreground_colours(pixels, alpha), alpha)


def in_colour(pixels: np.ndarray, selection: Selection, colour: Colour) -> np.ndarray:
    """Return the region in front of one colour."""
    return replaced(pixels, selection, np.full_like(pixels, np.array(colour, np.uint8)))


def blurred(pixels: np.ndarray, selection: Selection, strength: float = 1.0) -> np.ndarray:
    """Return the region sharp in front of the photo's own background, blurred; nobody's outline
    glows in it."""
    sigma = strength * BLURRED_SHARE * max(selection.mask.size_hw)
    back = 255 - selection.alpha
    weight = _wide_blur(back, sigma)[..., None] / 255
    there = _wide_blur(laid_over(np.zeros_like(pixels), pixels, back), sigma)
    behind = np.clip(there / np.maximum(weight, 1e-3), 0, 255).astype(np.uint8)
    height, width = back.shape
    return replaced(pixels, selection, cv2.resize(behind, (width, height)))


def cut_out(pixels: np.ndarray, selection: Selection) -> np.ndarray:
    """uint8 (H, W, 4): the region, transparent elsewhere; what is transparent holds nothing of the
    photo."""
    alpha = soft_alpha(selection)
    colours = foreground_colours(pixels, alpha) * (alpha > 0)[..., None]
    return np.dstack([colours, alpha])


def fitted(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return a picture, uint8 (h, w, 3), scaled and cropped in its middle until it fills a size."""
    height, width = size_hw
    scale = max(height / picture.shape[0], width / picture.shape[1])
    large = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    large = [max(large[0], width), max(large[1], height)]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, large, interpolation=how)
    top, left = (large[1] - height) // 2, (large[0] - width) // 2
    return scaled[top : top + height, left : left + width]


def _front(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 3): the foreground's colours, see `foreground_colours`."""
    image = pixels.astype(np.float32) / 255
    share = alpha.astype(np.float32)[..., None] / 255
    front, back = image, image
    for size in ESTIMATE_PX:
        front, back = _fused(image, front, back, share, size)
    return np.clip(front * 255 + 0.5, 0, 255).astype(np.uint8)


def _fused(
    image: np.ndarray, front: np.ndarray, back: np.ndarray, share: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """One pass of blur fusion: means of both sides in a window, and the front put right by them."""
    kernel = (size, size)
    weight = cv2.blur(share, kernel)[..., None]
    mean_front = cv2.blur(front * share, kernel) / (weight + 1e-5)
    rest = 1 - share
    mean_back = cv2.blur(back * rest, kernel) / (1 - weight + 1e-5)
    mended = mean_front + share * (image - share * mean_front - rest * mean_back)
    return np.clip(mended, 0, 1), mean_back


def _wide_blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """float32: a Gaussian of any width in little time, on a smaller picture where it is wide."""
    step = max(1, int(sigma / 4))
    height, width = picture.shape[:2]
    small_wh = (-(-width // step), -(-height // step))
    small = cv2.resize(picture, small_wh, interpolation=cv2.INTER_AREA).astype(np.float32)
    return cv2.GaussianBlur(small, (0, 0), sigma / step)
