"""Files that appear whole or not at all, what tells one from another, what they are called and what
may be written over."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from humanparse.errors import OptionError


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A passing name in the target's folder to write under; when the block ends well, the file
    takes the target's place.

    If the block raises, nothing is left behind and an older file stays as it was.
    """
    passing = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield passing
        passing.replace(target)
    finally:
        passing.unlink(missing_ok=True)


LEFTOVERS = ".*.part"  # what files are called while they are written
OLD_S = 3600.0  # nobody writes one file for that long


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
    """Write a file whole or not at all, for this user alone. durable: it is there after a power
    cut, too.

    Raises OSError, and leaves nothing behind then.
    """
    with (
        whole_file(target) as passing,
        open(passing, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file,
    ):
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


def check_target(target: Path, inputs: Iterable[Path] = (), *, overwrite: bool = False) -> None:
    """Check, before the work, that a command may write to `target`.

    Raises OptionError if it is one of the files that the command reads, in whatever spelling or by
    a link, or if there is a file of that name already and `overwrite` is not wanted.
    """
    if not os.path.lexists(target):
        return
    if any(_same_file(target, one) for one in inputs):
        raise OptionError(
            f"{target} is read by this command, which would write over it; choose another name"
        )
    if not overwrite:
        raise OptionError(f"{target} is there already; choose another name, or add --overwrite")


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return False
