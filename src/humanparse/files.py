"""Files that appear whole or not at all, and what tells one from another."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A passing name in the target's folder to write under; when the block ends well, the file takes the target's place.

    If the block raises, nothing is left behind and an older file stays as it was.
    """
    passing = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield passing
        passing.replace(target)
    finally:
        passing.unlink(missing_ok=True)


LEFTOVERS = ".*.part"  # what files are called while they are written
OLD_S = 3600.0         # nobody writes one file for that long


def remove_leftovers(folder: Path, older_than_s: float = OLD_S) -> None:
    """Delete what `whole_file` has left in a folder because the process was killed in the middle.

    older_than_s: younger ones stay, as somebody may be writing them. Sub-folders are not looked at;
    what cannot be deleted stays.
    """
    for path in folder.glob(LEFTOVERS):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime >= older_than_s:
                path.unlink()


def write_private(target: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all, for this user alone. durable: it is there after a power cut, too.

    Raises OSError, and leaves nothing behind then.
    """
    with whole_file(target) as passing, open(passing, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
