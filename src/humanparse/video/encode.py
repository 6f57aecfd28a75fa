"""Clips as files: frames → WebM or MP4.

    what writes       WebM                 MP4      transparency   times of frames   sound
    PyAV              VP9                  H.264    WebM           exact             copied
    ffmpeg on PATH    VP9                  H.264    WebM           a constant rate   copied
    OpenCV            VP8                  –        –              a constant rate   –

The first of them that is installed and can do it is taken. OpenCV's VP9 takes eight times as long
as its VP8, and offers no setting for it; browsers play both.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from humanparse.errors import MissingExtra
from humanparse.system.streams import muted_stderr
from humanparse.video.readers import pyav

MAX_GAP_S = 10.0  # that a frame is repeated for where a constant rate has none
CLOCK = 90_000  # ticks a second of exact times
SOUND_AFTER_S = 0.5  # of sound after the last frame
ENCODER_END_S = 60.0  # that ffmpeg may take after its last frame
# Fast enough for two cores that parse as well: see docs/video.md for the figures.
_VP9 = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b:v": "0"}
_H264 = {"preset": "veryfast", "crf": "21"}
_SOUND_IN = {"webm": {"opus", "vorbis"}, "mp4": {"aac", "mp3", "alac", "ac3", "opus"}}


class ClipWriter(Protocol):
    """Takes frames in order; `close` ends the file, after an error as well."""

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Write a frame, uint8 (H, W, 3) RGB or (H, W, 4) with transparency."""

    def close(self) -> None:
        """End the file."""


def clip_writer(
    path: Path,
    size_wh: tuple[int, int],
    rate: float,
    *,
    alpha: bool = False,
    sound_of: Path | None = None,
) -> ClipWriter:
    """Open a clip for writing.

    Args:
        path: The file; its ending, .webm or .mp4, says what it becomes.
        size_wh: The size of the frames. Where a codec wants even sides, a row or column is
            repeated.
        rate: Frames a second.
        alpha: Whether frames have transparency, which only WebM can hold.
        sound_of: The clip whose sound is copied, if it has any that fits the file.

    Raises:
        MissingExtra: Neither PyAV nor ffmpeg is there, and OpenCV cannot write this.
        OSError: The file cannot be written.
    """
    if pyav() is not None:
        return _AvWriter(path, size_wh, rate, alpha, sound_of)
    if ffmpeg := shutil.which("ffmpeg"):
        return _SteadyRate(_FfmpegPipe(ffmpeg, path, size_wh, rate, alpha, sound_of), rate)
    if alpha or path.suffix != ".webm":
        what = "transparency in a clip" if alpha else "MP4 with H.264"
        raise MissingExtra(f"{what} needs PyAV, or the program ffmpeg on PATH", "video")
    return _SteadyRate(_OpenCvFile(path, size_wh, rate), rate)


