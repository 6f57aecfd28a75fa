"""What is done, failed and waiting to be written: a SQLite file in the output's folder, so that a
run goes on where it was.

Results that are not in a part yet lie here too, so a killed run loses the last second of work, not
the last part. A part
is the truth about what is in it: one that appeared, but whose note here was lost, is taken over
from its own keys. So a picture is in the output once, at whatever moment the process dies. (After a
power cut the last notes may be lost: these pictures are parsed again, and still are in the output
once.)
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from humanparse.errors import OptionError

FILE = "_manifest.sqlite"  # names that begin with _ are left out by readers of Parquet folders
COMMIT_S = 1.0  # work lost at most when the process is killed
OWN_FILES = -1  # the "part" of results that lie in files of their own
SCHEMA = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, part INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    key TEXT PRIMARY KEY, code TEXT NOT NULL, message TEXT NOT NULL, slice TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (number INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS slices (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Manifest:
    """Of the output in `folder`. Made by `run` under its lock; one thread uses it. Close it.

    identity: what makes results equal (sources, model, options); another one than the manifest's is
    refused. Raises OptionError for another identity, or a file that is no manifest of this version.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self._base = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        try:
            self._open(folder, identity)
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise OptionError(
                f"{folder / FILE} is no manifest that can be read ({error}); choose another folder"
            ) from None
        except BaseException:
            self._base.close()
            raise

    def _open(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=NORMAL")
        self._base.executescript(_TABLES)
        known = dict(self._base.execute("SELECT name, value FROM about"))
        self._committed = time.monotonic()
        self._base.execute("BEGIN")
        self.done, self.failed = self._count("done"), self._count("failures")
        self._count_waiting()
        if self.done or self.failed or self.waiting:
            self._check(folder, known, identity)
        self._base.executemany(
            "INSERT OR REPLACE INTO about VALUES (?, ?)",
            [
                ("schema", str(SCHEMA)),
                ("identity", json.dumps(identity, sort_keys=True)),
            ],
        )
        self.commit()

    def close(self) -> None:
        self.commit()
        self._base.execute("COMMIT")
        self._base.close()

    def known(self, key: str) -> bool:
        """Whether this picture needs no work any more: it is done, waits to be written, or
        failed."""
        query = (
            "SELECT EXISTS(SELECT 1 FROM done WHERE key = :key) OR EXISTS(SELECT 1 FROM waiting WHERE key = :key)"
            " OR EXISTS(SELECT 1 FROM failures WHERE key = :key)"
        )
        return bool(self._base.execute(query, {"key": key}).fetchone()[0])

    def keys_below(self, start: str) -> list[str]:
        """The known keys that begin with `start` and a slash."""
        keys: list[str] = []
        for table in ("done", "waiting", "failures"):
            found = self._base.execute(
                f"SELECT key FROM {table} WHERE key >= ? AND key < ?", (start + "/", start + "0")
            )
            keys += [key for (key,) in found]  # "0" comes after "/"
        return keys

    # What comes in

    def add_waiting(self, key: str, data: bytes) -> None:
        """A result that goes into a part later."""
        self._base.execute("INSERT INTO waiting (key, data) VALUES (?, ?)", (key, data))
        self.waiting += 1
        self.waiting_bytes += len(data)

    def add_done(self, key: str) -> None:
        """A picture whose results lie in files of their own."""
        self._base.execute("INSERT INTO done VALUES (?, ?)", (key, OWN_FILES))
        self.done += 1

    def add_failure(self, key: str, code: str, message: str, slice_name: str) -> None:
        self._base.execute(
            "INSERT INTO failures VALUES (?, ?, ?, ?)", (key, code, message, slice_name)
        )
        self.failed += 1

    def add_slice(self, name: str) -> None:
        """All pictures of a tar file or row group are known."""
        self._base.execute("INSERT OR IGNORE INTO slices VALUES (?)", (name,))

    def commit(self) -> None:
        if self._base.in_transaction:  # not if Ctrl-C came between these lines
            self._base.execute("COMMIT")
        self._base.execute("BEGIN")
        self._committed = time.monotonic()

    def commit_now_and_then(self) -> None:
        """Commit if the last time was more than COMMIT_S ago."""
        if time.monotonic() - self._committed > COMMIT_S:
            self.commit()

    # Parts

    def oldest_waiting(self, count: int) -> list[tuple[str, bytes]]:
        """(key, data) of the results that go into the next part."""
        return self._base.execute(
            "SELECT key, data FROM waiting ORDER BY id LIMIT ?", (count,)
        ).fetchall()

    def next_part(self) -> int:
        return self._base.execute("SELECT coalesce(max(number), -1) + 1 FROM parts").fetchone()[0]

    def has_part(self, number: int) -> bool:
        return (
            self._base.execute(
                "SELECT EXISTS(SELECT 1 FROM parts WHERE number = ?)", (number,)
            ).fetchone()[0]
            == 1
        )

    def add_part(self, number: int, keys: Iterable[str]) -> None:
        """That part has appeared with the results of these keys, which wait no longer."""
        self.commit()
        try:
            size = 0
            for key in keys:
                self._base.execute("INSERT OR REPLACE INTO done VALUES (?, ?)", (key, number))
                self._base.execute("DELETE FROM waiting WHERE key = ?", (key,))
                self._base.execute("DELETE FROM failures WHERE key = ?", (key,))
                size += 1
            self._base.execute("INSERT INTO parts VALUES (?, ?)", (number, size))
        except BaseException:  # Ctrl-C as well: half a part in the manifest would be written over
            self._base.execute("ROLLBACK")
            self._base.execute("BEGIN")
            raise
        self.commit()
        self.done += size
        self.failed = self._count("failures")
        self._count_waiting()

    def parts(self) -> list[int]:
        return [
            number for (number,) in self._base.execute("SELECT number FROM parts ORDER BY number")
        ]

    def forget_part(self, number: int) -> int:
        """A part that is no longer there: its pictures are to be parsed again. Returns how many."""
        forgotten = self._base.execute("DELETE FROM done WHERE part = ?", (number,)).rowcount
        self._base.execute("DELETE FROM parts WHERE number = ?", (number,))
        self._base.execute("DELETE FROM slices")  # which of them it held is not known
        self.commit()
        self.done -= forgotten
        return forgotten

    # Failures and slices

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """(key, code, message), by key."""
        return iter(self._base.execute("SELECT key, code, message FROM failures ORDER BY key"))

    def forget_failures(self) -> None:
        """So that they are tried again."""
        self._base.execute("DELETE FROM slices WHERE name IN (SELECT slice FROM failures)")
        self._base.execute("DELETE FROM failures")
        self.commit()
        self.failed = 0

    def has_slice(self, name: str) -> bool:
        return (
            self._base.execute(
                "SELECT EXISTS(SELECT 1 FROM slices WHERE name = ?)", (name,)
            ).fetchone()[0]
            == 1
        )

    def _count_waiting(self) -> None:
        self.waiting, self.waiting_bytes = self._base.execute(
            "SELECT count(*), coalesce(sum(length(data)), 0) FROM waiting"
        ).fetchone()

    def _count(self, table: str) -> int:
        return self._base.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def _check(self, folder: Path, known: Mapping[str, str], identity: Mapping[str, Any]) -> None:
        if known.get("schema") != str(SCHEMA):
            raise OptionError(
                f"{folder / FILE} is of schema {known.get('schema')}, but this version writes {SCHEMA}; "
                "choose another folder with -o"
            )
        theirs, ours = json.loads(known["identity"]), json.loads(json.dumps(identity))
        check_identity(folder, theirs, ours)


def check_identity(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raises OptionError if the output in `folder` was made of something else than is wanted
    now."""
    differing = [name for name in (theirs | ours) if theirs.get(name) != ours.get(name)]
    if differing:
        name = differing[0]
        more = f" (and {', '.join(differing[1:])})" if differing[1:] else ""
        raise OptionError(
            f"{str(folder)!r} holds the output of another run: its {name.replace('_', ' ')} was {_short(theirs.get(name))}, "
            f"now it is {_short(ours.get(name))}{more}; repeat the first command, or choose another folder with -o"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "…"
