"""The whole run: what is left of the sources → a backend → the output and its manifest."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from humanparse.batch import parts
from humanparse.batch.manifest import FILE as MANIFEST
from humanparse.batch.manifest import Manifest, check_identity
from humanparse.batch.slices import Slice, import_parquet
from humanparse.batch.sources import Sources
from humanparse.batch.work import PARQUET, Outcome, SliceDone, hashed_path, result_path
from humanparse.errors import HumanParseError, OptionError
from humanparse.formats import FORMATS
from humanparse.system.files import remove_leftovers, whole_file
from humanparse.system.lock import lock_file

FAILURES = "_failures.jsonl"  # readers of Parquet folders leave out names that begin with _
LOCK, UNFINISHED = "_lock", "_unfinished"
ROWS = 1000  # of a part, by default
PART_BYTES = 64_000_000  # of a part's rows as JSON, which limits the memory for writing it
FAILURES_S = 60.0  # between two writings of the list of failures, if parts are written
LOCK_S = 2.0  # to wait for another run that is about to end
# Errors of the disk, which are not due to the name of one file.
OF_THE_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV))

# Turns slices into outcomes of the pictures that the manifest does not know; closed at the end.
Backend = Callable[[Iterator[Slice], Manifest], Generator[Outcome | SliceDone, None, None]]


@dataclass
class Tally:
    """The numbers of a run.

    Attributes:
        done: Pictures whose results are in the output, in all runs together.
        failed: Pictures that failed, in all runs together.
        parsed: Pictures that this run parsed.
        unsuccessful: Pictures that failed in this run.
        people: People that this run found.
    """

    done: int = 0
    failed: int = 0
    parsed: int = 0
    unsuccessful: int = 0
    people: int = 0


class Output:
    """The folder of the results, which only this process writes. Use it as a context manager.

    Attributes:
        folder: The folder.
        formats: (PARQUET,), or names of FORMATS, whose files lie in a tree like that of the keys.
        notes: What was found in the folder that the user should know, a line each.
        manifest: What is done; there once the folder is entered.
    """

    manifest: Manifest

    def __init__(
        self,
        folder: Path,
        formats: tuple[str, ...],
        identity: Mapping[str, Any],
        about: Mapping[str, str],
        rows: int = ROWS,
    ):
        """Take note of what is written; entering opens the folder.

        Args:
            folder: The folder; it is made if it is not there.
            formats: (PARQUET,), or names of FORMATS.
            identity: What makes results equal; see `Manifest`.
            about: Further metadata of the Parquet files.
            rows: Maximum number of rows in a part.
        """
        self.folder, self.formats = folder, formats
        self.notes: list[str] = []
        self._identity, self._rows = dict(identity), rows
        self._about = {parts.IDENTITY.decode(): json.dumps(self._identity, sort_keys=True), **about}
        self._stack, self._failures_written = ExitStack(), time.monotonic()

    def __enter__(self) -> Output:
        """Open the folder.

        Raises:
            OptionError: The folder cannot be written, is that of another run, is in use by a run,
                or holds Parquet files that humanparse did not write.
        """
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock_file(self.folder / LOCK, LOCK_S))
            except TimeoutError:
                raise OptionError(
                    f"another run is writing to {str(self.folder)!r}; wait until it has ended, "
                    "or choose another folder with -o"
                ) from None
            except OSError as error:
                raise OptionError(
                    f"cannot write to the folder {str(self.folder)!r}: {error.strerror}"
                ) from None
            if self.formats == (PARQUET,):
                import_parquet()
            self._ignores_case = _ignores_case(self.folder / LOCK)
            self.manifest = Manifest(self.folder, self._identity)
            stack.callback(self.manifest.close)
            with _writing(self.folder):
                self._tidy()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, outcome: Outcome) -> Outcome | None:
        """Write down what became of a picture.

        Returns:
            What was written: the outcome, or the failure of a picture whose own files cannot be
            written; None for a picture that is known already, whose second outcome is dropped.

        Raises:
            HumanParseError: Nothing can be written.
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
        """Write the results that still wait, and the list of failures."""
        with _writing(self.folder):
            while self.manifest.waiting:
                self._write_part()
            self.manifest.commit()
            self.write_failures()

    def write_failures(self) -> None:
        """Write a line of JSON for every failed picture; no file if there is none."""
        target, self._failures_written = self.folder / FAILURES, time.monotonic()
        if not self.manifest.failed:
            target.unlink(missing_ok=True)
            return
        with whole_file(target) as temporary, open(temporary, "x", encoding="utf-8") as file:
            for key, code, message in self.manifest.failures():
                line = {"key": key, "code": code, "message": message}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _write_part(self) -> None:
        rows = self.manifest.oldest_waiting(self._rows)
        number = self.manifest.next_part()
        self.manifest.commit()  # so that the manifest holds everything that is in the part
        parts.write(self.folder, number, [data for _, data in rows], self._about)
        self.manifest.add_part(number, [key for key, _ in rows])
        if time.monotonic() - self._failures_written > FAILURES_S:
            self.write_failures()

    def _with_files(self, outcome: Outcome) -> Outcome:
        """Write all files of one picture, whole and durable, over any that a killed run left.

        Once their contents are on the disk, the file system can only refuse their names. Then this
        picture alone has failed, and none of its files is left.
        """
        temporary = [self._on_disk(data) for data in outcome.blobs]
        path = self._path(outcome.key)
        targets = [self.folder / f"{path}{FORMATS[name].suffix}" for name in self.formats]
        placed: list[Path] = []
        try:
            for file, target in zip(temporary, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                placed.append(file.replace(target))
        except OSError as error:
            for file in (*temporary, *placed):
                file.unlink(missing_ok=True)
            if error.errno in OF_THE_DISK:
                raise
            return outcome.could_not_be_written(error)
        return outcome

    def _on_disk(self, data: bytes) -> Path:
        """Write a durable file with this content under a temporary name, and return its path."""
        temporary = self.folder / UNFINISHED / uuid.uuid4().hex
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return temporary

    def _path(self, key: str) -> str:
        """Return the path of a picture's results below the folder.

        Where the file system ignores case, the results of a/X.jpg would replace those of a/x.jpg:
        whichever comes second gets digits of its hash.
        """
        path = result_path(key)
        if self._ignores_case and not self.manifest.claim_name(path, key):
            return hashed_path(key)
        return path

    def _tidy(self) -> None:
        """Remove the unfinished files of a killed run, and record parts that the manifest lacks."""
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
                    f"{parts.PART.format(number)} is no longer there; "
                    f"its {lost} pictures are parsed again"
                )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into one that ends the run: the next would fail as well."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise HumanParseError(
            f"cannot write to {folder / MANIFEST}: {error}; the same command continues from here"
        ) from error
    except OSError as error:
        where = error.filename or folder
        reason = error.strerror or str(error)
        raise HumanParseError(
            f"cannot write to {where}: {reason}; the same command continues from here"
        ) from error


