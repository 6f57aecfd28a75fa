"""What a run over many photos or frames tells the user: lines, a bar on a terminal, a summary."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from humanparse.cli import errors

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY_S = 60.0  # between the lines of progress of a long run without a bar
RATE_OVER_S = 30.0  # the rate is the mean over the most recent seconds


class Report:
    """Counts the photos of a run and says what became of them.

    It is a context manager: the progress bar lives inside it. The bar is shown if stderr is a
    terminal, unless there is only one photo.

    Attributes:
        parsed: Photos parsed in this run.
        failed: Photos that failed in this run.
        people: People found in this run.
        total: Photos there will be at the end; None while that is unknown. Another thread may set
            it.
        ended: Set once the report has ended.
    """

    def __init__(
        self,
        total: int | None = None,
        *,
        before: int = 0,
        quiet: bool = False,
        long: bool = False,
        unit: str = "photos",
    ):
        """Begin to count.

        Args:
            total: Photos there will be at the end, those of earlier runs included.
            before: Photos that earlier runs have done.
            quiet: Print nothing but errors.
            long: The run may take hours and prints no line for each photo. The bar then shows the
                rate, and without a bar there is a line of progress every minute.
            unit: What is counted, in the plural.
        """
        self.parsed = self.failed = self.people = 0
        self.total = total
        self.ended = threading.Event()
        self._before, self._quiet, self._long, self._unit = before, quiet, long, unit
        self._began = time.monotonic()
        self._recent: list[tuple[float, int]] = [(self._began, 0)]  # (time, photos until then)
        self._line_at = self._began + LINE_EVERY_S
        self._bar = None if quiet else progress_bar(total, before=before, with_rate=long)

    def __enter__(self) -> Report:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self._bar:
            self._bar.stop()
            self._bar = None

    @property
    def done(self) -> int:
        """Photos that this run has parsed or failed to parse."""
        return self.parsed + self.failed

    @property
    def seconds(self) -> float:
        """Seconds since the report began."""
        return max(time.monotonic() - self._began, 0.001)

    def finished(self, people: int, line: str = "") -> None:
        """Count a parsed photo.

        Args:
            people: The people found in it.
            line: Printed on stdout, unless the report is quiet or the line is empty.
        """
        self.parsed += 1
        self.people += people
        self._advance()
        if line and not self._quiet:
            self._say(line, sys.stdout)

    def could_not(self, name: str, error: Exception) -> None:
        """Count a failed photo, and print its error on stderr."""
        self.count_failure()
        errors.report(name, error, say=self.error)

    def count_failure(self) -> None:
        """Count a failed photo."""
        self.failed += 1
        self._advance()

    def error(self, line: str) -> None:
        """Print a line on stderr, even if the report is quiet."""
        self._say(line, sys.stderr)

    def note(self, line: str) -> None:
        """Print a line on stderr, unless the report is quiet."""
        if not self._quiet:
            self._say(line, sys.stderr)

    def _advance(self) -> None:
        now = time.monotonic()
        if now - self._recent[-1][0] > 1:
            self._recent.append((now, self.done))
            recent = [one for one in self._recent if now - one[0] < RATE_OVER_S]
            self._recent = recent or self._recent[-1:]
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self._before + self.done,
                total=self.total,
                rate=f"{self._rate(now):.1f} {self._unit}/s",
            )
        elif self._long and now > self._line_at:
            self._line_at = now + LINE_EVERY_S
            self.note(self._line_of_progress(now))

    def _line_of_progress(self, now: float) -> str:
        total, rate, done = self.total, self._rate(now), self._before + self.done
        of = left = ""
        if total and rate:
            of, left = f" of {total}", f", {_clock((total - done) / rate)} left"
        unit = self._unit
        return f"{done}{of} {unit}, {self.failed} failed, {rate:.1f} {unit}/s{left}"

    def _rate(self, now: float) -> float:
        """Return the photos per second, over the most recent seconds."""
        since, until_then = self._recent[0]
        return (self.done - until_then) / max(now - since, 0.001)

    def _say(self, text: str, stream: TextIO) -> None:
        line = errors.printable(text)
        if self._bar and stream.isatty():  # the bar must make room for it
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            # flushed, so that a reader at the other end of a pipe sees it now
            print(line, file=stream, flush=True)


def progress_bar(total: int | None, *, before: int = 0, with_rate: bool = False) -> Progress | None:
    """Return a bar of rich, not started yet.

    Args:
        total: Photos there will be at the end; None if that is not known yet.
        before: Photos that are done already.
        with_rate: Show the photos per second, as the task's field `rate`.

    Returns:
        The bar; None if stderr is not a terminal, or if there is only one photo.
    """
    if (total is not None and total < 2) or not sys.stderr.isatty():
        return None
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
        *([TextColumn("{task.fields[rate]}")] if with_rate else []),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=RATE_OVER_S,
    )
    bar.add_task("photos", total=total, completed=before, rate="")
    return bar


def _clock(seconds: float) -> str:
    minutes, whole_seconds = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole_seconds:02} s"
