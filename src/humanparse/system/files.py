"""Files and folders that appear whole or not at all, checksums, and which files may be replaced."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from humanparse.errors import OptionError

LEFT_FREE = 64_000_000  # bytes of a disk that long outputs leave, so that they can still be ended
LEFTOVERS = ".*.part"  # the names of files and folders while they are being written
OLD_S = 3600.0  # nothing takes longer than that to write


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it is renamed onto `target` on success.

    If the block raises, nothing is left behind and an older file stays as it was.

    Args:
        target: The file to be written. It need not exist, but its folder must.

    Yields:
        The path to write to. Nothing exists there yet.

    Raises:
        OSError: If the file cannot be renamed.
    """
    temporary = _temporary_name(target.parent)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; it is renamed to `target` on success.

    If the block raises, nothing is left behind. Of several nested folders the outermost appears
    last.

    Args:
        target: The folder to be written. It must not exist yet, or be empty; the folder that it
            lies in must exist.

    Yields:
        A new, empty folder to write into.

    Raises:
        OSError: If `target` holds something by then, or the folder cannot be made or renamed.
    """
    with scratch_folder(target.parent) as temporary:
        yield temporary
        if os.path.lexists(target):
            target.rmdir()  # Windows renames onto no folder, not even an empty one
        temporary.rename(target)


@contextmanager
def growing_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path of the same ending; it is renamed onto `target` in any case.

    For files that are of use although they ended early, because of an error or of Ctrl-C: what is
    there is kept. A process that is killed leaves only a temporary folder, see `LEFTOVERS`.

    Args:
        target: The file or folder to be written. Its folder must exist; an older file is replaced.

    Yields:
        The path to write to. Nothing exists there yet. If nothing does at the end, `target` stays
        as it was.

    Raises:
        OSError: If it cannot be renamed.
    """
    with scratch_folder(target.parent) as folder:
        temporary = folder / target.name
        try:
            yield temporary
        finally:
            if temporary.is_dir() and target.is_dir():
                shutil.rmtree(target)
            if temporary.exists():
                temporary.replace(target)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new, empty folder in `parent`, which is deleted with its contents afterwards.

    Files made in it can be renamed to anywhere in `parent`, since both lie on one disk.

    Args:
        parent: An existing folder.

    Yields:
        The new folder.

    Raises:
        OSError: If the folder cannot be made.
    """
    folder = _temporary_name(parent)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path, older_than_s: float = OLD_S) -> None:
    """Delete what a killed process left of unfinished files and folders.

    Args:
        folder: Where `whole_file`, `whole_folder` or `scratch_folder` wrote. Subfolders are not
            searched. What cannot be deleted stays.
        older_than_s: The least age in seconds. Younger ones stay, since another process may be
            writing them.
    """
    for path in folder.glob(LEFTOVERS):
        with suppress(OSError):
            details = path.lstat()
            if time.time() - details.st_mtime < older_than_s:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def write_private(target: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all, readable by this user alone.

    Args:
        target: The file; an older one is replaced.
        data: What it is to contain.
        durable: Whether to wait until it would survive a power cut.

    Raises:
        OSError: If it cannot be written; then nothing is left behind.
    """
    with (
        whole_file(target) as temporary,
        open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file,
    ):
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, on systems that can do so."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(folder: Path) -> None:
    """Raise OSError if less than LEFT_FREE bytes are free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if free < LEFT_FREE:
        raise OSError(
            errno.ENOSPC,
            f"the disk is full: {free / 1e6:.0f} MB are free, and {LEFT_FREE / 1e6:.0f} MB are "
            "kept to end files properly",
            str(folder),
        )


def check_target(target: Path, inputs: Iterable[Path] = (), *, overwrite: bool = False) -> None:
    """Check, before the work begins, that a command may write to `target`.

    Args:
        target: The file that the command is to write.
        inputs: The files that the command reads.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OptionError: If `target` is one of the inputs, under whatever spelling or through a link, or
            if it exists and `overwrite` is False.
    """
    if not os.path.lexists(target):
        return
    if any(_same_file(target, one) for one in inputs):
        raise OptionError(
            f"{target} is read by this command, which would overwrite it; choose another name"
        )
    if not overwrite:
        raise OptionError(f"{target} already exists; choose another name, or add --overwrite")


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them does not exist
        return False


def _temporary_name(folder: Path) -> Path:
    """A name in that folder which nothing has, and which LEFTOVERS matches."""
    return folder / f".{uuid.uuid4().hex}.part"
