"""`humanparse parse`: parse photos and write their results as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from humanparse.cli import errors, watch
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
    Quiet,
    ShortSide,
    Sources,
    check_classes,
)
from humanparse.cli.photos import InputPhoto, find
from humanparse.cli.progress import Report
from humanparse.errors import ModelError, OptionError
from humanparse.labels import check_palette
from humanparse.system.parallel import in_order_of_completion, jobs_for, shared_threads
from humanparse.vocabulary import FORMAT_SUFFIXES

if TYPE_CHECKING:
    from humanparse.parser import HumanParser

DEFAULT_FORMATS = ("overlay", "colormap", "labels", "json")
# Masks for try-on models need classes of garments, which not every model has.
ALL_FORMATS = tuple(name for name in FORMAT_SUFFIXES if not name.startswith("agnostic"))


def parse(
    sources: Sources = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the results to this folder, and keep the sub-folders of the sources.",
            show_default="beside each photo",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help=f"Write these formats, separated by commas: {', '.join(FORMAT_SUFFIXES)}; or all, "
            "which leaves out those for try-on (agnostic).",
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
            help="Parse N photos at the same time. Each of them needs about 20 MB of memory "
            "for every megapixel.",
            show_default="the number of cores, at most 8; 1 for models of 50 MB or more",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Let the inference engine use N threads.",
            show_default="the cores shared among the jobs",
        ),
    ] = None,
    short_side: ShortSide = None,
    max_side: MaxSide = None,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing/--overwrite",
            help="Skip photos whose results all exist, which continues an interrupted run; "
            "or write all results again.",
        ),
    ] = False,
    watching: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Stay, and parse the photos that arrive in the folders until Ctrl-C; those that "
            "have results are skipped.",
        ),
    ] = False,
    max_megapixels: MaxMegapixels = 40.0,
    quiet: Quiet = False,
) -> None:
    """Parse photos and write the results as files.

    Every photo gives pictures and JSON of its people, their body parts and their garments.

    \b
    Examples:
      humanparse parse street.jpg
      humanparse parse photos/ -o results/ --jobs 2 --skip-existing
      humanparse parse "photos/**/*.jpg" --format json,overlay
      humanparse parse incoming/ -o results/ --watch
      curl -s https://example.org/street.jpg | humanparse parse -
    """
    names = wanted_formats(formats)
    check_palette(palette)
    check_classes(classes)
    if watching:
        watch.check_folders(sources or [])
    found = find(sources or [], output, expected=not watching)
    spare_the_photos(found.photos, names)
    make_folder(output)
    skip_existing = skip_existing or watching
    todo = [photo for photo in found.photos if not (skip_existing and is_done(photo, names))]
    jobs = jobs or jobs_with(model, threads)
    jobs = jobs if watching else min(jobs, max(1, len(todo)))

    report = Report(None if watching else len(todo), quiet=quiet)
    try:
        with report:
            for note in found.notes:
                report.note(note)
            for folder, error in found.unreadable:
                report.could_not(folder, error)
            if todo or watching:
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
                one = partial(parse_one, load_parser(model, **options), names, palette, classes)
                for photos in _arrivals(sources or [], output, names) if watching else [todo]:
                    parse_all(photos, one, jobs, report)
    except KeyboardInterrupt:
        of, how = ("", "") if watching else (f" of {len(todo)}", " with --skip-existing")
        done = f"interrupted after {report.parsed}{of} photos"
        typer.echo(f"{done}; the same command{how} continues", err=True)
        raise typer.Exit(errors.INTERRUPTED) from None
    skipped = len(found.photos) - len(todo)
    report.note(
        f"{report.parsed} parsed, {skipped} skipped, {report.failed} failed "
        f"in {report.seconds:.1f} s"
    )
    if report.failed:
        raise typer.Exit(errors.SOME_FAILED)


def load_parser(model: str | None = None, **options: Any) -> HumanParser:
    """Return the parser of the commands; tests put their own in its place.

    Args:
        model: Name or file of the model; None is the built-in one.
        options: Further arguments of `HumanParser`; those that are None keep its default.
    """
    from humanparse.parser import HumanParser

    return HumanParser(
        model, **{name: value for name, value in options.items() if value is not None}
    )


def parse_all(
    photos: Sequence[InputPhoto],
    one: Callable[[InputPhoto], tuple[int, list[Path]]],
    jobs: int,
    report: Report,
) -> None:
    """Parse all photos and report on each. A photo that fails does not stop the others.

    Args:
        photos: The photos.
        one: Parses one photo; returns the number of people and the written paths.
        jobs: Number of photos that are parsed at the same time.
        report: Tells the user.

    Raises:
        ModelError: The model does not work, so that every other photo would fail as well.
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
                more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
                who = "1 person" if people == 1 else f"{people} people"
                report.finished(people, f"{photo.shown}  {who}  → {paths[0]}{more}")


