"""`humanparse eval`: measure a model, or saved results, on a labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import humanparse
from humanparse.cli import errors, parse
from humanparse.cli.options import (
    Classes,
    Device,
    Engine,
    MaxSide,
    MinScore,
    Model,
    Precision,
    ShortSide,
    Threads,
    check_classes,
)
from humanparse.cli.progress import progress_bar
from humanparse.errors import OptionError, UnknownModel
from humanparse.system.files import check_target, sha256_of

if TYPE_CHECKING:
    from humanparse.evaluation.datasets import Dataset, Sample
    from humanparse.evaluation.overlap import PictureScore
    from humanparse.evaluation.score_store import ScoreStore
    from humanparse.evaluation.summary import Summary
    from humanparse.labels import LabelSet
    from humanparse.result import Parsing

WORK_FILE = "humanparse-eval.jsonl"
SHEET_ENDINGS = (".png", ".jpg", ".jpeg")


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Folder of a split of the data set, such as Validation of CIHP.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="Layout of the data set: cihp, lip, pascal, mhp or plain.",
            show_default="recognised from the files",
        ),
    ] = None,
    model: Model = None,
    engine: Engine = "auto",
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    min_score: MinScore = None,
    short_side: ShortSide = None,
    max_side: MaxSide = None,
    classes: Classes = "all",
    flip: Annotated[
        bool, typer.Option("--flip", help="Average over each photo and its mirror image.")
    ] = False,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Average over these multiples of the input size, such as 0.75,1,1.25.",
            show_default="1",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Measure the results in this folder, which `humanparse parse --format json` has "
            "written, instead of a model.",
        ),
    ] = None,
    matching: Annotated[
        str,
        typer.Option(
            metavar="standard|reference",
            help="Match predictions with the ground truth as COCO does (standard), or as the "
            "official code of M2FP does (reference).",
        ),
    ] = "standard",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Measure only the first N photos.", show_default="all"
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures as JSON to this file.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the photos with the lowest mIoU, with ground truth and prediction, to this "
            ".png or .jpg file.",
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, max=50, metavar="N", help="Draw N photos for --sheet.")
    ] = 8,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the scores of finished photos in this file, for --resume.",
            show_default=f"{WORK_FILE}, deleted at the end",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but the tables and errors.")
    ] = False,
) -> None:
    """Measure a model, or saved results, on a labelled data set.

    The output shows mIoU, the AP of parts and people, person PQ, and how often left and right are
    confused.

    \b
    Examples:
      humanparse eval instance-level_human_parsing/Validation
      humanparse eval my-photos/ --sheet worst.png --json figures.json
      humanparse eval my-photos/ --classes coarse
      humanparse eval my-photos/ --flip --scales 0.75,1,1.25 --resume
      humanparse eval my-photos/ --predictions results/ --matching reference
    """
    from humanparse.evaluation.datasets import check_labels, open_dataset
    from humanparse.evaluation.report import as_json, as_text
    from humanparse.evaluation.score_store import ScoreStore
    from humanparse.evaluation.summary import Summary

    check_classes(classes)
    for file in (json, sheet, work):
        _check_folder(file)
    if sheet and sheet.suffix.lower() not in SHEET_ENDINGS:
        raise OptionError(
            f"--sheet is {str(sheet)!r}; give a name that ends in {' or '.join(SHEET_ENDINGS)}"
        )
    if predictions and (model or flip or scales):
        raise OptionError(
            "--predictions measures saved results; leave out --model, --flip and --scales"
        )
    dataset = open_dataset(folder, format)
    samples = dataset.samples[:limit]
    for file in (json, sheet, work):
        _check_no_input(file, dataset, predictions, model)
    options = {
        "engine": engine,
        "precision": precision,
        "device": device,
        "threads": threads,
        "min_score": min_score,
        "short_side": short_side,
        "max_side": max_side,
        "flip": flip or None,
        "scales": _scales(scales),
    }
    source = _saved(predictions, samples) if predictions else _model(model, options)
    if classes == "coarse":
        dataset, source = _coarse(dataset, source)
        samples = dataset.samples[:limit]
    labels = check_labels(dataset, source.labels, source.name)
    summary, worst = Summary(labels, matching), _Worst(rows if sheet else 0)
    run = {
        "version": humanparse.__version__,
        "dataset": str(dataset.folder.resolve()),
        "format": dataset.format,
        "matching": matching,
        "classes": classes,
        **source.identity,
    }
    if not quiet:
        for note in dataset.notes:
            typer.echo(errors.printable(note), err=True)
    path = work or Path(WORK_FILE)
    with ScoreStore(path, run, resume) as store:
        _measure_all(samples, source, labels, store, summary, worst, quiet)
        named = {
            "dataset": dataset.name,
            "format": dataset.format,
            "model": source.name,
            **source.shown,
        }
        figures = summary.figures() | named
        typer.echo(as_text(figures), nl=False)
        if not quiet and not any(one["pixels"] for one in figures["classes"][1:]):
            typer.echo(
                "the labels hold no class but the background; check that they are maps of class "
                "numbers",
                err=True,
            )
        if json:
            json.write_text(as_json(figures), encoding="ascii")
        if sheet:
            _draw(sheet, worst, samples, source)
        if not work:
            store.discard()


@dataclass(frozen=True)
class _Predictions:
    """Where the predictions come from.

    identity: what makes a run the same run. shown: what the report says about the options.
    """

    name: str
    labels: LabelSet
    parse: Callable[[Sample], Parsing]
    identity: dict[str, Any]
    shown: dict[str, Any]


def _model(model: str | None, options: dict[str, Any]) -> _Predictions:
    """Return predictions of a model, which parses each photo."""
    parser = parse.load_parser(model, **options)
    shown = {"flip": bool(options["flip"]), "scales": list(options["scales"] or (1.0,))}
    changing = {
        key: options[key]
        for key in ("engine", "precision", "device", "min_score", "short_side", "max_side")
    }
    identity = {"model": parser.name, "model_sha256": _sha256(model), **changing, **shown}
    return _Predictions(
        parser.name,
        parser.labels,
        lambda one: parser.parse(one.image, name=one.name),
        identity,
        shown,
    )


def _saved(folder: Path, samples: tuple[Sample, ...]) -> _Predictions:
    """Return predictions that were saved as JSON, one file for each photo."""
    from humanparse.formats import from_json

    def read(sample: Sample) -> Parsing:
        file = folder / f"{sample.name}.json"
        if not file.is_file():
            raise OptionError(
                f"{folder} has no {file.name}; write it with `humanparse parse --format json`"
            )
        try:
            parsing = from_json(file.read_bytes())
        except OptionError as error:
            raise OptionError(f"{file}: {error}") from error
        if first and parsing.labels.names != first[0].labels.names:
            raise OptionError(
                f"{file} has other classes than {folder / samples[0].name}.json; "
                "use the results of one model"
            )
        return parsing

    first: list[Parsing] = []
    first.append(read(samples[0]))
    name = first[0].model or "saved results"
    identity = {"predictions": str(folder.resolve())}
    return _Predictions(name, first[0].labels, read, identity, {"predictions": folder.name})


def _coarse(dataset: Dataset, source: _Predictions) -> tuple[Dataset, _Predictions]:
    """Both sides with coarse classes. Results that were saved with them stay as they are."""
    from humanparse.coarse import coarse, coarse_labels

    if dataset.labels is None and source.labels == coarse_labels(source.labels)[0]:
        raise OptionError(
            f"{dataset.folder} does not say which classes its labels have, and {source.name} has "
            "coarse ones already; add a labels.txt with the names, one a line"
        )
    labels, table = coarse_labels(dataset.labels or source.labels)

    def relabelled(sample: Sample) -> Sample:
        return replace(sample, load=lambda: sample.load().relabelled(table))

    samples = tuple(relabelled(sample) for sample in dataset.samples)
    return (
        replace(dataset, labels=labels, samples=samples),
        replace(
            source,
            labels=coarse_labels(source.labels)[0],
            parse=lambda sample: coarse(source.parse(sample)),
        ),
    )


def _measure_all(
    samples: tuple[Sample, ...],
    source: _Predictions,
    labels: LabelSet,
    file: ScoreStore,
    summary: Summary,
    worst: _Worst,
    quiet: bool,
) -> None:
    """Add every picture to the summary; those in the work file need not be measured again."""
    wanted = {sample.name for sample in samples}
    done = set()
    for score in file.scores():
        if score.name in wanted and score.name not in done:
            done.add(score.name)
            _count(score, summary, worst)
    if done and not quiet:
        typer.echo(f"{len(done)} of {len(samples)} photos were measured before", err=True)
    todo = [sample for sample in samples if sample.name not in done]
    try:
        # closed at once after Ctrl-C, so that the bar does not hide the next line
        with closing(_with_bar(todo, quiet)) as shown:
            for sample in shown:
                score = _measured(sample, source, labels, summary.matching)
                file.append(score)
                _count(score, summary, worst)
    except KeyboardInterrupt:
        typer.echo(
            f"interrupted after {summary.num_pictures} of {len(samples)} photos; "
            "add --resume to continue",
            err=True,
        )
        raise typer.Exit(errors.INTERRUPTED) from None


def _measured(
    sample: Sample, source: _Predictions, labels: LabelSet, matching: str
) -> PictureScore:
    from humanparse.evaluation.ground_truth import prediction_of
    from humanparse.evaluation.overlap import measure

    return measure(
        sample.name, sample.load(), prediction_of(source.parse(sample)), len(labels), matching
    )


def _count(score: PictureScore, summary: Summary, worst: _Worst) -> None:
    from humanparse.evaluation.summary import picture_iou

    summary.add(score)
    worst.add(score.name, picture_iou(score))


class _Worst:
    """The names and scores of the `count` worst pictures so far, worst first."""

    def __init__(self, count: int):
        self.count = count
        self.cases: list[tuple[float, str]] = []

    def add(self, name: str, score: float) -> None:
        if score == score:  # not NaN, which is the score of a picture without known pixels
            self.cases = sorted([*self.cases, (score, name)])[: self.count]


def _draw(file: Path, worst: _Worst, samples: tuple[Sample, ...], source: _Predictions) -> None:
    """Parse the worst pictures again, since no prediction was kept, and write the sheet."""
    from humanparse.evaluation.sheet import Case, draw_sheet
    from humanparse.image import read_image

    by_name = {sample.name: sample for sample in samples}

    def case(name: str, score: float) -> Case:
        sample = by_name[name]
        return Case(
            name, score, read_image(sample.image).pixels, sample.load(), source.parse(sample)
        )

    if worst.cases:
        draw_sheet([case(name, score) for score, name in worst.cases]).save(file)


def _with_bar(samples: list[Sample], quiet: bool) -> Generator[Sample, None, None]:
    """Yield the samples, and show a progress bar on stderr if that is a terminal."""
    bar = None if quiet else progress_bar(len(samples))
    if bar is None:
        yield from samples
        return
    with bar:
        for sample in samples:
            yield sample
            bar.advance(bar.task_ids[0])


def _scales(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise OptionError(
            f"--scales is {text!r}; give numbers separated by commas, as in 0.75,1,1.25"
        ) from None


def _check_folder(file: Path | None) -> None:
    """Raise OptionError now, not after hours, for a file that cannot be written."""
    if file and not file.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {str(file.parent)!r} for {file.name}; make it first")


def _check_no_input(
    file: Path | None, dataset: Dataset, predictions: Path | None, model: str | None
) -> None:
    """Raise OptionError for a file that this command reads.

    The report of an earlier run may be replaced. Photos, labels and saved results are recognised
    by their names, which are those of the samples.
    """
    if file is None:
        return
    folders = [one.resolve() for one in (dataset.folder, predictions) if one]
    is_input = file.name == "labels.txt" or file.stem in {one.name for one in dataset.samples}
    inside = is_input and any(one in file.resolve().parents for one in folders)
    check_target(file, [file] if inside else [Path(model)] if model else [], overwrite=True)


def _sha256(model: str | None) -> str:
    """Return the hash of the model's file, since another model may have the same name."""
    from humanparse.weights.catalog import model_file

    try:
        return sha256_of(model_file(model))
    except UnknownModel:
        return ""
