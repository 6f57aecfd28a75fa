"""`humanparse video`: follow people through a clip or a camera, with their parts."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from humanparse.cli import errors, parse
from humanparse.cli.edit import steps_of
from humanparse.cli.options import (
    Background,
    Blur,
    Cutout,
    Device,
    Engine,
    Fill,
    MaxMegapixels,
    MaxSide,
    MinScore,
    Model,
    Palette,
    Pixelate,
    Precision,
    Quiet,
    Recolour,
    ShortSide,
    Strength,
)
from humanparse.cli.progress import Report
from humanparse.errors import OptionError, VideoError
from humanparse.labels import check_palette
from humanparse.system.files import check_target, remove_leftovers
from humanparse.vocabulary import CONTAINERS, MIN_TRACK_FRAMES

if TYPE_CHECKING:
    from humanparse.edit import Step
    from humanparse.parser import HumanParser
    from humanparse.video import Clip
    from humanparse.video.record import Recorded
    from humanparse.video.write import Look

EXIT_CODES_HELP = """\b
Exit codes:
  0    the clip is done
  1    the clip breaks off or the disk is full; the results so far are kept
  2    wrong usage: an unknown format, no such file, a result that exists already
  3    the model cannot be loaded, or a package is missing
  70   an unexpected error; `humanparse --debug video ...` shows where
  130  interrupted by Ctrl-C or SIGTERM; the results so far are kept
