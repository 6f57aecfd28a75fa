"""The whole run: what is left of the sources, through an engine, into the output and its
manifest."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from humanparse.batch import parts
from humanparse.batch.manifest import FILE as MANIFEST
from humanparse.batch.manifest import Manifest, check_identity
from humanparse.batch.sources import Slice, Sources, import_parquet
from humanparse.batch.work import PARQUET, Outcome, SliceDone, result_path
from humanparse.errors import HumanParseError, OptionError
from humanparse.formats import FORMATS
from humanparse.system.files import remove_leftovers, whole_file
from humanparse.system.lock import lock_file

FAILURES = "_failures.jsonl"  # names that begin with _ are left out by readers of Parquet folders
LOCK, UNFINISHED = "_lock", "_unfinished"
ROWS = 1000  # of a part, unless told otherwise
# of the rows of a part as JSON, which bounds the memory that writing one takes
PART_BYTES = 64_000_000
# so often the list of failures is written while the run goes on, if parts are
FAILURES_S = 60.0
LOCK_S = 2.0  # to wait for another run that is about to end
# Errors that are no fault of one file's name.
OF_THE_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV))

# the slices, and what is known already
Engine = Callable[[Iterator[Slice], Manifest], Iterator[Outcome | SliceDone]]


@dataclass
class Tally:
    """done, failed: in all runs together. parsed, unsuccessful, people: in this one."""

    done: int = 0
    failed: int = 0
    parsed: int = 0
    unsuccessful: int = 0
    people: int = 0


class Output:
    """The folder of the results, held by this process alone. Use it as a context manager.

    formats: (PARQUET,), or names of FORMATS, whose files lie in a tree like that of the keys.
    identity: see Manifest.
    about: further words for the metadata of the Parquet files. rows: of a part at most. Entering
    raises OptionError if the folder cannot be used: it is another run's, held by one that goes on,
    or holds other Parquet files. notes: what was found there that the user should know.
    """

    def __init__(
        self,
        folder: Path,
        formats: tuple[str, ...],
        identity: Mapping[str, Any],
        about: Mapping[str, str],
        rows: int = ROWS,
    ):
        self.folder, self.formats = folder, formats
        self.notes: list[str] = []
        self._identity, self._rows = dict(identity), rows
        self._about = {parts.IDENTITY.decode(): json.dumps(self._identity, sort_keys=True), **about}
        self._stack, self._failures_written = ExitStack(), time.monotonic()

    def __enter__(self) -> Output:
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock_file(self.folder / LOCK, LOCK_S))
            except TimeoutError:
                raise OptionError(
                    f"another run writes to {str(self.folder)!r} now; wait for its end or choose another folder "
                    "with -o"
                ) from None
            except OSError as error:
                raise OptionError(
                    f"cannot write to the folder {str(self.folder)!r}: {error.strerror}"
                ) from None
            if self.formats == (PARQUET,):
                import_parquet()
            self.manifest = Manifest(self.folder, self._identity)
            stack.callback(self.manifest.close)
            with _writing(self.folder):
                self._tidy()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def add(self, outcome: Outcome) -> Outcome | None:
        """Write down what became of a picture.

        Returns what was written: the outcome, or in its place the failure of a picture whose own
        files cannot be written; None for a picture that is known already, whose second outcome is
        dropped. Raises HumanParseError if nothing can be written.
        """
        if self.manifest.known(outcome.key):
            return None
        with _writing(self.folder):
            if not outcome.code and self.formats != (PARQUET,):
                outcome = self._with_files(outcome)
            if outcome.code:
                self.manifest.add_failure(outcome.key, outcome.code, outcome.message, outcome.slice)
            elif self.formats == (PARQUET,):
                self.manifest.add_waiting(outcome.key, outcome.blobs[0])
                if self.manifest.waiting >= self._rows or self.manifest.waiting_bytes >= PART_BYTES:
                    self._write_part()
            else:
                self.manifest.add_done(outcome.key)
            self.manifest.commit_now_and_then()
        return outcome

    def finish(self) -> None:
        """Write what still waits, and the list of failures."""
        with _writing(self.folder):
            while self.manifest.waiting:
                self._write_part()
            self.manifest.commit()
            self.write_failures()

    def write_failures(self) -> None:
        """A line of JSON for every failed picture; no file if there is none."""
        target, self._failures_written = self.folder / FAILURES, time.monotonic()
        if not self.manifest.failed:
            target.unlink(missing_ok=True)
            return
        with whole_file(target) as passing, open(passing, "x", encoding="utf-8") as file:
            for key, code, message in self.manifest.failures():
                file.write(
                    json.dumps({"key": key, "code": code, "message": message}, ensure_ascii=False)
                    + "\n"
                )

    def _write_part(self) -> None:
        rows = self.manifest.oldest_waiting(self._rows)
        number = self.manifest.next_part()
        self.manifest.commit()  # what is in the part is in the manifest first
        parts.write(self.folder, number, [data for _, data in rows], self._about)
        self.manifest.add_part(number, [key for key, _ in rows])
        if time.monotonic() - self._failures_written > FAILURES_S:
            self.write_failures()

    def _with_files(self, outcome: Outcome) -> Outcome:
        """Write all files of one picture, whole and durable, over any that a killed run left.

        Once their contents are on the disk, what the file system refuses is the names: then the
        picture alone has failed, and none of its files is left.
        """
        passing = [self._on_disk(data) for data in outcome.blobs]
        path = result_path(outcome.key)
        targets = [self.folder / f"{path}{FORMATS[name].suffix}" for name in self.formats]
        placed: list[Path] = []
        try:
            for file, target in zip(passing, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                placed.append(file.replace(target))
        except OSError as error:
            for file in (*passing, *placed):
                file.unlink(missing_ok=True)
            if error.errno in OF_THE_DISK:
                raise
            return outcome.could_not_be_written(error)
        return outcome

    def _on_disk(self, data: bytes) -> Path:
        """A durable file of that content, under a passing name."""
        passing = self.folder / UNFINISHED / uuid.uuid4().hex
        with open(passing, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return passing

    def _tidy(self) -> None:
        """What a killed run left: files that it had not finished, and parts that the manifest does
        not know."""
        remove_leftovers(self.folder, older_than_s=0)
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)
        if self.formats != (PARQUET,):
            (self.folder / UNFINISHED).mkdir()
            return
        found = parts.present(self.folder)
        for number, path in found.items():
            if not self.manifest.has_part(number):
                check_identity(
                    self.folder, parts.identity(path), json.loads(json.dumps(self._identity))
                )
                self.manifest.add_part(number, parts.keys(path))
        for number in self.manifest.parts():
            if number not in found:
                lost = self.manifest.forget_part(number)
                self.notes.append(
                    f"{parts.PART.format(number)} is no longer there; its {lost} pictures are parsed again"
                )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """An error of the file system ends the run, as no other picture could be written either."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise HumanParseError(
            f"cannot write to {folder / MANIFEST}: {error}; the same command goes on from here"
        ) from error
    except OSError as error:
        where = error.filename or folder
        reason = error.strerror or str(error)
        raise HumanParseError(
            f"cannot write to {where}: {reason}; the same command goes on from here"
        ) from error


def run(
    sources: Sources,
    output: Output,
    engine: Engine,
    report: Callable[[Outcome], None] = lambda outcome: None,
    limit: int | None = None,
    retry_failed: bool = False,
) -> Tally:
    """Parse what is not done yet. output: entered. limit: pictures of this run at most.

    report: is told of every outcome that was written down. However the loop ends, what came is
    kept. Raises ModelError, and HumanParseError if the output cannot be written.
    """
    manifest = output.manifest
    if retry_failed:
        manifest.forget_failures()
    tally = Tally()
    slices = (one for one in sources.slices() if not (one.name and manifest.has_slice(one.name)))
    try:
        with closing(engine(slices, manifest)) as ended:
            for outcome in ended:
                if isinstance(outcome, SliceDone):
                    manifest.add_slice(outcome.name)
                elif (outcome := output.add(outcome)) is not None:
                    tally.parsed += not outcome.code
                    tally.unsuccessful += bool(outcome.code)
                    tally.people += outcome.people
                    report(outcome)
                    if limit == tally.parsed + tally.unsuccessful:
                        break
    finally:
        output.finish()
        tally.done, tally.failed = manifest.done, manifest.failed
    return tally
