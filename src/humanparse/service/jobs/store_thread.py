"""Gives one server at a time, and in it one thread, access to the jobs' folder and database.

An error with them never stops the server. It becomes a Problem for clients that ask for jobs, and
`trouble` for the operator; the store can be opened again at any time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from humanparse.service.jobs import files
from humanparse.service.jobs.store import DamagedStore, Store, is_damage, open_or_replace
from humanparse.service.problems import Problem
from humanparse.system.lock import lock_file

T = TypeVar("T")

PAUSES_S = (0.05, 0.2)  # between attempts while another program locks the database
RETRY_AFTER_S = 5.0

log = logging.getLogger(__name__)


class StoreThread:
    """The store of the jobs, and the thread that uses it.

    Args:
        folder: For jobs.sqlite, and the folder `jobs` with a folder for each job.

    Attributes:
        root: The folder with a folder for each job.
        trouble: Why the store cannot be used, or could not be used the last time; "" if it can.
        notes: What an operator should know about the start.
    """

    def __init__(self, folder: Path):
        self.root = folder / "jobs"
        self.trouble = "the jobs are being opened"
        self.notes: list[str] = []
        self._folder = folder
        self._store: Store | None = None
        self._held = ExitStack()
        self._thread: ThreadPoolExecutor | None = None

    @property
    def is_open(self) -> bool:
        """Whether the store can be used."""
        return self._store is not None

    async def open(self) -> bool:
        """Lock the folder and open the store; return whether it is open. `trouble` says why not."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        trouble = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        if trouble and trouble != self.trouble:
            log.error("jobs are not available: %s", trouble)
        self.trouble = trouble
        return self.is_open

    async def close(self) -> None:
        """Close the store and unlock the folder."""
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=True)
            self._thread = None

    async def do(self, work: Callable[[Store], T]) -> T:
        """Call a function with the store in the one thread.

        Args:
            work: The function.

        Returns:
            What it returns.

        Raises:
            Problem: not_ready or storage_full.
        """
        if self._store is None or self._thread is None:
            raise Problem("not_ready", self.trouble or "the service is stopping", RETRY_AFTER_S)
        for pause_s in (*PAUSES_S, None):
            try:
                result = await asyncio.get_running_loop().run_in_executor(
                    self._thread, work, self._store
                )
            except sqlite3.Error as error:
                if pause_s is None or not _is_locked(error):
                    raise self._failed(error) from error
                await asyncio.sleep(pause_s)
            else:
                self.trouble = ""
                return result
        raise AssertionError("the last pause is None")

    def _open(self) -> str:
        """Open the store; return what went wrong, for the operator, or ""."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held.enter_context(lock_file(self._folder / "jobs.lock", timeout_s=0))
            self._store = open_or_replace(self._folder / "jobs.sqlite", self._note_damage)
            self.root.mkdir(mode=0o700, exist_ok=True)
        except TimeoutError:
            return (
                "another humanparse serve uses the folder of jobs; "
                "give this one another folder with --data-dir"
            )
        except OSError as error:
            return self._not_opened(
                f"the folder of jobs cannot be used ({os.strerror(error.errno or 5)}); "
                "choose another with --data-dir"
            )
        except (sqlite3.Error, DamagedStore) as error:
            return self._not_opened(_words(error))
        return ""

    def _not_opened(self, trouble: str) -> str:
        self._close()
        return trouble

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        self._held.close()

    def _note_damage(self, name: str, why: str) -> None:
        log.error(
            "the database of jobs was damaged (%s); it was set aside as %s.sqlite, and the files "
            "of jobs as %s.files",
            why,
            name,
            name,
        )
        self.notes.append(
            "the database of jobs was damaged when the service started; "
            f"it was set aside as {name}.sqlite"
        )
        files.set_aside(self.root, f"{name}.files")

    def _failed(self, error: sqlite3.Error) -> Problem:
        trouble = _words(error)
        if trouble != self.trouble:
            log.error("%s: %r", trouble, error)
        self.trouble = trouble
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        return Problem("storage_full" if full else "not_ready", trouble, RETRY_AFTER_S)


def _is_locked(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _words(error: sqlite3.Error | DamagedStore) -> str:
    if _is_locked(error):
        return "the database of jobs is locked by another program"
    if isinstance(error, DamagedStore) or is_damage(error):
        return "the database of jobs is damaged; it will be set aside when the service restarts"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return "the disk with the jobs is full"
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"the database of jobs cannot be used ({name})"
