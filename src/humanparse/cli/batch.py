"""`humanparse batch`: very many photos, each exactly once, in a run that can be killed and started
again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    ShortSide,
)
from humanparse.errors import OptionError
from humanparse.labels import check_palette
from humanparse.system.parallel import shared_threads

if TYPE_CHECKING:
    from humanparse.batch.run import Output
    from humanparse.batch.sources import Sources
    from humanparse.batch.work import Outcome, Work
    from humanparse.parser import HumanParser

SHOWN_FAILURES = 20  # lines on stderr; all are in the list of failures
LINE_EVERY_S = 60.0  # a line of progress where no bar would be seen
RATE_OVER_S = 30.0  # of the last so many seconds

EXIT_CODES_HELP = """\b
Exit codes:
  0    all photos are done
  1    some photos failed (see _failures.jsonl), or the results cannot be written
  2    bad usage: no such source, nothing to parse, another run's folder, no Ray at that address
  3    the model could not be loaded, or a package is missing
  70   an unforeseen error: `humanparse --debug batch ...` shows where
  130  interrupted (Ctrl-C, SIGTERM); the same command goes on
"""


def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCES",
            show_default=False,
            help='A folder, pattern, text file of paths, tar ("s-{000..009}.tar") or Parquet files; also s3://… and the like.',
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the results and the manifest.",
            show_default=False,
        ),
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help="parquet, or names of `humanparse parse`'s formats with commas between.",
            show_default="parquet",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of Parquet sources: pictures, or where they lie.",
            show_default="found by its name",
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
            help="Photos parsed at a time; with --ray, workers of one core each.",
            show_default="as many as cores, at most 8; 1 for large models; with --ray all of the cluster's",
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photos in one Parquet file at most.")
    ] = 1000,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="End after N photos; the same command goes on."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the photos again that failed before.")
    ] = False,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray", help="Work on a Ray cluster, or on a Ray of our own on this machine."
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Of a Ray that runs already, or auto; with --ray.",
            show_default="one of our own",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Parse very many photos, each exactly once.

    The run may be killed at any moment: the same command goes on. Results are Parquet files with
    every person and part, or files like those of `humanparse parse`. Failed photos are listed with
    reasons in _failures.jsonl and stop nothing.

    \b
    Examples:
      humanparse batch photos/ -o results/
      humanparse batch "shards/{000..099}.tar" -o results/ --format json,labels
      humanparse batch s3://bucket/photos.parquet -o results/ --column image --ray --address auto
    """
    from humanparse.batch.run import Output, run
    from humanparse.batch.sources import Sources

    if address and not ray:
        raise OptionError("--address is the address of a Ray; add --ray")
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
    with (
        Output(output, names, identity, about, rows) as kept,
        progress(found, kept, limit, quiet) as report,
    ):
        try:
            with _engine(ray, address, work, parser, jobs, jobs_here) as engine_of_run:
                tally = run(found, kept, engine_of_run, report.outcome, limit, retry_failed)
        except KeyboardInterrupt:
            report.end()
            typer.echo(
                f"interrupted after {report.parsed} photos; the same command goes on", err=True
            )
            raise typer.Exit(errors.INTERRUPTED) from None
        report.end()
        if not tally.done and not tally.failed:
            raise found.nothing_found()
        for note in found.left_out.notes():
            report.note(note)
        report.summary(kept)
        failed = kept.manifest.failed
    if failed:
        raise typer.Exit(errors.SOME_FAILED)


def wanted_formats(given: list[str] | None) -> tuple[str, ...]:
    """("parquet",) or the names of `humanparse parse`. Raises OptionError for an unknown one, or
    both together."""
    from humanparse.batch.work import PARQUET

    names = [name.strip() for text in given or [PARQUET] for name in text.split(",")]
    if PARQUET not in names:
        return parse.wanted_formats(names)
    if set(names) != {PARQUET}:
        raise OptionError(
            "results are written as parquet or as files of other formats, not both; name one kind"
        )
    return (PARQUET,)


def _work(formats: tuple[str, ...], palette: str, model: str | None, options: dict) -> Work:
    from humanparse.batch.work import Work

    return Work(
        formats,
        palette,
        str(Path(model).absolute()) if model and Path(model).exists() else model,
        options,
    )


