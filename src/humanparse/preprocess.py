"""RGB photo → network input: resize, normalise, pad; and the Geometry that finds every photo pixel
again in the outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from humanparse.arguments import whole_number
from humanparse.errors import OptionError
from humanparse.vocabulary import MIN_SIDE

# the mean of the pixels, OpenCV's; or Pillow's triangle, which M2FP was trained with
FILTERS = ("area", "pil-bilinear")
GREY = 128  # around photos that are laid in the middle
# photo pixels are sampled in tiles of at most this side: bounds memory, and suits the caches
TILE_PX = 640


@dataclass(frozen=True)
class Geometry:
    """Where a photo lies in the network's input: scaled to `resized_hw`, its top left corner at
    `corner_yx`.

    All sizes are (height, width) in pixels. The methods are for photos that lie in the corner (0,
    0).
    """

    photo_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    input_hw: tuple[int, int]
    corner_yx: tuple[int, int] = (0, 0)

    @property
    def scale_yx(self) -> tuple[float, float]:
        """Input pixels per photo pixel, down and across."""
        return self.resized_hw[0] / self.photo_hw[0], self.resized_hw[1] / self.photo_hw[1]

    def cells(self, stride: int) -> tuple[int, int]:
        """(rows, columns) of an output map of that stride which see the photo; the rest saw only
        padding."""
        return -(-self.resized_hw[0] // stride), -(-self.resized_hw[1] // stride)

    def tiles(self) -> list[tuple[int, int, int, int]]:
        """Boxes x0, y0, x1, y1 that cover the photo without overlap."""
        height, width = self.photo_hw
        return [
            (x, y, min(x + TILE_PX, width), min(y + TILE_PX, height))
            for y in range(0, height, TILE_PX)
            for x in range(0, width, TILE_PX)
        ]


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its input. One of `area_px`, `short_side` and `fit_hw` says how large.

    area_px:    resize so that the picture has about this many pixels, whatever its shape
    short_side: resize so that the short side has this many pixels
    max_long_side: but never a longer side than this
    fit_hw:     shrink the picture if it does not fit into this, never enlarge it, and lay it in the middle, on GREY
    multiple:   zero-pad right and bottom to a multiple of this
    filter:     one of FILTERS
    mean, std:  per channel, in 0–255 units
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    area_px: int | None = None
    short_side: int | None = None
    max_long_side: int = 1333
    multiple: int = 32
    filter: str = "area"
    fit_hw: tuple[int, int] | None = None

    def __post_init__(self):
        if self.filter not in FILTERS:
            raise ValueError(
                f"there is no filter {self.filter!r}; choose one of {', '.join(FILTERS)}"
            )

    def resized(self, short_side: int | None = None, max_side: int | None = None) -> Preprocess:
        """The same rule with another input size, in pixels: smaller is faster and sees less. None
        keeps the rule's own.

        Raises OptionError for a side under MIN_SIDE, and for a rule that fits photos into one fixed
        size.
        """
        for name, side in (("short_side", short_side), ("max_side", max_side)):
            if side is not None:
                whole_number(name, side, MIN_SIDE, " pixels: smaller people are not found")
        if self.fit_hw and (short_side or max_side):
            height, width = self.fit_hw
            raise OptionError(
                f"this model's input is always {width}x{height} pixels; leave the input size alone"
            )
        changed = replace(self, max_long_side=max_side or self.max_long_side)
        return replace(changed, short_side=short_side, area_px=None) if short_side else changed

    def geometry(self, photo_hw: tuple[int, int]) -> Geometry:
        """Where a photo of that size goes. A side never shrinks below one pixel."""
        if self.fit_hw:
            return self._fitted(photo_hw)
        height, width = photo_hw
        scale = (
            (self.area_px / (height * width)) ** 0.5
            if self.area_px
            else self.short_side / min(height, width)
        )
        longest = max(height, width) * scale
        shrink = min(1.0, self.max_long_side / longest)
        # Multiplied and rounded in the reference's order: another order is one pixel off for one
        # photo size in 6000.
        resized = tuple(max(1, int(side * scale * shrink + 0.5)) for side in (height, width))
        return Geometry((height, width), resized, self.padded(resized))

    def _fitted(self, photo_hw: tuple[int, int]) -> Geometry:
        (height, width), (fit_height, fit_width) = photo_hw, self.fit_hw
        resized = photo_hw
        # sides are cut off, not rounded, as the reference does
        if height > fit_height or width > fit_width:
            tall = fit_height * width <= fit_width * height
            resized = (
                (fit_height, fit_height * width // height)
                if tall
                else (fit_width * height // width, fit_width)
            )
        resized = tuple(max(1, side) for side in resized)
        corner = (fit_height - resized[0]) // 2, (fit_width - resized[1]) // 2
        return Geometry(photo_hw, resized, self.padded(self.fit_hw), corner)

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Both sides rounded up to a multiple of `multiple`."""
        return tuple(-(-side // self.multiple) * self.multiple for side in size_hw)

    def __call__(
        self, pixels: np.ndarray, geometry: Geometry | None = None
    ) -> tuple[np.ndarray, Geometry]:
        """pixels: uint8 (H, W, 3) RGB. geometry: where to lay the photo; None for the rule's own.

        Returns float32 (1, 3, H', W'), normalised and zero-padded, and its Geometry.
        """
        geometry = geometry or self.geometry(pixels.shape[:2])
        height, width = geometry.resized_hw
        small = _resize(pixels, height, width, self.filter)
        table = (np.arange(256)[:, None] - np.array(self.mean)) / np.array(self.std)  # (256, 3)
        out = np.zeros((1, 3, *geometry.input_hw), np.float32)
        top, left = geometry.corner_yx
        for channel, plane in enumerate(cv2.split(small)):
            if self.fit_hw:
                out[0, channel, : self.fit_hw[0], : self.fit_hw[1]] = table[GREY, channel]
            values = table[:, channel].astype(np.float32)
            np.take(
                values,
                plane,
                out=out[0, channel, top : top + height, left : left + width],
                mode="clip",
            )
        return out, geometry


def _resize(pixels: np.ndarray, height: int, width: int, filter: str) -> np.ndarray:
    """uint8 (H, W, 3) → uint8 (height, width, 3)."""
    if filter == "pil-bilinear":
        return np.asarray(
            Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        )
    shrinking = height * width < pixels.shape[0] * pixels.shape[1]
    return cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
