"""`Jobs` creates, shows, watches, cancels and deletes jobs, which survive a server restart."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from humanparse.service.clock import SteadyClock
from humanparse.service.jobs.files import JobFiles, remove_strangers
from humanparse.service.jobs.quota import MB, Quota
from humanparse.service.jobs.runner import Run, RunAlone, Runner
from humanparse.service.jobs.store import ENDED, OPEN, Job, JobItem, Store
from humanparse.service.jobs.store_thread import StoreThread
from humanparse.service.metrics import Metrics
from humanparse.service.problems import Problem, storage_problem
from humanparse.service.settings import Settings
from humanparse.service.work import alone

T = TypeVar("T")

TEND_S = 2.0  # between checks for expired jobs, and for a folder that was locked
STOP_S = 5.0  # for pictures in progress when the service stops; later ones stay pending
WATCH_S = 0.2  # minimum interval between reported changes
HEARTBEAT_S = 15.0


@dataclass
class Incoming:
    """An upload that may become a job.

    Attributes:
        id: The id of the job.
        files: Its files.
        kept: Whether it has become a job, so that its files stay.
    """

    id: str
    files: JobFiles
    kept: bool = False


class Jobs:
    """All jobs. Call start() first and stop() last; a broken disk makes neither of them fail.

    Args:
        settings: For the folder and the limits.
        run: `Dispatcher.run`, which does the work.
        metrics: Reports the counts.
        run_alone: Parses a clip; None starts a worker of its own on this machine.

    Attributes:
        counts: The number of jobs by state.
        quota: The space that the files of all jobs share.
    """

    def __init__(
        self,
        settings: Settings,
        run: Run,
        metrics: Metrics | None = None,
        run_alone: RunAlone | None = None,
    ):
        self.counts: dict[str, int] = {}
        self._settings = settings
        self._store_thread = StoreThread(settings.folder)
        self._clock = SteadyClock(settings.folder / "clock.json")
        self.quota = Quota(settings.jobs_max_mb * MB)
        self._runner = Runner(
            run,
            run_alone or partial(alone.run_alone, settings),
            self._store_thread,
            settings,
            self._clock.now,
            self._tell,
            settings.workers,
            self.quota,
        )
        self._uploads: set[str] = set()
        self._changed = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._continued = False  # until then the jobs from before the restart are not accessible
        if metrics is not None:
            metrics.bind(jobs_stats=lambda: self.counts)

    @property
    def problems(self) -> list[str]:
        """What does not work, in sentences for an operator."""
        return [
            text
            for text in (
                self._store_thread.trouble,
                self._runner.trouble,
                *self._store_thread.notes,
            )
            if text
        ]

    async def start(self) -> None:
        """Resume the jobs that were in progress when the service ended."""
        await self._tend()
        self._tending = asyncio.create_task(self._tend_now_and_then())

    async def stop(self) -> None:
        """Stop working; unfinished jobs are resumed at the next start."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        await self._runner.stop(min(STOP_S, self._settings.drain_s))
        self._tell()
        await self._store_thread.close()

    # Creating jobs

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator[Incoming]:
        """Make a folder for an upload, which is removed afterwards unless it has become a job.

        Yields:
            The upload, to be given to `create`.

        Raises:
            Problem: not_ready, storage_full, or queue_full if there are too many jobs.
        """
        await self._check_room()
        self.quota.check()
        id = secrets.token_hex(16)
        incoming = Incoming(id, JobFiles(self._store_thread.root, id))
        self._uploads.add(id)
        try:
            await asyncio.to_thread(incoming.files.create)
            yield incoming
        except OSError as error:
            raise storage_problem(error) from error
        finally:
            self._uploads.discard(id)
            if not incoming.kept:
                self.quota.forget(id)
                await _even_if_cancelled(asyncio.to_thread(incoming.files.remove))

    async def create(
        self, incoming: Incoming, options: dict[str, Any], items: Sequence[JobItem]
    ) -> Job:
        """Create the job of an upload; it is durable when this returns.

        Args:
            incoming: From `incoming`.
            options: The work for a worker, without the picture.
            items: Its pictures; none if it is an archive.

        Returns:
            The job.

        Raises:
            Problem: not_ready or storage_full.
        """
        await asyncio.to_thread(incoming.files.make_durable)
        return await _even_if_cancelled(self._create(incoming, options, items))

    async def _create(
        self, incoming: Incoming, options: dict[str, Any], items: Sequence[JobItem]
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
                f"there are {number} jobs, which is the limit; delete some, or wait until old ones "
                "expire",
                60,
            )

    # Reading jobs

    async def get(self, id: str) -> Job:
        """Return a job.

        Raises:
            Problem: not_found, also for a job that has expired but is not deleted yet.
        """
        job = await self._do(lambda store: store.job(id))
        if job is None or self.rest_s(job) == 0:
            raise Problem(
                "not_found", "there is no such job; it may have been deleted or have expired"
            )
        return await self._with_frames(job)

    async def all(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        jobs = await self._do(lambda store: store.jobs())
        return [await self._with_frames(job) for job in jobs if self.rest_s(job) != 0]

    async def items(self, id: str) -> list[JobItem]:
        """Return the items of a job, in order."""
        return await self._do(lambda store: store.items(id))

    async def item(self, id: str, number: int) -> JobItem:
        """Return one item of a job. Raises Problem not_found."""
        item = await self._do(lambda store: store.item(id, number))
        if item is None:
            raise Problem("not_found", f"the job has no picture {number}; the first one is 0")
        return item

    async def _with_frames(self, job: Job) -> Job:
        """Add how much of a clip is parsed, which its worker notes in a file."""
        if not job.is_clip:
            return job
        return replace(job, frames=await asyncio.to_thread(self.files(job.id).clip_progress))

    def files(self, id: str) -> JobFiles:
        """Return the files of a job."""
        return JobFiles(self._store_thread.root, id)

    def rest_s(self, job: Job) -> float | None:
        """Return the seconds until a job expires; None if it has not ended."""
        return (
            None
            if job.ended is None
            else max(0.0, job.ended + self._settings.job_age_s - self._clock.now())
        )

    async def watch(self, id: str) -> AsyncIterator[Job | None]:
        """Watch a job until it has ended or is deleted, or the service stops.

        Args:
            id: The job's id.

        Yields:
            The job after each change; None after each second without a change.
        """
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
        """Cancel a job; its results so far are kept.

        Args:
            id: The job's id.

        Returns:
            The job after that.

        Raises:
            Problem: not_found, or conflict if it is done or has failed.
        """
        job = await self.get(id)
        if job.state in ("done", "failed"):
            raise Problem("conflict", f"the job cannot be cancelled: it is {job.state}")
        await self._do(lambda store: store.end(id, "cancelled", self._clock.now()))
        await self._runner.drop(id)
        self._tell()
        return await self.get(id)

    async def delete(self, id: str) -> None:
        """Delete a job and its files in any state. Raises Problem not_found."""
        await self.get(id)
        await _even_if_cancelled(self._delete(id))
        self._tell()

    async def _delete(self, id: str) -> None:
        await self._do(lambda store: store.delete(id))
        await self._runner.drop(id)
        await asyncio.to_thread(self.files(id).remove)
        self.quota.forget(id)

    # In the background

    async def _tend_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            await self._tend()

    async def _tend(self) -> None:
        """Open the store if necessary, delete expired jobs, and save the clock."""
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
            pass  # recorded by the store thread, and tried again soon

    async def _continue(self) -> None:
        """Resume the jobs from before the restart."""
        if not self._store_thread.is_open and not await self._store_thread.open():
            return
        jobs = await self._store_thread.do(lambda store: store.jobs())
        items = {
            job.id: await self._store_thread.do(partial(Store.items, id=job.id))
            for job in jobs
            if job.state in OPEN
        }
        await asyncio.to_thread(remove_strangers, self._store_thread.root, {job.id for job in jobs})
        for job in jobs:
            await asyncio.to_thread(self.quota.count, job.id, self.files(job.id).folder)
        self._continued = True
        for job in jobs:
            if job.id in items:
                self._runner.add(job, [item for item in items[job.id] if item.state == "pending"])

    async def _do(self, work: Callable[[Store], T]) -> T:
        """Call a function with the store. Raises Problem not_ready or storage_full."""
        if not self._continued:
            raise Problem(
                "not_ready", self._store_thread.trouble or "the jobs are being opened", TEND_S
            )
        return await self._store_thread.do(work)

    def _tell(self) -> None:
        """Wake the watchers."""
        self._changed.set()
        self._changed = asyncio.Event()


async def _even_if_cancelled(work: Awaitable[T]) -> T:
    """Complete work even if the caller is cancelled: half a job would be worse than none."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
