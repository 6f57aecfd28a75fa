"""`humanparse edit`: hide, recolour or cut out parts of photos, or replace their background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from humanparse.cli import errors, parse
from humanparse.cli.options import (
    Background,
    Blur,
    Cutout,
    Device,
    Engine,
    Fill,
    MaxMegapixels,
    MinScore,
    Model,
    Pixelate,
    Precision,
    Recolour,
    Regions,
    Sources,
    Strength,
)
from humanparse.cli.photos import InputPhoto, find
from humanparse.cli.progress import Report
from humanparse.errors import OptionError
from humanparse.system.files import check_target, whole_file
from humanparse.system.parallel import shared_threads
from humanparse.vocabulary import EDITED_SUFFIX

if TYPE_CHECKING:
    from humanparse.edit import Step
    from humanparse.parser import HumanParser

ENCODINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


def edit(
    sources: Sources = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the edited photos to this folder, and keep the sub-folders of the sources.",
            show_default="beside each photo",
        ),
    ] = None,
    blur: Blur = None,
    pixelate: Pixelate = None,
    fill: Fill = None,
    recolour: Recolour = None,
    background: Background = None,
    cutout: Cutout = None,
    crop: Annotated[
        str | None, typer.Option(metavar="REGION", help="Crop the photo to the box of a region.")
    ] = None,
    people: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Edit only these people, such as 2 or 1,3. Regions that name people themselves, "
            "such as head:2, keep theirs.",
            show_default="everybody",
        ),
    ] = None,
    without_people: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", help="Edit everybody but these people."),
    ] = None,
    strength: Strength = 1.0,
    encoding: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENCODINGS),
            help="Write the edited photos in this format. JPEG has no transparency.",
        ),
    ] = "png",
    model: Model = None,
    engine: Engine = "auto",
    precision: Precision = None,
    device: Device = None,
    min_score: MinScore = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Edit N photos at the same time. Each of them needs about 20 MB of memory for "
            "every megapixel.",
            show_default="the number of cores, at most 8; 1 for models of 50 MB or more",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace edited photos that exist already.")
    ] = False,
    max_megapixels: MaxMegapixels = 40.0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors and warnings.")
    ] = False,
) -> None:
    """Edit photos by their regions: hide faces, recolour clothes, replace the background.

    A region is a word such as face, head, hair, skin, clothes, upper, lower, dress, shoes or
    person, or the name of a class. head:2 is the head of person 2, "person - face" is everybody
    but their faces, "face grow=2%" is a little more. docs/edit.md describes them all.

    The edits are carried out in the order in which the options are listed here. A warning says
    which regions were not found. Hiding people is not perfect: look at the pictures before you rely
    on them.

    \b
    Examples:
      humanparse edit street.jpg --blur face
      humanparse edit photos/ -o hidden/ --pixelate "head grow=2%" --encoding jpeg
      humanparse edit street.jpg --recolour "upper:1=#c02020" --background white
      humanparse edit street.jpg --cutout person --crop person --people 1
      humanparse edit party.jpg --blur face --without-people 2
    """
    steps = steps_of(
        blur=blur,
        pixelate=pixelate,
        fill=fill,
        recolour=recolour,
        background=[background] if background is not None else None,
        cutout=cutout,
        crop=[crop] if crop is not None else None,
    )
    whose = _whose(people, without_people)
    if encoding not in ENCODINGS:
        raise OptionError(
            f"there is no encoding {encoding!r}; choose one of {', '.join(ENCODINGS)}"
        )
    if encoding == "jpeg" and cutout:
        raise OptionError("JPEG has no transparency, which --cutout needs; choose png or webp")
    found = find(sources or [], output)
    originals = [photo.source for photo in found.photos if isinstance(photo.source, Path)]
    for photo in found.photos:
        check_target(_target(photo, encoding), originals, overwrite=overwrite)
    parse.make_folder(output)
    jobs = min(jobs or parse.jobs_with(model, None), max(1, len(found.photos)))
    report = Report(len(found.photos), quiet=quiet)
    with report:
        for note in found.notes:
            report.note(note)
        for folder, error in found.unreadable:
            report.could_not(folder, error)
        if found.photos:
            from humanparse.regions import check_names

            parser = parse.load_parser(
                model,
                threads=shared_threads(jobs) if jobs > 1 else None,
                engine=engine,
                precision=precision,
                device=device,
                min_score=min_score,
                max_megapixels=max_megapixels,
            )
            for step in steps:
                check_names(step.region, parser.labels)
            one = partial(edit_one, parser, steps, encoding, {"strength": strength, **whose})
            parse.parse_all(found.photos, one, jobs, report)
    report.note(f"{report.parsed} edited, {report.failed} failed in {report.seconds:.1f} s")
    if report.failed:
        raise typer.Exit(errors.SOME_FAILED)


def edit_one(
    parser: HumanParser,
    steps: Sequence[Step],
    encoding: str,
    options: Mapping[str, Any],
    photo: InputPhoto,
) -> tuple[int, list[Path]]:
    """Edit one photo and write it; return the number of people and the written path.

    Args:
        parser: What parses the photo.
        steps: The edits.
        encoding: One of ENCODINGS.
        options: Those of `humanparse.edit.edit`: of whom, and how strongly.
        photo: The photo.
    """
    from humanparse.edit import edit as edited_by
    from humanparse.edit.steps import read_file
    from humanparse.formats import encode_picture

    parsing = parser.parse(photo.source, name=photo.name)
    edited = edited_by(parsing, steps, **options, read=read_file)
    target = _target(photo, encoding)
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as part:
        part.write_bytes(encode_picture(edited.image, encoding))
    for words in edited.missing:
        line = f"{photo.shown}: {words}; look at the picture before you rely on it"
        typer.echo(errors.printable(line), err=True)
    return len(parsing.people), [target]


def steps_of(**given: Regions) -> list[Step]:
    """Return the edits of the options.

    Raises:
        OptionError: There are none, or the file of another background cannot be read.
    """
    from humanparse.edit import step
    from humanparse.edit.steps import check_backgrounds

    steps = [step(operation, text) for operation, texts in given.items() for text in texts or ()]
    if not steps:
        raise OptionError(
            "nothing to do; say what to edit, such as --blur face or --background white"
        )
    check_backgrounds(steps)
    return steps


def _whose(people: str | None, without_people: str | None) -> dict[str, tuple[int, ...]]:
    from humanparse.regions import people_numbers

    if people is not None and without_people is not None:
        raise OptionError("--people and --without-people exclude each other; give one of them")
    given = {"people": people, "without_people": without_people}
    return {
        name: people_numbers("--" + name.replace("_", "-"), text)
        for name, text in given.items()
        if text is not None
    }


def _target(photo: InputPhoto, encoding: str) -> Path:
    return photo.folder / f"{photo.name}{EDITED_SUFFIX}{ENCODINGS[encoding]}"
