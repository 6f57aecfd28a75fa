"""Answers in memory, bounded by bytes and by age; what was not used for longest goes first."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable

from humanparse.service.cache.entry import Cached

OVERHEAD = 500  # bytes: about what Python keeps of an entry beside its content


class MemoryTier:
    """max_bytes: 0 keeps nothing; max_age_s: older answers are not given; now: the clock in
    seconds."""

    def __init__(self, max_bytes: int, max_age_s: float, now: Callable[[], float]):
        self.num_bytes = 0
        self._max_bytes, self._max_age_s, self._now = max_bytes, max_age_s, now
        # head as JSON, body, created
        self._entries: OrderedDict[str, tuple[bytes, bytes, float]] = OrderedDict()

    def get(self, key: str) -> Cached | None:
        self._forget_old()
        if key not in self._entries:
            return None
        head, body, created = self._entries[key]
        if self._now() - created > self._max_age_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        # a head of its own, which the caller may change
        return Cached(json.loads(head), body, "memory")

    def put(self, key: str, cached: Cached, created: float) -> None:
        self._drop(key)
        entry = (json.dumps(cached.head, separators=(",", ":")).encode(), cached.body, created)
        if _size(entry) > self._max_bytes:
            return
        self._entries[key] = entry
        self.num_bytes += _size(entry)
        while self.num_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _forget_old(self) -> None:
        """Let go of those at the cold end that are too old, so that they do not stay for want of a
        question."""
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
