"""A lock between processes: on a file, released by the operating system if its holder dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.1  # no system can wait for a lock with a limit, so it is tried this often
BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}


@contextmanager
def lock_file(
    path: Path, timeout_s: float, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    Threads of one process exclude each other as well.

    Args:
        path: The file. It is made if it does not exist, and never deleted: others may have it open.
        timeout_s: How many seconds to wait for the lock.
        waiting: Called once if the lock is held by another.

    Raises:
        TimeoutError: If the lock is not free within `timeout_s`.
        OSError: Where files cannot be locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        until, called = time.monotonic() + timeout_s, False
        while not _try_lock(descriptor):
            if not called:
                waiting()
                called = True
            if time.monotonic() > until:
                raise TimeoutError(f"another process has held {path} for more than {timeout_s:g} s")
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)  # which also releases the lock


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":  # in this form mypy knows it too
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise
    return True
