"""What is done, what failed and what waits to be written: a SQLite file in the output's folder,
which lets a run continue where it ended.

Results that are not in a part yet are kept here too, so that a killed run loses the last second of
work and not the last part. A part file is authoritative for what is in it: if it exists but is not
recorded here, its keys are read from the file. So every picture is in the output once, at whatever
moment the process dies. (After a power cut the latest records may be lost. Those pictures are
parsed again, and are still in the output once.)
"""

from __future__ import annotations

import json
import sqlite3
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from humanparse.errors import OptionError

FILE = "_manifest.sqlite"  # readers of Parquet folders leave out names that begin with _
COMMIT_S = 1.0  # a killed process loses at most this much work
OWN_FILES = -1  # the "part" of results that are files of their own
SCHEMA = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, part INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    key TEXT PRIMARY KEY, code TEXT NOT NULL, message TEXT NOT NULL, slice TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (number INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS slices (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (folded TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
"""


class Manifest:
    """The manifest of the output in one folder. Only one thread uses it. Close it.

    Attributes:
        done: Number of pictures whose results are in the output.
        failed: Number of pictures that failed.
        waiting: Number of results that wait for a part.
        waiting_bytes: Size of these results.
    """

    waiting: int
    waiting_bytes: int

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        """Open the manifest, or begin it; the caller holds the lock of the folder.

        Args:
            folder: Folder of the output.
            identity: What makes results equal: sources, model and options, as JSON can hold them.

        Raises:
            OptionError: The manifest is that of a run with another identity, or the file is not a
                manifest of this version.
        """
        self._base = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        try:
            self._open(folder, identity)
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise OptionError(
                f"{folder / FILE} is not a manifest that can be read ({error}); "
                "choose another folder"
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
        """Write everything down and close the file."""
        self.commit()
        self._base.execute("COMMIT")
        self._base.close()

    def known(self, key: str) -> bool:
        """Return whether a picture needs no more work: it is done, failed or waits for a part."""
        query = (
            "SELECT EXISTS(SELECT 1 FROM done WHERE key = :key)"
            " OR EXISTS(SELECT 1 FROM waiting WHERE key = :key)"
            " OR EXISTS(SELECT 1 FROM failures WHERE key = :key)"
        )
        return bool(self._base.execute(query, {"key": key}).fetchone()[0])

    def keys_below(self, start: str) -> list[str]:
        """Return the known keys that begin with `start` and a slash."""
        keys: list[str] = []
        for table in ("done", "waiting", "failures"):
            found = self._base.execute(
                f"SELECT key FROM {table} WHERE key >= ? AND key < ?", (start + "/", start + "0")
            )
            keys += [key for (key,) in found]  # "0" comes after "/"
        return keys

    # What comes in

    def add_waiting(self, key: str, data: bytes) -> None:
        """Keep a result that goes into a part later."""
        self._base.execute("INSERT INTO waiting (key, data) VALUES (?, ?)", (key, data))
        self.waiting += 1
        self.waiting_bytes += len(data)

    def add_done(self, key: str) -> None:
        """Record a picture whose results are files of their own."""
        self._base.execute("INSERT INTO done VALUES (?, ?)", (key, OWN_FILES))
        self.done += 1

    def claim_name(self, name: str, key: str) -> bool:
        """Take a name for the results of a picture, where names that differ in case are the same.

        Args:
            name: Path of the results below the output's folder.
            key: Key of the picture.

        Returns:
            False if another picture has taken the name, in whatever case.
        """
        folded = unicodedata.normalize("NFC", name).casefold()
        self._base.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (folded, key))
        owner = self._base.execute("SELECT key FROM names WHERE folded = ?", (folded,)).fetchone()
        return bool(owner[0] == key)

    def add_failure(self, key: str, code: str, message: str, slice_name: str) -> None:
        """Record a picture that failed, with the name of its slice."""
        self._base.execute(
            "INSERT INTO failures VALUES (?, ?, ?, ?)", (key, code, message, slice_name)
        )
        self.failed += 1

    def add_slice(self, name: str) -> None:
        """Record a tar file or row group of which all pictures are known."""
        self._base.execute("INSERT OR IGNORE INTO slices VALUES (?)", (name,))

    def commit(self) -> None:
        """Write down what has come."""
        if self._base.in_transaction:  # not if Ctrl-C came between these lines
            self._base.execute("COMMIT")
        self._base.execute("BEGIN")
        self._committed = time.monotonic()

    def commit_now_and_then(self) -> None:
        """Commit if the latest commit was more than COMMIT_S ago."""
        if time.monotonic() - self._committed > COMMIT_S:
            self.commit()

    # Parts

    def oldest_waiting(self, count: int) -> list[tuple[str, bytes]]:
        """Return (key, data) of the results that go into the next part."""
        return self._base.execute(
            "SELECT key, data FROM waiting ORDER BY id LIMIT ?", (count,)
        ).fetchall()

    def next_part(self) -> int:
        """Return the number of the next part."""
        query = "SELECT coalesce(max(number), -1) + 1 FROM parts"
        return int(self._base.execute(query).fetchone()[0])

    def has_part(self, number: int) -> bool:
        """Return whether the part with this number is recorded."""
        query = "SELECT EXISTS(SELECT 1 FROM parts WHERE number = ?)"
        return bool(self._base.execute(query, (number,)).fetchone()[0])

    def add_part(self, number: int, keys: Iterable[str]) -> None:
        """Record a part that has appeared: the results of its keys no longer wait."""
        self.commit()
        try:
            size = 0
            for key in keys:
                self._base.execute("INSERT OR REPLACE INTO done VALUES (?, ?)", (key, number))
                self._base.execute("DELETE FROM waiting WHERE key = ?", (key,))
                self._base.execute("DELETE FROM failures WHERE key = ?", (key,))
                size += 1
            self._base.execute("INSERT INTO parts VALUES (?, ?)", (number, size))
        except BaseException:  # also Ctrl-C: half a recorded part would be written over
            self._base.execute("ROLLBACK")
            self._base.execute("BEGIN")
            raise
        self.commit()
        self.done += size
        self.failed = self._count("failures")
        self._count_waiting()

    def parts(self) -> list[int]:
        """Return the numbers of the recorded parts, in order."""
        found = self._base.execute("SELECT number FROM parts ORDER BY number")
        return [number for (number,) in found]

    def forget_part(self, number: int) -> int:
        """Forget a part whose file has gone, so that its pictures are parsed again.

        Returns:
            The number of its pictures.
        """
        forgotten = self._base.execute("DELETE FROM done WHERE part = ?", (number,)).rowcount
        self._base.execute("DELETE FROM parts WHERE number = ?", (number,))
        self._base.execute("DELETE FROM slices")  # it is not known which of them it held
        self.commit()
        self.done -= forgotten
        return forgotten

    # Failures and slices

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """Return (key, code, message) of each failed picture, ordered by key."""
        return iter(self._base.execute("SELECT key, code, message FROM failures ORDER BY key"))

    def forget_failures(self) -> None:
        """Forget the failed pictures, so that they are tried again."""
        self._base.execute("DELETE FROM slices WHERE name IN (SELECT slice FROM failures)")
        self._base.execute("DELETE FROM failures")
        self.commit()
        self.failed = 0

    def has_slice(self, name: str) -> bool:
        """Return whether all pictures of this tar file or row group are known."""
        query = "SELECT EXISTS(SELECT 1 FROM slices WHERE name = ?)"
        return bool(self._base.execute(query, (name,)).fetchone()[0])

    def _count_waiting(self) -> None:
        self.waiting, self.waiting_bytes = self._base.execute(
            "SELECT count(*), coalesce(sum(length(data)), 0) FROM waiting"
        ).fetchone()

    def _count(self, table: str) -> int:
        return int(self._base.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def _check(self, folder: Path, known: Mapping[str, str], identity: Mapping[str, Any]) -> None:
        if known.get("schema") != str(SCHEMA):
            raise OptionError(
                f"{folder / FILE} has schema {known.get('schema')}, but this version writes "
                f"{SCHEMA}; choose another folder with -o"
            )
        theirs, ours = json.loads(known["identity"]), json.loads(json.dumps(identity))
        check_identity(folder, theirs, ours)


def check_identity(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Check that the output in a folder is that of the same run.

    Args:
        folder: Folder of the output.
        theirs: Identity of the run that wrote it.
        ours: Identity of this run.

    Raises:
        OptionError: The two differ.
    """
    differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if differing:
        name = differing[0]
        more = f" (and {', '.join(differing[1:])})" if differing[1:] else ""
        raise OptionError(
            f"{str(folder)!r} holds the output of another run: its {name.replace('_', ' ')} was "
            f"{_short(theirs.get(name))}, now it is {_short(ours.get(name))}{more}; "
            "repeat the first command, or choose another folder with -o"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "…"
