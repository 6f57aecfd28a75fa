"""Responses in memory, limited by bytes and by age; the least recently used one goes first."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable

from humanparse.service.cache.entry import Cached

OVERHEAD = 500  # bytes that Python needs for an entry beside its content, about


class MemoryTier:
    """Responses in memory.

    Args:
        max_bytes: The size of all entries together; 0 keeps nothing.
        max_age_s: Older entries are not returned.
        now: The clock, in seconds.

    Attributes:
        num_bytes: The size of all entries.
    """

    def __init__(self, max_bytes: int, max_age_s: float, now: Callable[[], float]):
        self.num_bytes = 0
        self._max_bytes, self._max_age_s, self._now = max_bytes, max_age_s, now
        # head as JSON, body, created
        self._entries: OrderedDict[str, tuple[bytes, bytes, float]] = OrderedDict()

    def get(self, key: str) -> Cached | None:
        """Return an entry; None if there is none."""
        self._forget_old()
        if key not in self._entries:
            return None
        head, body, created = self._entries[key]
        if self._now() - created > self._max_age_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        # a new head, which the caller may change
        return Cached(json.loads(head), body, "memory")

    def put(self, key: str, cached: Cached, created: float) -> None:
        """Keep an entry; the least recently used ones make room for it."""
        self._drop(key)
        entry = (json.dumps(cached.head, separators=(",", ":")).encode(), cached.body, created)
        if _size(entry) > self._max_bytes:
            return
        self._entries[key] = entry
        self.num_bytes += _size(entry)
        while self.num_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _forget_old(self) -> None:
        """Drop old entries at the unused end, so that they do not stay until somebody asks."""
        while self._entries:
            key, (_, _, created) = next(iter(self._entries.items()))
            if self._now() - created <= self._max_age_s:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.num_bytes -= _size(entry)


def _size(entry: tuple[bytes, bytes, float]) -> int:
    return len(entry[0]) + len(entry[1]) + OVERHEAD
