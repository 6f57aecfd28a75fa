"""Simulate servers with bounded queues, event by event, with the service's own admission rule.

Requests come at random (Poisson) or from clients who wait for their answers; a balancer sends each
to a node; the node's `humanparse.service.work.admission.Admission`, the service's own code, lets it
wait or turns it away; workers take as long as was measured. Nothing is run, and time is only a
number. tests/deploy/test_queueing.py compares it with the formulas of Erlang and of Pollaczek and
Khinchine.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import INTERACTIVE, Admission, Entry

KIND = ("parse", "")  # all pictures take a similar time


@dataclass(frozen=True)
class Load:
    """The requests that come: at a rate, at given times, or from clients.

    Clients who are turned away try again after Retry-After; other requests are lost then.

    Attributes:
        rate: Requests per second at random times.
        clients: Clients who each send the next request when they have an answer.
        times: Times at which requests come, in seconds.
        hit_share: The share of requests whose answer is cached; these take hit_s and no worker.
        hit_s: The seconds that a cached answer takes.
    """

    rate: float = 0.0
    clients: int = 0
    times: Sequence[float] = ()
    hit_share: float = 0.0
    hit_s: float = 0.0


@dataclass
class Outcome:
    """What happened between the end of the warm-up and the end.

    Attributes:
        seconds: The time between.
        answered_s: Seconds from request to answer.
        waited_s: Seconds of these in the queue, without cached answers.
        turned_away: Requests that were turned away.
        late: Requests that passed the deadline.
        waiting: The mean number of requests in all queues.
        busy: The mean share of workers that were busy.
    """

    seconds: float
    answered_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    turned_away: int = 0
    late: int = 0
    waiting: float = 0.0
    busy: float = 0.0

    @property
    def goodput(self) -> float:
        """Answers per second."""
        return len(self.answered_s) / self.seconds

    @property
    def refused_share(self) -> float:
        """The share of all requests that were turned away or late."""
        lost = self.turned_away + self.late
        return lost / max(1, lost + len(self.answered_s))

    def percentile_s(self, percent: float) -> float:
        return float(np.percentile(self.answered_s, percent)) if self.answered_s else math.nan


@dataclass(eq=False)
class _Request:
    sent: float
    client: int  # -1: no client waits for the answer
    node: int = 0


@dataclass(eq=False, kw_only=True)
class _Entry(Entry):
    request: _Request


class Cluster:
    """Nodes with workers, and one clock for all.

    Args:
        service_s: Seconds that a worker takes, drawn with replacement.
        settings: The service's settings.
        nodes: The number of nodes.
        overhead_s: Seconds of each answer besides queue and work.
        least: Whether the balancer takes the node with the fewest requests, as nginx's least_conn
            does, or any.
        seed: The seed of everything random.
    """

    def __init__(
        self,
        service_s: Sequence[float],
        settings: Settings,
        *,
        nodes: int = 1,
        overhead_s: float = 0.0,
        least: bool = True,
        seed: int = 0,
    ):
        self._service_s, self._settings = np.asarray(service_s, float), settings
        self._overhead_s, self._least = overhead_s, least
        self._draw, self._luck = np.random.default_rng(seed), random.Random(seed)
        self._now = 0.0
        self._queues = [
            Admission[_Entry](
                queue_size=settings.queue_size,
                max_wait_s=settings.max_wait_s,
                num_workers=settings.workers,
                clock=lambda: self._now,
            )
            for _ in range(nodes)
        ]
        for queue in self._queues:
            queue.service_times.guess(float(self._service_s.mean()))
        self._idle = [settings.workers] * nodes
        self._at_node = [0] * nodes
        self._events: list[tuple[float, int, Callable, tuple]] = []
        self._order = itertools.count()

    def run(self, load: Load, seconds: float, warm_s: float = 0.0) -> Outcome:
        """Return what comes of a load that lasts `seconds`, after a warm-up that does not count."""
        self._load, self._from, self._until = load, warm_s, warm_s + seconds
        self._outcome = Outcome(seconds)
        self._times = self._random_numbers(load)
        before = random.getstate()
        random.seed(self._luck.random())  # for Admission, which draws Retry-After
        try:
            self._begin(load)
            self._go()
        finally:
            random.setstate(before)
        self._outcome.waiting /= seconds
        self._outcome.busy /= seconds * len(self._queues) * self._settings.workers
        return self._outcome

    def _begin(self, load: Load) -> None:
        if load.rate:
            self._at(next(self._times), self._arrive_at_random)
        for time_s in load.times:
            self._at(time_s, self._send, -1)
        for client in range(load.clients):
            self._at(self._luck.random(), self._send, client)

    def _go(self) -> None:
        while self._events and self._events[0][0] < self._until:
            time, _, what, given = heapq.heappop(self._events)
            self._account(time)
            self._now = time
            what(*given)
        self._account(self._until)

    def _account(self, time: float) -> None:
        """Add up the lengths of queues times their duration."""
        passed = time - max(self._now, self._from)
        if passed > 0:
            busy = len(self._idle) * self._settings.workers - sum(self._idle)
            self._outcome.waiting += passed * (sum(self._at_node) - busy)
            self._outcome.busy += passed * busy

    def _random_numbers(self, load: Load):
        """The seconds between two requests, drawn many at once."""
        while True:
            yield from self._draw.exponential(1 / load.rate, 4096)

    def _at(self, wait_s: float, what: Callable, *given) -> None:
        heapq.heappush(self._events, (self._now + wait_s, next(self._order), what, given))

    # What happens

    def _arrive_at_random(self) -> None:
        self._send(-1)
        self._at(next(self._times), self._arrive_at_random)

    def _send(self, client: int) -> None:
        request = _Request(self._now, client, self._choose())
        queue = self._queues[request.node]
        try:
            queue.check_room(INTERACTIVE, self._settings.deadline_s)
        except Problem as problem:
            return self._refuse(request, problem)
        if self._load.hit_share and self._luck.random() < self._load.hit_share:
            return self._at(self._load.hit_s, self._answered, request, None)
        queue.enter(_Entry(request=request, num_bytes=0, priority=INTERACTIVE, kind=KIND))
        self._at_node[request.node] += 1
        self._pump(request.node)

    def _choose(self) -> int:
        if len(self._queues) == 1:
            return 0
        if not self._least:
            return self._luck.randrange(len(self._queues))
        fewest = min(self._at_node)
        return self._luck.choice(
            [node for node, number in enumerate(self._at_node) if number == fewest]
        )

    def _refuse(self, request: _Request, problem: Problem) -> None:
        if self._now >= self._from:
            self._outcome.turned_away += 1
        if request.client >= 0:
            self._at(float(problem.headers()["retry-after"]), self._send, request.client)

    def _pump(self, node: int) -> None:
        """Give waiting requests to idle workers, except those past the deadline."""
        queue = self._queues[node]
        while self._idle[node] and (entry := queue.next()):
            request, waited = entry.request, self._now - entry.arrived
            if waited >= self._settings.deadline_s:
                queue.done(entry)
                self._leave(request)
                continue
            self._idle[node] -= 1
            # the same number as that of choice(), in a third of the time
            work_s = float(self._service_s[self._draw.integers(self._service_s.size)])
            self._at(
                min(work_s, self._settings.deadline_s - waited), self._done, entry, waited, work_s
            )

    def _done(self, entry: _Entry, waited: float, work_s: float) -> None:
        request = entry.request
        queue = self._queues[request.node]
        queue.done(entry)
        self._idle[request.node] += 1
        if waited + work_s < self._settings.deadline_s:
            queue.service_times.add(KIND, work_s)
            self._at_node[request.node] -= 1
            self._at(self._overhead_s, self._answered, request, waited)
        else:
            self._leave(request)
        self._pump(request.node)

    def _leave(self, request: _Request) -> None:
        """Too late."""
        self._at_node[request.node] -= 1
        if self._now >= self._from:
            self._outcome.late += 1
        if request.client >= 0:
            self._send(request.client)

    def _answered(self, request: _Request, waited: float | None) -> None:
        if self._now >= self._from:
            self._outcome.answered_s.append(self._now - request.sent)
            if waited is not None:
                self._outcome.waited_s.append(waited)
        if request.client >= 0:
            self._send(request.client)


# Formulas to compare it with


def erlang_c(rate: float, service_s: float, servers: int) -> float:
    """Return the share of requests that wait in an unbounded queue: M/M/c. Source: Erlang 1917."""
    load = rate * service_s
    last = load**servers / math.factorial(servers) / (1 - load / servers)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


def mm_wait_s(rate: float, service_s: float, servers: int) -> float:
    """Return the mean wait in M/M/c, in seconds."""
    return erlang_c(rate, service_s, servers) * service_s / (servers - rate * service_s)


def mg1_wait_s(rate: float, service_s: Sequence[float]) -> float:
    """Return the mean wait in M/G/1, in seconds. Source: Pollaczek and Khinchine."""
    times = np.asarray(service_s, float)
    return float(rate * np.mean(times**2) / (2 * (1 - rate * times.mean())))


def erlang_b(rate: float, service_s: float, servers: int) -> float:
    """Return the share of requests turned away if none may wait: M/G/c/c. Source: Erlang 1917."""
    load = rate * service_s
    terms = [load**k / math.factorial(k) for k in range(servers + 1)]
    return terms[-1] / sum(terms)
