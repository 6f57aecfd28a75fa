"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC_CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    In a container these are often fewer than the machine has.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min([cores, *(math.ceil(share) for share in _quotas())]))


def _quotas() -> Iterator[float]:
    """The limits of Linux control groups: this process's group, and those above it.

    Each is in processors' worth of time.
    """
    try:
        lines = PROC_CGROUP.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for step in (PurePosixPath(path), *PurePosixPath(path).parents):
            folder = CGROUPS / ("cpu" if controllers else "") / str(step).lstrip("/")
            quota = (
                _read(folder, "cpu.cfs_quota_us", "cpu.cfs_period_us")
                if controllers
                else _read(folder, "cpu.max")
            )
            if quota:
                yield quota


def _read(folder: Path, *names: str) -> float | None:
    """Time per period, which both versions of control groups write; None without a limit."""
    try:
        quota, period = " ".join((folder / name).read_text() for name in names).split()
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None
