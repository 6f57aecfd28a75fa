"""A clock for ages on disk: no change of the wall clock moves it, and it goes on over a restart of
the service.

It counts the machine's seconds since it was switched on. Beside it, a small file holds what it
showed last; after a restart of the machine only the wall clock knows how long it was off, so then,
and only then, that one is asked.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from humanparse.system.files import remove_leftovers, write_private

SAVE_S = 60.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def seconds_since_boot() -> float:
    """Counts on while the machine sleeps, where the system has such a clock."""
    boot_clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_clock is None else time.clock_gettime(boot_clock)


def boot_id() -> str:
    """Another text after each start of the machine; "" where there is none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class SteadyClock:
    """Seconds on a time scale of its own, about those since 1970. Several clocks of one file show
    the same."""

    def __init__(
        self,
        file: Path,
        *,
        ticks: Callable[[], float] = seconds_since_boot,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], str] = boot_id,
    ):
        self._file, self._ticks, self._wall, self._boot = file, ticks, wall, boot()
        self._offset = self._continued() - ticks()
        self._saved: float | None = None

    def now(self) -> float:
        return self._ticks() + self._offset

    def save(self) -> None:
        """Note in the file what it shows, for the next start. Costs nothing if that was done within
        the last minute.

        Raises OSError.
        """
        if self._saved is not None and self.now() - self._saved < SAVE_S:
            return
        data = {"boot": self._boot, "ticks": self._ticks(), "wall": self._wall(), "now": self.now()}
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(self._file.parent)
        write_private(self._file, json.dumps(data).encode(), durable=False)
        self._saved = self.now()

    def _continued(self) -> float:
        """What it should show now, by the file; the wall clock's time if there is no file."""
        try:
            data = json.loads(self._file.read_bytes())
            boot, ticks, wall, now = (
                data["boot"],
                float(data["ticks"]),
                float(data["wall"]),
                float(data["now"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return self._wall()
        same_boot = boot == self._boot != "" and ticks <= self._ticks()
        passed = self._ticks() - ticks if same_boot else self._wall() - wall
        return now + max(0.0, passed) if math.isfinite(now + passed) else self._wall()
