"""Clips: how much slower than the bare parser, and does memory stay flat?

    python benchmarks/video.py [--seconds 4] [--rounds 3] [--ways bare,overlay] [--markdown]
    python benchmarks/video.py --memory-minutes 10 [--every 4]

Frames of 640×480 that pan over a photo. The ways take turns, so that what other programs do to the
machine hits all of them; "ratio" is the median over the rounds of frames per second, compared with
`parse_many` on the same frames in memory. "CPU" is the processor time a frame, which other programs
disturb least. Encoders are measured by themselves, too: they may be the limit.

With --memory-minutes the overlay of a clip of that length is written, with lines and the summary,
and the resident memory is taken at each tenth: after the first, it should stay as it is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import machine
import numpy as np
from PIL import Image

from humanparse import HumanParser
from humanparse.bench import PHOTO
from humanparse.system.memory import resident_bytes
from humanparse.system.packaged import packaged
from humanparse.video import open_clip, parse_video
from humanparse.video.encode import clip_writer
from humanparse.video.write import Look, Outputs, targets_of

RATE = 25.0


def main() -> None:
    options = _options()
    print(machine.describe("av"))
    print(f"other processes: {machine.others_share():.0%} of the cores\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.memory_minutes:
            _memory(folder, options)
        else:
            _speed(folder, options)


def _speed(folder: Path, options: argparse.Namespace) -> None:
    count = round(options.seconds * RATE)
    clip = _clip(folder / "clip.webm", count)
    frames = [frame.image for frame in open_clip(clip)]
    parser = HumanParser(options.model, engine=options.engine)

    def video(*formats: str, **how: object) -> Callable[[], None]:
        return lambda: _video(clip, folder, formats, parser, **how)

    ways: dict[str, Callable[[], None]] = {
        "bare parser: parse_many": lambda: _drain(parser.parse_many(frames)),
        "reading alone": lambda: _drain(open_clip(clip)),
        "writing a clip alone": lambda: _write(folder / "alone.webm", frames),
        "parse_video, no tracks": lambda: _drain(parse_video(clip, parser, track=False)),
        "parse_video, no steadying": lambda: _drain(parse_video(clip, parser, steady=False)),
        "parse_video": lambda: _drain(parse_video(clip, parser)),
        "with lines and tracks": video("jsonl", "tracks"),
        "with an overlay clip": video("overlay"),
        "with an overlay clip, every 2nd": video("overlay", every=2),
        "with an overlay clip, every 4th": video("overlay", every=4),
    }
    wanted = ["bare", *(options.ways.split(",") if options.ways else [""])]
    ways = {name: way for name, way in ways.items() if any(one in name for one in wanted)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    next(parser.parse_many(frames[:1]))
    for _ in range(options.rounds):
        for name, work in ways.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            work()
            rates[name].append(count / (time.perf_counter() - start))
            cpu[name].append((time.process_time() - cpu_start) / count * 1000)
    bare = rates["bare parser: parse_many"]
    rows = [["way", "frames/s", "ratio", "CPU a frame"]]
    for name, rate in rates.items():
        ratio = statistics.median(one / other for one, other in zip(rate, bare, strict=True))
        rows.append(
            [
                name,
                f"{statistics.median(rate):.1f}",
                f"{ratio:.2f}",
                f"{statistics.median(cpu[name]):.0f} ms",
            ]
        )
    print(machine.table(rows, options.markdown))


def _memory(folder: Path, options: argparse.Namespace) -> None:
    count = round(options.memory_minutes * 60 * RATE)
    parser = HumanParser(options.model, engine=options.engine)
    clip = _clip(folder / "clip.webm", count)
    start = time.perf_counter()
    seen: list[int] = []

    def note(number: int) -> None:
        if number % max(1, count // 10) == 0:
            seen.append(resident_bytes() or 0)
            print(f"frame {number}: {seen[-1] / 1e6:.0f} MB", flush=True)

    formats = ("overlay", "jsonl", "tracks", "coco")
    _video(clip, folder, formats, parser, options.every, note)
    growth = (seen[-1] - seen[1]) / 1e6
    print(f"{count} frames in {time.perf_counter() - start:.0f} s; from the second tenth to the ")
    print(f"last, memory grew by {growth:.1f} MB")


def _video(
    clip: Path,
    folder: Path,
    formats: tuple[str, ...],
    parser: HumanParser,
    every: int = 1,
    note: Callable[[int], None] = lambda _: None,
) -> None:
    targets = targets_of("out", folder, formats, "webm")
    with (
        open_clip(clip) as opened,
        Outputs(opened, targets, Look()) as outputs,
        closing(parse_video(opened, parser, every=every)) as results,  # type: ignore[type-var]
    ):
        for result in results:
            outputs.add(result)
            note(result.frame.index)


def _frames(count: int) -> Iterator[np.ndarray]:
    """Frames that pan over a photo, back and forth."""
    with Image.open(packaged(PHOTO)) as photo:
        wide = np.asarray(photo.convert("RGB").resize((800, 600)))
    for number in range(count):
        x, y = round(80 + 70 * np.sin(number / 15)), round(60 + 50 * np.cos(number / 20))
        yield wide[y : y + 480, x : x + 640]


def _clip(path: Path, count: int) -> Path:
    """A clip on disk, made by OpenCV whatever is installed."""
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    path = path.with_suffix(".mp4")
    file = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, RATE, (640, 480))
    for frame in _frames(count):
        file.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    file.release()
    return path


def _write(path: Path, frames: list[np.ndarray]) -> None:
    file = clip_writer(path, (640, 480), RATE)
    for number, frame in enumerate(frames):
        file.write(frame, number / RATE)
    file.close()


def _drain(results: Iterator | object) -> None:
    for _ in results:  # type: ignore[attr-defined]
        pass


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="of the clip (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--ways", help="parts of the names of ways, with commas (default: all)")
    parser.add_argument("--every", type=int, default=1, help="with --memory-minutes (default: 1)")
    parser.add_argument("--memory-minutes", type=float, default=0, help="measure memory instead")
    parser.add_argument("--model", help="name or file of the model")
    parser.add_argument("--engine", default="auto", help="of the model")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    main()
