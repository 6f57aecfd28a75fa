"""A clock for the age of files: changes of the wall clock do not move it, and it continues when the
service is restarted.

It counts the seconds since the machine was started. A small file holds its last reading. After a
restart of the machine only the wall clock knows how long it was off, so only then is the wall clock
used.
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
    """Return the seconds since boot, including sleep where the system has such a clock."""
    boot_clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_clock is None else time.clock_gettime(boot_clock)


def boot_id() -> str:
    """Return a text that changes with every start of the machine; "" where there is none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class SteadyClock:
    """Seconds on a time scale of its own, which is close to seconds since 1970.

    Several clocks that share a file show the same time.

    Args:
        file: Where the last reading is kept.
        ticks: Seconds since the machine was started.
        wall: Seconds since 1970.
        boot: Identifies the start of the machine.
    """

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
        """Return the time, in seconds."""
        return self._ticks() + self._offset

    def save(self) -> None:
        """Save the reading for the next start; does nothing within a minute of the last time.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._saved is not None and self.now() - self._saved < SAVE_S:
            return
        data = {"boot": self._boot, "ticks": self._ticks(), "wall": self._wall(), "now": self.now()}
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(self._file.parent)
        write_private(self._file, json.dumps(data).encode(), durable=False)
        self._saved = self.now()

    def _continued(self) -> float:
        """Return the time by the file; without a usable file, that of the wall clock."""
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
