"""How many bytes the files of all jobs take, at most jobs_max_mb: uploads, unpacked pictures and
results."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

from humanparse.service.problems import Problem

MB = 1_000_000


class Quota:
    """Counts bytes per job, so that all bytes of a job can be released at once. Thread-safe.

    Args:
        max_bytes: The most that all jobs together may take.
    """

    def __init__(self, max_bytes: float):
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """The bytes that all jobs take."""
        with self._lock:
            return sum(self._held.values())

    @property
    def left_bytes(self) -> float:
        """The bytes that are still free."""
        return max(0.0, self._max_bytes - self.num_bytes)

    def check(self) -> None:
        """Raise Problem storage_full if no bytes are free."""
        if not self.left_bytes:
            raise self.full()

    def take(self, id: str, num_bytes: int) -> None:
        """Take bytes for a job.

        Raises:
            Problem: storage_full if they are not free; then none are taken.
        """
        with self._lock:
            if sum(self._held.values()) + num_bytes > self._max_bytes:
                raise self.full()
            self._held[id] += num_bytes

    def full(self) -> Problem:
        """Return the Problem for a full quota."""
        return Problem(
            "storage_full",
            f"the limit of {self._max_bytes / MB:g} MB for all jobs is reached; delete some, "
            "or wait until old ones expire",
            60,
        )

    def give_back(self, id: str, num_bytes: int) -> None:
        """Release some bytes of a job."""
        with self._lock:
            if id in self._held:  # otherwise all bytes of the job were released before
                self._held[id] -= num_bytes

    def forget(self, id: str) -> None:
        """Release all bytes of a job."""
        with self._lock:
            self._held.pop(id, None)

    def count(self, id: str, folder: Path) -> None:
        """Count the files of a job from before a restart, even if they exceed the limit.

        Args:
            id: The job's id.
            folder: The job's folder.
        """
        size = sum(
            os.path.getsize(os.path.join(where, name))
            for where, _, names in os.walk(folder)
            for name in names
        )
        with self._lock:
            self._held[id] = size
