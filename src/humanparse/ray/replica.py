"""A replica: a worker on another machine. JSON and a picture in, JSON and a finished response out.

The picture is decoded and parsed in a child process, as in the service without Ray. A picture that
crashes the child, takes too long or takes it over costs one request, and never reaches Ray or its
token.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import ray
from ray import serve
from ray.serve.request_router import FIFOMixin, RequestRouter

from humanparse.errors import HumanParseError
from humanparse.service.settings import Settings
from humanparse.service.work.pool import PROBE_S, WorkerPool
from humanparse.service.work.process import Worker, WorkerDied, worker_command


def options(settings: Settings) -> dict[str, Any]:
    """Return what a replica needs to know of the settings: how models are run and workers are kept.

    Args:
        settings: The service's settings.

    Returns:
        Plain JSON values, by the settings' names.
    """
    about = [one.name for one in fields(Settings) if one.metadata["group"] in ("Models", "Workers")]
    return {
        name: getattr(settings, name)
        for name in (*about, "max_megapixels")
        if name not in ("models", "workers")
    }


class Replica:
    """Does one task at a time.

    Its models come in its `user_config`: {"models": [names], "reload": a value that changes to have
    them reloaded}.
    """

    def __init__(self, options: Mapping[str, Any]):
        keep_to_rays_address()
        self._options = dict(options)
        self._pool: WorkerPool | None = None
        self._loaded: dict[str, Any] = {}  # what the service is told about the models
        self._about: dict[str, Any] = {
            "replica": serve.get_replica_context().replica_id.unique_id,
            "reload_error": "",
        }
        self._turn = asyncio.Lock()  # one task at a time, and none while the models change
        self._idle = asyncio.Event()

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Load these models, and stop the old workers when they are idle; if loading fails, the old
        ones stay.

        Ray Serve sends no requests meanwhile, and reconfigures a few replicas at a time.

        Args:
            user_config: See the class.

        Raises:
            ModelError: If the models cannot be loaded and there are no old ones.
        """
        chosen = Settings(**self._options, models=tuple(user_config["models"]), workers=1)
        pool = WorkerPool(chosen, worker_command(), self._idle.set)
        try:
            await pool.start()
        except HumanParseError as error:
            if self._pool is None:
                raise
            self._about["reload_error"] = str(error)
            return
        async with self._turn:
            old, self._pool = self._pool, pool
        first = pool.slots[0].worker
        loaded_s = first.ready.get("loaded_s", 1.0) if first else 1.0
        self._loaded = {"models": pool.models, "loaded_s": loaded_s}
        self._about |= {
            "reload_error": "",
            "edition": _edition(pool.models),
            "loaded_at": time.time(),
        }
        if old is not None:
            await old.stop()

    async def __call__(self, head: str, picture: bytes, timeout_s: float) -> tuple[str, bytes]:
        """Do one task.

        Args:
            head: The work item's head, as JSON.
            picture: The picture's file.
            timeout_s: Time limit in seconds.

        Returns:
            The reply's head, as JSON, and its blob. {"timeout": true} and {"died": how,
            "from_outside": bool} stand for the exceptions of `Worker.call`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                answer, body = await self._work(json.loads(head), picture, timeout_s)
        except TimeoutError:
            answer, body = {"timeout": True}, b""
        except WorkerDied as death:
            answer, body = {"died": str(death), "from_outside": death.from_outside}, b""
        return json.dumps(answer | self._about), body

    async def check_health(self) -> None:
        """Parse a tiny picture, unless a request is in progress, which has its own deadline.

        Raises whatever goes wrong.
        """
        if self._pool is None or self._turn.locked():
            return
        async with asyncio.timeout(PROBE_S), self._turn:
            answer, _ = await self._work({"do": "probe"}, b"", PROBE_S)
            if "problem" in answer:
                raise RuntimeError(
                    answer["problem"].get("detail", "the tiny picture was not parsed")
                )

    async def _work(
        self, head: dict[str, Any], picture: bytes, timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        # the client named no model, and this replica may have other models by now
        if head.pop("default", False):
            head = self._with_a_model_of_ours(head)
        pool = self._pool
        assert pool is not None  # Ray Serve calls `reconfigure` first
        worker = await self._worker(pool)
        try:
            answer, body = await worker.call(head, picture, timeout_s)
        finally:
            pool.give_back(worker)
        if head["do"] == "probe":
            answer |= self._loaded
        return answer, body

    async def _worker(self, pool: WorkerPool) -> Worker:
        """The child process, once it is idle."""
        while (worker := pool.take()) is None:
            self._idle.clear()
            await self._idle.wait()
        return worker

    def _with_a_model_of_ours(self, head: dict[str, Any]) -> dict[str, Any]:
        names = [model["name"] for model in self._loaded["models"]]
        return head if head.get("model") in names else head | {"model": names[0]}


class LeastBusy(FIFOMixin, RequestRouter):
    """Sends each request to the replica with the fewest requests.

    Ray Serve's default compares two replicas chosen at random; both may be busy while a third is
    idle.
    """

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any = None
    ) -> list[list[Any]]:
        """Return all replicas, of which Ray Serve takes the least busy one."""
        if pending_request is not None:
            # otherwise, when all are busy, it would ask again without a pause
            pending_request.routing_context.should_backoff = True
        return [list(candidate_replicas)]


def keep_to_rays_address() -> None:
    """Bind Ray Serve's port for calls between deployments to Ray's own address alone.

    Ray Serve is about to open it in this process on all network interfaces.
    """
    from grpc.aio import _server

    address, add_port = ray.util.get_node_ip_address(), _server.Server.add_insecure_port
    where = f"[{address}]" if ":" in address else address
    _server.Server.add_insecure_port = lambda server, asked: add_port(
        server, asked.replace("[::]", where)
    )


def _edition(models: list[dict[str, Any]]) -> str:
    """A text that is the same for replicas that have loaded the same models."""
    return hashlib.sha256(json.dumps(models, sort_keys=True).encode()).hexdigest()[:16]
