"""Keep memory that a training step frees, since the next step asks for it again.

glibc returns large blocks to the system as soon as they are free, and gets them back page by page
and zeroed. On a CPU that is a quarter to a third of a step's time (docs/lab-book.md). Source:
mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# Bytes of free memory to keep, and the number of blocks that may be mapped separately.
KEEP = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_MAX: 0}
DEFAULTS = {M_TRIM_THRESHOLD: 128 * 1024, M_MMAP_MAX: 65536}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process while the block runs; return it to the system afterwards.

    If the C library is not glibc, this changes nothing.
    """
    c = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if c is None or not hasattr(c, "mallopt"):  # musl has none
        yield
        return
    for option, value in KEEP.items():
        c.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in DEFAULTS.items():
            c.mallopt(option, value)
        c.malloc_trim(0)
