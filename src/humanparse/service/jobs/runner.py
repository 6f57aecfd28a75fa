"""Gives the pictures of jobs to the workers, a few at a time, and keeps what comes back.

Nothing is lost and nothing counted twice: a result is written whole, then its row is changed, then
the picture goes. A server that dies in between finds the picture pending, does it again, and
replaces the result.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from humanparse.service.child.archive import ENTRIES
from humanparse.service.jobs.files import JobFiles
from humanparse.service.jobs.quota import MB, Room
from humanparse.service.jobs.store import Item, Job
from humanparse.service.jobs.store_thread import Keeper
from humanparse.service.names import MAX_NAME, tell_apart
from humanparse.service.problems import KINDS, Problem, storage_problem
from humanparse.service.settings import Settings
from humanparse.service.work.dispatcher import BACKGROUND, Reply, WorkItem

UNPACK_S = 300.0  # most time for unpacking an archive
RETRY_S = (1.0, 4.0)  # pauses between the three tries of a picture
# the picture was not tried at all; it waits for as long as it takes
BUSY_S = 2.0
STORAGE_S = 3.0  # before a result is written again to a disk that was full
BUSY = ("queue_full", "not_ready")
UNFORESEEN = Problem(
    "internal_error", "the picture could not be worked on, in a way that was not foreseen"
)

log = logging.getLogger(__name__)


class Run(Protocol):
    """What does the work: the Dispatcher's method."""

    def __call__(
        self, task: WorkItem, *, priority: int, deadline_s: float | None = None
    ) -> Awaitable[Reply]: ...


@dataclass(eq=False)
class Open:
    """A job at work. waiting: its pictures that nobody works on yet, None for its archive."""

    id: str
    options: dict[str, Any]
    files: JobFiles
    waiting: deque[Item | None]
    begun: bool = False
    running: set[asyncio.Task[None]] = field(default_factory=set)


