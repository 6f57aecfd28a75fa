"""ScoreStore: the score of every picture so far, so that a broken-off evaluation goes on where it
stopped.

The file has one JSON object a line: first what is being measured, then one `PictureScore` for each
picture. A line that was being written when the run was killed is dropped. Numbers are kept to the
last bit: a continued run ends with the very figures of one that was never stopped.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from humanparse.errors import OptionError
from humanparse.evaluation.overlap import PictureScore
from humanparse.system.lock import lock_file

SCHEMA = "humanparse-evaluation-work/1"


class ScoreStore:
    """`with ScoreStore(path, run, resume) as file`: iterate over `file.scores()`, then `file.append`
    the others.

    run: what is being measured, in plain Python values: data set, model, options. resume: whether
    to go on with a file that is there. The file is this process's alone until the end of the block.
    Raises OptionError for a file that is there while `resume` is False (it may hold hours of work),
    for another run's file, for one that another process writes to now, and for a file that is
    something else.
    """

    def __init__(self, path: Path, run: dict[str, Any], resume: bool):
        self.path = path
        with ExitStack() as stack:
            self._hold(stack)
            self._begin(run, resume)
            self._file = stack.enter_context(open(path, "a", encoding="ascii"))
            self._stack = stack.pop_all()

    def _hold(self, stack: ExitStack) -> None:
        """Keep other processes away until the stack ends, by a lock beside the file, which may be
        deleted itself."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            stack.enter_context(lock_file(lock, timeout_s=0))
        except TimeoutError:
            raise OptionError(
                f"another evaluation keeps its scores in {self.path} now; wait for its end, or name another file by --work"
            ) from None
        except OSError as error:
            raise OptionError(
                f"cannot write {lock}: {error.strerror}; name another file by --work"
            ) from None
        stack.callback(_remove, lock)  # while it is still held

    def _begin(self, run: dict[str, Any], resume: bool) -> None:
        """Make the file, or find it as a run before left it."""
        path = self.path
        if path.exists() and not resume:
            if self._header() is None or self._holds_scores():
                raise OptionError(
                    f"{path} is there already: add --resume to go on with that run, or delete it"
                )
            path.unlink()
        if not path.exists():
            path.write_text(json.dumps({"schema": SCHEMA, **run}) + "\n", encoding="ascii")
        self._check(run)
        self._drop_broken_line()

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def discard(self) -> None:
        """Delete the file, which is not needed any more: nothing can be appended then."""
        self._file.close()
        self.path.unlink()

    def scores(self) -> Iterator[PictureScore]:
        """Those of the pictures that were measured before, in the order in which they were."""
        with open(self.path, encoding="ascii") as lines:
            next(lines)
            for number, line in enumerate(lines, start=2):
                try:
                    yield PictureScore.from_dict(json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise OptionError(
                        f"{self.path}, line {number} is damaged ({error}); delete it and start anew"
                    ) from error

    def append(self, score: PictureScore) -> None:
        """Keep one more; it is in the operating system's hands when this returns."""
        self._file.write(json.dumps(score.to_dict()) + "\n")
        self._file.flush()

    def _check(self, run: dict[str, Any]) -> None:
        """Raises OptionError unless the file is of this very run."""
        there = self._header()
        if there is None:
            raise OptionError(
                f"{self.path} is no work file of an evaluation; choose another with --work"
            )
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


def _remove(lock: Path) -> None:
    with suppress(OSError):  # Windows keeps files that are open
        lock.unlink()
