"""Results of frames as files, in any of FORMATS, each written while the clip is being parsed.

Each format draws and encodes in a thread of its own. Files that ended early, because the clip broke
off, the disk is full or somebody pressed Ctrl-C, hold what was done until then.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from humanparse import formats, render
from humanparse.edit.background import cut_out
from humanparse.errors import OptionError
from humanparse.regions import EVERYBODY, select
from humanparse.system.files import check_free, growing_file
from humanparse.system.parallel import Behind
from humanparse.video.clip import FrameResult
from humanparse.video.encode import clip_writer
from humanparse.video.frames import Clip
from humanparse.video.summary import Lasting, Tracks
from humanparse.vocabulary import CONTAINERS, MIN_TRACK_FRAMES, VIDEO_SUFFIXES

ROOM = 4  # results that wait for each format
SCHEMA = "humanparse-video/1"  # of a line of "jsonl"

Add = Callable[[FrameResult], None]
Draw = Callable[[FrameResult], np.ndarray]


@dataclass(frozen=True)
class Look:
    """How clips are written.

    Attributes:
        palette: The colours of the overlay and the colour map.
        container: "webm" or "mp4", of clips.
        draw: What the format "edited" draws: a result → uint8 (H, W, 3), or (H, W, 4) where
            `transparent`; None if there are no edits.
        transparent: Whether `draw` leaves parts transparent.
        min_track_frames: Tracks of fewer frames are left out of "mot" and "tracks", unless they
            are in the last frame.
    """

    palette: str = "clear"
    container: str = "webm"
    draw: Draw | None = None
    transparent: bool = False
    min_track_frames: int = MIN_TRACK_FRAMES

    def __post_init__(self) -> None:
        if self.container not in CONTAINERS:
            raise OptionError(
                f"there is no container {self.container!r}; choose one of {', '.join(CONTAINERS)}"
            )


class Outputs:
    """The files of a clip: a context manager, whose `add` takes the results in order.

    Args:
        clip: The clip, for its size, rate and sound.
        targets: Where each format is written, by its name; see `targets_of`.
        look: How clips are written.

    Raises:
        MissingExtra: Something that writes a format is not installed.
        OSError: A file cannot be written. Its format ends there.
    """

    def __init__(self, clip: Clip, targets: dict[str, Path], look: Look):
        self._clip, self._targets, self._look = clip, targets, look
        self._stack = ExitStack()
        self._sinks: list[Behind[FrameResult]] = []

    def __enter__(self) -> Outputs:
        try:
            for name, target in self._targets.items():
                add = self._stack.enter_context(FORMATS[name](target, self._clip, self._look))
                self._sinks.append(self._stack.enter_context(_behind(add)))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, result: FrameResult) -> None:
        """Write the next result; raises OSError once the disk is full."""
        for folder in {target.parent for target in self._targets.values()}:
            check_free(folder)
        for sink in self._sinks:
            sink.give(result)


def targets_of(name: str, folder: Path, wanted: Iterable[str], container: str) -> dict[str, Path]:
    """Return where each format of a clip of that name is written, by its name.

    Raises:
        OptionError: There is no such format.
    """
    wanted = tuple(dict.fromkeys(wanted))
    if unknown := [one for one in wanted if one not in FORMATS]:
        raise OptionError(f"there is no format {unknown[0]!r}; choose from {', '.join(FORMATS)}")
    return {one: folder / f"{name}{suffix_of(one, container)}" for one in wanted}


def suffix_of(name: str, container: str) -> str:
    """Return what a format appends to the name of a clip."""
    suffix = VIDEO_SUFFIXES[name]
    return f"{suffix}.{container}" if name in CLIPS else suffix


@contextmanager
def _behind(add: Add) -> Iterator[Behind[FrameResult]]:
    """A thread for a format; what waits is finished also when the clip ended early."""
    sink = Behind(add, ROOM)
    try:
        yield sink
        sink.finish()
    finally:
        sink.end()


# Clips


def _clip_of(
    draw: Callable[[FrameResult, Look], np.ndarray], transparent: bool | None = None
) -> Callable[[Path, Clip, Look], AbstractContextManager[Add]]:
    """The format of clips that are drawn; transparent: None if that depends on the look."""

    @contextmanager
    def written(target: Path, clip: Clip, look: Look) -> Iterator[Add]:
        alpha = look.transparent if transparent is None else transparent
        size_wh, rate = (clip.info.width, clip.info.height), clip.info.rate
        with growing_file(target) as path:
            file = clip_writer(path, size_wh, rate, alpha=alpha, sound_of=clip.source)
            try:
                yield lambda result: file.write(draw(result, look), result.frame.seconds)
            finally:
                file.close()

    return written


def _overlay(result: FrameResult, look: Look) -> np.ndarray:
    return render.overlay_pixels(
        result.numbered(), palette=look.palette, legend=False, numbers=True
    )


def _colormap(result: FrameResult, look: Look) -> np.ndarray:
    return render.colormap_pixels(result.parsing, palette=look.palette)


def _cutout(result: FrameResult, look: Look) -> np.ndarray:
    return cut_out(result.parsing.image, select(result.parsing, EVERYBODY))


def _edited(result: FrameResult, look: Look) -> np.ndarray:
    if look.draw is None:
        raise OptionError("there is nothing to edit; give edits, such as blur of 'face'")
    return look.draw(result)


# Text


def row(result: FrameResult) -> dict[str, Any]:
    """Return one frame in plain Python values: a line of "jsonl"."""
    data = formats.to_dict(result.parsing)
    return {
        "schema": SCHEMA,
        "frame": result.frame.index,
        "seconds": round(result.frame.seconds, 4),
        "parsed": result.parsed,
        "width": data["width"],
        "height": data["height"],
        "people": [
            {"track_id": number, **person}
            for number, person in zip(result.track_ids, data["people"], strict=True)
        ],
        "loose_parts": data["loose_parts"],
    }


def mot_lines(result: FrameResult) -> list[str]:
    """Return the people of one frame as MOT challenge's lines, which count from 1.

    Frame, track, left, top, width, height, score, and three unused numbers.
    """
    lines = []
    for person, number in zip(result.parsing.people, result.track_ids, strict=True):
        x0, y0, x1, y1 = person.box_xyxy
        box = f"{x0 + 1},{y0 + 1},{x1 - x0},{y1 - y0}"
        lines.append(f"{result.frame.index + 1},{number},{box},{person.score:.4f},-1,-1,-1")
    return lines


def _text_of(lines: Callable[[FrameResult], Iterable[str]]) -> Any:
    @contextmanager
    def written(target: Path, clip: Clip, look: Look) -> Iterator[Add]:
        with growing_file(target) as path, path.open("x", encoding="utf-8") as file:
            yield lambda result: file.writelines(f"{line}\n" for line in lines(result))

    return written


@contextmanager
def _mot(target: Path, clip: Clip, look: Look) -> Iterator[Add]:
    """The lines of each track from the moment on that it is known to last, older ones first."""
    lasting = Lasting(look.min_track_frames)
    waiting: dict[int, list[str]] = {}
    with growing_file(target) as path, path.open("x", encoding="utf-8") as file:

        def write(tracks: Iterable[int]) -> None:
            for number in sorted(tracks):
                file.writelines(f"{line}\n" for line in waiting.pop(number, ()))

        def add(result: FrameResult) -> None:
            lasting.add(result)
            for number, line in zip(result.track_ids, mot_lines(result), strict=True):
                waiting.setdefault(number, []).append(line)
            write(lasting.sure())

        try:
            yield add
        finally:
            write(lasting.tracks())


@contextmanager
def _labels(target: Path, clip: Clip, look: Look) -> Iterator[Add]:
    """A folder with the label map of each frame."""

    def add(result: FrameResult) -> None:
        picture = formats.labels_image(result.parsing, look.palette)
        file = folder / f"{result.frame.index:06}.png"
        file.write_bytes(formats.encode_picture(picture, "png"))

    with growing_file(target) as folder:
        folder.mkdir()
        yield add


@contextmanager
def _tracks(target: Path, clip: Clip, look: Look) -> Iterator[Add]:
    tracks = Tracks(look.min_track_frames)
    with growing_file(target) as path:
        try:
            yield tracks.add
        finally:
            path.write_text(json.dumps(tracks.summary(), indent=1) + "\n", encoding="utf-8")


@contextmanager
def _coco(target: Path, clip: Clip, look: Look) -> Iterator[Add]:
    """One data set; its lists lie in files until the end, so that memory does not grow."""
    with growing_file(target) as path:
        parts = [path.with_name(name) for name in ("images", "annotations")]
        with parts[0].open("x+") as images, parts[1].open("x+") as annotations:
            book = _CocoBook(images, annotations, clip.info.name)
            try:
                yield book.add
            finally:
                with path.open("x") as file:
                    book.bind(file)


class _CocoBook:
    """Numbers images and annotations on from frame to frame."""

    def __init__(self, images: Any, annotations: Any, clip_name: str):
        self._lists = {"images": images, "annotations": annotations}
        self._clip_name, self._counts = clip_name, {"images": 0, "annotations": 0}
        self._rest: dict[str, Any] = {"info": {}, "licenses": [], "categories": []}

    def add(self, result: FrameResult) -> None:
        data = formats.to_coco(result.parsing)
        before = self._counts["annotations"]
        image = self._counts["images"] + 1
        for one in data["images"]:
            one |= {"id": image, "video_id": 1, "frame_id": result.frame.index}
        for one in data["annotations"]:
            person = one["person_id"]
            one["id"] += before
            one["part_of"] += before if one["part_of"] else 0
            one["image_id"] = image
            one["track_id"] = result.track_ids[person - 1] if person else 0
        self._rest = {name: data[name] for name in self._rest}
        for name in self._lists:
            self._append(name, data[name])

    def bind(self, file: Any) -> None:
        """Write the whole data set."""
        head = self._rest | {"videos": [{"id": 1, "name": self._clip_name}]}
        file.write(json.dumps(head)[:-1])
        for name, kept in self._lists.items():
            file.write(f', "{name}": [')
            kept.seek(0)
            shutil.copyfileobj(kept, file)
            file.write("]")
        file.write("}\n")

    def _append(self, name: str, entries: Sequence[Any]) -> None:
        for entry in entries:
            self._lists[name].write(("," if self._counts[name] else "") + "\n" + json.dumps(entry))
            self._counts[name] += 1


# By name, as in vocabulary.VIDEO_SUFFIXES: (target, clip, look) → a context that takes results.
FORMATS: dict[str, Callable[[Path, Clip, Look], AbstractContextManager[Add]]] = {
    "overlay": _clip_of(_overlay, transparent=False),
    "colormap": _clip_of(_colormap, transparent=False),
    "cutout": _clip_of(_cutout, transparent=True),
    "edited": _clip_of(_edited),
    "jsonl": _text_of(lambda result: [json.dumps(row(result))]),
    "mot": _mot,
    "labels": _labels,
    "coco": _coco,
    "tracks": _tracks,
}
CLIPS = ("overlay", "colormap", "cutout", "edited")  # the formats that are clips themselves
