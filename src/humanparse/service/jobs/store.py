"""The state of jobs in SQLite: everything but the pictures and results, which are files.

All methods block and must be called from one thread, see store_thread.py. Each is one transaction,
which is durable when the method returns. Ages use the steady clock (clock.py), never the wall
clock; `created` is from the wall clock and is only shown.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

VERSION = 1
BUSY_S = 0.5
CLIP = "clip"  # what a worker does for a job that is a clip
OPEN, ENDED = ("queued", "running"), ("done", "cancelled", "failed")
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, state TEXT NOT NULL,
    options TEXT NOT NULL, packed INTEGER NOT NULL, total INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, ended REAL, problem TEXT);
CREATE TABLE items (
    job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, number INTEGER NOT NULL,
    source TEXT NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL, media_type TEXT,
    people INTEGER, problem TEXT,
    PRIMARY KEY (job, number)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class JobItem:
    """One picture of a job.

    Attributes:
        number: Its place in the job, from 0.
        source: The name of its file, as the client knows it.
        size: The size of its file in bytes.
        state: pending, done or failed.
        media_type: Of its result.
        people: How many people were found.
        problem: {code, detail} if it has failed.
    """

    number: int
    source: str = ""
    size: int = 0
    state: str = "pending"
    media_type: str | None = None
    people: int | None = None
    problem: dict[str, Any] | None = None


class ClipProgress(NamedTuple):
    """How much of a clip is parsed.

    Attributes:
        done: Frames that are done.
        total: Frames of the clip; None if that is not known.
    """

    done: int
    total: int | None


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: Its id.
        state: queued, running, done, cancelled, or failed if it could not be used as a whole.
        options: The work for a worker, without the picture.
        packed: Whether it is still an archive, or a clip; then total is 0.
        total: How many pictures it has.
        done: How many pictures have a result.
        failed: How many pictures have a problem.
        created: When it was created, in seconds of the wall clock.
        ended: When it ended, in seconds of the steady clock; None if it has not.
        problem: {code, detail} if it has failed.
        frames: Of a clip, how much is parsed; the store does not know that.
    """

    id: str
    state: str
    options: dict[str, Any] = field(compare=False)
    packed: bool
    total: int
    done: int = 0
    failed: int = 0
    created: float = 0.0
    ended: float | None = None
    problem: dict[str, Any] | None = None
    frames: ClipProgress | None = None

    @property
    def is_clip(self) -> bool:
        """Whether it is a clip; then its items are the results."""
        return self.options["do"] == CLIP


class DamagedStore(Exception):
    """The file is not a database, or its content is inconsistent."""


