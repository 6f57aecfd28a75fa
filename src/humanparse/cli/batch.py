"""`humanparse batch`: very many photos, each exactly once, in a run that can be killed and started
again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from humanparse.cli import errors, parse
from humanparse.cli.options import (
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
)
from humanparse.cli.progress import Report
from humanparse.errors import OptionError
from humanparse.labels import check_palette
from humanparse.system.parallel import shared_threads

if TYPE_CHECKING:
    from humanparse.batch.run import Backend, Output
    from humanparse.batch.sources import Sources
    from humanparse.batch.work import Outcome, Work
    from humanparse.parser import HumanParser

SHOWN_FAILURES = 20  # lines on stderr; the list of failures has all of them
SHOWN_SOURCES = 20  # more names than this are recorded by their hash

EXIT_CODES_HELP = """\b
Exit codes:
  0    all photos have been parsed
  1    some photos failed (see _failures.jsonl), or the results cannot be written
  2    wrong usage: no such source, nothing to parse, the folder of another run,
       or no Ray at that address
  3    the model cannot be loaded, or a package is missing
  70   an unexpected error; `humanparse --debug batch ...` shows where it happened
  130  interrupted by Ctrl-C or SIGTERM; the same command continues
"""


def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCES",
            show_default=False,
            help="Folders, patterns, text files that list photos, tar files "
            '("s-{000..009}.tar") or Parquet files; also in object stores (s3://...) '
            "and on the web.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the results, and the record of what is done, to this folder.",
            show_default=False,
        ),
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help="Write these results: parquet, or formats of `humanparse parse`, "
            "separated by commas.",
            show_default="parquet",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of Parquet sources that holds the pictures, or their paths or URLs.",
            show_default="the first with a usual name, such as image",
        ),
    ] = None,
    model: Model = None,
    engine: Engine = "auto",
    precision: Precision = None,
    device: Device = None,
    palette: Palette = "clear",
    min_score: MinScore = None,
    short_side: ShortSide = None,
    max_side: MaxSide = None,
    max_megapixels: MaxMegapixels = 40.0,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Parse N photos at the same time. With --ray: use N workers of one core each.",
            show_default="the number of cores, at most 8; 1 for models of 50 MB or more; "
            "with --ray all cores of the cluster",
        ),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Write at most N photos to one Parquet file."),
    ] = 1000,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Stop after N photos. The same command continues with the others.",
            show_default="all",
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Also retry the photos that failed in earlier runs."),
    ] = False,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Run on a Ray cluster. Without --address, Ray is started on this machine.",
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="With --ray: connect to the Ray at this address; auto finds one on this machine.",
            show_default="start a new one",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Parse very many photos, each exactly once.

    You may stop the run at any moment, or kill it: the same command continues where it ended. The
    results are Parquet files with every person and part, or files like those of `humanparse parse`.
    Photos that fail do not stop the run; _failures.jsonl lists them with the reasons.

    \b
    Examples:
      humanparse batch photos/ -o results/
      humanparse batch "shards/{000..099}.tar" -o results/ --format json,labels
      humanparse batch s3://bucket/photos.parquet -o results/ --ray --address auto
    """
    from humanparse.batch.run import Output, run
    from humanparse.batch.sources import Sources

    if address and not ray:
        raise OptionError("--address is for a run on Ray; add --ray")
    check_palette(palette)
    names = wanted_formats(formats)
    found = Sources(sources, column, leave_out=str(output))
    options = {
        "engine": engine,
        "precision": precision,
        "device": device,
        "min_score": min_score,
        "short_side": short_side,
        "max_side": max_side,
        "max_megapixels": max_megapixels,
    }
    work = _work(
        names, palette, model, {name: value for name, value in options.items() if value is not None}
    )
    jobs_here = jobs or parse.jobs_with(model, None)
    threads = shared_threads(jobs_here) if jobs_here > 1 else None
    parser = parse.load_parser(model, threads=1 if ray else threads, **options)
    about = {"humanparse.labels": ",".join(parser.labels.names), "humanparse.schema": "1"}
    identity = _identity(found, column, work, parser)
    with Output(output, names, identity, about, rows) as kept:
        report = _report(found, kept, limit, quiet)
        try:
            with report, _backend(ray, address, work, parser, jobs, jobs_here) as backend:
                tally = run(found, kept, backend, partial(tell, report), limit, retry_failed)
        except KeyboardInterrupt:
            report.error(f"interrupted after {report.parsed} photos; the same command continues")
            raise typer.Exit(errors.INTERRUPTED) from None
        if not tally.done and not tally.failed:
            raise found.nothing_found()
        for note in (*found.left_out.notes(), _summary(report, kept)):
            report.note(note)
        failed = kept.manifest.failed
    if failed:
        raise typer.Exit(errors.SOME_FAILED)


