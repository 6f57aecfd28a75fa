"""RGB photo → network input: resize, normalise, pad.

And `Geometry`, which finds every photo pixel again in the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from humanparse.arguments import whole_number
from humanparse.errors import OptionError
from humanparse.vocabulary import MIN_SIDE

# OpenCV's mean of the pixels, or Pillow's triangle, which M2FP was trained with
FILTERS = ("area", "pil-bilinear")
GREY = 128  # around photos that are placed in the middle
TILE_PX = (
    640  # largest side of the tiles in which photos are sampled: bounds memory, suits the caches
)


@dataclass(frozen=True)
class Geometry:
    """Where a photo lies in the network's input.

    All sizes are (height, width) in pixels. The methods are for photos whose corner is at (0, 0).

    Attributes:
        photo_hw: The size of the photo.
        resized_hw: The size to which it is scaled.
        input_hw: The size of the network's input.
        corner_yx: Where the scaled photo's top left corner lies in the input.
    """

    photo_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    input_hw: tuple[int, int]
    corner_yx: tuple[int, int] = (0, 0)

    @property
    def scale_yx(self) -> tuple[float, float]:
        """Input pixels for each photo pixel, down and across."""
        return self.resized_hw[0] / self.photo_hw[0], self.resized_hw[1] / self.photo_hw[1]

    def cells(self, stride: int) -> tuple[int, int]:
        """Return (rows, columns) of the part of an output map that sees the photo.

        Args:
            stride: Input pixels for each cell of the map. The other cells see only padding.
        """
        return -(-self.resized_hw[0] // stride), -(-self.resized_hw[1] // stride)

    def tiles(self) -> list[tuple[int, int, int, int]]:
        """Return boxes x0, y0, x1, y1 that cover the photo without overlap."""
        height, width = self.photo_hw
        return [
            (x, y, min(x + TILE_PX, width), min(y + TILE_PX, height))
            for y in range(0, height, TILE_PX)
            for x in range(0, width, TILE_PX)
        ]


@dataclass(frozen=True)
class Preprocess:
    """How a model needs its input. One of `area_px`, `short_side` and `fit_hw` sets the size.

    Attributes:
        mean: For each channel, in 0–255 units; subtracted from the pixels.
        std: For each channel, in 0–255 units; the pixels are divided by it.
        area_px: Resize to about this many pixels, whatever the picture's shape.
        short_side: Resize so that the short side has this many pixels.
        max_long_side: But never so that the long side has more than this.
        multiple: Zero-pad right and bottom to a multiple of this.
        filter: One of FILTERS.
        fit_hw: Shrink the picture if it does not fit into this, never enlarge it, and place it in
            the middle, on GREY.

    Raises:
        ValueError: For an unknown filter, or if nothing sets the size.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    area_px: int | None = None
    short_side: int | None = None
    max_long_side: int = 1333
    multiple: int = 32
    filter: str = "area"
    fit_hw: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise ValueError(
                f"there is no filter {self.filter!r}; choose one of {', '.join(FILTERS)}"
            )
        if not (self.area_px or self.short_side or self.fit_hw):
            raise ValueError("nothing sets the input size; give area_px, short_side or fit_hw")

    def resized(self, short_side: int | None = None, max_side: int | None = None) -> Preprocess:
        """Return the same rule with another input size: smaller is faster and sees less.

        Args:
            short_side: Of the input in pixels; None keeps the rule's.
            max_side: The largest long side in pixels; None keeps the rule's.

        Raises:
            OptionError: For a side under MIN_SIDE, and for a rule with `fit_hw`.
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
        """Return where a photo of that size lies. No side shrinks below one pixel.

        Args:
            photo_hw: (height, width) in pixels.
        """
        if self.fit_hw:
            return self._fitted(photo_hw, self.fit_hw)
        height, width = photo_hw
        scale = self._scale(height, width)
        longest = max(height, width) * scale
        shrink = min(1.0, self.max_long_side / longest)
        # Multiplied and rounded in the reference's order: another order is one pixel off for one
        # photo size in 6000.
        resized = (
            max(1, int(height * scale * shrink + 0.5)),
            max(1, int(width * scale * shrink + 0.5)),
        )
        return Geometry((height, width), resized, self.padded(resized))

    def _scale(self, height: int, width: int) -> float:
        if self.area_px:
            return (self.area_px / (height * width)) ** 0.5
        assert self.short_side  # or fit_hw, which has been dealt with
        return self.short_side / min(height, width)

    def _fitted(self, photo_hw: tuple[int, int], fit_hw: tuple[int, int]) -> Geometry:
        (height, width), (fit_height, fit_width) = photo_hw, fit_hw
        # fractions are cut off, not rounded, as in the reference
        if height > fit_height or width > fit_width:
            if fit_height * width <= fit_width * height:
                height, width = fit_height, fit_height * width // height
            else:
                height, width = fit_width * height // width, fit_width
        resized = max(1, height), max(1, width)
        corner = (fit_height - resized[0]) // 2, (fit_width - resized[1]) // 2
        return Geometry(photo_hw, resized, self.padded(fit_hw), corner)

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width), both rounded up to a multiple of `multiple`."""
        height, width = (-(-side // self.multiple) * self.multiple for side in size_hw)
        return height, width

    def __call__(
        self, pixels: np.ndarray, geometry: Geometry | None = None
    ) -> tuple[np.ndarray, Geometry]:
        """Make the network's input of a photo.

        Args:
            pixels: uint8 (H, W, 3) RGB.
            geometry: Where to place the photo; None for what `geometry` says.

        Returns:
            float32 (1, 3, H', W'), normalised and zero-padded, and its Geometry.
        """
        geometry = geometry or self.geometry(pixels.shape[:2])
        height, width = geometry.resized_hw
        small = _resize(pixels, height, width, self.filter)
        table = (np.arange(256)[:, None] - np.array(self.mean)) / np.array(self.std)  # (256, 3)
        out = np.zeros((1, 3, *geometry.input_hw), np.float32)
        top, left = geometry.corner_yx
        planes: Sequence[np.ndarray] = cv2.split(small)
        for channel, plane in enumerate(planes):
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