class Runner:
    """slots: pictures at a time, shared out among jobs in turn. changed: called after each step of
    a job.

    trouble: why it waits for the disk, "" if it does not.
    """

    def __init__(
        self,
        run: Run,
        keeper: Keeper,
        settings: Settings,
        now: Callable[[], float],
        changed: Callable[[], None],
        slots: int,
        room: Room,
    ):
        self.trouble = ""
        self._room = room
        self._run, self._keeper, self._settings, self._now, self._changed = (
            run,
            keeper,
            settings,
            now,
            changed,
        )
        self._free = slots
        self._open: dict[str, Open] = {}  # whose turn it is next comes first
        self._stopping = False

    def add(self, job: Job, pending: Sequence[Item]) -> None:
        """Work on a job: on its pending pictures, or first on its archive."""
        waiting: deque[Item | None] = deque([None] if job.packed else pending)
        self._open[job.id] = Open(job.id, job.options, JobFiles(self._keeper.root, job.id), waiting)
        self._fill()

    async def drop(self, id: str) -> None:
        """Work no more on a job; when this returns, nothing of it is in work."""
        if job := self._open.pop(id, None):
            job.waiting.clear()
            await _cancelled(job.running)

    async def stop(self, grace_s: float) -> None:
        """Begin nothing more, and wait for what is in work; what takes longer stays pending."""
        self._stopping = True
        running = {task for job in self._open.values() for task in job.running}
        if running:
            await asyncio.wait(running, timeout=grace_s)
        await _cancelled(running)
        self._open.clear()

    def _fill(self) -> None:
        """Let every free slot work."""
        while self._free and not self._stopping and (turn := self._next()):
            job, item = turn
            self._free -= 1
            task = asyncio.create_task(self._work(job, item))
            job.running.add(task)
            task.add_done_callback(lambda task, job=job: self._done(job, task))

    def _next(self) -> tuple[Open, Item | None] | None:
        for job in self._open.values():
            if job.waiting:
                self._open[job.id] = self._open.pop(job.id)  # the others come first, the next time
                return job, job.waiting.popleft()
        return None

    def _done(self, job: Open, task: asyncio.Task[None]) -> None:
        self._free += 1
        job.running.discard(task)
        if not job.waiting and not job.running and self._open.get(job.id) is job:
            del self._open[job.id]
        if not task.cancelled() and (error := task.exception()):
            log.error("a job's work ended unforeseen", exc_info=error)
        self._fill()

    # One piece of work

    async def _work(self, job: Open, item: Item | None) -> None:
        try:
            await self._begin(job)
            if item is None:
                await self._unpack(job)
            else:
                await self._parse(job, item)
        except _Left:
            return  # it stays pending; the service is stopping
        self._changed()

    async def _begin(self, job: Open) -> None:
        if not job.begun:
            job.begun = True
            await self._until_kept(lambda: self._keeper.do(lambda store: store.started(job.id)))
            self._changed()

    async def _parse(self, job: Open, item: Item) -> None:
        reply = await self._tried(lambda: self._parsed(job, item))
        if isinstance(reply, Problem):
            finished = replace(item, state="failed", problem=_plain(reply))
        else:
            media_type = str(reply.head.get("media_type", "application/octet-stream"))
            finished = replace(
                item, state="done", media_type=media_type, people=reply.head.get("people")
            )
            try:
                self._room.take(job.id, len(reply.blob))
            except Problem as full:  # not waited for: this job's own results may be what fills it
                finished = replace(item, state="failed", problem=_plain(full))
            else:
                await self._until_kept(
                    lambda: asyncio.to_thread(job.files.write_result, item.number, reply.blob)
                )
        await self._until_kept(
            lambda: self._keeper.do(lambda store: store.finish(job.id, finished, self._now()))
        )
        await asyncio.to_thread(job.files.drop_input, item.number)
        self._room.give_back(job.id, item.size)

    async def _parsed(self, job: Open, item: Item) -> Reply:
        try:
            picture, digest = await asyncio.to_thread(_read, job.files, item)
        except FileNotFoundError:
            raise Problem(
                "gone", "the uploaded picture is no longer here; send it again in another job"
            ) from None
        head = job.options | {"source": item.source}
        return await self._run(WorkItem(head, picture, digest), priority=BACKGROUND)

    async def _unpack(self, job: Open) -> None:
        """The archive becomes pictures that wait; or else the job has failed."""
        limits = self._settings
        packed_bytes = await asyncio.to_thread(job.files.archive_bytes)
        most_mb = min(limits.job_max_mb, self._room.left_bytes / MB)
        head = {
            "do": "unzip",
            "path": str(job.files.archive),
            "to": str(job.files.inputs),
            "max_images": limits.job_max_images,
            "max_image_mb": limits.max_body_mb,
            "max_mb": most_mb,
        }
        found = await self._tried(lambda: self._unpacked(job, head))
        found = self._that_fit(job, found, most_mb)
        if isinstance(found, Problem):
            # what was unpacked before it failed; what stays goes with the job
            with suppress(OSError):
                await asyncio.to_thread(job.files.empty_inputs)
            await self._until_kept(
                lambda: self._keeper.do(
                    lambda store: store.end(job.id, "failed", self._now(), _plain(found))
                )
            )
        else:
            await self._until_kept(
                lambda: self._keeper.do(lambda store: store.unpacked(job.id, found, self._now()))
            )
            job.waiting.extend(item for item in found if item.state == "pending")
        await asyncio.to_thread(job.files.drop_archive)
        self._room.give_back(job.id, packed_bytes)

    def _that_fit(
        self, job: Open, found: list[Item] | Problem, most_mb: float
    ) -> list[Item] | Problem:
        """The unpacked pictures, whose bytes are taken, or the Problem, that there is no room if
        that is why."""
        if isinstance(found, Problem):
            for_want_of_room = (
                found.code == "body_too_large" and most_mb < self._settings.job_max_mb
            )
            return self._room.full() if for_want_of_room else found
        try:
            self._room.take(job.id, sum(item.size for item in found))
        except Problem as full:  # another archive was unpacked meanwhile
            return full
        return found

    async def _unpacked(self, job: Open, head: dict[str, Any]) -> list[Item]:
        try:
            await asyncio.to_thread(job.files.empty_inputs)
        except OSError as error:
            raise storage_problem(error) from error
        await self._run(WorkItem(head), priority=BACKGROUND, deadline_s=UNPACK_S)
        return await asyncio.to_thread(_entries, job.files)

    # Again, and again

    async def _tried(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The work's result, or the Problem that remains after three tries. Raises _Left where the
        service stops."""
        pauses = iter(RETRY_S)
        while True:
            try:
                return await work()
            except Problem as problem:
                pause_s = self._pause_s(problem, pauses)
                if pause_s is None:
                    return problem
            except Exception:
                log.exception("a job's picture could not be worked on")
                pause_s = next(pauses, None)
                if pause_s is None:
                    return UNFORESEEN
            await asyncio.sleep(pause_s)

    def _pause_s(self, problem: Problem, pauses: Iterator[float]) -> float | None:
        """How long to wait before the next try; None if there is to be none. Raises _Left where the
        service stops."""
        if problem.code == "shutting_down":
            raise _Left
        if problem.code == "storage_full":
            self._waits(problem.detail)
            return STORAGE_S
        if problem.code in BUSY:
            return BUSY_S
        return next(pauses, None) if KINDS[problem.code].retryable else None

    async def _until_kept(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what needs the disk; while that is full or the database locked, the job waits and
        `trouble` says so."""
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
        """Note that a job cannot go on for want of the disk."""
        if not self.trouble:
            log.error("jobs wait: %s", why)
        self.trouble = f"jobs wait: {why}"
        self._changed()
        if self._stopping:
            raise _Left


class _Left(Exception):
    """The piece of work stays as it was."""


def _read(files: JobFiles, item: Item) -> tuple[bytes, str]:
    picture = files.read_input(item.number, item.size)
    return picture, hashlib.sha256(picture).hexdigest()


def _entries(files: JobFiles) -> list[Item]:
    """What a worker unpacked. The worker met a stranger's archive, so what it says is read with
    care."""
    entries = json.loads((files.inputs / ENTRIES).read_bytes())
    sources = tell_apart([str(entry["source"])[:MAX_NAME] for entry in entries])
    items = []
    for number, (entry, source) in enumerate(zip(entries, sources, strict=True)):
        item = Item(number, source, int(entry.get("size", 0)))
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
