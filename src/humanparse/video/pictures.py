"""Frames without times of their own: pictures in files, and raw frames from a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from humanparse.errors import BrokenVideo, ImageError
from humanparse.image import read_image
from humanparse.search import LeftOut, nothing_found, photos_below
from humanparse.video.frames import DEFAULT_RATE, ClipInfo, ClipLimits


def below(folder: Path) -> list[str]:
    """Return the pictures of a folder, in the order of the frames; raises OptionError if none."""
    left_out = LeftOut()
    files = list(photos_below(str(folder), left_out))
    if not files:
        raise nothing_found([str(folder)], left_out)
    return ordered(files)


def ordered(files: Iterable[str]) -> list[str]:
    """Return files by their names, numbers in them by their value: frame9 before frame10."""

    def key(file: str) -> list[tuple[int, str]]:
        return [
            (int(digits or -1), text)
            for text, digits in re.findall(r"(\D*)(\d*)", file)
            if text or digits
        ]

    return sorted(files, key=key)


class Pictures:
    """Files of pictures, one a frame.

    Args:
        files: In the order of the frames, at least one.
        name: What the clip is called.
        rate: Frames a second; None for DEFAULT_RATE.
        limits: Whose pixels are checked before a picture is decoded.
    """

    def __init__(self, files: list[str], name: str, rate: float | None, limits: ClipLimits):
        self._files, self._limits, self._next = files, limits, 0
        height, width = self._read(files[0]).shape[:2]
        rate = rate or DEFAULT_RATE
        self.info = ClipInfo(
            width, height, rate, len(files), len(files) / rate, name=name or "frames"
        )

    def next_frame(self) -> tuple[float, np.ndarray, str] | None:
        """Return the next picture; see `Reader`."""
        if self._next == len(self._files):
            return None
        file = self._files[self._next]
        seconds = self._next / self.info.rate
        self._next += 1
        return seconds, self._read(file), Path(file).name

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read(self, file: str) -> np.ndarray:
        try:
            return read_image(Path(file), max_megapixels=self._limits.max_megapixels).pixels
        except ImageError as error:
            raise BrokenVideo(f"the frame {file} cannot be read: {error}") from error


class RawFrames:
    """Raw RGB frames, 3 bytes a pixel, one after the other.

    Args:
        file: An open binary file.
        width: In pixels.
        height: In pixels.
        rate: Frames a second; None for DEFAULT_RATE.
    """

    def __init__(self, file: BinaryIO, width: int, height: int, rate: float | None):
        self.info = ClipInfo(width, height, rate or DEFAULT_RATE, name="stdin")
        self._file, self._next = file, 0

    def next_frame(self) -> tuple[float, np.ndarray, str] | None:
        """Return the next frame; see `Reader`."""
        image = np.empty((self.info.height, self.info.width, 3), np.uint8)
        waiting = image.reshape(-1).data
        while len(waiting):
            # buffered files fill it all, pipes as much as there is
            count = self._file.readinto(waiting)  # type: ignore[attr-defined]
            if not count:
                break
            waiting = waiting[count:]
        if len(waiting) == image.nbytes:
            return None
        if len(waiting):
            raise BrokenVideo(
                f"raw frame {self._next} ends after {image.nbytes - len(waiting)} of "
                f"{image.nbytes} bytes; frames of {self.info.width}x{self.info.height} in RGB "
                "were expected"
            )
        self._next += 1
        return (self._next - 1) / self.info.rate, image, ""

    def close(self) -> None:
        """Leave the file open: who opened it closes it."""
