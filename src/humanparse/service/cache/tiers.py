"""The cache as the routes see it: memory, then disk, then Redis.

Trouble with a tier never affects a response: a tier that fails is not used for a few seconds, and
is named in `problems`. Slow writes happen after the response has been sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from humanparse.service.cache.disk import DiskTier
from humanparse.service.cache.entry import KEY, Cached, Damaged, cache_key
from humanparse.service.cache.memory import MemoryTier
from humanparse.service.cache.redis import RedisTier
from humanparse.service.clock import SteadyClock
from humanparse.service.metrics import Metrics
from humanparse.service.settings import Settings

T = TypeVar("T")

MB = 1_000_000
PAUSE_S = 5.0  # a tier that failed is not used for this long
DISK_WAIT_S = 1.0  # a disk that takes longer counts as failed
SWEEP_S = 300.0
MAX_KEEPING = 64  # responses being written at the same time; further ones are not kept
MAX_SHARED_MB = 16  # the largest response that is sent to Redis

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Stops using a tier for a while after it failed.

    Args:
        name: The tier's name, for people.
        errors: The exceptions that mean that it failed.

    Attributes:
        trouble: What is wrong, without paths or addresses; "" if nothing is.
    """

    def __init__(self, name: str, errors: tuple[type[BaseException], ...]):
        self.name, self.trouble = name, ""
        self._errors, self._until = errors, 0.0

    async def call(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return the work's result; None if it fails or the tier is not used. Raises Damaged."""
        now = asyncio.get_running_loop().time()
        if now < self._until:
            return None
        try:
            result = await work()
        except Damaged:
            raise
        except self._errors as error:
            self._until = now + PAUSE_S
            if not self.trouble:
                log.warning("the cache %s does not work: %r", self.name, error)
            self.trouble = (
                f"the cache {self.name} does not work ({_words(error)}); "
                "responses are computed instead"
            )
            return None
        self.trouble = ""
        return result


class Cache:
    """Finished responses by key. A failing disk or Redis makes neither `start` nor `stop` fail.

    Args:
        settings: The service's settings.
        metrics: Where look-ups are counted.

    Attributes:
        num_bytes: The bytes in "memory" and "disk".
        problems: What does not work, for people.
        counts: The results of all look-ups: hit_memory, hit_disk, hit_redis, miss and corrupt.
    """

    key = staticmethod(cache_key)

    def __init__(self, settings: Settings, metrics: Metrics | None = None):
        self.counts: Counter[str] = Counter()
        self._metrics = metrics
        self._clock = SteadyClock(settings.folder / "clock.json")
        self._memory = MemoryTier(
            int(settings.cache_mb * MB), settings.cache_age_s, self._clock.now
        )
        self._disk: DiskTier | None = None
        self._shared: RedisTier | None = None
        if settings.cache_disk_mb:
            self._disk = DiskTier(
                settings.folder / "cache",
                int(settings.cache_disk_mb * MB),
                settings.cache_age_s,
                self._clock.now,
            )
        if settings.redis_url:
            self._shared = RedisTier(settings.redis_url, MAX_SHARED_MB * MB, settings.cache_age_s)
        self._on_disk = CircuitBreaker("on disk", (OSError, TimeoutError))
        self._in_redis = CircuitBreaker("in Redis", self._shared.errors if self._shared else ())
        self._threads: ThreadPoolExecutor | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        if metrics is not None:
            metrics.bind(cache_stats=lambda: self.num_bytes)

    @property
    def num_bytes(self) -> dict[str, int]:
        """The bytes in each tier of this machine."""
        return {"memory": self._memory.num_bytes} | (
            {"disk": self._disk.num_bytes} if self._disk else {}
        )

    @property
    def problems(self) -> list[str]:
        """What does not work, for people."""
        return [one.trouble for one in (self._on_disk, self._in_redis) if one.trouble]

    async def start(self) -> None:
        """Start the threads of the disk tier."""
        if self._disk is not None:
            self._threads = ThreadPoolExecutor(3, thread_name_prefix="cache")
            self._sweeping = asyncio.create_task(self._sweep_now_and_then(self._disk))

    async def stop(self) -> None:
        """Wait for what is being written, and close all tiers."""
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=2 * DISK_WAIT_S)
        tasks = [*self._keeping, *([self._sweeping] if self._sweeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._shared is not None:
            await self._shared.close()

    async def get(self, key: str) -> Cached | None:
        """Return the response with that key, or None.

        One that a slower tier had is copied to the faster tiers.
        """
        if not KEY.fullmatch(key):
            raise ValueError(f"not a key of the cache: {key[:80]!r}")
        found = self._memory.get(key) or await self._from_disk(key) or await self._from_redis(key)
        self._count(f"hit_{found.tier}" if found else "miss")
        return found

    async def put(self, key: str, cached: Cached) -> None:
        """Keep a response: in memory at once, in the other tiers soon."""
        created = self._clock.now()
        self._memory.put(key, cached, created)
        if self._disk is not None:
            self._soon(self._to_disk(self._disk, key, cached, created))
        if self._shared is not None:
            self._soon(self._to_redis(self._shared, key, cached))

    # Each tier

    async def _from_disk(self, key: str) -> Cached | None:
        if self._disk is None:
            return None
        disk = self._disk
        found = await self._unless_damaged(self._on_disk, lambda: self._in_thread(disk.get, key))
        if found is None:
            return None
        cached, created = found
        self._memory.put(key, cached, created)
        return Cached(cached.head, cached.body, "disk")

    async def _from_redis(self, key: str) -> Cached | None:
        if self._shared is None:
            return None
        shared = self._shared
        found = await self._unless_damaged(self._in_redis, lambda: shared.get(key))
        if found is None:
            return None
        cached, age_s = found
        created = self._clock.now() - age_s
        self._memory.put(key, cached, created)
        if self._disk is not None:
            self._soon(self._to_disk(self._disk, key, cached, created))
        return Cached(cached.head, cached.body, "redis")

    async def _unless_damaged(
        self, breaker: CircuitBreaker, work: Callable[[], Awaitable[T]]
    ) -> T | None:
        try:
            return await breaker.call(work)
        except Damaged as error:
            log.warning("a damaged entry of the cache %s was deleted: %s", breaker.name, error)
            self._count("corrupt")
            return None

    async def _to_disk(self, disk: DiskTier, key: str, cached: Cached, created: float) -> None:
        await self._unless_damaged(
            self._on_disk, lambda: self._in_thread(disk.put, key, cached, created)
        )

    async def _to_redis(self, shared: RedisTier, key: str, cached: Cached) -> None:
        await self._unless_damaged(self._in_redis, lambda: shared.put(key, cached, 0.0))

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        if self._threads is None:
            raise OSError("the cache is not started")
        async with asyncio.timeout(DISK_WAIT_S):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    async def _sweep_now_and_then(self, disk: DiskTier) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._threads, disk.sweep)
                await loop.run_in_executor(self._threads, self._clock.save)
            except OSError as error:
                log.warning("the cache on disk cannot be cleaned up: %r", error)
            await asyncio.sleep(SWEEP_S)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._keeping) >= MAX_KEEPING:
            work.close()
            return
        task = asyncio.create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def _count(self, result: str) -> None:
        self.counts[result] += 1
        if self._metrics is not None:
            self._metrics.cache_result(result)


def _words(error: BaseException) -> str:
    """What went wrong, without paths or addresses: "No space left on device"."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "it takes too long" if isinstance(error, TimeoutError) else "it cannot be reached"