"""
DEFAULT_FORMATS = ("overlay", "tracks")
RECORD_SUFFIX = ".resume.jsonl"
STDIN = "-"


def video(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help='A clip, a folder or pattern of pictures ("frames/*.png"), the number of a '
            "camera, the URL of a stream (rtsp://...), or - for raw RGB frames from stdin.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE",
            help="Write the results to this folder; or one result to this file, such as out.mp4.",
            show_default="beside the clip",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help="Write these results, separated by commas: overlay, colormap, cutout or edited "
            "(clips), jsonl, mot, labels, coco, tracks.",
            show_default="overlay,tracks; edited,tracks with edits",
        ),
    ] = None,
    container: Annotated[
        str,
        typer.Option(
            metavar="|".join(CONTAINERS),
            help="Write clips in this container. mp4 needs PyAV or the program ffmpeg.",
        ),
    ] = "webm",
    every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Parse every N-th frame only, and carry the masks to the frames between.",
        ),
    ] = 1,
    steady: Annotated[
        bool,
        typer.Option("--steady/--no-steady", help="Keep parts from flickering."),
    ] = True,
    min_track: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Leave tracks of fewer frames out of mot and tracks, and out of the count.",
        ),
    ] = MIN_TRACK_FRAMES,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="The size of raw frames from stdin, such as 640x480."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            help="The frames per second of pictures and raw frames.",
            show_default="25",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Stop after N frames.", show_default="all"),
    ] = None,
    blur: Blur = None,
    pixelate: Pixelate = None,
    fill: Fill = None,
    recolour: Recolour = None,
    background: Background = None,
    cutout: Cutout = None,
    strength: Strength = 1.0,
    model: Model = None,
    engine: Engine = "auto",
    precision: Precision = None,
    device: Device = None,
    palette: Palette = "clear",
    min_score: MinScore = None,
    short_side: ShortSide = None,
    max_side: MaxSide = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Parse N frames at the same time.",
            show_default="the number of cores, at most 8; 1 for models of 50 MB or more",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep a record of the parsed frames; the same command continues from it after an "
            "interruption.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist already.")
    ] = False,
    max_megapixels: MaxMegapixels = 40.0,
    quiet: Quiet = False,
) -> None:
    """Follow people through a clip, with their body parts and garments.

    People keep their number from frame to frame, and their parts do not flicker. With edits, such
    as --blur face, the clip is edited; a number in a region, as in face:2, is that of a track.
    Ctrl-C ends the files properly.

    \b
    Examples:
      humanparse video street.mp4
      humanparse video street.mp4 -o out/ --format overlay,jsonl,coco --every 2
      humanparse video street.mp4 --blur face -o hidden.webm
      humanparse video 0 --format jsonl --limit 100
    """
    from humanparse.video import ClipLimits, open_clip, parse_video

    check_palette(palette)
    given = {
        "blur": blur,
        "pixelate": pixelate,
        "fill": fill,
        "recolour": recolour,
        "background": [background] if background is not None else None,
        "cutout": cutout,
    }
    steps = steps_of(**given) if any(given.values()) else []
    names = _wanted(formats, bool(steps))
    limits = ClipLimits(max_megapixels=max_megapixels)
    with open_clip(_source(source), size=_size(size), rate=rate, limits=limits) as clip:
        targets, container = _targets(clip, output, names, container)
        record = _record_beside(targets, clip) if resume else None
        if record and not record.exists() and all(one.exists() for one in targets.values()):
            typer.echo(f"{clip.info.name} is done already", err=True)
            return
        _prepare(targets, clip, overwrite or bool(record and record.exists()))
        parser = parse.load_parser(
            model,
            engine=engine,
            precision=precision,
            device=device,
            min_score=min_score,
            short_side=short_side,
            max_side=max_side,
            max_megapixels=max_megapixels,
        )
        look = _look(palette, container, steps, strength, parser, min_track)
        recorded = _recorded(parser, record, clip, every) if record else None
        results = parse_video(clip, recorded or parser, every=every, steady=steady, jobs=jobs)
        _run(clip, results, targets, look, limit, quiet)
        if recorded and not limit:  # with a limit, the clip may go on
            recorded.remove()


def _run(
    clip: Clip,
    results: Any,
    targets: dict[str, Path],
    look: Look,
    limit: int | None,
    quiet: bool,
) -> None:
    """Write all results, and say what became of them; ends with exit code 1 or 130 if need be."""
    from humanparse.video.summary import Lasting
    from humanparse.video.write import Outputs

    total = min(limit or sys.maxsize, clip.info.frames or sys.maxsize)
    report = Report(None if total == sys.maxsize else total, quiet=quiet, long=True, unit="frames")
    lasting = Lasting(look.min_track_frames)
    code = 0
    try:
        with report, Outputs(clip, targets, look) as outputs, closing(results):
            for result in islice(results, limit):
                outputs.add(result)
                lasting.add(result)
                report.finished(len(result.parsing.people))
    except KeyboardInterrupt:
        report.error("interrupted; the results so far are kept")  # --resume keeps its record, too
        code = errors.INTERRUPTED
    except (VideoError, OSError) as error:
        errors.report(clip.info.name, error)
        code = errors.SOME_FAILED
    count = len(lasting.tracks())
    who = "1 person" if count == 1 else f"{count} people"
    dropped = f", {clip.dropped} left out" if clip.dropped else ""
    report.note(
        f"{report.parsed} frames with {who}{dropped} in {report.seconds:.1f} s "
        f"({report.parsed / report.seconds:.1f} frames/s)"
    )
    if not quiet:
        for target in targets.values():
            if target.exists():
                typer.echo(errors.printable(target))
    if code:
        raise typer.Exit(code)


def _wanted(given: list[str] | None, edits: bool) -> list[str]:
    """The formats that were named, or the usual ones."""
    if given:
        names = [name.strip() for text in given for name in text.split(",")]
    else:
        names = ["edited" if edits and one == "overlay" else one for one in DEFAULT_FORMATS]
    if "edited" in names and not edits:
        raise OptionError("the format edited needs an edit, such as --blur face")
    if edits and "edited" not in names:
        raise OptionError("there are edits but no format that shows them; add --format edited")
    return names


def _source(source: str) -> Any:
    if source != STDIN:
        return source
    if sys.stdin is None or sys.stdin.isatty():
        raise OptionError("- reads raw RGB frames from stdin, but nothing is piped into it")
    return sys.stdin.buffer


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not match:
        raise OptionError(f"size is {text!r}; give width and height, such as 640x480")
    return int(match[1]), int(match[2])


def _targets(
    clip: Clip, output: Path | None, names: list[str], container: str
) -> tuple[dict[str, Path], str]:
    """Where each format is written, and the container of clips."""
    from humanparse.video.write import CLIPS, suffix_of, targets_of

    beside = clip.source.parent if clip.source else Path()
    if output and output.suffix and not output.is_dir():
        clips = [name for name in names if name in CLIPS]
        one = clips[0] if clips else names[0]
        if clips:
            container = output.suffix[1:]
            fits = container in CONTAINERS
        else:
            fits = suffix_of(one, container).endswith(output.suffix)
        if len(clips) > 1 or (not clips and len(names) > 1) or not fits:
            raise OptionError(
                f"{output} cannot be all of {', '.join(names)}; give a folder, or one format and "
                "a file with its ending"
            )
        targets = targets_of(output.stem, output.parent, names, container) | {one: output}
    else:
        targets = targets_of(clip.info.name, output or beside, names, container)
    return targets, container


def _prepare(targets: dict[str, Path], clip: Clip, overwrite: bool) -> None:
    """Check that the results may be written, and make their folder."""
    inputs = [clip.source] if clip.source else []
    for target in targets.values():
        check_target(target, inputs, overwrite=overwrite)
    folder = next(iter(targets.values())).parent
    parse.make_folder(folder)
    remove_leftovers(folder)


def _record_beside(targets: dict[str, Path], clip: Clip) -> Path:
    if clip.source is None:
        raise OptionError("--resume needs a clip's file, which can be read again from its start")
    return next(iter(targets.values())).parent / f"{clip.info.name}{RECORD_SUFFIX}"


def _recorded(parser: HumanParser, path: Path, clip: Clip, every: int) -> Recorded:
    from humanparse.video.record import Recorded

    assert clip.source is not None  # _record_beside has seen to it
    size = clip.source.stat().st_size
    identity = {"clip": clip.source.name, "bytes": size, "model": parser.name, "every": every}
    return Recorded(parser, path, identity)


def _look(
    palette: str,
    container: str,
    steps: list[Step],
    strength: float,
    parser: HumanParser,
    min_track: int,
) -> Look:
    from humanparse.regions import check_names
    from humanparse.video.edits import Editor
    from humanparse.video.write import Look

    for step in steps:
        check_names(step.region, parser.labels)
    editor = Editor(steps, strength) if steps else None
    return Look(palette, container, editor, bool(editor and editor.transparent), min_track)