class Store:
    """The database of the jobs.

    Args:
        file: The database; it is created if it does not exist.

    Raises:
        DamagedStore: If it is damaged.
        sqlite3.Error: If it cannot be used for another reason.
    """

    def __init__(self, file: Path):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        os.close(descriptor)  # SQLite itself would follow a link, and let other users read the file
        self._db = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        db = self._db
        try:
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                "temp_store = MEMORY",
            ):
                db.execute(f"PRAGMA {pragma}")
            if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise DamagedStore(verdict)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.executescript(
                    f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
                )
            elif version != VERSION:
                raise DamagedStore(
                    f"it has version {version}; this version of humanparse writes version {VERSION}"
                )
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise DamagedStore(str(error)) from error
            raise

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # Reading

    def jobs(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        return [_job(row) for row in self._db.execute(f"SELECT {_JOB} FROM jobs ORDER BY number")]

    def job(self, id: str) -> Job | None:
        """Return a job, or None."""
        row = self._db.execute(f"SELECT {_JOB} FROM jobs WHERE id = ?", (id,)).fetchone()
        return row and _job(row)

    def items(self, id: str) -> list[JobItem]:
        """Return the items of a job, in order."""
        rows = self._db.execute(f"SELECT {_ITEM} FROM items WHERE job = ? ORDER BY number", (id,))
        return [_item(row) for row in rows]

    def item(self, id: str, number: int) -> JobItem | None:
        """Return one item of a job, or None."""
        row = self._db.execute(
            f"SELECT {_ITEM} FROM items WHERE job = ? AND number = ?", (id, number)
        ).fetchone()
        return row and _item(row)

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        found = dict(self._db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in (*OPEN, *ENDED)}

    # Writing

    def add(
        self, id: str, options: dict[str, Any], items: Sequence[JobItem], created: float
    ) -> None:
        """Add a job.

        Args:
            id: Its id.
            options: The work for a worker, without the picture.
            items: Its pictures; none if it is still an archive, or a clip.
            created: When it was created, in seconds of the wall clock.
        """
        with self._transaction():
            self._db.execute(
                "INSERT INTO jobs (id, state, options, packed, total, created)"
                " VALUES (?, 'queued', ?, ?, ?, ?)",
                (id, json.dumps(options), not items, len(items), created),
            )
            self._add_items(id, items)

    def unpacked(self, id: str, items: Sequence[JobItem], now: float) -> None:
        """Add the pictures of an archive, or the results of a clip.

        Args:
            id: The job's id.
            items: Its pictures; those that could not be unpacked have failed already. Or its
                results, which are done.
            now: Seconds of the steady clock.
        """
        done, failed = (sum(item.state == state for item in items) for state in ("done", "failed"))
        with self._transaction():
            changed = self._db.execute(
                "UPDATE jobs SET packed = 0, total = ?, done = ?, failed = ?"
                " WHERE id = ? AND packed = 1",
                (len(items), done, failed, id),
            )
            if changed.rowcount:
                self._add_items(id, items)
                self._end_if_complete(id, now)

    def started(self, id: str) -> None:
        """Record that work on a job has begun."""
        with self._transaction():
            self._db.execute(
                "UPDATE jobs SET state = 'running' WHERE id = ? AND state = 'queued'", (id,)
            )

    def finish(self, id: str, item: JobItem, now: float) -> None:
        """Record an item that is done or failed; a second call has no effect.

        Args:
            id: The job's id.
            item: The finished item.
            now: Seconds of the steady clock.
        """
        with self._transaction():
            changed = self._db.execute(
                "UPDATE items SET state = ?, media_type = ?, people = ?, problem = ?"
                " WHERE job = ? AND number = ? AND state = 'pending'",
                (item.state, item.media_type, item.people, _json(item.problem), id, item.number),
            )
            if changed.rowcount:
                column = {"done": "done", "failed": "failed"}[item.state]
                self._db.execute(f"UPDATE jobs SET {column} = {column} + 1 WHERE id = ?", (id,))
                self._end_if_complete(id, now)

    def end(self, id: str, state: str, now: float, problem: dict[str, Any] | None = None) -> None:
        """End a job that has not ended.

        Args:
            id: The job's id.
            state: cancelled or failed.
            now: Seconds of the steady clock.
            problem: {code, detail} if it has failed.
        """
        with self._transaction():
            self._db.execute(
                "UPDATE jobs SET state = ?, ended = ?, problem = ?"
                " WHERE id = ? AND state IN ('queued', 'running')",
                (state, now, _json(problem), id),
            )

    def delete(self, id: str) -> None:
        """Remove a job and its items."""
        with self._transaction():
            self._db.execute("DELETE FROM jobs WHERE id = ?", (id,))

    def expired(self, before: float) -> list[str]:
        """Return the ids of jobs that ended before that time, in seconds of the steady clock."""
        return [id for (id,) in self._db.execute("SELECT id FROM jobs WHERE ended < ?", (before,))]

    def _add_items(self, id: str, items: Sequence[JobItem]) -> None:
        rows = []
        for item in items:
            state = (item.state, item.media_type, item.people, _json(item.problem))
            rows.append((id, item.number, item.source, item.size, *state))
        self._db.executemany(
            "INSERT INTO items (job, number, source, size, state, media_type, people, problem)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _end_if_complete(self, id: str, now: float) -> None:
        self._db.execute(
            "UPDATE jobs SET state = 'done', ended = ?"
            " WHERE id = ? AND state IN ('queued', 'running')"
            " AND packed = 0 AND done + failed = total",
            (now, id),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def open_or_replace(file: Path, set_aside: Callable[[str, str], None]) -> Store:
    """Open a store, after moving a damaged one aside as jobs.damaged-N.sqlite.

    Args:
        file: The database.
        set_aside: Called with "jobs.damaged-N" and the reason if the store was damaged.

    Raises:
        sqlite3.Error: If it cannot be used.
    """
    try:
        return Store(file)
    except DamagedStore as error:
        number = next(n for n in range(1, 10_000) if not _aside(file, n).exists())
        for ending in ("", "-wal", "-shm"):
            part = file.with_name(file.name + ending)
            if part.exists():
                part.rename(_aside(file, number).with_name(_aside(file, number).name + ending))
        set_aside(_aside(file, number).stem, str(error))
        return Store(file)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the database is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def _aside(file: Path, number: int) -> Path:
    return file.with_name(f"{file.stem}.damaged-{number}{file.suffix}")


_JOB = "id, state, options, packed, total, done, failed, created, ended, problem"
_ITEM = "number, source, size, state, media_type, people, problem"


def _job(row: Sequence[Any]) -> Job:
    id, state, options, packed, total, done, failed, created, ended, problem = row
    return Job(
        id,
        state,
        json.loads(options),
        bool(packed),
        total,
        done,
        failed,
        created,
        ended,
        problem and json.loads(problem),
    )


def _item(row: Sequence[Any]) -> JobItem:
    number, source, size, state, media_type, people, problem = row[:7]
    return JobItem(number, source, size, state, media_type, people, problem and json.loads(problem))


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
