"""Responses in files that survive a restart: <folder>/ab/abcdef…, named by their key.

A file is written as a whole, and checked when it is read. Everything here blocks, so tiers.py calls
it in threads. Several servers may share the folder: each of them sweeps it at intervals, and so
learns of the files that the others wrote.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from humanparse.service.cache.entry import KEY, PREFIX, Cached, Damaged, created_of, decode, encode
from humanparse.system.files import remove_leftovers, write_private

# Follow no link, and do not wait for a pipe that somebody put there.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class DiskTier:
    """Responses in a folder.

    Args:
        folder: The folder; it need not exist.
        max_bytes: The size of all files together.
        max_age_s: Older entries are deleted.
        now: A clock in seconds that continues over a restart.

    Attributes:
        num_bytes: The size of all files that are known.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age_s: float, now: Callable[[], float]):
        self._folder, self._max_bytes, self._max_age_s, self._now = (
            folder,
            max_bytes,
            max_age_s,
            now,
        )
        self.num_bytes = 0
        # key → bytes, least recently used first
        self._index: OrderedDict[str, int] = OrderedDict()
        # keys written or read since the last sweep began
        self._fresh: set[str] = set()
        # for these three; never held during file operations
        self._lock = threading.Lock()

    def get(self, key: str) -> tuple[Cached, float] | None:
        """Return an entry and when it was created; None if there is none.

        Raises:
            OSError: If the disk fails.
            Damaged: For a damaged file, which is deleted.
        """
        path = self._path(key)
        try:
            data = self._read(path)
            cached, created = decode(key, data)
        except FileNotFoundError:
            return None
        except Damaged:
            self._delete(key)
            raise
        if self._now() - created > self._max_age_s:
            self._delete(key)
            return None
        self._note(key, len(data))
        with suppress(OSError):
            os.utime(path)  # so that the order of use survives a restart
        return cached, created

    def put(self, key: str, cached: Cached, created: float) -> None:
        """Write an entry, and delete the least recently used ones if there are too many bytes.

        Raises:
            OSError: If it cannot be written.
        """
        data = encode(key, cached, created)
        if len(data) > self._max_bytes:
            return
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._refuse_links(path)
        # if a power cut damages it, the checksum will show it
        write_private(path, data, durable=False)
        self._note(key, len(data))
        self._make_room()

    def sweep(self) -> None:
        """Look at every file: delete what is too old or not ours, and count the rest.

        Raises:
            OSError: If the disk fails.
        """
        with self._lock:
            self._fresh.clear()
        found = sorted(self._found())
        with self._lock:
            index = OrderedDict((key, size) for _, key, size in found)
            for key in [key for key in self._index if key in self._fresh]:
                index[key] = self._index[key]
                index.move_to_end(key)
            self._index, self.num_bytes = index, sum(index.values())
        self._make_room()

    def _found(self) -> Iterator[tuple[float, str, int]]:
        """The last use, key and size of every entry that may stay."""
        if not self._folder.is_dir() or self._folder.is_symlink():
            return
        with os.scandir(self._folder) as shards:
            folders = [shard.path for shard in shards if shard.is_dir(follow_symlinks=False)]
        for folder in folders:
            remove_leftovers(Path(folder))  # of servers that were killed while they wrote
            with os.scandir(folder) as files:
                for file in files:
                    # ignore a bad file, or one that another server has just deleted
                    with suppress(OSError):
                        details = file.stat(follow_symlinks=False)
                        if self._may_stay(Path(file.path), details):
                            yield details.st_mtime, file.name, details.st_size

    def _may_stay(self, path: Path, details: os.stat_result) -> bool:
        if not stat.S_ISREG(details.st_mode) or not KEY.fullmatch(path.name):
            return False
        try:
            created = created_of(self._read(path, PREFIX))
        except Damaged:
            created = None
        if created is None or self._now() - created > self._max_age_s:
            path.unlink()
            return False
        return True

    def _read(self, path: Path, max_bytes: int = -1) -> bytes:
        """The bytes of a file; raises Damaged unless it is a regular file of a possible size."""
        self._refuse_links(path)
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise
        except OSError as error:
            if path.is_symlink():
                raise Damaged("a link instead of a file") from error
            raise
        with open(descriptor, "rb") as file:
            details = os.fstat(descriptor)
            if not stat.S_ISREG(details.st_mode) or details.st_size > self._max_bytes:
                raise Damaged("not a file that was written here")
            return file.read(max_bytes)

    def _refuse_links(self, path: Path) -> None:
        """Somebody who can write into the folder must not be able to lead us out of it."""
        for folder in (path.parent, self._folder):
            if folder.is_symlink():
                raise Damaged("a link instead of a folder")

    def _make_room(self) -> None:
        while True:
            with self._lock:
                if self.num_bytes <= self._max_bytes:
                    return
                key = next(iter(self._index))
            self._delete(key)

    def _note(self, key: str, size: int) -> None:
        with self._lock:
            self.num_bytes += size - self._index.pop(key, 0)
            self._index[key] = size
            self._fresh.add(key)

    def _delete(self, key: str) -> None:
        with self._lock:
            self.num_bytes -= self._index.pop(key, 0)
            self._fresh.discard(key)
        with suppress(OSError, Damaged):
            self._refuse_links(path := self._path(key))
            path.unlink()

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"not a key of the cache: {key[:80]!r}")
        return self._folder / key[:2] / key
