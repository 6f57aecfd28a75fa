"""The queue in front of the workers: who may wait, who is next, and who is turned away.

A request is turned away when too many are waiting, or when it would wait too long. The predicted
wait is the work ahead of it, from the measured times of each kind of work, divided among the
workers. Every operation takes O(1) time. Background work is not subject to these bounds, and starts
only when nothing else is waiting. How many bytes may be held is decided earlier, where they arrive
(limits.py). This module knows nothing about processes.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from humanparse.service.problems import Problem

INTERACTIVE, BATCH, BACKGROUND = 0, 1, 2  # priorities: the lowest number goes first

SMOOTHING = 0.2  # weight of the newest service time in the moving mean
SPREAD_S = 3.0  # retries of requests that were turned away are spread over this time

Clock = Callable[[], float]  # seconds; never jumps


@dataclass(eq=False, kw_only=True)
class Entry:
    """A piece of work that waits or runs.

    Attributes:
        num_bytes: What it holds in memory.
        priority: INTERACTIVE, BATCH or BACKGROUND.
        kind: Entries of the same kind take about the same time.
        arrived: When it entered the queue, in seconds on the queue's clock.
        expected_s: How long the work should take, as predicted on arrival.
    """

    num_bytes: int
    priority: int
    kind: Hashable
    arrived: float = 0.0
    expected_s: float = 0.0


E = TypeVar("E", bound=Entry)


class Admission(Generic[E]):
    """A queue that is first come, first served within each priority.

    Attributes:
        queue_size: How many entries may wait.
        max_wait_s: The longest predicted wait that is accepted, in seconds.
        num_workers: How many workers are alive; their owner keeps this up to date.
        bytes_held: The bytes of all entries, waiting and running.
        service_times: The measured times of each kind of work.
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
        self._waiting: tuple[OrderedDict[E, None], ...] = (
            OrderedDict(),
            OrderedDict(),
            OrderedDict(),
        )
        self._waiting_s = [0.0, 0.0, 0.0]  # predicted work of the waiting entries, by priority
        self._running: set[E] = set()

    @property
    def num_waiting(self) -> int:
        """How many entries wait."""
        return sum(map(len, self._waiting))

    @property
    def num_running(self) -> int:
        """How many entries are being worked on."""
        return len(self._running)

    def predicted_wait_s(self, priority: int = INTERACTIVE) -> float:
        """Return how long an entry that came now would wait, in seconds."""
        return sum(self._waiting_s[: priority + 1]) / max(1, self.num_workers)

    def check_room(self, priority: int = INTERACTIVE, deadline_s: float = float("inf")) -> None:
        """Check that an entry with this priority and deadline would be admitted.

        Args:
            priority: INTERACTIVE, BATCH or BACKGROUND; BACKGROUND is always admitted.
            deadline_s: The wait may not be longer than this, nor than `max_wait_s`.

        Raises:
            Problem: queue_full, with the time to try again, if it would be turned away.
        """
        if priority == BACKGROUND:
            return
        in_front = len(self._waiting[INTERACTIVE]) + len(self._waiting[BATCH])
        if in_front >= self.queue_size and not self._has_free_worker(in_front):
            raise self.turned_away(f"{in_front} requests are already waiting, which is the limit")
        wait_s = self.predicted_wait_s(priority)
        if wait_s > min(self.max_wait_s, deadline_s):
            raise self.turned_away(f"the request would wait about {wait_s:.1f} s")

    def enter(self, entry: E) -> None:
        """Add an entry to the queue. Call `check_room` first."""
        entry.arrived = self._clock()
        entry.expected_s = self.service_times.expected_s(entry.kind)
        self.bytes_held += entry.num_bytes
        self._wait(entry)

    def next(self) -> E | None:
        """Return the next entry, which counts as running from now on; None if none is waiting."""
        for waiting in self._waiting:
            if waiting:
                entry = next(iter(waiting))
                self._remove(entry)
                self._running.add(entry)
                return entry
        return None

    def again(self, entry: E) -> None:
        """Put a running entry back at the head of its priority's queue."""
        self._running.remove(entry)
        self._wait(entry)
        self._waiting[entry.priority].move_to_end(entry, last=False)

    def withdraw(self, entry: E) -> None:
        """Remove a waiting entry; does nothing if it is not waiting."""
        if entry in self._waiting[entry.priority]:
            self._remove(entry)
            self.bytes_held -= entry.num_bytes

    def done(self, entry: E) -> None:
        """Remove a running entry; does nothing if it is not running."""
        if entry in self._running:
            self._running.remove(entry)
            self.bytes_held -= entry.num_bytes

    def is_running(self, entry: E) -> bool:
        """Whether a worker has this entry."""
        return entry in self._running

    def turned_away(self, why: str) -> Problem:
        """Return the Problem for a request that finds no room.

        Clients are asked to come back when half of the waiting entries are done. Each is given a
        slightly later time at random; otherwise all of them would come back at once.
        """
        half_drained_s = self.predicted_wait_s(BATCH) / 2
        return Problem(
            "queue_full",
            f"{why}; try again later",
            retry_after_s=half_drained_s + random.uniform(0, SPREAD_S),
        )

    def _wait(self, entry: E) -> None:
        self._waiting[entry.priority][entry] = None
        self._waiting_s[entry.priority] += entry.expected_s

    def _remove(self, entry: E) -> None:
        waiting = self._waiting[entry.priority]
        del waiting[entry]
        # An empty queue is exactly 0 s long; sums and differences of floats would only come close.
        self._waiting_s[entry.priority] = (
            self._waiting_s[entry.priority] - entry.expected_s if waiting else 0.0
        )

    def _has_free_worker(self, in_front: int) -> bool:
        return not in_front and len(self._running) < self.num_workers


class ServiceTimes:
    """Moving means of how long each kind of work takes, in seconds.

    Args:
        guess_s: The mean to assume until the first time is measured.
    """

    def __init__(self, guess_s: float = 1.0):
        self.mean_s = guess_s  # over all kinds
        self._means_s: dict[Hashable, float] = {}
        self._measured = False

    def guess(self, seconds: float) -> None:
        """Set the assumed mean; has no effect once a time was measured."""
        if not self._measured:
            self.mean_s = seconds

    def add(self, kind: Hashable, seconds: float) -> None:
        """Record a measured time."""
        self.mean_s = _moved(self.mean_s, seconds) if self._measured else seconds
        self._means_s[kind] = _moved(self._means_s.get(kind, seconds), seconds)
        self._measured = True

    def expected_s(self, kind: Hashable) -> float:
        """Return the mean time of this kind, or that of all kinds if it is unknown."""
        return self._means_s.get(kind, self.mean_s)


def _moved(mean: float, value: float) -> float:
    return mean + SMOOTHING * (value - mean)
