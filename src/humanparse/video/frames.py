"""Clips and cameras as frames: RGB, upright, each with the time at which it is shown.

    a file                  by PyAV where it is installed, otherwise by OpenCV (readers.py)
    a folder or a pattern   one picture a frame, in the order of the numbers in their names
    an open binary file     raw RGB frames, one after the other: stdin, say
    a number, or a URL      a camera or a stream, whose newest frame is taken (live.py)

A file is recognised by its first bytes, never by its name: playlists, which would have others read
files and addresses, are no clips.
"""

from __future__ import annotations

import operator
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np

from humanparse.arguments import number_between, whole_number
from humanparse.errors import BrokenVideo, OptionError, VideoTooLarge
from humanparse.image import MAX_MEGAPIXELS, check_limit
from humanparse.search import LeftOut, no_match, no_such_source, pattern_in, photos_matching
from humanparse.video.containers import check_signature, missing_bytes

DEFAULT_RATE = 25.0  # frames a second of pictures and raw frames, which have no times of their own
MIN_RATE, MAX_RATE = 0.01, 1000.0  # frames a second
CLOSE_S = 2.0  # how long closing waits for a frame that is being read


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a clip.

    Attributes:
        index: Its number, from 0.
        seconds: When it is shown, in seconds from the start of the clip.
        image: uint8 (H, W, 3) RGB, upright.
        file_name: The name of its file, if each frame is one; "" otherwise.
    """

    index: int
    seconds: float
    image: np.ndarray
    file_name: str = ""


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip before it is read.

    Attributes:
        width: In pixels, upright.
        height: In pixels, upright.
        rate: Frames a second, on average.
        frames: How many frames it has, as far as its header says; None if that is unknown.
        seconds: How long it is; None if that is unknown.
        live: Whether it is a camera or a stream, of which frames are left out rather than late.
        sound: Whether it is known to have sound; only PyAV can tell.
        name: The name of its file without folder and ending, for the names of results.
    """

    width: int
    height: int
    rate: float
    frames: int | None = None
    seconds: float | None = None
    live: bool = False
    sound: bool = False
    name: str = "clip"


@dataclass(frozen=True)
class ClipLimits:
    """The largest clip that is read.

    Attributes:
        max_megapixels: Of a frame, in millions of pixels.
        max_frames: None for any number.
        max_seconds: None for any length.
        prefix: What stands before these names where the limits are set, for errors: "video_" says
            that the limit on frames is called video_max_frames there.
    """

    max_megapixels: float = MAX_MEGAPIXELS
    max_frames: int | None = None
    max_seconds: float | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        check_limit(self.max_megapixels)
        if self.max_frames is not None:
            whole_number("max_frames", self.max_frames, 1, ", or None for any number")
        if self.max_seconds is not None:
            number_between("max_seconds", self.max_seconds, 0, hint=", or None for any length")


class Reader(Protocol):
    """Where frames come from. `next_frame` may wait; nothing calls it twice at the same time."""

    info: ClipInfo

    def next_frame(self) -> tuple[float, np.ndarray, str] | None:
        """Return seconds, uint8 (H, W, 3) RGB and the frame's file name; None after the last."""

    def close(self) -> None:
        """Give back what is open."""


