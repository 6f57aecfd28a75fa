"""Responses in a Redis that several servers share.

The servers' clocks may differ, so only Redis measures the age of entries.
"""

from __future__ import annotations

from humanparse.errors import MissingExtra, OptionError
from humanparse.service.cache.entry import Cached, Damaged, decode, encode

TIMEOUT_S = 0.2  # computing a response again is better than waiting for it
MAX_CONNECTIONS = 16
PREFIX = "humanparse:1:"


class RedisTier:
    """Responses in Redis.

    Args:
        url: The address of the server.
        max_bytes: Larger entries are not sent.
        max_age_s: Older entries are deleted.

    Raises:
        MissingExtra: If the package redis is not installed.
        OptionError: For a URL that cannot be read.

    Attributes:
        errors: The exceptions that `get` and `put` raise if the server fails.
    """

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
        """Return an entry and its age in seconds; None if there is none.

        Raises one of `errors`, and Damaged for a damaged entry, which is deleted.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(PREFIX + key)
            pipeline.pttl(PREFIX + key)
            data, rest_ms = await pipeline.execute()
        if data is None:
            return None
        try:
            cached, _ = decode(key, data)
        except Damaged:
            await self._redis.delete(PREFIX + key)
            raise
        return cached, max(0.0, self._max_age_s - max(0, rest_ms) / 1000)

    async def put(self, key: str, cached: Cached, age_s: float) -> None:
        """Store an entry. age_s: how old it is already, in seconds. Raises one of `errors`."""
        data = encode(key, cached, 0.0)
        rest_ms = int((self._max_age_s - age_s) * 1000)
        if rest_ms > 0 and len(data) <= self._max_bytes:
            await self._redis.set(PREFIX + key, data, px=rest_ms)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
