"""Answers in a Redis that several servers share. Their clocks may differ, so Redis alone counts an
entry's age."""

from __future__ import annotations

from humanparse.errors import MissingExtra, OptionError
from humanparse.service.cache.entry import Cached, Damaged, decode, encode

TIMEOUT_S = 0.2  # an answer computed anew is better than one waited for
MAX_CONNECTIONS = 16
PREFIX = "humanparse:1:"


class RedisTier:
    """max_bytes: larger entries are not sent. Raises MissingExtra without the package, OptionError
    for an impossible url."""

    def __init__(self, url: str, max_bytes: int, max_age_s: float):
        try:
            from redis import asyncio as redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise MissingExtra("a cache in Redis needs its client", "redis") from None
        try:
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=TIMEOUT_S,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:  # the text may hold a password, so it is not shown
            raise OptionError(
                f"redis_url cannot be read: {error}; give redis://host:port/number"
            ) from None
        self._redis = redis.Redis.from_pool(pool)
        self.errors = (redis.RedisError, OSError, TimeoutError)
        self._max_bytes, self._max_age_s = max_bytes, max_age_s

    async def get(self, key: str) -> tuple[Cached, float] | None:
        """An entry and its age in seconds. Raises one of `errors`, and Damaged after the entry is
        deleted."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            data, rest_ms = await pipeline.get(PREFIX + key).pttl(PREFIX + key).execute()
        if data is None:
            return None
        try:
            cached, _ = decode(key, data)
        except Damaged:
            await self._redis.delete(PREFIX + key)
            raise
        return cached, max(0.0, self._max_age_s - max(0, rest_ms) / 1000)

    async def put(self, key: str, cached: Cached, age_s: float) -> None:
        """Raises one of `errors`."""
        data = encode(key, cached, 0.0)
        rest_ms = int((self._max_age_s - age_s) * 1000)
        if rest_ms > 0 and len(data) <= self._max_bytes:
            await self._redis.set(PREFIX + key, data, px=rest_ms)

    async def close(self) -> None:
        await self._redis.aclose()