def _identity(sources: Sources, column: str | None, work: Work, parser: HumanParser) -> dict:
    """What makes results equal: another run with the same goes on in the same folder."""
    from humanparse.batch.work import PARQUET
    from humanparse.system.files import sha256_of
    from humanparse.weights.catalog import model_file

    return {
        "sources": sources.names if len(sources.names) <= 20 else _digest(sources.names),
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
def _engine(
    ray: bool,
    address: str | None,
    work: Work,
    parser: HumanParser,
    jobs: int | None,
    jobs_here: int,
) -> Iterator:
    if ray:
        from humanparse.ray import batch as on_ray

        with on_ray.connected(address, jobs) as cpus:
            yield partial(on_ray.outcomes, work=work, workers=jobs or cpus)
    else:
        from humanparse.batch import local

        yield partial(local.outcomes, work=work, parser=parser, jobs=jobs_here)


@contextmanager
def progress(sources: Sources, output: Output, limit: int | None, quiet: bool) -> Iterator[Report]:
    report = Report(sources, output, limit, quiet)
    try:
        for note in output.notes:
            report.note(note)
        yield report
    finally:
        report.end()


class Report:
    """A bar with rate and time left on a terminal, elsewhere a line a minute; the first failures; a
    summary. All to stderr.

    How many photos there are is counted meanwhile, by a thread; until it knows, there is no time
    left to tell.
    """

    def __init__(self, sources: Sources, output: Output, limit: int | None, quiet: bool):
        self.parsed = self.failed = self.people = 0
        self._before = output.manifest.done + output.manifest.waiting + output.manifest.failed
        self._quiet, self._limit, self._began = quiet, limit, time.monotonic()
        self._recent: list[tuple[float, int]] = [(self._began, 0)]
        self._line_at = self._began + LINE_EVERY_S
        self._total: int | None = None
        self._ended = threading.Event()
        self._bar = None if quiet or not sys.stderr.isatty() else _bar(self._before)
        if self._bar:
            self._bar.start()
        if not quiet:
            threading.Thread(
                target=self._count, args=(sources,), daemon=True, name="humanparse-count"
            ).start()

    def outcome(self, outcome: Outcome) -> None:
        """One photo is parsed or failed."""
        self.failed += bool(outcome.code)
        self.parsed += not outcome.code
        self.people += outcome.people
        if outcome.code and self.failed <= SHOWN_FAILURES:
            self._say(f"{outcome.key}: {outcome.message.removeprefix('image ')}")
            if self.failed == SHOWN_FAILURES:
                self._say("further failures are in _failures.jsonl only")
        self._tick()

    def note(self, text: str) -> None:
        if not self._quiet:
            self._say(text)

    def summary(self, output: Output) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        done = self.parsed + self.failed
        self.note(
            f"{self.parsed} parsed with {self.people} people, {self.failed} failed in {seconds:.1f} s "
            f"({done / seconds:.1f} photos/s); {output.manifest.done} are in {output.folder}, "
            f"{output.manifest.failed} in its list of failures"
        )

    def end(self) -> None:
        self._ended.set()
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _tick(self) -> None:
        now, done = time.monotonic(), self.parsed + self.failed
        if now - self._recent[-1][0] > 1:
            self._recent.append((now, done))
            self._recent = [
                one for one in self._recent if now - one[0] < RATE_OVER_S
            ] or self._recent[-1:]
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self._before + done,
                total=self._whole(),
                rate=f"{self._rate(now):.1f} photos/s",
            )
        elif now > self._line_at:
            self._line_at = now + LINE_EVERY_S
            whole, rate = self._whole(), self._rate(now)
            of, left = (
                (f" of {whole}", f", {_clock((whole - self._before - done) / rate)} left")
                if whole and rate
                else ("", "")
            )
            self.note(
                f"{self._before + done}{of} photos, {self.failed} failed, {rate:.1f} photos/s{left}"
            )

    def _rate(self, now: float) -> float:
        """Photos a second, lately."""
        since, then = self._recent[0]
        return (self.parsed + self.failed - then) / max(now - since, 0.001)

    def _whole(self) -> int | None:
        """What there will be at the end of this run, if that is known."""
        total = self._total
        if self._limit is not None:
            total = (
                min(self._before + self._limit, total)
                if total is not None
                else self._before + self._limit
            )
        return total

    def _count(self, sources: Sources) -> None:
        total = 0
        try:
            for count in sources.counts():
                if count is None or self._ended.is_set():
                    return
                total += count
        except Exception:
            return  # the run itself will say what is wrong
        self._total = total

    def _say(self, text: str) -> None:
        line = errors.printable(text)
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _bar(before: int):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=RATE_OVER_S,
    )
    bar.add_task("photos", total=None, completed=before, rate="")
    return bar


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
