"""How many bytes of files all jobs together keep: uploads, unpacked pictures and results, up to
jobs_max_mb."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

from humanparse.service.problems import Problem

MB = 1_000_000


class Room:
    """Counted by job, so that all of one is given back at once; may be used from several
    threads."""

    def __init__(self, max_bytes: float):
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        with self._lock:
            return sum(self._held.values())

    @property
    def left_bytes(self) -> float:
        return max(0.0, self._max_bytes - self.num_bytes)

    def check(self) -> None:
        """Raises Problem storage_full where nothing fits."""
        if not self.left_bytes:
            raise self.full()

    def take(self, id: str, num_bytes: int) -> None:
        """Raises Problem storage_full where there is no room for so many; then nothing is taken."""
        with self._lock:
            if sum(self._held.values()) + num_bytes > self._max_bytes:
                raise self.full()
            self._held[id] += num_bytes

    def full(self) -> Problem:
        return Problem(
            "storage_full",
            f"all jobs together may keep {self._max_bytes / MB:g} MB, and no more fits; delete some, "
            "or wait until old ones expire",
            60,
        )

    def give_back(self, id: str, num_bytes: int) -> None:
        with self._lock:
            if id in self._held:  # else the job is forgotten already
                self._held[id] -= num_bytes

    def forget(self, id: str) -> None:
        """All of that job is gone."""
        with self._lock:
            self._held.pop(id, None)

    def count(self, id: str, folder: Path) -> None:
        """What the job has in its folder, of a server before this one; that is counted even where
        it is too much."""
        size = sum(
            os.path.getsize(os.path.join(where, name))
            for where, _, names in os.walk(folder)
            for name in names
        )
        with self._lock:
            self._held[id] = size