def _even(image: np.ndarray) -> np.ndarray:
    """The picture with even sides, as codecs with halved colours need them."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return image


def _even_side(side: int) -> int:
    return side + side % 2


class _SteadyRate:
    """Frames at any time → a sink with a constant rate, by repeating and leaving out."""

    def __init__(self, sink: _OpenCvFile | _FfmpegPipe, rate: float):
        self._sink, self._rate = sink, rate
        self._start_s: float | None = None
        self._written = 0
        self._last: np.ndarray | None = None

    def write(self, image: np.ndarray, seconds: float) -> None:
        if self._start_s is None:
            self._start_s = seconds
        place = round((seconds - self._start_s) * self._rate)
        if place < self._written:
            return  # too soon after the frame before
        gap = min(place - self._written, round(MAX_GAP_S * self._rate))
        if self._last is not None:
            for _ in range(gap):
                self._sink.put(self._last)
        self._last = _even(image)
        self._sink.put(self._last)
        self._written = place + 1

    def close(self) -> None:
        self._sink.close()


class _OpenCvFile:
    def __init__(self, path: Path, size_wh: tuple[int, int], rate: float):
        width, height = map(_even_side, size_wh)
        self._path = path
        with muted_stderr():
            codec = cv2.VideoWriter.fourcc(*"VP80")
            self._file = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, (width, height))
        if not self._file.isOpened():
            raise OSError(f"a clip of {width}x{height} cannot be written to {path.name}")

    def put(self, image: np.ndarray) -> None:
        with muted_stderr():
            written = self._file.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if written is False:  # older versions of OpenCV return None
            raise OSError(f"{self._path.name} cannot be written to the end; is the disk full?")

    def close(self) -> None:
        with muted_stderr():
            self._file.release()


class _AvWriter:
    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        rate: float,
        alpha: bool,
        sound_of: Path | None,
    ):
        self._av: Any = pyav()
        self._file = self._av.open(str(path), "w")
        webm = path.suffix == ".webm"
        codec, options = ("libvpx-vp9", _VP9) if webm else ("libx264", _H264)
        around = Fraction(rate).limit_denominator(1001)
        self._stream = self._file.add_stream(codec, rate=around, options=options)
        self._stream.width, self._stream.height = map(_even_side, size_wh)
        self._stream.pix_fmt = "yuva420p" if alpha else "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, CLOCK)
        self._format = "rgba" if alpha else "rgb24"
        self._sound = _Sound(self._av, self._file, sound_of, path.suffix[1:]) if sound_of else None
        self._last_s, self._last_tick = 0.0, -1

    def write(self, image: np.ndarray, seconds: float) -> None:
        frame = self._av.VideoFrame.from_ndarray(_even(image), format=self._format)
        frame.pts = max(round(seconds * CLOCK), self._last_tick + 1)
        frame.time_base = Fraction(1, CLOCK)
        self._last_s, self._last_tick = seconds, frame.pts
        self._mux(self._stream.encode(frame))
        if self._sound:
            self._sound.copy_until(seconds)

    def close(self) -> None:
        try:
            self._mux(self._stream.encode())
            if self._sound:
                self._sound.copy_until(self._last_s + SOUND_AFTER_S)
        finally:
            self._file.close()

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._file.mux(packet)


class _Sound:
    """The sound of a clip, copied as it is into another."""

    def __init__(self, av: Any, target: Any, source: Path, container: str):
        self._source = av.open(str(source))
        self._target, self._out = target, None
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        tracks = self._source.streams.audio
        if tracks and tracks[0].codec_context.name in _SOUND_IN[container]:
            self._out = target.add_stream_from_template(tracks[0])
            self._packets = self._source.demux(tracks[0])

    def copy_until(self, seconds: float) -> None:
        """Copy what is heard until then."""
        while self._out is not None:
            packet = self._next or next(self._packets, None)
            if packet is None or packet.dts is None:  # the end
                self._out, self._next = None, None
                self._source.close()
            elif float(packet.dts * packet.time_base) > seconds:
                self._next = packet
                return
            else:
                self._next = None
                packet.stream = self._out
                self._target.mux(packet)


class _FfmpegPipe:
    """Raw frames into the program ffmpeg, which at the end adds the sound."""

    def __init__(
        self,
        program: str,
        path: Path,
        size_wh: tuple[int, int],
        rate: float,
        alpha: bool,
        sound_of: Path | None,
    ):
        self._program, self._path, self._sound_of = program, path, sound_of
        self._rate, self._frames, self._said = rate, 0, ""
        width, height = map(_even_side, size_wh)
        webm = path.suffix == ".webm"
        codec, options = ("libvpx-vp9", _VP9) if webm else ("libx264", _H264)
        self._process = subprocess.Popen(
            [
                *(program, "-v", "error", "-y", "-f", "rawvideo"),
                *("-pix_fmt", "rgba" if alpha else "rgb24", "-s", f"{width}x{height}"),
                *("-r", f"{rate:.6f}", "-i", "-", "-c:v", codec),
                *("-pix_fmt", "yuva420p" if alpha else "yuv420p"),
                *(text for name, value in options.items() for text in (f"-{name}", value)),
                str(path.absolute()),
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: ffmpeg ends when its input does
        )
        assert self._process.stdin is not None
        self._input = self._process.stdin

    def put(self, image: np.ndarray) -> None:
        try:
            self._input.write(np.ascontiguousarray(image).data)
        except OSError as error:
            raise OSError(f"ffmpeg cannot write the clip: {self._last_words()}") from error
        self._frames += 1

    def close(self) -> None:
        with suppress(OSError):
            self._input.close()
        words = self._last_words()
        if self._process.returncode:
            raise OSError(f"ffmpeg cannot write the clip: {words}")
        if self._sound_of and self._frames:
            self._add_sound(self._sound_of)

    def _add_sound(self, source: Path) -> None:
        """Put the sound of a clip beside the frames; without sound in it, nothing changes."""
        silent = self._path.with_name(f"silent{self._path.suffix}")
        self._path.replace(silent)
        # WebM holds Opus, and what is something else becomes it
        codec = "libopus" if self._path.suffix == ".webm" else "copy"
        done = subprocess.run(
            [
                *(self._program, "-v", "error", "-y", "-nostdin", "-i", str(silent.absolute())),
                *("-i", str(source.absolute()), "-map", "0:v", "-map", "1:a?"),
                *("-c:v", "copy", "-c:a", codec, "-t", f"{self._frames / self._rate:.6f}"),
                str(self._path.absolute()),
            ],
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if done.returncode:  # sound that this file cannot hold
            silent.replace(self._path)

    def _last_words(self) -> str:
        """Wait for the end of ffmpeg, and return the last line that it printed."""
        assert self._process.stderr is not None
        try:
            self._process.wait(ENCODER_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._process.stderr.closed:
            with self._process.stderr as stderr:
                self._said = stderr.read().decode(errors="replace").strip().split("\n")[-1]
        return self._said or f"exit code {self._process.returncode}"
