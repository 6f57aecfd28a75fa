"""The one thing that routes and jobs use to get work done: a queue in front, workers behind, and
the rules between.

A task waits its turn (`admission`), is done by a worker (`pool`, `workers`), and its answer goes to
whoever asked. A task whose worker dies is tried once more, on another; a picture that stops workers
twice is refused; a deadline ends the work itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from humanparse.service.held import Held
from humanparse.service.problems import KINDS, Problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import BACKGROUND, INTERACTIVE, Admission, Entry
from humanparse.service.work.pool import WorkerPool
from humanparse.service.work.process import Worker, WorkerDied, worker_command
from humanparse.service.work.quarantine import Quarantine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a worker is to do. head: plain JSON values, "do" says what; blob: the picture; digest:
    its SHA-256 in hex, or ""."""

    head: dict[str, Any]
    blob: bytes = b""
    digest: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """Tasks of one kind take about as long."""
        return self.head["do"], self.head.get("model", "")


@dataclass(frozen=True)
class Reply:
    """What came back. head: plain JSON values; blob: the finished answer; times in milliseconds."""

    head: dict[str, Any]
    blob: bytes
    queued_ms: float
    worked_ms: float


@dataclass(frozen=True)
class Status:
    """How things stand. Times in seconds, None where nothing can be said; rss_mb: of each worker, 0
    for one that is starting."""

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


@dataclass(eq=False)
class Order:
    """A task on its way, and the answer that somebody waits for; it is done, too, when nobody waits
    any longer.

    deadline: on the loop's clock; infinite in the background, where `allowed_s` counts from when
    the work begins.
    """

    task: Task
    allowed_s: float
    deadline: float
    answer: asyncio.Future[Reply]
    attempts: int = 0

    def left_s(self) -> float:
        """Time for the work, in seconds."""
        return min(self.allowed_s, self.deadline - self.answer.get_loop().time())


