"""One process at a time: a lock on a file that the operating system lets go when its holder
dies."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.1  # neither system can wait for a lock with a limit, so it is asked for this often
BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}


@contextmanager
def lock_file(
    path: Path, timeout_s: float, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the lock of `path`, which is made if it is not there and is never deleted: others may
    hold it open.

    waiting: called once if somebody else holds it. Threads of one process exclude each other as
    well. Raises TimeoutError if it is not free within timeout_s; OSError where files cannot be
    locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        until, told = time.monotonic() + timeout_s, False
        while not _try_lock(descriptor):
            if not told:
                waiting()
                told = True
            if time.monotonic() > until:
                raise TimeoutError(f"another process has held {path} for more than {timeout_s:g} s")
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)  # which also lets go of the lock


def _try_lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
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
