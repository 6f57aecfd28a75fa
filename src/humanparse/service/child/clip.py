"""Inside a worker: a clip's file → its results as files, and how much is done.

    <to>/record.jsonl    the frames that are parsed, for a worker that goes on later
    <to>/…               results that are not complete

Limits apply to what is really read, and to the bytes that are really written.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from humanparse.edit import step
from humanparse.errors import HumanParseError, MissingExtra, OptionError, VideoError
from humanparse.parser import HumanParser
from humanparse.regions import check_names
from humanparse.service.child.answers import Models, chosen, with_options
from humanparse.service.problems import Problem, storage_problem
from humanparse.system.files import whole_file
from humanparse.video import Clip, ClipLimits, open_clip, parse_video
from humanparse.video.edits import Editor
from humanparse.video.record import Recorded
from humanparse.video.summary import Lasting
from humanparse.video.write import Look, Outputs, targets_of

MB = 1_000_000
TELL_S = 0.5  # between reports of how much is done
CONTAINER = "webm"  # which browsers play, and which can be written everywhere


def parse_clip(models: Models, head: Mapping[str, Any]) -> dict[str, Any]:
    """Parse a clip.

    Args:
        models: The models by name.
        head: `jobs.clip.clip_task`.

    Returns:
        {"people": how many tracks there are, "broken": None, or {"code", "detail"} if the clip
        cannot be read to its end; the results then hold the frames before}.

    Raises:
        VideoError: No frame can be read, or the clip is beyond a limit.
        HumanParseError: An option does not fit the model or the clip.
        Problem: storage_full for a disk that fails, body_too_large beyond "max_mb", bad_option or
            broken_video for results that cannot be written.
    """
    to = Path(head["to"])
    limits = ClipLimits(
        head["max_megapixels"], head["max_frames"], head["max_seconds"], prefix="video_"
    )
    try:
        record = _prepared(to)
        with open_clip(Path(head["path"]), limits=limits) as clip:
            return _parsed(models, head, clip, record)
    except MissingExtra as error:
        raise Problem("bad_option", f"this service cannot write that: {error}") from None
    except OSError as error:
        if error.errno is None:  # not the disk's
            raise Problem(
                "broken_video", "no result can be written for this clip; send it in another size"
            ) from error
        raise storage_problem(error) from error


def _prepared(to: Path) -> Path:
    """The path of the record, in a folder without the results of a run that was broken off."""
    to.mkdir(mode=0o700, exist_ok=True)
    record = to / "record.jsonl"
    for path in to.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != record:
            path.unlink()
    return record


def _parsed(models: Models, head: Mapping[str, Any], clip: Clip, record: Path) -> dict[str, Any]:
    model = chosen(models, head["model"])
    parser = with_options(model.parser, head)
    names = {"model": model.sha256} | {
        name: head[name] for name in ("every", "min_score", "max_side")
    }
    recorded = _recorded(parser, record, names)
    targets = targets_of("clip", record.parent, head["targets"], CONTAINER)
    progress = _Progress(Path(head["progress"]), clip.info.frames, record.parent, head["max_mb"])
    lasting = Lasting()
    broken: VideoError | None = None
    try:
        with (
            Outputs(clip, targets, _look(parser, head)) as outputs,
            closing(
                parse_video(clip, recorded, every=head["every"])  # type: ignore[type-var]
            ) as results,
        ):
            for result in results:
                outputs.add(result)
                lasting.add(result)
                progress.tell(result.frame.index + 1)
    except VideoError as error:
        if not progress.done:
            raise
        broken = error
    progress.tell(progress.done, at_once=True)
    for name, target in targets.items():
        _keep(target, Path(head["targets"][name]))
    return {"people": len(lasting.tracks()), "broken": broken and _words(broken)}


def _recorded(parser: HumanParser, path: Path, identity: dict[str, Any]) -> Recorded:
    try:
        return Recorded(parser, path, identity)
    except OptionError:  # the service has another model now
        path.unlink()
        return Recorded(parser, path, identity)


def _look(parser: HumanParser, head: Mapping[str, Any]) -> Look:
    """How the clip is drawn. No file is read for a background: what a client names is none of
    ours."""
    steps = [step(*one) for one in head["edits"]]
    for one in steps:
        check_names(one.region, parser.labels)
    editor = Editor(steps, head["strength"], read=None) if steps else None
    return Look(head["palette"], CONTAINER, editor, bool(editor and editor.transparent))


@dataclass
class _Progress:
    """Says how much is done, now and then, and stops what grows too large.

    Attributes:
        path: Where it is said.
        total: Frames of the clip, if that is known.
        folder: What may grow.
        max_mb: How large it may become.
        done: Frames that are done.
    """

    path: Path
    total: int | None
    folder: Path
    max_mb: float
    done: int = 0
    told_s: float = field(default=-TELL_S)

    def tell(self, done: int, *, at_once: bool = False) -> None:
        """Note that so many frames are done. Raises Problem body_too_large."""
        self.done = done
        now = time.monotonic()
        if not at_once and now - self.told_s < TELL_S:
            return
        self.told_s = now
        total = self.total if self.total is None else max(self.total, done)
        with whole_file(self.path) as path:
            path.write_text(json.dumps([done, total]))
        if sum(_sizes(self.folder)) > self.max_mb * MB:
            raise Problem("body_too_large", f"the clip's results exceed {self.max_mb:g} MB")


def _sizes(folder: Path) -> Iterator[int]:
    for where, _, names in os.walk(folder):
        for name in names:
            yield os.path.getsize(os.path.join(where, name))


def _keep(made: Path, target: Path) -> None:
    """Move a result to its place once it would survive a power cut."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(target)


def _words(error: HumanParseError) -> dict[str, str]:
    return {"code": error.code, "detail": str(error)}