def _arrivals(
    sources: Sequence[str], output: Path | None, formats: Sequence[str]
) -> Iterator[list[InputPhoto]]:
    def search() -> list[InputPhoto]:
        photos = find(sources, output, expected=False).photos
        spare_the_photos(photos, formats)
        return photos

    return watch.arrivals(search, lambda photo: is_done(photo, formats))


def parse_one(
    parser: HumanParser, formats: Sequence[str], palette: str, classes: str, photo: InputPhoto
) -> tuple[int, list[Path]]:
    """Parse one photo and write its results; return the number of people and the written paths."""
    from humanparse.formats import save

    parsing = parser.parse(photo.source, name=photo.name)
    if photo.file_name:
        parsing = replace(parsing, file_name=photo.file_name)
    if classes == "coarse":
        from humanparse.coarse import coarse

        parsing = coarse(parsing)
    return len(parsing.people), save(parsing, photo.folder, formats, palette=palette)


def wanted_formats(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the formats that the user named, each once.

    Args:
        given: The values of --format, each with commas between names; None for the default.

    Raises:
        OptionError: There is no format with this name.
    """
    from humanparse.formats import FORMATS

    names = dict.fromkeys(
        name.strip() for text in given or DEFAULT_FORMATS for name in text.split(",")
    )
    for name in names:
        if name not in (*FORMATS, "all"):
            raise OptionError(
                f"there is no format {name!r}; choose from {', '.join(FORMATS)}, or all"
            )
    if "all" in names:
        return (*ALL_FORMATS, *(name for name in names if name not in (*ALL_FORMATS, "all")))
    return tuple(names)


def is_done(photo: InputPhoto, formats: Sequence[str]) -> bool:
    """Return whether all results of the photo exist."""
    from humanparse.formats import paths

    return all(os.path.exists(path) for path in paths(photo.name, photo.folder, formats))


def spare_the_photos(photos: Sequence[InputPhoto], formats: Sequence[str]) -> None:
    """Raise OptionError if a result would overwrite one of the photos."""
    from humanparse.formats import paths

    def place(path: Path) -> str:  # a link is replaced, not its target
        return os.path.join(os.path.realpath(path.parent), path.name)

    sources = {place(photo.source) for photo in photos if isinstance(photo.source, Path)}
    for photo in photos:
        for path in paths(photo.name, photo.folder, formats):
            if place(path) in sources:
                raise OptionError(
                    f"the results of {photo.shown} would overwrite the photo {path}; "
                    "choose a folder with -o"
                )


def make_folder(output: Path | None) -> None:
    """Make the output folder before the work begins.

    Raises:
        OptionError: The folder cannot be made.
    """
    try:
        if output:
            output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot make the output folder {str(output)!r}: {error.strerror}"
        ) from None


def jobs_with(model: str | None, threads: int | None) -> int:
    """Return how many photos to parse at the same time unless the user says so."""
    from humanparse.engines import bytes_of
    from humanparse.weights.catalog import model_file

    try:
        return jobs_for(bytes_of(model_file(model)), threads)
    except (ModelError, OSError):  # loading the model will say what is wrong
        return 1
