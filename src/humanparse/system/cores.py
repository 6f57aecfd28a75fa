"""How many processor cores there are to work with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC_CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may use, which in a container are often fewer than the machine has;
    at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min([cores, *(math.ceil(share) for share in _quotas())]))


def _quotas() -> Iterator[float]:
    """Processors' worth of time that Linux control groups grant this process: its own group's
    limit, and those above it."""
    try:
        lines = PROC_CGROUP.read_text().splitlines()
    except OSError:  # no Linux
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
    """Time over period, as both versions of control groups write them; None without a limit."""
    try:
        quota, period = " ".join((folder / name).read_text() for name in names).split()
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None
