"""How routes and jobs get work done: a queue in front, workers behind, and the rules between them.

A work item waits its turn (`admission`), is done by a worker (`pool`, `process`), and its reply
goes to the caller. An item whose worker dies is tried once more on another worker, a picture that
stops workers twice is refused, and a deadline ends the work itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from humanparse.service.budget import ByteBudget
from humanparse.service.problems import Problem, reported_problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import BACKGROUND, INTERACTIVE, Admission, Entry
from humanparse.service.work.pool import WorkerPool
from humanparse.service.work.process import WorkerDied, worker_command
from humanparse.service.work.quarantine import Quarantine
from humanparse.service.work.wire import Frame

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkItem:
    """What a worker should do.

    Attributes:
        head: Plain JSON values; "do" says what to do.
        blob: The picture's file, if there is one.
        digest: The SHA-256 of the picture in hex, or "".
    """

    head: dict[str, Any]
    blob: bytes = b""
    digest: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """Items of the same kind take about the same time."""
        return self.head["do"], self.head.get("model", "")


@dataclass(frozen=True)
class Reply:
    """A worker's reply to a work item.

    Attributes:
        head: Plain JSON values.
        blob: The finished body of the response.
        queued_ms: How long the item waited, in milliseconds.
        worked_ms: How long the worker took, in milliseconds.
    """

    head: dict[str, Any]
    blob: bytes
    queued_ms: float
    worked_ms: float


@dataclass(frozen=True)
class Status:
    """The state of the queue and the workers.

    Times are in seconds, and None where nothing is known. `rss_mb` is the memory of each worker, 0
    for one that is starting.
    """

    workers: int
    idle: int
    busy: int
    starting: int
    queued: int
    bytes_held: int
    mean_service_s: float
    predicted_wait_s: float
    last_success_age_s: float | None
    restarts: int
    crashes: int
    models: list[dict[str, Any]]
    rss_mb: list[float]
    last_reload_error: str


class Lease(Protocol):
    """A worker while it has one work item, as `WorkerPool` and `ray.replicas` provide it."""

    async def call(self, head: Mapping[str, Any], blob: bytes, timeout_s: float) -> Frame:
        """Have the item done; see `Worker.call`."""

    def kill(self, reason: str) -> None:
        """End the worker, whose state is unknown."""


class WorkerReport(Protocol):
    """What a running worker has reported."""

    @property
    def ready(self) -> Mapping[str, Any]:
        """What it reported when it was ready."""

    @property
    def last_success(self) -> float:
        """When it last replied without a problem, by time.monotonic."""

    @property
    def rss_mb(self) -> float:
        """Its resident memory, in MB."""


class WorkerSlot(Protocol):
    """The place of one worker in its pool."""

    @property
    def alive(self) -> bool:
        """Whether its worker is alive."""

    @property
    def worker(self) -> WorkerReport | None:
        """The worker; None while there is none."""


class Pool(Protocol):
    """Workers, as `WorkerPool` and `ray.replicas.Replicas` provide them; described there."""

    models: list[dict[str, Any]]
    restarts: int
    crashes: int

    @property
    def slots(self) -> Sequence[WorkerSlot]:
        """The places of the workers."""

    @property
    def last_reload_error(self) -> str:
        """Why the last reload failed, or ""."""

    @property
    def num_idle(self) -> int:
        """How many workers are idle."""

    @property
    def num_alive(self) -> int:
        """How many workers are alive."""

    async def start(self) -> None:
        """Start all workers, and return when they are ready."""

    async def stop(self) -> None:
        """End all workers."""

    async def reload(self) -> None:
        """Have all workers reload their models."""

    def take(self) -> Lease | None:
        """Return an idle worker, to be given back; None if all are busy."""

    def give_back(self, worker: Any) -> None:
        """Take back a worker that `take` returned."""


@dataclass(eq=False, kw_only=True)
class _Queued(Entry):
    """A work item in the queue or in work, and its caller's future.

    The future is also done once the caller has stopped waiting. `deadline` is on the loop's clock;
    it is infinite in the background, where `allowed_s` counts from when the work begins.
    """

    item: WorkItem
    reply: asyncio.Future[Reply]
    allowed_s: float
    deadline: float
    attempts: int = 0

    def left_s(self) -> float:
        """Time left for the work, in seconds."""
        return min(self.allowed_s, self.deadline - self.reply.get_loop().time())


class Dispatcher:
    """Workers with a queue in front.

    Args:
        settings: The service's settings.
        on_replaced: Called with the reason whenever a worker was replaced.
        command: The command that starts a worker, for tests.
        pool: Makes a replacement for `WorkerPool`, such as `humanparse.ray.replicas.Replicas`. It
            is given a function to call whenever a worker has become idle.

    Attributes:
        held: The bytes that all requests hold; the middleware adds those of request bodies.
    """

    def __init__(
        self,
        settings: Settings,
        on_replaced: Callable[[str], None] | None = None,
        command: Sequence[str] | None = None,
        pool: Callable[[Callable[[], None]], Pool] | None = None,
    ):
        self._settings = settings
        self._pool: Pool = (
            pool(self._pump)
            if pool
            else WorkerPool(settings, command or worker_command(), self._pump, on_replaced)
        )
        self._queue = Admission[_Queued](
            queue_size=settings.queue_size,
            max_wait_s=settings.max_wait_s,
            num_workers=settings.workers,
        )
        self.held = ByteBudget(settings.queue_max_mb * 1e6)
        self._holding: set[_Queued] = set()  # counted in `held` here, by no request
        self._quarantine = Quarantine()
        self._replies: set[asyncio.Future[Reply]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self._stopping = False

    def begin(self) -> None:
        """Begin to start all workers; `start` waits for them, and `stop` ends them."""
        self._starting = asyncio.create_task(self._pool.start())

    async def start(self) -> None:
        """Start all workers, unless they have been begun, and return when they are ready.

        Raises:
            ModelError: In one clear line, if they cannot be started; then none is left running.
        """
        if self._starting is None:
            self.begin()
        assert self._starting is not None  # `begin` sets it
        await self._starting
        if first := self._pool.slots[0].worker:
            self._queue.service_times.guess(first.ready.get("loaded_s", 1.0))

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, allow `grace_s` seconds for what was accepted, end all workers."""
        self._stopping = True
        if self._replies:
            await asyncio.wait(self._replies, timeout=grace_s)
        for reply in self._replies:
            _fail(reply, _stopping())
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._pool.stop()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def reload(self) -> None:
        """Reload the models, one worker after another.

        If they cannot be loaded, the old ones stay, and `Status.last_reload_error` says why.
        """
        await self._pool.reload()

    def check_room(self, priority: int = INTERACTIVE, deadline_s: float | None = None) -> None:
        """Check that `run` would accept a work item now.

        Args:
            priority: INTERACTIVE, BATCH or BACKGROUND.
            deadline_s: As for `run`.

        Raises:
            Problem: shutting_down or queue_full, if it would be turned away.
        """
        if self._stopping:
            raise _stopping()
        self._queue.num_workers = self._pool.num_alive
        self._queue.check_room(priority, self._allowed_s(deadline_s))

    async def run(
        self, item: WorkItem, *, priority: int = INTERACTIVE, deadline_s: float | None = None
    ) -> Reply:
        """Have a work item done.

        If the call is cancelled, a waiting item leaves the queue, and the reply to a running one is
        discarded.

        Args:
            item: What to do.
            priority: INTERACTIVE, BATCH or BACKGROUND.
            deadline_s: Seconds from now or, in the background, from when the work begins; None for
                settings.deadline_s.

        Returns:
            The worker's reply.

        Raises:
            Problem: queue_full, deadline_exceeded, worker_crashed, refused_image, shutting_down, or
                what the worker reports about the picture.
        """
        self._quarantine.check(item.digest)
        self.check_room(priority, deadline_s)
        entry = _queued(item, priority, self._allowed_s(deadline_s))
        timer = _alarm(entry)
        self._replies.add(entry.reply)
        if priority == BACKGROUND:
            self._hold(entry)  # it was read from disk, so no request counts its bytes
        try:
            self._queue.enter(entry)
            self._pump()
            return await entry.reply
        finally:
            if timer:
                timer.cancel()
            self._replies.discard(entry.reply)
            self._queue.withdraw(entry)
            if self._queue.is_running(entry):
                self._hold(entry)  # the caller is gone, but the worker is not done
            else:
                self._let_go(entry)

    def status(self) -> Status:
        """Return the current state of the queue and the workers."""
        workers = [slot.worker if slot.alive else None for slot in self._pool.slots]
        alive = [worker for worker in workers if worker]
        idle = self._pool.num_idle
        return Status(
            workers=len(workers),
            idle=idle,
            busy=len(alive) - idle,
            starting=len(workers) - len(alive),
            queued=self._queue.num_waiting,
            bytes_held=self._queue.bytes_held,
            mean_service_s=self._queue.service_times.mean_s,
            predicted_wait_s=self._queue.predicted_wait_s(),
            last_success_age_s=min(
                (time.monotonic() - worker.last_success for worker in alive), default=None
            ),
            restarts=self._pool.restarts,
            crashes=self._pool.crashes,
            models=self._pool.models,
            rss_mb=[worker.rss_mb if worker else 0.0 for worker in workers],
            last_reload_error=self._pool.last_reload_error,
        )

    # From the queue to a worker and back

    def _pump(self) -> None:
        """Give waiting entries to idle workers."""
        while self._queue.num_waiting and (worker := self._pool.take()):
            entry = self._queue.next()
            assert entry is not None  # something is waiting
            serving = asyncio.create_task(self._serve(worker, entry))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _serve(self, worker: Lease, entry: _Queued) -> None:
        try:
            if not entry.reply.done() and entry.left_s() > 0:
                await self._work(worker, entry)
        finally:
            self._queue.done(entry)
            if entry.reply.done():  # otherwise it will be tried again
                self._let_go(entry)
            self._pool.give_back(worker)
            self._pump()

    async def _work(self, worker: Lease, entry: _Queued) -> None:
        """Let the worker do it, and pass on the reply or put the entry back into the queue."""
        item, start = entry.item, time.monotonic()
        entry.attempts += 1
        try:
            self._quarantine.check(item.digest)  # it may have stopped two workers since it came
            head, body = await worker.call(item.head, item.blob, entry.left_s())
        except Problem as refusal:
            _fail(entry.reply, refusal)
        except TimeoutError:
            # otherwise it was the queue that took the time
            if time.monotonic() - start > self._settings.deadline_s / 2:
                self._quarantine.strike(item.digest)
            _fail(entry.reply, _too_late(entry))
        except WorkerDied as death:
            self._crashed(entry, death)
        except Exception:  # a bug of ours must not leave anybody waiting for ever
            log.exception("unexpected error while a worker handled a request")
            worker.kill("mistake")
            _fail(entry.reply, _unforeseen())
        else:
            self._quarantine.clear(item.digest)
            self._deliver(entry, head, body, start)

    def _deliver(self, entry: _Queued, head: dict[str, Any], body: bytes, start: float) -> None:
        worked_s = time.monotonic() - start
        if "problem" in head:
            _fail(entry.reply, reported_problem(head["problem"]))
            return
        if entry.item.head["do"] == "parse":
            self._queue.service_times.add(entry.kind, worked_s)
        if not entry.reply.done():
            queued_ms, worked_ms = (start - entry.arrived) * 1000, worked_s * 1000
            entry.reply.set_result(Reply(head, body, round(queued_ms, 2), round(worked_ms, 2)))

    def _crashed(self, entry: _Queued, death: WorkerDied) -> None:
        """Try once more on another worker, unless the picture is clearly to blame by now."""
        digest = entry.item.digest
        if not death.from_outside:
            self._quarantine.strike(digest)
        if entry.reply.done():
            return
        if entry.attempts < 2 and not self._quarantine.refused(digest):
            self._queue.again(entry)
        else:
            _fail(
                entry.reply,
                Problem(
                    "worker_crashed",
                    "the parser stopped while it worked on this picture",
                    retry_after_s=1,
                ),
            )

    def _hold(self, entry: _Queued) -> None:
        if entry not in self._holding:
            self._holding.add(entry)
            self.held.num_bytes += entry.num_bytes

    def _let_go(self, entry: _Queued) -> None:
        if entry in self._holding:
            self._holding.remove(entry)
            self.held.num_bytes -= entry.num_bytes

    def _allowed_s(self, deadline_s: float | None) -> float:
        return self._settings.deadline_s if deadline_s is None else deadline_s


