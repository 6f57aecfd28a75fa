"""Gives the pictures and clips of jobs to the workers, a few at once, and keeps their results.

Nothing is lost or counted twice: a result is written completely, then its row is changed, then the
picture is removed. If the server is killed in between, the picture is still pending after a
restart, is parsed again, and its result is replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from humanparse.service.child.archive import ENTRIES
from humanparse.service.jobs.clip import clip_items, clip_task
from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.quota import MB, Quota
from humanparse.service.jobs.store import Job, JobItem
from humanparse.service.jobs.store_thread import StoreThread
from humanparse.service.names import MAX_NAME, tell_apart
from humanparse.service.problems import KINDS, Problem, storage_problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import BACKGROUND
from humanparse.service.work.dispatcher import Reply, WorkItem

UNPACK_S = 300.0  # maximum time for unpacking an archive
RETRY_S = (1.0, 4.0)  # pauses between the three attempts of a picture
BUSY_S = 2.0  # between attempts when the queue does not accept the picture; there is no limit
STORAGE_S = 3.0  # between attempts to write to a full disk
BUSY = ("queue_full", "not_ready")
UNFORESEEN = Problem("internal_error", "it could not be parsed because of an unexpected error")

log = logging.getLogger(__name__)


class Run(Protocol):
    """The type of `Dispatcher.run`."""

    def __call__(
        self, item: WorkItem, /, *, priority: int, deadline_s: float | None = None
    ) -> Awaitable[Reply]: ...


class RunAlone(Protocol):
    """The type of `run_alone` without its settings."""

    def __call__(
        self, head: Mapping[str, Any], timeout_s: float, /
    ) -> Awaitable[Mapping[str, Any]]: ...


@dataclass(eq=False)
class OpenJob:
    """A job in progress.

    Attributes:
        id: Its id.
        options: The work for a worker, without the picture.
        files: Its files.
        is_clip: Whether it is a clip, for which there are places of their own.
        waiting: Its pictures that are not in progress; None stands for its archive or clip.
        begun: Whether work on it has begun.
        running: The tasks in progress.
    """

    id: str
    options: dict[str, Any]
    files: JobFiles
    is_clip: bool
    waiting: deque[JobItem | None]
    begun: bool = False
    running: set[asyncio.Task[None]] = field(default_factory=set)


class Runner:
    """Works on the pictures of all jobs, which take turns.

    Args:
        run: `Dispatcher.run`, which does the work.
        run_alone: Parses a clip in a worker of its own.
        store_thread: Records the state of the jobs.
        settings: For the limits of archives.
        now: Returns the seconds of the steady clock.
        changed: Called after each step of a job.
        slots: How many pictures may be in progress at once.
        quota: Space for results and unpacked pictures.

    Attributes:
        trouble: Why jobs are waiting for the disk; "" if they are not.
    """

    def __init__(
        self,
        run: Run,
        run_alone: RunAlone,
        store_thread: StoreThread,
        settings: Settings,
        now: Callable[[], float],
        changed: Callable[[], None],
        slots: int,
        quota: Quota,
    ):
        self.trouble = ""
        self._quota = quota
        self._run_alone = run_alone
        self._run, self._store_thread, self._settings, self._now, self._changed = (
            run,
            store_thread,
            settings,
            now,
            changed,
        )
        self._free = {False: slots, True: settings.video_workers}  # whether for clips
        self._open: dict[str, OpenJob] = {}  # the next in turn comes first
        self._stopping = False

    def add(self, job: Job, pending: Sequence[JobItem]) -> None:
        """Work on a job.

        Args:
            job: The job; if it is packed, its archive is unpacked first.
            pending: Its pictures that are not finished.
        """
        waiting: deque[JobItem | None] = deque([None] if job.packed else pending)
        self._open[job.id] = OpenJob(
            job.id, job.options, JobFiles(self._store_thread.root, job.id), job.is_clip, waiting
        )
        self._fill()

    async def drop(self, id: str) -> None:
        """Stop working on a job; when this returns, none of its tasks is in progress."""
        if job := self._open.pop(id, None):
            job.waiting.clear()
            await _cancelled(job.running)
            if job.is_clip:
                await self._drop_packed(job)

    async def stop(self, grace_s: float) -> None:
        """Begin no more work, and wait for the tasks in progress.

        Args:
            grace_s: How long to wait in seconds; the pictures of later tasks stay pending.
        """
        self._stopping = True
        running = {task for job in self._open.values() for task in job.running}
        if running:
            await asyncio.wait(running, timeout=grace_s)
        await _cancelled(running)
        self._open.clear()

    def _fill(self) -> None:
        """Give work to every free slot."""
        while not self._stopping and (turn := self._next()):
            job, item = turn
            self._free[job.is_clip] -= 1
            task = asyncio.create_task(self._work(job, item))
            job.running.add(task)
            task.add_done_callback(partial(self._done, job))

    def _next(self) -> tuple[OpenJob, JobItem | None] | None:
        for job in self._open.values():
            if job.waiting and self._free[job.is_clip]:
                self._open[job.id] = self._open.pop(job.id)  # next time the other jobs come first
                return job, job.waiting.popleft()
        return None

    def _done(self, job: OpenJob, task: asyncio.Task[None]) -> None:
        self._free[job.is_clip] += 1
        job.running.discard(task)
        if not job.waiting and not job.running and self._open.get(job.id) is job:
            del self._open[job.id]
        if not task.cancelled() and (error := task.exception()):
            log.error("work on a job failed unexpectedly", exc_info=error)
        self._fill()

    # One piece of work

    async def _work(self, job: OpenJob, item: JobItem | None) -> None:
        try:
            await self._begin(job)
            if item is None:
                await (self._parse_clip(job) if job.is_clip else self._unpack(job))
            else:
                await self._parse(job, item)
        except _Left:
            return  # it stays pending, since the service is stopping
        self._changed()

    async def _begin(self, job: OpenJob) -> None:
        if not job.begun:
            job.begun = True
            await self._until_kept(
                lambda: self._store_thread.do(lambda store: store.started(job.id))
            )
            self._changed()

    async def _parse(self, job: OpenJob, item: JobItem) -> None:
        reply = await self._tried(lambda: self._parsed(job, item))
        if isinstance(reply, Problem):
            finished = replace(item, state="failed", problem=_plain(reply))
        else:
            media_type = str(reply.head.get("media_type", "application/octet-stream"))
            finished = replace(
                item, state="done", media_type=media_type, people=reply.head.get("people")
            )
            try:
                self._quota.take(job.id, len(reply.blob))
            except Problem as full:  # waiting is no use: the job's own results may fill the quota
                finished = replace(item, state="failed", problem=_plain(full))
            else:
                await self._until_kept(
                    lambda: asyncio.to_thread(job.files.write_result, item.number, reply.blob)
                )
        await self._until_kept(
            lambda: self._store_thread.do(lambda store: store.finish(job.id, finished, self._now()))
        )
        await asyncio.to_thread(job.files.drop_input, item.number)
        self._quota.give_back(job.id, item.size)

    async def _parsed(self, job: OpenJob, item: JobItem) -> Reply:
        try:
            picture, digest = await asyncio.to_thread(_read, job.files, item)
        except FileNotFoundError:
            raise Problem(
                "gone", "the uploaded picture no longer exists; send it again in another job"
            ) from None
        head = job.options | {"source": item.source}
        return await self._run(WorkItem(head, picture, digest), priority=BACKGROUND)

    async def _unpack(self, job: OpenJob) -> None:
        """Unpack the archive into waiting pictures, or let the job fail."""
        limits = self._settings
        max_mb = min(limits.job_max_mb, self._quota.left_bytes / MB)
        head = {
            "do": "unzip",
            "path": str(job.files.archive),
            "to": str(job.files.inputs),
            "max_images": limits.job_max_images,
            "max_image_mb": limits.max_body_mb,
            "max_mb": max_mb,
        }
        found = await self._tried(lambda: self._unpacked(job, head))
        found = self._that_fit(job, found, max_mb)
        if isinstance(found, Problem):
            # remove what was unpacked before the error; the rest is removed with the job
            with suppress(OSError):
                await asyncio.to_thread(job.files.empty_inputs)
        await self._unpacked_or_failed(job, found)

    async def _parse_clip(self, job: OpenJob) -> None:
        """Parse the clip into its results, or let the job fail."""
        # what an earlier start of the service has left of it counts already
        max_mb = self._quota.left_bytes / MB
        found = await self._tried(lambda: self._parsed_clip(job, max_mb))
        if isinstance(found, Problem) and found.code == "body_too_large":
            found = self._quota.full()
        found = self._that_fit(job, found, max_mb)
        await self._unpacked_or_failed(job, found)

    async def _parsed_clip(self, job: OpenJob, max_mb: float) -> list[JobItem]:
        head = clip_task(job.options, job.files, self._settings, max_mb)
        allowed_s = self._settings.video_deadline_s
        try:
            reply = await self._run_alone(head, allowed_s)
        except TimeoutError:
            raise Problem(
                "video_too_large",
                f"the clip takes longer than {allowed_s:g} s to parse; send a shorter or smaller "
                "one, or a larger `every`",
            ) from None
        return await asyncio.to_thread(clip_items, job.options, job.files, reply)

    async def _unpacked_or_failed(self, job: OpenJob, found: list[JobItem] | Problem) -> None:
        """Record what became of an archive or a clip, and remove it."""
        if isinstance(found, Problem):
            await self._until_kept(
                lambda: self._store_thread.do(
                    lambda store: store.end(job.id, "failed", self._now(), _plain(found))
                )
            )
        else:
            await self._until_kept(
                lambda: self._store_thread.do(
                    lambda store: store.unpacked(job.id, found, self._now())
                )
            )
            job.waiting.extend(item for item in found if item.state == "pending")
        await self._drop_packed(job)

    async def _drop_packed(self, job: OpenJob) -> None:
        packed_bytes = await asyncio.to_thread(job.files.archive_bytes)
        await asyncio.to_thread(job.files.drop_archive)
        self._quota.give_back(job.id, packed_bytes)

    def _that_fit(
        self, job: OpenJob, found: list[JobItem] | Problem, max_mb: float
    ) -> list[JobItem] | Problem:
        """Take the bytes of the unpacked pictures, or of a clip's results, from the quota.

        Returns the items, or the Problem; a full quota has its own Problem.
        """
        if isinstance(found, Problem):
            quota_is_full = found.code == "body_too_large" and max_mb < self._settings.job_max_mb
            return self._quota.full() if quota_is_full else found
        try:
            self._quota.take(job.id, sum(item.size for item in found))
        except Problem as full:  # another archive was unpacked in the meantime
            return full
        return found

    async def _unpacked(self, job: OpenJob, head: dict[str, Any]) -> list[JobItem]:
        try:
            await asyncio.to_thread(job.files.empty_inputs)
        except OSError as error:
            raise storage_problem(error) from error
        await self._run(WorkItem(head), priority=BACKGROUND, deadline_s=UNPACK_S)
        return await asyncio.to_thread(_entries, job.files)

    # Retries

    async def _tried(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Return the work's result, or the Problem that remains after three attempts.

        Raises _Left if the service is stopping.
        """
        pauses = iter(RETRY_S)
        while True:
            try:
                return await work()
            except Problem as problem:
                pause_s = self._pause_s(problem, pauses)
                if pause_s is None:
                    return problem
            except Exception:
                log.exception("a picture of a job could not be parsed")
                pause_s = next(pauses, None)
                if pause_s is None:
                    return UNFORESEEN
            await asyncio.sleep(pause_s)

    def _pause_s(self, problem: Problem, pauses: Iterator[float]) -> float | None:
        """Return the seconds before the next attempt; None if there is none.

        Raises _Left if the service is stopping.
        """
        if problem.code == "shutting_down":
            raise _Left
        if problem.code == "storage_full":
            self._waits(problem.detail)
            return STORAGE_S
        if problem.code in BUSY:
            return BUSY_S
        return next(pauses, None) if KINDS[problem.code].retryable else None

    async def _until_kept(self, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat work that needs the disk or the database until it succeeds.

        Meanwhile the job waits, and `trouble` says so.
        """
        while True:
            try:
                await work()
            except (Problem, OSError) as error:
                self._waits(
                    error.detail if isinstance(error, Problem) else storage_problem(error).detail
                )
                await asyncio.sleep(STORAGE_S)
            else:
                self.trouble = ""
                return

    def _waits(self, why: str) -> None:
        """Record that a job cannot continue because of the disk."""
        if not self.trouble:
            log.error("jobs are waiting: %s", why)
        self.trouble = f"jobs are waiting: {why}"
        self._changed()
        if self._stopping:
            raise _Left


class _Left(Exception):
    """The service is stopping, so the work stays as it was."""


def _read(files: JobFiles, item: JobItem) -> tuple[bytes, str]:
    picture = files.read_input(item.number, item.size)
    return picture, hashlib.sha256(picture).hexdigest()


def _entries(files: JobFiles) -> list[JobItem]:
    """Return what a worker unpacked.

    The worker handled an archive from a client, so its report is not trusted.
    """
    entries = json.loads((files.inputs / ENTRIES).read_bytes())
    sources = tell_apart([str(entry["source"])[:MAX_NAME] for entry in entries])
    items = []
    for number, (entry, source) in enumerate(zip(entries, sources, strict=True)):
        item = JobItem(number, source, int(entry.get("size", 0)))
        if problem := entry.get("problem"):
            code = problem["code"] if problem["code"] in KINDS else "broken_image"
            item = replace(
                item, state="failed", problem={"code": code, "detail": str(problem["detail"])[:200]}
            )
        items.append(item)
    return items


def _plain(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code, "detail": problem.detail}


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    tasks = set(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
