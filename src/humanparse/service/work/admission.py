"""Who may wait, who is next, and who is turned away: the queue in front of the workers. It knows no
process.

A request is turned away when too many wait, or when it would wait too long: the work ahead of it,
by the measured times of each kind of work, shared out over the workers. Every question takes O(1)
time. Work in the background waits outside these bounds, and starts only when nobody else waits. How
many bytes may be held is decided before, where they arrive (limits.py).
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from humanparse.service.problems import Problem

INTERACTIVE, BATCH, BACKGROUND = 0, 1, 2  # priority: lower goes first

SMOOTHING = 0.2  # weight of the newest service time in the mean
SPREAD_S = 3.0  # over which those who are turned away are told to come back

Clock = Callable[[], float]  # seconds that never jump


@dataclass(eq=False)
class Entry:
    """One piece of work that waits or runs. item: whatever the caller wants back; kind: what takes
    a like time."""

    item: Any
    num_bytes: int
    priority: int
    kind: Hashable
    arrived: float = 0.0  # clock, in seconds
    expected_s: float = 0.0  # of work, as predicted on arrival


class Admission:
    """The queue: first come, first served within a priority.

    queue_size: entries that may wait; max_wait_s: of predicted waiting. `num_workers` is how many
    are alive; whoever starts and ends them keeps it right. `bytes_held`: of all entries.
    """

    def __init__(
        self,
        *,
        queue_size: int,
        max_wait_s: float,
        num_workers: int,
        clock: Clock = time.monotonic,
    ):
        self.queue_size = queue_size
        self.max_wait_s = max_wait_s
        self.num_workers = num_workers
        self.bytes_held = 0
        self.service_times = ServiceTimes()
        self._clock = clock
        self._waiting: tuple[OrderedDict[Entry, None], ...] = (
            OrderedDict(),
            OrderedDict(),
            OrderedDict(),
        )
        self._waiting_s = [0.0, 0.0, 0.0]  # predicted work of those that wait, by priority
        self._running: set[Entry] = set()

    @property
    def num_waiting(self) -> int:
        return sum(map(len, self._waiting))

    @property
    def num_running(self) -> int:
        return len(self._running)

    def predicted_wait_s(self, priority: int = INTERACTIVE) -> float:
        """How long one that came now would wait, in seconds."""
        return sum(self._waiting_s[: priority + 1]) / max(1, self.num_workers)

    def check_room(self, priority: int = INTERACTIVE, deadline_s: float = float("inf")) -> None:
        """Raises Problem queue_full, with when to try again, if an entry like this would be turned
        away."""
        if priority == BACKGROUND:
            return
        in_front = len(self._waiting[INTERACTIVE]) + len(self._waiting[BATCH])
        if in_front >= self.queue_size and not self._has_free_worker(in_front):
            raise self.turned_away(f"{in_front} requests are waiting, as many as may")
        wait_s = self.predicted_wait_s(priority)
        if wait_s > min(self.max_wait_s, deadline_s):
            raise self.turned_away(f"it would wait about {wait_s:.1f} s")

    def enter(self, entry: Entry) -> None:
        """Let an entry wait. Ask `check_room` first."""
        entry.arrived = self._clock()
        entry.expected_s = self.service_times.expected_s(entry.kind)
        self.bytes_held += entry.num_bytes
        self._wait(entry)

    def next(self) -> Entry | None:
        """The entry whose turn it is, which is in work from now on; None if nobody waits."""
        for waiting in self._waiting:
            if waiting:
                entry = next(iter(waiting))
                self._remove(entry)
                self._running.add(entry)
                return entry
        return None

    def again(self, entry: Entry) -> None:
        """Let an entry that was in work wait once more, before all others."""
        self._running.remove(entry)
        self._wait(entry)
        self._waiting[entry.priority].move_to_end(entry, last=False)

    def withdraw(self, entry: Entry) -> None:
        """Forget an entry that waits; harmless if it does not."""
        if entry in self._waiting[entry.priority]:
            self._remove(entry)
            self.bytes_held -= entry.num_bytes

    def done(self, entry: Entry) -> None:
        """Forget an entry that was in work; harmless if it is not."""
        if entry in self._running:
            self._running.remove(entry)
            self.bytes_held -= entry.num_bytes

    def is_running(self, entry: Entry) -> bool:
        """Whether a worker has it."""
        return entry in self._running

    def turned_away(self, why: str) -> Problem:
        """The Problem for one that finds no room; to be tried again when half of those that wait
        are done.

        Each is told a little later than that, and not the same: else all who were turned away would
        come back at once.
        """
        half_drained_s = self.predicted_wait_s(BATCH) / 2
        return Problem(
            "queue_full",
            f"{why}; try again later",
            retry_after_s=half_drained_s + random.uniform(0, SPREAD_S),
        )

    def _wait(self, entry: Entry) -> None:
        self._waiting[entry.priority][entry] = None
        self._waiting_s[entry.priority] += entry.expected_s

    def _remove(self, entry: Entry) -> None:
        waiting = self._waiting[entry.priority]
        del waiting[entry]
        # An empty queue is 0 s long; sums and differences of floats would only come close.
        self._waiting_s[entry.priority] = (
            self._waiting_s[entry.priority] - entry.expected_s if waiting else 0.0
        )

    def _has_free_worker(self, in_front: int) -> bool:
        return not in_front and len(self._running) < self.num_workers


class ServiceTimes:
    """How long each kind of work takes: moving means, in seconds. `guess_s` counts until the first
    one is measured."""

    def __init__(self, guess_s: float = 1.0):
        self.mean_s = guess_s  # over all kinds
        self._means_s: dict[Hashable, float] = {}
        self._measured = False

    def guess(self, seconds: float) -> None:
        """A first idea, which counts only until something was measured."""
        if not self._measured:
            self.mean_s = seconds

    def add(self, kind: Hashable, seconds: float) -> None:
        """A measured time."""
        self.mean_s = _moved(self.mean_s, seconds) if self._measured else seconds
        self._means_s[kind] = _moved(self._means_s.get(kind, seconds), seconds)
        self._measured = True

    def expected_s(self, kind: Hashable) -> float:
        return self._means_s.get(kind, self.mean_s)


def _moved(mean: float, value: float) -> float:
    return mean + SMOOTHING * (value - mean)
