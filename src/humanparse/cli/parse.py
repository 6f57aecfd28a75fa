"""`humanparse parse`: parse photos and write their results as files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from humanparse.cli import errors
from humanparse.cli.options import (
    Classes,
    Device,
    Engine,
    MaxMegapixels,
    MaxSide,
    MinScore,
    Model,
    Palette,
    Precision,
    ShortSide,
)
from humanparse.cli.report import Report
from humanparse.cli.sources import Photo, find
from humanparse.errors import ModelError, OptionError
from humanparse.labels import check_palette
from humanparse.system.parallel import in_order_of_completion, jobs_for, shared_threads
from humanparse.vocabulary import CLASSES

if TYPE_CHECKING:
    from humanparse.parser import HumanParser

DEFAULT_FORMATS = ("overlay", "colormap", "labels", "json")


def parse(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCES",
            help='Photos, folders, patterns ("photos/**/*.jpg"), or - for a picture on stdin.',
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the results; sub-folders are kept.",
            show_default="beside each photo",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help='What to write: names with commas between, or "all". An unknown name lists them.',
            show_default=",".join(DEFAULT_FORMATS),
        ),
    ] = None,
    model: Model = None,
    engine: Engine = "auto",
    precision: Precision = None,
    device: Device = None,
    classes: Classes = "all",
    palette: Palette = "clear",
    min_score: MinScore = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Photos parsed at a time. Each needs memory of its own: about 20 MB a megapixel.",
            show_default="as many as cores, at most 8; 1 for large models",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Threads of the inference engine.",
            show_default="what the jobs leave of the cores",
        ),
    ] = None,
    short_side: ShortSide = None,
    max_side: MaxSide = None,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing/--overwrite",
            help="Skip photos whose results are all there: a broken-off run continues.",
        ),
    ] = False,
    max_megapixels: MaxMegapixels = 40.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Parse photos and write the results as files.

    People, body parts and garments, as pictures and JSON.

    \b
    Examples:
      humanparse parse street.jpg
      humanparse parse photos/ -o results/ --jobs 2 --skip-existing
      humanparse parse "photos/**/*.jpg" --format json,overlay
      curl -s https://example.org/street.jpg | humanparse parse -
    """
    names = wanted_formats(formats)
    check_palette(palette)
    if classes not in CLASSES:
        raise OptionError(f"there are no classes {classes!r}; choose one of {', '.join(CLASSES)}")
    found = find(sources or [], output)
    spare_the_photos(found.photos, names)
    make_folder(output)
    todo = [photo for photo in found.photos if not (skip_existing and is_done(photo, names))]
    jobs = min(jobs or jobs_with(model, threads), max(1, len(todo)))

    report = Report(len(todo), skipped=len(found.photos) - len(todo), quiet=quiet)
    try:
        with report:
            for note in found.notes:
                report.note(note)
            for folder, error in found.unreadable:
                report.could_not(folder, error)
            if todo:
                options = {
                    "threads": threads or (shared_threads(jobs) if jobs > 1 else None),
                    "engine": engine,
                    "precision": precision,
                    "device": device,
                    "min_score": min_score,
                    "max_megapixels": max_megapixels,
                    "short_side": short_side,
                    "max_side": max_side,
                }
                parse_all(
                    todo,
                    partial(parse_one, load_parser(model, **options), names, palette, classes),
                    jobs,
                    report,
                )
    except KeyboardInterrupt:
        done = f"interrupted after {report.parsed} of {len(todo)} photos"
        typer.echo(f"{done}; the same command with --skip-existing goes on", err=True)
        raise typer.Exit(errors.INTERRUPTED) from None
    report.summary()
    if report.failed:
        raise typer.Exit(errors.SOME_FAILED)


def load_parser(model: str | None = None, **options) -> HumanParser:
    """The parser of the commands, and the seam where tests put theirs. Options that are None keep
    HumanParser's default."""
    from humanparse.parser import HumanParser

    return HumanParser(
        model, **{name: value for name, value in options.items() if value is not None}
    )


def parse_all(photos: Sequence[Photo], one, jobs: int, report: Report) -> None:
    """Call `one(photo)`, which returns (people, paths), for every photo; a bad photo does not stop
    the others.

    Raises ModelError, as no other photo would work either.
    """
    with closing(in_order_of_completion(one, photos, jobs)) as ended:
        for photo, future in ended:
            try:
                people, paths = future.result()
            except ModelError:
                raise
            except Exception as error:
                report.could_not(photo.shown, error)
            else:
                report.finished(photo.shown, people, paths)


def parse_one(
    parser: HumanParser, formats: Sequence[str], palette: str, classes: str, photo: Photo
) -> tuple[int, list[Path]]:
    """Parse one photo and write its results. Returns the number of people and the written paths."""
    from humanparse.formats import save

    parsing = parser.parse(photo.source, name=photo.name)
    if photo.file_name:
        parsing = replace(parsing, file_name=photo.file_name)
    if classes == "coarse":
        from humanparse.coarse import coarse

        parsing = coarse(parsing)
    return len(parsing.people), save(parsing, photo.folder, formats, palette=palette)


def wanted_formats(given: Sequence[str] | None) -> tuple[str, ...]:
    """The format names of `--format a,b --format c`, each once. Raises OptionError for an unknown
    one."""
    from humanparse.formats import FORMATS

    names = dict.fromkeys(
        name.strip() for text in given or DEFAULT_FORMATS for name in text.split(",")
    )
    for name in names:
        if name not in (*FORMATS, "all"):
            raise OptionError(
                f"there is no format {name!r}; choose from {', '.join(FORMATS)}, or all"
            )
    return tuple(FORMATS) if "all" in names else tuple(names)


def is_done(photo: Photo, formats: Sequence[str]) -> bool:
    """Whether all results of the photo are there."""
    from humanparse.formats import paths

    return all(os.path.exists(path) for path in paths(photo.name, photo.folder, formats))


def spare_the_photos(photos: Sequence[Photo], formats: Sequence[str]) -> None:
    """Raises OptionError if a result would overwrite one of the photos."""
    from humanparse.formats import paths

    def place(path: Path) -> str:  # of the file itself: a link is replaced, not what it leads to
        return os.path.join(os.path.realpath(path.parent), path.name)

    sources = {place(photo.source) for photo in photos if isinstance(photo.source, Path)}
    for photo in photos:
        for path in paths(photo.name, photo.folder, formats):
            if place(path) in sources:
                raise OptionError(
                    f"the results of {photo.shown} would overwrite the photo {path}; choose a folder with -o"
                )


def make_folder(output: Path | None) -> None:
    """Make the output folder now, so that a mistake shows before the work. Raises OptionError if it
    cannot be made."""
    try:
        if output:
            output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot make the output folder {str(output)!r}: {error.strerror}"
        ) from None


def jobs_with(model: str | None, threads: int | None) -> int:
    """How many photos to parse at a time if nobody says."""
    from humanparse.engines import bytes_of
    from humanparse.weights.catalog import model_file

    try:
        return jobs_for(bytes_of(model_file(model)), threads)
    # not on this machine yet; loading it says what is wrong, or fetches it
    except (ModelError, OSError):
        return 1
