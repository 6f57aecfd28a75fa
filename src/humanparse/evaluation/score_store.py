"""ScoreStore keeps the scores of all pictures so far; an interrupted evaluation can continue.

The file has one JSON object per line: first what is being measured, then one `PictureScore` for
each picture. A line that was being written when the run was killed is dropped. Numbers are kept to
the last bit: a continued run ends with exactly the figures of a run that was never interrupted.
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
    """A file of scores that belongs to this process until the end of the block.

    Iterate over `store.scores()`, then `store.append` the others:

        with ScoreStore(path, run, resume) as store:
            ...

    Args:
        path: The file.
        run: What is being measured, in plain Python values: data set, model, options.
        resume: Whether to continue if the file exists.

    Raises:
        OptionError: If the file exists while `resume` is False (it may hold hours of work), belongs
            to another run, is being written by another process, or is something else.
    """

    def __init__(self, path: Path, run: dict[str, Any], resume: bool):
        self.path = path
        with ExitStack() as stack:
            self._hold(stack)
            self._begin(run, resume)
            self._file = stack.enter_context(open(path, "a", encoding="ascii"))
            self._stack = stack.pop_all()

    def _hold(self, stack: ExitStack) -> None:
        """Keep other processes away until the stack ends.

        The lock is beside the file, since the file itself may be deleted.
        """
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            stack.enter_context(lock_file(lock, timeout_s=0))
        except TimeoutError:
            raise OptionError(
                f"another evaluation is writing its scores to {self.path}; "
                "wait until it has finished, or choose another file with --work"
            ) from None
        except OSError as error:
            raise OptionError(
                f"cannot write {lock}: {error.strerror}; choose another file with --work"
            ) from None
        stack.callback(_remove, lock)  # while it is still held

    def _begin(self, run: dict[str, Any], resume: bool) -> None:
        """Create the file, or open it as an earlier run left it."""
        path = self.path
        if path.exists() and not resume:
            if self._header() is None or self._holds_scores():
                raise OptionError(
                    f"{path} already exists: add --resume to continue that run, or delete the file"
                )
            path.unlink()
        if not path.exists():
            path.write_text(json.dumps({"schema": SCHEMA, **run}) + "\n", encoding="ascii")
        self._check(run)
        self._drop_broken_line()

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def discard(self) -> None:
        """Delete the file, which is no longer needed; nothing can be appended after that."""
        self._file.close()
        self.path.unlink()

    def scores(self) -> Iterator[PictureScore]:
        """Yield the scores of the pictures that were measured before, in the order of measuring."""
        with open(self.path, encoding="ascii") as lines:
            next(lines)
            for number, line in enumerate(lines, start=2):
                try:
                    yield PictureScore.from_dict(json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise OptionError(
                        f"{self.path}, line {number} is damaged ({error}); "
                        "delete the file and start again"
                    ) from error

    def append(self, score: PictureScore) -> None:
        """Add a score; the operating system has it when this returns."""
        self._file.write(json.dumps(score.to_dict()) + "\n")
        self._file.flush()

    def _check(self, run: dict[str, Any]) -> None:
        """Raise OptionError unless the file belongs to exactly this run."""
        there = self._header()
        if there is None:
            raise OptionError(
                f"{self.path} is not a work file of an evaluation; choose another file with --work"
            )
        wanted = json.loads(json.dumps(run))
        for key in {**there, **wanted}:
            if there.get(key) != wanted.get(key):
                raise OptionError(
                    f"{self.path} belongs to another run: its {key} is {there.get(key)!r} "
                    f"but now it is {wanted.get(key)!r}; "
                    "delete the file, or choose another file with --work"
                )

    def _header(self) -> dict[str, Any] | None:
        """Return what the file says it measures; None for a file that is something else."""
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
        """Drop a last line without an end; a kill can cut only the last line."""
        length = 0
        with open(self.path, "rb+") as file:
            for line in file:
                length += len(line) if line.endswith(b"\n") else 0
            file.truncate(length)


def _remove(lock: Path) -> None:
    with suppress(OSError):  # Windows keeps files that are open
        lock.unlink()
