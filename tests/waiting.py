"""Waiting for other processes with a time limit, and whether they still run."""

import asyncio
import os
import time
from pathlib import Path

LONG_S = 30  # nothing in a test takes that long unless it hangs
# What takes longer is looked for less often: asking a server keeps it from its work.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.05


def until(condition, what: str, seconds: float = LONG_S):
    """Wait until the condition holds, and return its value; fail if `what` does not come."""
    end, pause_s = time.monotonic() + seconds, FIRST_PAUSE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, LONGEST_PAUSE_S)
    return found


async def soon(condition, what: str, seconds: float = LONG_S) -> None:
    """Like `until`, without blocking the event loop."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come"
        await asyncio.sleep(0.005)


def running(pid: int) -> bool:
    """Whether that process still runs."""
    try:
        os.kill(pid, 0)
        # a zombie only waits to be counted
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()
