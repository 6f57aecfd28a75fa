"""Clips of plain colours, and a parser that finds people in them without a model.

A person is a column of 8 pixels: red above (their face), blue below (their trousers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from made_up import parsing_from_maps

from humanparse.labels import CIHP
from humanparse.result import Parsing

FACE, PANTS = CIHP.index("Face"), CIHP.index("Pants")
SIZE = (64, 48)  # width and height


def frame(lefts: Iterable[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 (H, W, 3) RGB: people whose left edges are at `lefts`, 8 wide and 32 high."""
    width, height = size
    image = np.full((height, width, 3), 128, np.uint8)
    for left in lefts:
        image[8:24, left : left + 8] = (230, 20, 20)
        image[24:40, left : left + 8] = (20, 20, 230)
    return image


def walk(count: int, start: int = 4, step: int = 1) -> list[np.ndarray]:
    """Frames of one person who walks to the right."""
    return [frame([start + number * step]) for number in range(count)]


def write_clip(path: Path, frames: Iterable[np.ndarray], rate: float = 10.0) -> Path:
    """Write frames with OpenCV alone: MPEG-4 in .mp4 and .avi, VP8 in .webm."""
    codec = cv2.VideoWriter.fourcc(*("VP80" if path.suffix == ".webm" else "mp4v"))
    file = None
    for image in frames:
        size = image.shape[1::-1]
        file = file or cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, size)
        file.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    file.release()
    return path


class ColourParser:
    """Finds the people of `frame`, from left to right.

    blind: numbers of images, from 0, in which it finds nobody's face.
    """

    name, labels = "colours", CIHP

    def __init__(self, blind: Iterable[int] = ()):
        self.seen, self.blind = 0, set(blind)

    def parse_many(self, images, *, jobs=None) -> Iterator[Parsing]:
        for image in images:
            yield self._parsed(image)
            self.seen += 1

    def _parsed(self, image: np.ndarray) -> Parsing:
        red, _, blue = (image[..., channel].astype(int) for channel in range(3))
        label_map = np.zeros(image.shape[:2], np.uint8)
        label_map[blue - red > 60] = PANTS
        if self.seen not in self.blind:
            label_map[red - blue > 60] = FACE
        _, numbers = cv2.connectedComponents((label_map > 0).view(np.uint8))
        return parsing_from_maps(label_map, numbers.astype(np.uint16), image=image)