def _ignores_case(file: Path) -> bool:
    """Return whether the file system of an existing file does not tell capitals apart."""
    try:
        return os.path.samefile(file, file.with_name(file.name.swapcase()))
    except OSError:  # there is no such other file
        return False


def run(
    sources: Sources,
    output: Output,
    backend: Backend,
    report: Callable[[Outcome], None] = lambda outcome: None,
    limit: int | None = None,
    retry_failed: bool = False,
) -> Tally:
    """Parse what is not done yet. However the run ends, its outcomes are kept.

    Args:
        sources: The pictures.
        output: Where results go; it has been entered.
        backend: Turns slices into outcomes.
        report: Called with every outcome that was written down.
        limit: Maximum number of pictures in this run.
        retry_failed: Try again the pictures that failed in earlier runs.

    Returns:
        The numbers of the run.

    Raises:
        ModelError: The model does not work.
        HumanParseError: The output cannot be written.
    """
    manifest = output.manifest
    if retry_failed:
        manifest.forget_failures()
    tally = Tally()
    slices = (one for one in sources.slices() if not (one.name and manifest.has_slice(one.name)))
    try:
        with closing(backend(slices, manifest)) as ended:
            for one in ended:
                if isinstance(one, SliceDone):
                    manifest.add_slice(one.name)
                elif (outcome := output.add(one)) is not None:
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