def _queued(item: WorkItem, priority: int, allowed_s: float) -> _Queued:
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[Reply] = loop.create_future()
    # asyncio would log an exception that nobody retrieves because the caller has gone
    reply.add_done_callback(lambda done: done.cancelled() or done.exception())
    return _Queued(
        num_bytes=len(item.blob),
        priority=priority,
        kind=item.kind,
        item=item,
        reply=reply,
        allowed_s=allowed_s,
        deadline=float("inf") if priority == BACKGROUND else loop.time() + allowed_s,
    )


def _alarm(entry: _Queued) -> asyncio.TimerHandle | None:
    """Fail the caller's future at the deadline."""
    if entry.deadline == float("inf"):
        return None
    return entry.reply.get_loop().call_at(entry.deadline, _fail, entry.reply, _too_late(entry))


def _fail(reply: asyncio.Future[Reply], problem: Problem) -> None:
    if not reply.done():
        reply.set_exception(problem)


def _stopping() -> Problem:
    return Problem(
        "shutting_down",
        "the service is stopping; send the request again in a moment",
        retry_after_s=1,
    )


def _too_late(entry: _Queued) -> Problem:
    return Problem(
        "deadline_exceeded",
        f"the request took longer than {entry.allowed_s:g} s; "
        "send a smaller picture, or try again later",
    )


def _unforeseen() -> Problem:
    return Problem("internal_error", "the parser failed unexpectedly")
