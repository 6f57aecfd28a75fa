"""What a run over many photos tells the user: a line a photo, a bar on a terminal, a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from humanparse.cli import errors


class Report:
    """Counts and says what became of each photo. A context manager: the progress bar lives inside
    it.

    Finished photos go to stdout, everything else to stderr; quiet leaves only the errors. The bar
    shows if stderr is a terminal and there is more than one photo.
    """

    def __init__(self, total: int, skipped: int = 0, quiet: bool = False):
        self.parsed, self.skipped, self.failed = 0, skipped, 0
        self._quiet, self._began = quiet, time.monotonic()
        self._bar = None if quiet else progress_bar(total)

    def __enter__(self) -> Report:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.stop()

    def finished(self, name: str, people: int, paths: Sequence[Path]) -> None:
        """One photo is parsed and its results are written."""
        self.parsed += 1
        self._advance()
        if not self._quiet:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            who = "1 person" if people == 1 else f"{people} people"
            self._say(errors.printable(f"{name}  {who}  → {paths[0]}{more}"), sys.stdout)

    def could_not(self, name: str, error: Exception) -> None:
        """One photo failed."""
        self.failed += 1
        self._advance()
        errors.report(name, error, say=lambda line: self._say(line, sys.stderr))

    def note(self, text: str) -> None:
        if not self._quiet:
            self._say(errors.printable(text), sys.stderr)

    def summary(self) -> None:
        seconds = time.monotonic() - self._began
        self.note(
            f"{self.parsed} parsed, {self.skipped} skipped, {self.failed} failed in {seconds:.1f} s"
        )

    def _advance(self) -> None:
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])

    def _say(self, line: str, stream: TextIO) -> None:
        if self._bar and stream.isatty():  # the bar must make room for it
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            # flushed, so that a reader at the other end of a pipe sees it now
            print(line, file=stream, flush=True)


def progress_bar(total: int):
    """A bar of rich for `total` photos, not started yet; None where it would not be seen, or where
    there is but one photo."""
    if total < 2 or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task("photos", total=total)
    return bar
