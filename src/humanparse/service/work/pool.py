"""The number of workers that was asked for, ready: when one ends, another takes its place.

The replacement starts at once, or after a pause that grows while new workers keep ending early. A
worker that has done enough, or holds too much memory, goes on working until its successor is ready.
So do all workers when the models are reloaded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from humanparse.errors import ModelError
from humanparse.service.settings import Settings
from humanparse.service.work.process import Worker, WorkerDied

PROBE_S = 10  # time limit for a worker to parse a tiny picture
EARLY_S = 1  # a worker that did nothing and ended within this time counts as not started
# settings that are options of HumanParser
MODEL_OPTIONS = ("engine", "precision", "device", "threads", "max_megapixels")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

log = logging.getLogger(__name__)


def hello(settings: Settings) -> dict[str, Any]:
    """Return what a new worker is told: which models to load, and with which options."""
    return {
        "models": list(settings.models),
        "options": {name: getattr(settings, name) for name in MODEL_OPTIONS},
    }


@dataclass
class Slot:
    """The place of one worker.

    Attributes:
        worker: The worker that holds it.
        renewing: Whether a successor is being started.
        failures: How many workers in a row ended early.
    """

    worker: Worker | None = None
    renewing: bool = False
    failures: int = 0

    @property
    def alive(self) -> bool:
        """Whether its worker is alive."""
        return self.worker is not None and self.worker.alive

    @property
    def pause_s(self) -> float:
        """How long to wait before the next start, in seconds."""
        return (
            min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failures - 1, 10))
            if self.failures
            else 0.0
        )


class WorkerPool:
    """Keeps `settings.workers` workers ready.

    Args:
        settings: The service's settings.
        command: The command that starts a worker.
        on_idle: Called whenever a worker may be taken.
        on_replaced: Called with the reason whenever a worker was replaced.

    Attributes:
        slots: The places of the workers.
        models: What the newest worker reports about its models.
        restarts: How many workers were replaced.
        crashes: How many workers ended by themselves.
        last_reload_error: Why the last reload failed, or "".
    """

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str],
        on_idle: Callable[[], None],
        on_replaced: Callable[[str], None] | None = None,
    ):
        self.slots = [Slot() for _ in range(settings.workers)]
        self.models: list[dict[str, Any]] = []
        self.restarts = 0
        self.crashes = 0
        self.last_reload_error = ""
        self._settings = settings
        self._command = command
        self._on_idle = on_idle
        self._on_replaced = on_replaced
        self._idle: deque[Worker] = deque()
        # also those that are still loading, and those that are about to end
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # For the dispatcher

    def take(self) -> Worker | None:
        """Return an idle worker, to be given back; None if all are busy."""
        while self._idle:
            worker = self._idle.popleft()
            if worker.alive:
                return worker
        return None

    def give_back(self, worker: Worker) -> None:
        """Take back a worker whose work is done, successfully or not."""
        slot = self._slot_of(worker)
        if slot is None:  # its successor has taken its place
            self._spawn(worker.end())
        elif not worker.alive:
            self._renew_soon(slot, worker.killed_for or "crashed")
        elif self._is_due(worker):
            self._spawn(self._probe(worker))
        else:
            if reason := self._worn(worker):
                self._renew_soon(slot, reason)
            self._offer(worker)

    @property
    def num_idle(self) -> int:
        """How many workers are idle."""
        return sum(worker.alive for worker in self._idle)

    @property
    def num_alive(self) -> int:
        """How many workers are alive."""
        return sum(slot.alive for slot in self.slots)

    # From start to stop

    async def start(self) -> None:
        """Start all workers, and return when they are ready.

        Raises:
            ModelError: If one cannot be started; then none is left running.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for slot in self.slots:
                    group.create_task(self._fill(slot))
        except BaseExceptionGroup as failures:  # the others fail for the same reason
            await self.stop()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.stop()
            raise
        self._spawn(self._probe_idle())

    async def stop(self) -> None:
        """End all workers, whatever they are doing."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self._workers))

    async def reload(self) -> None:
        """Replace all workers, so that they reload the models.

        If the first new worker cannot load them, all old ones stay; see `last_reload_error`.
        """
        if task := self._spawn(self._reload()):
            await asyncio.wait({task})

    async def _reload(self) -> None:
        try:
            new = await self._start()
        except ModelError as error:
            self.last_reload_error = str(error)
            log.error("the models cannot be reloaded, the old ones stay: %s", error)
            return
        self.last_reload_error = ""
        self._install(self.slots[0], new, "reload")
        for slot in self.slots[1:]:
            self._install(slot, await self._start_patiently(slot), "reload")

    async def _fill(self, slot: Slot) -> None:
        self._install(slot, await self._start())

    async def _start(self) -> Worker:
        worker = await Worker.spawn(self._command)
        self._workers.add(worker)
        worker.life.add_done_callback(lambda _: self._ended(worker))
        await worker.load(hello(self._settings), self._settings.worker_start_s)
        return worker

    async def _start_patiently(self, slot: Slot) -> Worker:
        """Try until a worker starts, with growing pauses."""
        while True:
            await asyncio.sleep(slot.pause_s)
            try:
                return await self._start()
            except ModelError as error:
                slot.failures += 1
                log.error("%s; trying again in %.1f s", error, slot.pause_s)

    def _install(self, slot: Slot, new: Worker, reason: str = "") -> None:
        old, slot.worker = slot.worker, new
        self.models = new.ready.get("models", [])
        if old is not None:
            self.restarts += 1
            log.info("worker %d replaces worker %d: %s", new.pid, old.pid, reason)
            if self._on_replaced:
                self._on_replaced(reason)
            if old in self._idle:  # otherwise it ends when it is given back
                self._idle.remove(old)
                self._spawn(old.end())
        self._offer(new)

    def _offer(self, worker: Worker) -> None:
        self._idle.append(worker)
        self._on_idle()

    # Replacing workers

    def _ended(self, worker: Worker) -> None:
        """The worker's process has ended, for whatever reason."""
        self._workers.discard(worker)
        if worker.ready and not worker.killed_for:
            self.crashes += 1
            log.error("worker %d ended: %s", worker.pid, worker.death)
        if slot := self._slot_of(worker):
            early = not worker.num_tasks and time.monotonic() - worker.ready_at < EARLY_S
            slot.failures = slot.failures + 1 if early else 0
            self._renew_soon(slot, worker.killed_for or "crashed")

    def _worn(self, worker: Worker) -> str:
        """Why a working worker should be replaced; "" if it should not."""
        if worker.num_tasks >= self._settings.worker_max_requests:
            return "requests"
        return "memory" if worker.rss_mb > self._settings.worker_max_memory_mb else ""

    def _renew_soon(self, slot: Slot, reason: str) -> None:
        if not slot.renewing:
            slot.renewing = True
            self._spawn(self._renew(slot, reason))

    async def _renew(self, slot: Slot, reason: str) -> None:
        old = slot.worker
        try:
            new = await self._start_patiently(slot)
        finally:
            slot.renewing = False
        if slot.worker is old or not slot.alive:
            self._install(slot, new, reason)
        else:  # a reload has replaced it already
            await new.end()

    async def _probe_idle(self) -> None:
        """Regularly let idle workers parse a tiny picture, one after another."""
        while True:
            await asyncio.sleep(self._settings.probe_s / 2)
            for worker in list(self._idle):
                if worker in self._idle and self._is_due(worker):
                    self._idle.remove(worker)
                    await self._probe(worker)

    def _is_due(self, worker: Worker) -> bool:
        """Whether it has parsed nothing for probe_s: it was idle, or received no valid picture."""
        return time.monotonic() - worker.last_success >= self._settings.probe_s

    async def _probe(self, worker: Worker) -> None:
        try:
            answer, _ = await worker.call({"do": "probe"}, b"", PROBE_S)
            if "problem" in answer:
                worker.kill("probe")
        except (TimeoutError, WorkerDied) as error:
            log.error(
                "worker %d did not parse a tiny picture: %s", worker.pid, str(error) or "too slow"
            )
        finally:
            self.give_back(worker)

    def _slot_of(self, worker: Worker) -> Slot | None:
        return next((slot for slot in self.slots if slot.worker is worker), None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        if self._stopping:
            work.close()
            return None
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
