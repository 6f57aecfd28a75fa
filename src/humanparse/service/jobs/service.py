"""Jobs as the routes see them: made, looked at, watched, cancelled, deleted. They outlive the
server."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from humanparse.service.clock import SteadyClock
from humanparse.service.jobs.files import JobFiles, remove_strangers
from humanparse.service.jobs.quota import MB, Room
from humanparse.service.jobs.runner import Run, Runner
from humanparse.service.jobs.store import ENDED, OPEN, Item, Job, Store
from humanparse.service.jobs.store_thread import Keeper
from humanparse.service.problems import Problem, storage_problem
from humanparse.service.settings import Settings

T = TypeVar("T")

TEND_S = 2.0  # the folder may have become free, or a job old
STOP_S = 5.0  # for pictures in work when the service stops; they stay pending otherwise
WATCH_S = 0.2  # changes are told at most that often
HEARTBEAT_S = 15.0


@dataclass
class Incoming:
    """An upload on its way to be a job. kept: it is one, so its files stay."""

    id: str
    files: JobFiles
    kept: bool = False


class Jobs:
    """run: does one task (Dispatcher.run). start() before, stop() after; neither fails for want of
    a disk.

    counts: jobs by state. problems: what does not work, for people.
    """

    def __init__(self, settings: Settings, run: Run, metrics: Any = None):
        self.counts: dict[str, int] = {}
        self._settings = settings
        self._keeper = Keeper(settings.folder)
        self._clock = SteadyClock(settings.folder / "clock.json")
        self.room = Room(settings.jobs_max_mb * MB)
        self._runner = Runner(
            run, self._keeper, settings, self._clock.now, self._tell, settings.workers, self.room
        )
        self._uploads: set[str] = set()
        self._changed = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        # until then, nobody may touch the jobs of the server before this one
        self._continued = False
        if metrics is not None:
            metrics.bind(jobs_stats=lambda: self.counts)

    @property
    def problems(self) -> list[str]:
        return [
            text
            for text in (self._keeper.trouble, self._runner.trouble, *self._keeper.notes)
            if text
        ]

    async def start(self) -> None:
        """Continue what was at work when the service ended."""
        await self._tend()
        self._tending = asyncio.create_task(self._tend_now_and_then())

    async def stop(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        await self._runner.stop(min(STOP_S, self._settings.drain_s))
        self._tell()
        await self._keeper.close()

    # Making jobs

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[Incoming]:
        """A folder for an upload, which is gone afterwards unless it became a job.

        Raises Problem not_ready, queue_full where there are as many jobs as may be, and
        storage_full.
        """
        await self._check_room()
        self.room.check()
        id = secrets.token_hex(16)
        incoming = Incoming(id, JobFiles(self._keeper.root, id))
        self._uploads.add(id)
        try:
            await asyncio.to_thread(incoming.files.create)
            yield incoming
        except OSError as error:
            raise storage_problem(error) from error
        finally:
            self._uploads.discard(id)
            if not incoming.kept:
                self.room.forget(id)
                await _even_if_cancelled(asyncio.to_thread(incoming.files.remove))

    async def create(
        self, incoming: Incoming, options: dict[str, Any], items: Sequence[Item]
    ) -> Job:
        """The job of an upload: of its pictures, or without items, of its archive. Durable when
        this returns."""
        await asyncio.to_thread(incoming.files.make_durable)
        return await _even_if_cancelled(self._create(incoming, options, items))

    async def _create(
        self, incoming: Incoming, options: dict[str, Any], items: Sequence[Item]
    ) -> Job:
        created = time.time()
        await self._do(lambda store: store.add(incoming.id, options, items, created))
        incoming.kept = True
        job = Job(
            incoming.id, "queued", options, packed=not items, total=len(items), created=created
        )
        self._runner.add(job, items)
        return job

    async def _check_room(self) -> None:
        number = sum((await self._do(lambda store: store.counts())).values()) + len(self._uploads)
        if number >= self._settings.max_jobs:
            raise Problem(
                "queue_full",
                f"{number} jobs are kept, as many as may be; delete some, or wait until old ones expire",
                60,
            )

    # Looking at jobs

    async def get(self, id: str) -> Job:
        """Raises Problem not_found, also for a job that is too old but not deleted yet."""
        job = await self._do(lambda store: store.job(id))
        if job is None or self.rest_s(job) == 0:
            raise Problem(
                "not_found", "there is no such job; it may have been deleted, or have expired"
            )
        return job

    async def all(self) -> list[Job]:
        """The oldest first."""
        return [job for job in await self._do(lambda store: store.jobs()) if self.rest_s(job) != 0]

    async def items(self, id: str) -> list[Item]:
        return await self._do(lambda store: store.items(id))

    async def item(self, id: str, number: int) -> Item:
        item = await self._do(lambda store: store.item(id, number))
        if item is None:
            raise Problem("not_found", f"the job has no picture {number}; the first one is 0")
        return item

    def files(self, id: str) -> JobFiles:
        return JobFiles(self._keeper.root, id)

    def rest_s(self, job: Job) -> float | None:
        """Seconds until a job expires; None for one that has not ended."""
        return (
            None
            if job.ended is None
            else max(0.0, job.ended + self._settings.job_age_s - self._clock.now())
        )

    async def watch(self, id: str) -> AsyncIterator[Job | None]:
        """A job at each change, until it has ended, is deleted or the service stops; None every
        second without a change."""
        shown = None
        while self._tending is not None and not self._tending.done():
            changed = self._changed
            try:
                job = await self.get(id)
            except Problem:
                return
            if job != shown:
                yield job
                shown = job
            if job.state in ENDED:
                return
            try:
                async with asyncio.timeout(1.0):
                    await changed.wait()
            except TimeoutError:
                yield None
            else:
                await asyncio.sleep(WATCH_S)

    # Ending jobs

    async def cancel(self, id: str) -> Job:
        """End a job; what is done stays. Raises Problem conflict for one that has ended
        otherwise."""
        job = await self.get(id)
        if job.state in ("done", "failed"):
            raise Problem("conflict", f"the job is {job.state} already")
        await self._do(lambda store: store.end(id, "cancelled", self._clock.now()))
        await self._runner.drop(id)
        self._tell()
        return await self.get(id)

    async def delete(self, id: str) -> None:
        """A job and its files, whatever its state."""
        await self.get(id)
        await _even_if_cancelled(self._delete(id))
        self._tell()

    async def _delete(self, id: str) -> None:
        await self._do(lambda store: store.delete(id))
        await self._runner.drop(id)
        await asyncio.to_thread(self.files(id).remove)
        self.room.forget(id)

    # In the background

    async def _tend_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            await self._tend()

    async def _tend(self) -> None:
        """Open what can be opened now, delete what is too old, and note the time."""
        try:
            if not self._continued:
                await self._continue()
            if self._continued:
                before = self._clock.now() - self._settings.job_age_s
                for id in await self._do(lambda store: store.expired(before)):
                    await self._delete(id)
                self.counts = await self._do(lambda store: store.counts())
                await asyncio.to_thread(self._clock.save)
        except (Problem, OSError):
            pass  # the keeper has noted it, and it is tried again soon

    async def _continue(self) -> None:
        """Take up the jobs that a server before this one left."""
        if not self._keeper.is_open and not await self._keeper.open():
            return
        jobs = await self._keeper.do(lambda store: store.jobs())
        items = {
            job.id: await self._keeper.do(lambda store, id=job.id: store.items(id))
            for job in jobs
            if job.state in OPEN
        }
        await asyncio.to_thread(remove_strangers, self._keeper.root, {job.id for job in jobs})
        for job in jobs:
            await asyncio.to_thread(self.room.count, job.id, self.files(job.id).folder)
        self._continued = True
        for job in jobs:
            if job.id in items:
                self._runner.add(job, [item for item in items[job.id] if item.state == "pending"])

    async def _do(self, work: Callable[[Store], T]) -> T:
        """Raises Problem not_ready or storage_full."""
        if not self._continued:
            raise Problem("not_ready", self._keeper.trouble or "the jobs are being opened", TEND_S)
        return await self._keeper.do(work)

    def _tell(self) -> None:
        """Wake those who watch."""
        self._changed.set()
        self._changed = asyncio.Event()


async def _even_if_cancelled(work: Awaitable[T]) -> T:
    """Do to its end what must not be cut off: half a job would be worse than none."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