class Dispatcher:
    """Workers with a queue in front.

    command: what to start as a worker, for tests; pool: makes what is there in place of processes
    of this machine, given what to call when it has become idle (`humanparse.ray.replicas`).
    held: the bytes that all requests hold, for the edge to count in as well.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Any = None,
        command: Sequence[str] | None = None,
        pool: Callable[[Callable[[], None]], Any] | None = None,
    ):
        self._settings = settings
        self._pool = (
            pool(self._pump)
            if pool
            else WorkerPool(settings, command or worker_command(), self._pump, metrics)
        )
        self._queue = Admission(
            queue_size=settings.queue_size,
            max_wait_s=settings.max_wait_s,
            num_workers=settings.workers,
        )
        self.held = Held(settings.queue_max_mb * 1e6)
        self._holding: set[Entry] = set()  # whose bytes are counted in `held` here, by no request
        self._quarantine = Quarantine()
        self._answers: set[asyncio.Future[Reply]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        """All workers are ready. Raises ModelError, with one clear line, if they cannot be; then
        none is left."""
        await self._pool.start()
        self._queue.service_times.guess(self._pool.slots[0].worker.ready.get("loaded_s", 1.0))

    async def stop(self, grace_s: float) -> None:
        """Take nothing more, finish what was taken within `grace_s` seconds, end all workers."""
        self._stopping = True
        if self._answers:
            await asyncio.wait(self._answers, timeout=grace_s)
        for answer in self._answers:
            _fail(answer, _stopping())
        await self._pool.stop()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def reload(self) -> None:
        """Load the models anew, one worker after the other; if they cannot be loaded, the old ones
        stay (`Status` says so)."""
        await self._pool.reload()

    def check_room(self, priority: int = INTERACTIVE, deadline_s: float | None = None) -> None:
        """Raises the Problem with which `run` would turn a task away: shutting_down or
        queue_full."""
        if self._stopping:
            raise _stopping()
        self._queue.num_workers = self._pool.num_alive
        self._queue.check_room(priority, self._allowed_s(deadline_s))

    async def run(
        self, task: Task, *, priority: int = INTERACTIVE, deadline_s: float | None = None
    ) -> Reply:
        """Have a task done. deadline_s: from now, or, in the background, from when the work begins;
        settings.deadline_s if None.

        Raises Problem queue_full, deadline_exceeded, worker_crashed, refused_image, shutting_down,
        or what the worker said of the picture. Cancelled while it waits, the task leaves the queue;
        while it runs, its answer is dropped.
        """
        self._quarantine.check(task.digest)
        self.check_room(priority, deadline_s)
        order = _order(task, priority, self._allowed_s(deadline_s))
        entry = Entry(order, len(task.blob), priority, task.kind)
        timer = _alarm(order)
        self._answers.add(order.answer)
        if priority == BACKGROUND:
            self._hold(entry)  # it was read from disk: no request counts it
        try:
            self._queue.enter(entry)
            self._pump()
            return await order.answer
        finally:
            if timer:
                timer.cancel()
            self._answers.discard(order.answer)
            self._queue.withdraw(entry)
            if self._queue.is_running(entry):
                self._hold(entry)  # nobody waits any longer, but the worker is not done
            else:
                self._let_go(entry)

    def status(self) -> Status:
        """How things stand now."""
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
        """Bring together those who wait and those who are idle."""
        while self._queue.num_waiting and (worker := self._pool.take()):
            serving = asyncio.create_task(self._serve(worker, self._queue.next()))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _serve(self, worker: Worker, entry: Entry) -> None:
        order: Order = entry.item
        try:
            if not order.answer.done() and order.left_s() > 0:
                await self._work(worker, entry)
        finally:
            self._queue.done(entry)
            if order.answer.done():  # else it is to be tried again
                self._let_go(entry)
            self._pool.give_back(worker)
            self._pump()

    async def _work(self, worker: Worker, entry: Entry) -> None:
        """Let the worker do it, and answer; or let it wait once more."""
        order, task, start = entry.item, entry.item.task, time.monotonic()
        order.attempts += 1
        try:
            self._quarantine.check(task.digest)  # it may have stopped two since it came
            head, body = await worker.call(task.head, task.blob, order.left_s())
        except Problem as refusal:
            _fail(order.answer, refusal)
        except TimeoutError:
            # else it was the queue that took the time
            if time.monotonic() - start > self._settings.deadline_s / 2:
                self._quarantine.strike(task.digest)
            _fail(order.answer, _too_late(order))
        except WorkerDied as death:
            self._crashed(entry, death)
        except Exception:  # nobody shall wait for ever for a mistake of ours
            log.exception("a task failed in a way that was not foreseen")
            worker.kill("mistake")
            _fail(order.answer, _unforeseen())
        else:
            self._quarantine.clear(task.digest)
            self._answer(entry, head, body, start)

    def _answer(self, entry: Entry, head: dict[str, Any], body: bytes, start: float) -> None:
        order, worked_s = entry.item, time.monotonic() - start
        if "problem" in head:
            _fail(order.answer, _reported(head["problem"]))
            return
        if order.task.head["do"] == "parse":
            self._queue.service_times.add(entry.kind, worked_s)
        if not order.answer.done():
            order.answer.set_result(
                Reply(
                    head, body, round((start - entry.arrived) * 1000, 2), round(worked_s * 1000, 2)
                )
            )

    def _crashed(self, entry: Entry, death: WorkerDied) -> None:
        """Try once more on another worker, unless it is clear by now that the picture is to
        blame."""
        order: Order = entry.item
        if not death.from_outside:
            self._quarantine.strike(order.task.digest)
        if order.answer.done():
            return
        if order.attempts < 2 and not self._quarantine.refused(order.task.digest):
            self._queue.again(entry)
        else:
            _fail(
                order.answer,
                Problem(
                    "worker_crashed",
                    "the parser stopped in the middle of this picture",
                    retry_after_s=1,
                ),
            )

    def _hold(self, entry: Entry) -> None:
        if entry not in self._holding:
            self._holding.add(entry)
            self.held.num_bytes += entry.num_bytes

    def _let_go(self, entry: Entry) -> None:
        if entry in self._holding:
            self._holding.remove(entry)
            self.held.num_bytes -= entry.num_bytes

    def _allowed_s(self, deadline_s: float | None) -> float:
        return self._settings.deadline_s if deadline_s is None else deadline_s


def _order(task: Task, priority: int, allowed_s: float) -> Order:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Reply] = loop.create_future()
    # nobody is left to hear it: no complaint
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    return Order(
        task, allowed_s, float("inf") if priority == BACKGROUND else loop.time() + allowed_s, answer
    )


def _alarm(order: Order) -> asyncio.TimerHandle | None:
    """At the deadline, whoever waits is told so."""
    if order.deadline == float("inf"):
        return None
    return order.answer.get_loop().call_at(order.deadline, _fail, order.answer, _too_late(order))


def _fail(answer: asyncio.Future[Reply], problem: Problem) -> None:
    if not answer.done():
        answer.set_exception(problem)


def _stopping() -> Problem:
    return Problem(
        "shutting_down", "the service is stopping; send it again in a moment", retry_after_s=1
    )


def _too_late(order: Order) -> Problem:
    return Problem(
        "deadline_exceeded",
        f"it took longer than {order.allowed_s:g} s; send a smaller picture, or try again later",
    )


def _unforeseen() -> Problem:
    return Problem("internal_error", "the parser failed in a way that was not foreseen")


def _reported(problem: Any) -> Problem:
    """The problem that a worker tells of; a worker may say anything."""
    if not isinstance(problem, dict) or problem.get("code") not in KINDS:
        return _unforeseen()
    return Problem(problem["code"], str(problem.get("detail", "")))
