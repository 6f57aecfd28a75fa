"""What stands between the routes and the workers: the names of the models, and answers that are
known already."""

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

HASH_IN_THREAD = 1_000_000  # bytes: hashing more would hold up the other requests


@dataclass(frozen=True)
class Answer:
    """A finished body, what a worker noted of it (media_type, people, timings_ms, …), and where it
    comes from."""

    body: bytes
    head: dict[str, Any]
    cached: bool
    queued_ms: float = 0.0
    worked_ms: float = 0.0


class Front:
    """Answers pictures: from the cache, or else by a worker."""

    def __init__(self, dispatcher: Dispatcher, cache: Cache):
        self._dispatcher = dispatcher
        self._cache = cache

    async def answer(
        self, picture: bytes, options: Options, *, priority: int = INTERACTIVE
    ) -> Answer:
        """The answer to one picture. Raises Problem: for the options' model, the picture, or a
        service that is busy."""
        model = self.model(options.model)
        digest = await _sha256(picture)
        task = WorkItem(replace(options, model=model["name"]).head(), picture, digest)
        key = self._cache.key(digest, model["name"], model["sha256"], task.head)
        if known := await self._cache.get(key):
            return Answer(known.body, known.head, cached=True)
        reply = await self._dispatcher.run(task, priority=priority)
        head = {name: value for name, value in reply.head.items() if name not in ("id", "rss_mb")}
        if head["model_sha256"] == model["sha256"]:  # else the models were loaded anew meanwhile
            await self._cache.put(key, Cached(head, reply.blob))
        return Answer(
            reply.blob, head, cached=False, queued_ms=reply.queued_ms, worked_ms=reply.worked_ms
        )

    def model(self, name: str) -> dict[str, Any]:
        """What is known of a model; "" means the first. Raises Problem unknown_model."""
        models = self._dispatcher.status().models
        for model in models:
            if name in ("", model["name"]):
                return model
        known = ", ".join(one["name"] for one in models)
        raise Problem("unknown_model", f"there is no model {name[:60]!r} here; there are {known}")


async def _sha256(data: bytes) -> str:
    if len(data) < HASH_IN_THREAD:
        return hashlib.sha256(data).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
