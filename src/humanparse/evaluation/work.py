"""WorkFile: the score of every picture so far, so that a broken-off evaluation goes on where it stopped.

The file has one JSON object a line: first what is being measured, then one `PictureScore` for each picture. A line
that was being written when the run was killed is dropped. Numbers are kept to the last bit: a continued run ends
with the very figures of one that was never stopped.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from humanparse.errors import OptionError
from humanparse.evaluation.overlap import PictureScore

SCHEMA = "humanparse-evaluation-work/1"


class WorkFile:
    """`with WorkFile(path, run, resume) as file`: iterate over `file.scores()`, then `file.append` the others.

    run: what is being measured, in plain Python values: data set, model, options. resume: whether to go on with a
    file that is there.
    Raises OptionError for a file that is there while `resume` is False (it may hold hours of work), for another
    run's file, and for a file that is something else.
    """

    def __init__(self, path: Path, run: dict[str, Any], resume: bool):
        self.path = path
        if path.exists() and not resume:
            if self._header() is None or self._holds_scores():
                raise OptionError(f"{path} is there already: add --resume to go on with that run, or delete it")
            path.unlink()
        if not path.exists():
            path.write_text(json.dumps({"schema": SCHEMA, **run}) + "\n", encoding="ascii")
        self._check(run)
        self._drop_broken_line()
        self._file = open(path, "a", encoding="ascii")  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> WorkFile:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def scores(self) -> Iterator[PictureScore]:
        """Those of the pictures that were measured before, in the order in which they were."""
        with open(self.path, encoding="ascii") as lines:
            next(lines)
            for number, line in enumerate(lines, start=2):
                try:
                    yield PictureScore.from_dict(json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise OptionError(f"{self.path}, line {number} is damaged ({error}); delete it and start anew") from error

    def append(self, score: PictureScore) -> None:
        """Keep one more; it is in the operating system's hands when this returns."""
        self._file.write(json.dumps(score.to_dict()) + "\n")
        self._file.flush()

    def _check(self, run: dict[str, Any]) -> None:
        """Raises OptionError unless the file is of this very run."""
        there = self._header()
        if there is None:
            raise OptionError(f"{self.path} is no work file of an evaluation; choose another with --work")
        wanted = json.loads(json.dumps(run))
        for key in {**there, **wanted}:
            if there.get(key) != wanted.get(key):
                raise OptionError(
                    f"{self.path} is of another run: its {key} is {there.get(key)!r} and now {wanted.get(key)!r}; "
                    "delete it or choose another with --work"
                )

    def _header(self) -> dict[str, Any] | None:
        """What the file says it measures; None for a file that is something else."""
        with open(self.path, "rb") as file:
            first = file.readline()
        try:
            header = json.loads(first)
            return header if header.pop("schema") == SCHEMA else None
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            return None

    def _holds_scores(self) -> bool:
        with open(self.path, "rb") as file:
            return sum(line.endswith(b"\n") for line in itertools.islice(file, 2)) == 2

    def _drop_broken_line(self) -> None:
        """A kill can only cut the last line."""
        length = 0
        with open(self.path, "rb+") as file:
            for line in file:
                length += len(line) if line.endswith(b"\n") else 0
            file.truncate(length)