def wanted_formats(given: list[str] | None) -> tuple[str, ...]:
    """Return the formats that the user named.

    Args:
        given: The values of --format, each with commas between names; None for the default.

    Returns:
        ("parquet",), or the names of formats of `humanparse parse`.

    Raises:
        OptionError: A name is unknown, or both kinds are named.
    """
    from humanparse.batch.work import PARQUET

    names = [name.strip() for text in given or [PARQUET] for name in text.split(",")]
    if PARQUET not in names:
        return parse.wanted_formats(names)
    if set(names) != {PARQUET}:
        raise OptionError(
            "results are written either as parquet or in other formats, not both; name one kind"
        )
    return (PARQUET,)


def _work(
    formats: tuple[str, ...], palette: str, model: str | None, options: dict[str, Any]
) -> Work:
    from humanparse.batch.work import Work

    file = str(Path(model).absolute()) if model and Path(model).exists() else model
    return Work(formats, palette, file, options)


def _identity(
    sources: Sources, column: str | None, work: Work, parser: HumanParser
) -> dict[str, Any]:
    """Return what makes results equal: a run with the same identity continues in the folder."""
    from humanparse.batch.work import PARQUET
    from humanparse.system.files import sha256_of
    from humanparse.weights.catalog import model_file

    names = sources.names
    return {
        "sources": names if len(names) <= SHOWN_SOURCES else _digest(names),
        "column": column,
        "formats": list(work.formats),
        "palette": None if work.formats == (PARQUET,) else work.palette,
        "model": parser.name,
        "model_sha256": sha256_of(model_file(work.model)),
        "options": dict(work.options),
    }


def _digest(names: list[str]) -> str:
    import hashlib

    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{len(names)} names from {names[0]} on, sha256 {digest}"


@contextmanager
def _backend(
    ray: bool,
    address: str | None,
    work: Work,
    parser: HumanParser,
    jobs: int | None,
    jobs_here: int,
) -> Iterator[Backend]:
    """Open what computes the outcomes: threads of this process, or a Ray cluster."""
    if ray:
        from humanparse.ray import batch as on_ray

        with on_ray.connected(address, jobs) as cpus:
            yield partial(on_ray.outcomes, work=work, workers=jobs or cpus)
    else:
        from humanparse.batch import local

        yield partial(local.outcomes, work=work, parser=parser, jobs=jobs_here)


def _report(sources: Sources, output: Output, limit: int | None, quiet: bool) -> Report:
    """Begin a report. A thread finds out how many photos there are while the run goes on."""
    manifest = output.manifest
    before = manifest.done + manifest.waiting + manifest.failed
    most = None if limit is None else before + limit
    report = Report(most, before=before, quiet=quiet, long=True)
    for note in output.notes:
        report.note(note)
    if not quiet:
        threading.Thread(
            target=_count, args=(sources, report, most), daemon=True, name="humanparse-count"
        ).start()
    return report


def _count(sources: Sources, report: Report, most: int | None) -> None:
    """Give the report the number of photos, unless a slice would have to be read for it."""
    total = 0
    try:
        for count in sources.counts():
            if count is None or report.ended.is_set():
                return
            total += count
    except Exception:
        return  # the run itself will say what is wrong
    report.total = total if most is None else min(most, total)


def tell(report: Report, outcome: Outcome) -> None:
    """Count one outcome, and show it if it is one of the first failures."""
    if not outcome.code:
        report.finished(outcome.people)
        return
    report.count_failure()
    if report.failed <= SHOWN_FAILURES:
        report.error(f"{outcome.key}: {outcome.message.removeprefix('image ')}")
    if report.failed == SHOWN_FAILURES:
        report.error("further failures are only in _failures.jsonl")


def _summary(report: Report, output: Output) -> str:
    manifest, rate = output.manifest, report.done / report.seconds
    return (
        f"{report.parsed} parsed with {report.people} people, {report.failed} failed "
        f"in {report.seconds:.1f} s ({rate:.1f} photos/s); {manifest.done} are in "
        f"{output.folder}, {manifest.failed} in its list of failures"
    )
