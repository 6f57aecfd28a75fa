"""Answers pictures from the cache or with a worker, and knows the models by name."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from humanparse.service.cache import Cache, Cached
from humanparse.service.options import Options
from humanparse.service.problems import Problem
from humanparse.service.work.admission import INTERACTIVE
from humanparse.service.work.dispatcher import Dispatcher, WorkItem

MAX_HASHED_IN_LOOP = 1_000_000  # bytes: hashing more would delay the other requests


@dataclass(frozen=True)
class ParsedPicture:
    """A finished response body and where it comes from.

    Attributes:
        body: The bytes to send.
        head: What the worker recorded about it: media_type, people, timings_ms and so on.
        cached: Whether it comes from the cache.
        queued_ms: Time in the queue, 0 if it comes from the cache.
        worked_ms: Time in the worker, 0 if it comes from the cache.
    """

    body: bytes
    head: dict[str, Any]
    cached: bool
    queued_ms: float = 0.0
    worked_ms: float = 0.0


class CachedDispatcher:
    """A dispatcher behind a cache.

    Args:
        dispatcher: Parses pictures that the cache does not know.
        cache: Keeps the responses.
    """

    def __init__(self, dispatcher: Dispatcher, cache: Cache):
        self._dispatcher = dispatcher
        self._cache = cache

    async def parse(
        self, picture: bytes, options: Options, *, source: str = "", priority: int = INTERACTIVE
    ) -> ParsedPicture:
        """Parse one picture, or return what the cache knows of it.

        Args:
            picture: The bytes of the picture's file.
            options: What to do with it; they are part of the cache's key.
            source: The name that the result gives to the picture's file; "" gives it none. It is
                part of the cache's key as well.
            priority: The queue's priority, see work/admission.py.

        Returns:
            The finished response body.

        Raises:
            Problem: For an unknown model, for the picture, or if the service is too busy.
        """
        model = self.model(options.model)
        digest = await _sha256(picture)
        head = replace(options, model=model["name"]).head() | ({"source": source} if source else {})
        key = self._cache.key(digest, model["name"], model["sha256"], head)
        if known := await self._cache.get(key):
            return ParsedPicture(known.body, known.head, cached=True)
        reply = await self._dispatcher.run(WorkItem(head, picture, digest), priority=priority)
        noted = {name: value for name, value in reply.head.items() if name not in ("id", "rss_mb")}
        if noted["model_sha256"] == model["sha256"]:  # otherwise the models were reloaded meanwhile
            await self._cache.put(key, Cached(noted, reply.blob))
        return ParsedPicture(reply.blob, noted, False, reply.queued_ms, reply.worked_ms)

    def model(self, name: str) -> dict[str, Any]:
        """Return the description of a model, as /models gives it.

        Args:
            name: Its name; "" is the first model.

        Raises:
            Problem: unknown_model.
        """
        models = self._dispatcher.status().models
        for model in models:
            if name in ("", model["name"]):
                return model
        known = ", ".join(one["name"] for one in models)
        raise Problem("unknown_model", f"there is no model {name[:60]!r} here; choose from {known}")


async def _sha256(data: bytes) -> str:
    if len(data) < MAX_HASHED_IN_LOOP:
        return hashlib.sha256(data).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
