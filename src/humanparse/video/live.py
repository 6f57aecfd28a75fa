"""Cameras and streams: always the newest frame, and those that come too fast are left out.

A thread reads all the time and keeps one frame only, so that the delay does not grow if parsing is
slower than the camera.
"""

from __future__ import annotations

import threading
import time
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import cv2
import numpy as np

from humanparse.errors import BrokenVideo
from humanparse.system.streams import muted_stderr
from humanparse.video.frames import ClipInfo, Reader
from humanparse.video.readers import OpenCvFile, sane

OPEN_S = 15.0  # how long a stream may take until it is open
STALL_S = 15.0  # how long a camera or stream may give no frame
_PATIENCE = [
    *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * OPEN_S)),
    *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * STALL_S)),
]


def opened(source: int | str) -> Reader:
    """Return the reader of a camera (its number or device) or of a stream's URL.

    A URL of a file that says how many frames it has is read like a file: nothing is left out.

    Raises:
        BrokenVideo: It cannot be opened, or gives no frame.
    """
    what = f"the camera {source}" if isinstance(source, int) else source
    with muted_stderr():
        if isinstance(source, int) or source.startswith("/dev/"):
            capture = cv2.VideoCapture(source)
        else:
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, _PATIENCE)
            if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
                return OpenCvFile(capture, PurePosixPath(urlsplit(source).path).name)
        there, image = capture.read() if capture.isOpened() else (False, None)
    if not there or image is None:
        capture.release()
        raise BrokenVideo(
            f"{what} cannot be opened, or gives no picture; check that it is there, and that no "
            "other program uses it"
        )
    return Newest(capture, image, sane(capture.get(cv2.CAP_PROP_FPS)))


class Newest:
    """The newest frame of something that does not wait.

    Args:
        capture: An open cv2.VideoCapture, or what has its `read` and `release`.
        image: Its first frame, BGR.
        rate: The frames a second that it claims.

    Attributes:
        dropped: How many frames came while nobody asked.
    """

    def __init__(self, capture: cv2.VideoCapture, image: np.ndarray, rate: float):
        height, width = image.shape[:2]
        self.info = ClipInfo(width, height, rate, live=True, name="live")
        self.dropped = 0
        self._capture = capture
        self._began = time.monotonic()
        self._newest: tuple[float, np.ndarray] | None = (0.0, image)
        self._changed = threading.Condition()
        self._ended = self._closing = False
        threading.Thread(target=self._read, daemon=True, name="humanparse-camera").start()

    def next_frame(self) -> tuple[float, np.ndarray, str] | None:
        """Wait for a frame that has not been returned yet; see `Reader`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest or self._ended, STALL_S):
                raise BrokenVideo(f"no frame came for {STALL_S:g} s; is the camera still there?")
            if self._newest is None:
                return None
            (seconds, image), self._newest = self._newest, None
        return seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), ""

    def close(self) -> None:
        """Let the thread end, which then gives the camera back."""
        self._closing = True

    def _read(self) -> None:
        try:
            while not self._closing:
                there, image = self._capture.read()
                if not there:
                    break
                with self._changed:
                    self.dropped += self._newest is not None
                    self._newest = time.monotonic() - self._began, image
                    self._changed.notify()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()
            self._capture.release()