class Clip:
    """The frames of a clip, once, in order: a context manager and an iterator.

    Args:
        reader: Where the frames come from.
        limits: The largest clip that is read.
        source: The clip's file; None if it is none.

    Raises:
        VideoTooLarge: The clip's header says that it is beyond a limit.

    Attributes:
        info: What is known of the clip before it is read.
        source: The clip's file; None if it is none.
        read: How many frames have been read.
    """

    def __init__(
        self, reader: Reader, limits: ClipLimits | None = None, source: Path | None = None
    ):
        self.info = reader.info
        self.source = source
        self.read = 0
        self._reader, self._limits = reader, limits or ClipLimits()
        self._before_s = -1.0
        self._reading, self._closed = threading.Lock(), False
        try:
            self._check_header()
        except VideoTooLarge:
            self.close()
            raise

    def __enter__(self) -> Clip:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame

    @property
    def dropped(self) -> int:
        """How many frames of a live source were left out."""
        return getattr(self._reader, "dropped", 0)

    def close(self) -> None:
        """Close the clip, also while another thread waits for a frame."""
        if self._reading.acquire(timeout=CLOSE_S):
            try:
                if not self._closed:
                    self._closed = True
                    self._reader.close()
            finally:
                self._reading.release()

    def _next(self) -> Frame | None:
        with self._reading:
            if self._closed:
                return None
            found = self._reader.next_frame()
            if found is None:
                self._check_end()
                return None
            seconds, image, file_name = found
            seconds = max(seconds, self._before_s + 1e-3)  # times that stand still go on
            self._check_frame(seconds, image)
            self._before_s, self.read = seconds, self.read + 1
            return Frame(self.read - 1, seconds, image, file_name)

    def _check_header(self) -> None:
        info, limits = self.info, self._limits
        megapixels = info.width * info.height / 1e6
        if megapixels > limits.max_megapixels:
            raise VideoTooLarge(
                f"the clip's frames are {info.width}x{info.height} ({megapixels:.1f} MP) but the "
                f"limit is {limits.max_megapixels:g} MP; resize them or set "
                f"{limits.prefix}max_megapixels"
            )
        self._check_length(info.frames or 0, info.seconds or 0.0)

    def _check_length(self, frames: int, seconds: float) -> None:
        limits = self._limits
        if limits.max_frames is not None and frames > limits.max_frames:
            raise VideoTooLarge(
                f"the clip has {frames} frames or more but the limit is {limits.max_frames}; "
                f"cut it or set {limits.prefix}max_frames"
            )
        if limits.max_seconds is not None and seconds > limits.max_seconds:
            raise VideoTooLarge(
                f"the clip takes {seconds:.1f} s or more but the limit is {limits.max_seconds:g} "
                f"s; cut it or set {limits.prefix}max_seconds"
            )

    def _check_frame(self, seconds: float, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        if (width, height) != (self.info.width, self.info.height):
            raise BrokenVideo(
                f"frame {self.read} is {width}x{height} but the clip began with "
                f"{self.info.width}x{self.info.height}; give frames of one size"
            )
        self._check_length(self.read + 1, seconds)

    def _check_end(self) -> None:
        if not self.read:
            raise BrokenVideo("the clip has no frame that can be read; give another one")
        if self.source and (missing := missing_bytes(self.source)):
            raise BrokenVideo(
                f"the clip breaks off after {self.read} frames, {self._before_s:.1f} s: the file "
                f"lacks {missing} bytes at its end; what was read so far is good"
            )


def open_clip(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    limits: ClipLimits | None = None,
) -> Clip:
    """Open a clip or a camera.

    Args:
        source: The path of a file, or of a folder of pictures; a pattern such as "frames/*.png";
            an open binary file of raw RGB frames; the number of a camera, from 0, or the path of
            its device; or the URL of a stream (rtsp://, http://). A Path is never taken for a
            pattern, a camera or a URL.
        size: Width and height of raw frames, which say nothing of themselves.
        rate: Frames a second of pictures and raw frames; None for DEFAULT_RATE.
        limits: The largest clip that is read.

    Raises:
        NotAVideo: For a file that is no clip, or of a type that is not accepted.
        BrokenVideo: For a clip, camera or stream that cannot be opened.
        VideoTooLarge: If the header says that the clip is beyond a limit.
        OptionError: If there is no such source, or the size and the rate do not fit it.
        OSError: If the file cannot be opened.
    """
    limits = limits or ClipLimits()
    if rate is not None:
        rate = number_between("rate", rate, MIN_RATE, MAX_RATE, " frames a second")
    if hasattr(source, "read"):
        return Clip(_raw(source, size, rate), limits)
    if size is not None:
        raise OptionError("size is for raw frames, as from stdin; leave it out for other sources")
    reader, path = _opened(source, rate, limits)
    return Clip(reader, limits, path)


def _opened(source: Any, rate: float | None, limits: ClipLimits) -> tuple[Reader, Path | None]:
    from humanparse.video import live, pictures, readers

    if isinstance(source, str) and "\0" in source:
        raise OptionError(f"{source!r} cannot be the name of a file")
    camera = _camera(source)
    if camera is not None or (isinstance(source, str) and re.match(r"[a-z]+://", source)):
        _no_rate(rate)
        return live.opened(source if camera is None else camera), None
    path = Path(source)
    if os.path.isdir(path):
        return pictures.Pictures(pictures.below(path), path.name, rate, limits), None
    if os.path.exists(path):
        _no_rate(rate)
        check_signature(path)
        return readers.file_reader(path), path
    if isinstance(source, str) and (pattern := pattern_in(source)):
        left_out = LeftOut()
        files = list(photos_matching(*pattern, left_out))
        if not files:
            raise no_match(source, left_out)
        return pictures.Pictures(pictures.ordered(files), path.parent.name, rate, limits), None
    raise no_such_source(str(source))


def _camera(source: Any) -> int | str | None:
    """The number or device of a camera; None if the source is none."""
    if isinstance(source, str):
        if source.isascii() and source.isdigit() and not os.path.exists(source):
            return int(source)
        return source if source.startswith("/dev/video") else None
    try:
        return whole_number("source", operator.index(source), 0, ", the number of a camera")
    except TypeError:
        return None


def _raw(file: BinaryIO, size: tuple[int, int] | None, rate: float | None) -> Reader:
    from humanparse.video.pictures import RawFrames

    if size is None:
        raise OptionError("raw frames say nothing of their size; give it, such as 640x480")
    width, height = (whole_number("size", side, 1, " pixels") for side in size)
    return RawFrames(file, width, height, rate)


def _no_rate(rate: float | None) -> None:
    if rate is not None:
        raise OptionError("rate is for pictures and raw frames; this source has times of its own")
