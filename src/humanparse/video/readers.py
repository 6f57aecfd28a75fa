"""Files of clips, read by PyAV where it is installed, and otherwise by OpenCV.

PyAV has exact times, also of clips whose rate varies, and knows of sound. OpenCV has times in whole
milliseconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humanparse.errors import BrokenVideo
from humanparse.system.streams import muted_stderr
from humanparse.video.frames import DEFAULT_RATE, ClipInfo, Reader

# FFmpeg inside OpenCV prints what it thinks of a file; our errors say what matters.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

SANE_RATES = (1.0, 240.0)  # other rates in a header are no rates of frames, but of a clock


def file_reader(path: Path) -> Reader:
    """Return a reader of a clip's file.

    Raises:
        BrokenVideo: The file cannot be read as a clip.
    """
    if pyav() is not None:
        return AvFile(path)
    with muted_stderr():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    return OpenCvFile(capture, path.name)


def pyav() -> Any:
    """Return the module `av`; None if it is not installed."""
    try:
        import av
    except ImportError:
        return None
    return av


class OpenCvFile:
    """A clip's file, read by OpenCV, which turns frames upright.

    Args:
        capture: The opened file.
        file_name: What it is called.
    """

    def __init__(self, capture: cv2.VideoCapture, file_name: str):
        self._capture = capture
        if not capture.isOpened():
            raise BrokenVideo(_unreadable(file_name))
        width, height, rate, frames = (
            self._capture.get(one)
            for one in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
            )
        )
        if not width or not height:
            self._capture.release()
            raise BrokenVideo(_unreadable(file_name))
        rate, count = sane(rate), int(frames) if frames > 0 else None
        seconds = count / rate if count else None
        name = Path(file_name).stem
        self.info = ClipInfo(int(width), int(height), rate, count, seconds, name=name)

    def next_frame(self) -> tuple[float, np.ndarray, str] | None:
        """Return the next frame; see `Reader`."""
        there, image = self._capture.read()
        if not there:
            return None
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), ""

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class AvFile:
    """A clip's file, read by PyAV.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._av: Any = pyav()
        try:
            self._file = self._av.open(str(path))
            stream = self._file.streams.video[0]
        except (self._av.error.FFmpegError, IndexError) as error:
            raise BrokenVideo(_unreadable(path.name)) from error
        stream.thread_type = "AUTO"
        self._frames = self._file.decode(stream)
        self._ahead = self._decoded()
        if self._ahead is None:
            self._file.close()
            raise BrokenVideo(_unreadable(path.name))
        height, width = self._ahead[1].shape[:2]
        rate = sane(float(stream.average_rate or 0))
        seconds = _length(self._file, stream)
        frames = stream.frames or (round(seconds * rate) if seconds else None)
        sound = bool(self._file.streams.audio)
        self.info = ClipInfo(width, height, rate, frames, seconds, sound=sound, name=path.stem)

    def next_frame(self) -> tuple[float, np.ndarray, str] | None:
        """Return the next frame; see `Reader`."""
        found, self._ahead = self._ahead, None
        return found if found is not None else self._decoded()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _decoded(self) -> tuple[float, np.ndarray, str] | None:
        try:
            frame = next(self._frames, None)
        except self._av.error.FFmpegError as error:
            raise BrokenVideo(f"the clip is damaged and cannot be read further: {error}") from error
        if frame is None:
            return None
        image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
        return float(frame.time or 0.0), np.ascontiguousarray(image), ""


def sane(rate: float) -> float:
    """Return a rate of frames, DEFAULT_RATE for one that cannot be meant."""
    return rate if SANE_RATES[0] <= rate <= SANE_RATES[1] else DEFAULT_RATE


def _length(file: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return file.duration / 1e6 if file.duration else None


def _unreadable(file_name: str) -> str:
    return (
        f"{file_name} cannot be read as a clip: its beginning is damaged or missing, or its codec "
        "is unknown; convert it, for example to MP4"
    )
