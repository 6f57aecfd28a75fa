"""As many workers as were asked for, ready: however one ends, another takes its place.

At once, or after a pause that grows while new ones keep ending early. A worker that has done
enough, or holds too much memory, works on until its successor is ready, and so do all when the
models are loaded anew.
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

PROBE_S = 10  # for a worker to parse a tiny picture
EARLY_S = 1  # one that lives no longer, and did nothing, counts as one that did not start
# settings that are HumanParser's options
MODEL_OPTIONS = ("engine", "precision", "device", "threads", "max_megapixels")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

log = logging.getLogger(__name__)


@dataclass
class Slot:
    """The place of one worker: who holds it, whether a successor is on its way, how often in a row
    one ended early."""

    worker: Worker | None = None
    renewing: bool = False
    failures: int = 0

    @property
    def alive(self) -> bool:
        return self.worker is not None and self.worker.alive

    @property
    def pause_s(self) -> float:
        return (
            min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failures - 1, 10))
            if self.failures
            else 0.0
        )


class WorkerPool:
    """Keeps `settings.workers` workers ready. `on_idle` is called whenever one may be taken;
    metrics counts restarts."""

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str],
        on_idle: Callable[[], None],
        metrics: Any = None,
    ):
        self.slots = [Slot() for _ in range(settings.workers)]
        self.models: list[dict[str, Any]] = []  # what the newest worker says of its models
        self.restarts = 0
        self.crashes = 0
        self.last_reload_error = ""
        self._settings = settings
        self._command = command
        self._on_idle = on_idle
        self._metrics = metrics
        self._idle: deque[Worker] = deque()
        # also those that still load, and those that are about to end
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # For who has work

    def take(self) -> Worker | None:
        """An idle worker, to be given back; None if all are busy."""
        while self._idle:
            worker = self._idle.popleft()
            if worker.alive:
                return worker
        return None

    def give_back(self, worker: Worker) -> None:
        """The work is done, well or badly."""
        slot = self._slot_of(worker)
        if slot is None:  # its successor is there
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
        return sum(worker.alive for worker in self._idle)

    @property
    def num_alive(self) -> int:
        return sum(slot.alive for slot in self.slots)

    # From start to stop

    async def start(self) -> None:
        """All workers are ready. Raises ModelError if one cannot be; then none is left."""
        try:
            async with asyncio.TaskGroup() as group:
                for slot in self.slots:
                    group.create_task(self._fill(slot))
        except BaseExceptionGroup as failures:  # the others fail in the same way
            await self.stop()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.stop()
            raise
        self._spawn(self._probe_idle())

    async def stop(self) -> None:
        """End all workers, whatever they do; none is left."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self._workers))

    async def reload(self) -> None:
        """Replace all workers, so that they load the models anew; if the first cannot, all stay:
        see `last_reload_error`."""
        if task := self._spawn(self._reload()):
            await asyncio.wait({task})

    async def _reload(self) -> None:
        try:
            new = await self._start()
        except ModelError as error:
            self.last_reload_error = str(error)
            log.error("the models cannot be loaded anew, the old ones stay: %s", error)
            return
        self.last_reload_error = ""
        self._install(self.slots[0], new, "reload")
        for slot in self.slots[1:]:
            self._install(slot, await self._start_patiently(slot), "reload")

    async def _fill(self, slot: Slot) -> None:
        self._install(slot, await self._start())

    async def _start(self) -> Worker:
        chosen = self._settings
        hello = {
            "models": list(chosen.models),
            "options": {name: getattr(chosen, name) for name in MODEL_OPTIONS},
        }
        worker = await Worker.spawn(self._command)
        self._workers.add(worker)
        worker.life.add_done_callback(lambda _: self._ended(worker))
        await worker.load(hello, chosen.worker_start_s)
        return worker

    async def _start_patiently(self, slot: Slot) -> Worker:
        """Try until one starts, with pauses that grow."""
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
            log.info("worker %d takes the place of worker %d: %s", new.pid, old.pid, reason)
            if self._metrics:
                self._metrics.worker_restarted(reason)
            if old in self._idle:  # else it ends when it is given back
                self._idle.remove(old)
                self._spawn(old.end())
        self._offer(new)

    def _offer(self, worker: Worker) -> None:
        self._idle.append(worker)
        self._on_idle()

    # Successors

    def _ended(self, worker: Worker) -> None:
        """The worker's process is gone, for whatever reason."""
        self._workers.discard(worker)
        if worker.ready and not worker.killed_for:
            self.crashes += 1
            log.error("worker %d ended: %s", worker.pid, worker.death)
        if slot := self._slot_of(worker):
            early = not worker.num_tasks and time.monotonic() - worker.ready_at < EARLY_S
            slot.failures = slot.failures + 1 if early else 0
            self._renew_soon(slot, worker.killed_for or "crashed")

    def _worn(self, worker: Worker) -> str:
        """Why a worker that still works is to be replaced; "" if it is not."""
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
        else:  # a reload was faster
            await new.end()

    async def _probe_idle(self) -> None:
        """Now and then let workers that have nothing to do parse a tiny picture, one after the
        other."""
        while True:
            await asyncio.sleep(self._settings.probe_s / 2)
            for worker in list(self._idle):
                if worker in self._idle and self._is_due(worker):
                    self._idle.remove(worker)
                    await self._probe(worker)

    def _is_due(self, worker: Worker) -> bool:
        """Whether it has parsed nothing for some time: it was idle, or whatever came was no
        picture."""
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
