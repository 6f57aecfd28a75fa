"""The replicas as the service's dispatcher sees them: it may have a number of tasks in progress.

This takes the place of `service.work.pool.WorkerPool`. Ray Serve keeps the replicas running and
chooses one for each task; the queue, its priorities, deadlines and the second attempt stay with the
dispatcher.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from humanparse.errors import HumanParseError, ModelError, OptionError
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.pool import PROBE_S
from humanparse.service.work.process import Worker, WorkerDied, worker_command
from humanparse.service.work.wire import Frame

POLL_S = 1.0
# a replica reports a timeout itself; one that is this much later is gone
LATE_S = 5.0
AGAIN_S = 1.0  # the earliest retry of a client that Ray Serve turned away
SPREAD_S = 3.0  # such retries are spread over this time
# what a replica reports about itself in every reply
ABOUT = ("replica", "reload_error", "edition", "loaded_at")

log = logging.getLogger(__name__)


class Deployment(Protocol):
    """The replicas' deployment in Ray Serve: ours, or that of a config file.

    Attributes:
        needed: The number of replicas without which the service cannot start.
    """

    needed: int

    def start(self) -> None:
        """Start the replicas; called in the thread of the event loop."""

    def handle(self) -> Any:
        """Return Ray Serve's DeploymentHandle."""

    def state(self) -> State:
        """Return the current state of the replicas. May take some time."""

    def reload(self) -> None:
        """Have every replica reload its models, a few at a time."""

    def stop(self) -> None:
        """Stop the replicas. May take some time."""

    def leave(self) -> None:
        """Disconnect from Ray; called in the thread of the event loop."""


class State(NamedTuple):
    """The state of the replicas.

    Attributes:
        running: How many accept tasks.
        starting: How many others are being started.
        steady: Whether nothing is being changed.
        message: What Ray Serve says about them.
    """

    running: int
    starting: int
    steady: bool
    message: str


class ReplicaLease:
    """Permission to have one task done by any replica.

    To the dispatcher it is a worker.
    """

    def __init__(self, replicas: Replicas):
        self._replicas = replicas

    async def call(self, head: Mapping[str, Any], blob: bytes, timeout_s: float) -> Frame:
        """Have one task done.

        Args:
            head: The work item's head.
            blob: The picture's file.
            timeout_s: Time limit in seconds.

        Returns:
            The head and the blob of the reply.

        Raises:
            TimeoutError: If it takes too long.
            WorkerDied: If the replica or its child process ends.
            Problem: queue_full, if Ray Serve accepts no more.
        """
        return await self._replicas.call(head, blob, timeout_s)

    def kill(self, reason: str) -> None:
        """Do nothing: the replica has ended the work, or is gone."""


class ReplicaFacts(NamedTuple):
    """What `Dispatcher.status` asks about a running replica."""

    last_success: float
    rss_mb: float
    ready: dict[str, Any]


class ReplicaSlot(NamedTuple):
    """The place of one replica, for `Dispatcher.status`."""

    alive: bool
    worker: ReplicaFacts | None = None


class Replicas:
    """Sends tasks to the replicas, as many at the same time as they can do.

    Args:
        settings: The service's settings.
        deployment: The replicas' deployment.
        on_idle: Called whenever there may be room for more tasks.
        on_crash: Called whenever a replica's child process has died during a task.

    Attributes:
        models: What the replicas report about their models.
        restarts: Always 0; Ray Serve restarts replicas.
        crashes: How many children have died.
    """

    def __init__(
        self,
        settings: Settings,
        deployment: Deployment,
        on_idle: Callable[[], None],
        on_crash: Callable[[], None] = lambda: None,
    ):
        self.models: list[dict[str, Any]] = []
        self.restarts = 0
        self.crashes = 0
        self._settings = settings
        self._deployment = deployment
        self._on_idle = on_idle
        self._on_crash = on_crash
        self._handle: Any = None
        self._state = State(0, deployment.needed, False, "")
        self._in_work = 0
        # the names that the first model has had, which is used when a client names none
        self._firsts: set[str] = set()
        self._edition = ""  # of the models that we report
        self._loaded_at = 0.0  # when a replica last loaded that edition, on its clock
        self._stale = False  # a replica has loaded others since
        self._last_success = time.monotonic()
        self._last_probe = 0.0
        self._loaded_s = 1.0
        # the last report of each replica, the latest last
        self._heard_of: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._responses: set[Any] = set()
        self._watching: asyncio.Task[None] | None = None

    # For the dispatcher

    def take(self) -> ReplicaLease | None:
        """Return a lease, to be given back; None if the replicas have enough to do."""
        if self._in_work >= self._room:
            return None
        self._in_work += 1
        return ReplicaLease(self)

    def give_back(self, lease: ReplicaLease) -> None:
        """Take back a lease whose work is done, successfully or not."""
        self._in_work -= 1

    @property
    def num_alive(self) -> int:
        """How many replicas run."""
        return self._state.running

    @property
    def num_idle(self) -> int:
        """How many replicas have no task."""
        return max(0, self._state.running - self._in_work)

    @property
    def slots(self) -> list[ReplicaSlot]:
        """A place for each replica that runs or is being started."""
        memory = [float(said.get("rss_mb", 0.0)) for said in reversed(self._heard_of.values())]
        memory += [0.0] * (self._state.running - len(memory))
        alive = [
            ReplicaSlot(True, ReplicaFacts(self._last_success, mb, {"loaded_s": self._loaded_s}))
            for mb in memory[: self._state.running]
        ]
        return alive + [ReplicaSlot(False)] * self._state.starting

    @property
    def last_reload_error(self) -> str:
        """Why a replica has older models than it should have; "" if none has."""
        return next(
            (said["reload_error"] for said in self._heard_of.values() if said.get("reload_error")),
            "",
        )

    @property
    def _room(self) -> int:
        """How many tasks may be in progress.

        With autoscaling, that is more than there are replicas: Ray Serve sees from the waiting
        tasks that more are needed.
        """
        if self._settings.ray_max_replicas:
            return max(
                self._state.running,
                math.ceil(self._settings.max_replicas * self._settings.ray_target_requests),
            )
        return self._state.running

    # From start to stop

    async def start(self) -> None:
        """Start the replicas, and return when they are ready.

        Raises:
            ModelError: If the models cannot be loaded.
            OptionError: If the cluster has no room for them.
        """
        try:
            self._deployment.start()  # not in a thread of the pool: see `cluster.join`
            self._handle = self._deployment.handle()
            await self._until_ready()
        except BaseException:
            await self._end()
            raise
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Cancel all tasks, and stop the replicas."""
        for response in list(self._responses):
            response.cancel()
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._end()

    async def _end(self) -> None:
        try:
            await asyncio.to_thread(self._deployment.stop)
        finally:
            self._deployment.leave()

    async def reload(self) -> None:
        """Have the models reloaded, a few replicas at a time.

        If they cannot be loaded, the old ones stay; see `last_reload_error`.
        """
        await asyncio.to_thread(self._deployment.reload)
        await self._poll()
        end = time.monotonic() + self._settings.worker_start_s * max(2, self._settings.max_replicas)
        while not self._state.steady and time.monotonic() < end:
            await asyncio.sleep(POLL_S / 4)
            await self._poll()
        await self._probe()

    async def _until_ready(self) -> None:
        """Return when as many replicas run as are needed, and one has parsed a tiny picture."""
        end = time.monotonic() + self._settings.worker_start_s
        while True:
            await self._poll()
            if self._state.running >= self._deployment.needed:
                await self._probe()
                if self.models:
                    return
            if trouble := _our_error(self._state.message):
                raise trouble
            if time.monotonic() > end:
                raise OptionError(_too_few(self._state, self._deployment.needed, self._settings))
            await asyncio.sleep(POLL_S / 4)

    async def _watch(self) -> None:
        """Keep track of the state of the replicas.

        They parse a tiny picture when they are idle, or when their models have changed.
        """
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._poll()
                now = time.monotonic()
                idle = (
                    not self._in_work
                    and now - max(self._last_success, self._last_probe) > self._settings.probe_s
                )
                if self._state.running and (self._stale or idle):
                    await self._probe()
            except Exception as error:
                log.error("cannot get the state of the replicas: %s", _line(error))

    async def _poll(self) -> None:
        try:
            state = await asyncio.to_thread(self._deployment.state)
        except Exception:
            self._state = State(0, self._deployment.needed, False, "")
            raise
        if state.running != self._state.running:
            log.info("%d replicas are running, %d are being started", state.running, state.starting)
        self._state = state
        # those that are gone have reported nothing for the longest time
        while len(self._heard_of) > state.running:
            self._heard_of.popitem(last=False)
        self._on_idle()

    async def _probe(self) -> None:
        """Have any replica parse a tiny picture and report its models.

        From then on, we report the models of the newest edition.
        """
        self._last_probe = time.monotonic()
        try:
            found, _ = await self.call({"do": "probe"}, b"", PROBE_S)
        except (TimeoutError, WorkerDied, Problem) as error:
            log.error("a replica did not parse a tiny picture: %s", _line(error) or "too slow")
            return
        if "problem" in found:
            log.error("a replica did not parse a tiny picture: %s", found["problem"])
            return
        if found["loaded_at"] >= self._loaded_at:
            self.models, self._loaded_s = found["models"], found["loaded_s"]
            self._firsts.add(self.models[0]["name"])
            self._edition, self._loaded_at, self._stale = (
                found["edition"],
                found["loaded_at"],
                False,
            )

    # Tasks

    async def call(self, head: Mapping[str, Any], blob: bytes, timeout_s: float) -> Frame:
        """Have one task done; see `ReplicaLease.call`."""
        if head["do"] == "unzip":
            return await _here(head, timeout_s)
        default = head.get("model") in self._firsts
        answer, body = await self._asked(json.dumps({**head, "default": default}), blob, timeout_s)
        return self._heard(json.loads(answer)), body

    async def _asked(self, head: str, blob: bytes, timeout_s: float) -> tuple[str, bytes]:
        """A replica's reply; Ray's errors become ours."""
        from ray import exceptions as ray_errors
        from ray.serve import exceptions as serve_errors

        response = self._handle.remote(head, blob, timeout_s)
        self._responses.add(response)
        try:
            async with asyncio.timeout(timeout_s + LATE_S):
                return await response
        except TimeoutError:
            response.cancel()
            raise WorkerDied("the replica did not reply in time", from_outside=True) from None
        except serve_errors.BackPressureError:
            raise Problem(
                "queue_full",
                "the queues of all replicas are full; try again later",
                retry_after_s=AGAIN_S + random.uniform(0, SPREAD_S),
            ) from None
        except serve_errors.DeploymentUnavailableError:
            raise Problem(
                "not_ready",
                "no replica is running yet; try again in a moment",
                retry_after_s=AGAIN_S,
            ) from None
        except ray_errors.OutOfMemoryError as error:
            raise WorkerDied(_line(error)) from None
        except ray_errors.RayTaskError:
            raise  # a bug of ours in the replica
        except (ray_errors.RayError, serve_errors.RayServeException) as error:
            raise WorkerDied(_line(error), from_outside=True) from None
        finally:
            self._responses.discard(response)

    def _heard(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Note what a replica reports about itself.

        Raises what it says about the task, as `Worker.call` does.
        """
        about = {name: answer.pop(name) for name in ABOUT if name in answer}
        before = self._heard_of.pop(about["replica"], {}).get("reload_error", "")
        if about["reload_error"] not in ("", before):
            log.error(
                "replica %s cannot reload the models, the old ones stay: %s",
                about["replica"],
                about["reload_error"],
            )
        self._heard_of[about["replica"]] = about | {"rss_mb": answer.get("rss_mb", 0.0)}
        if about["edition"] == self._edition:
            self._loaded_at = max(self._loaded_at, about["loaded_at"])
        elif about["loaded_at"] > self._loaded_at:
            self._stale = True
        if answer.get("timeout"):
            raise TimeoutError
        if "died" in answer:
            self.crashes += 1
            self._on_crash()
            raise WorkerDied(answer["died"], from_outside=answer["from_outside"])
        if "problem" not in answer:
            self._last_success = time.monotonic()
        return answer | about if "models" in answer else answer


async def _here(head: Mapping[str, Any], timeout_s: float) -> Frame:
    """Do a task about files of this machine in a child process, which then ends."""
    worker = await Worker.spawn(worker_command())
    try:
        await worker.load({"models": [], "options": {"threads": 1}}, timeout_s)
        return await worker.call(head, b"", timeout_s)
    finally:
        await worker.end(0)


def _our_error(message: str) -> HumanParseError | None:
    """Our error that kept a replica from starting, from the traceback in Ray Serve's message."""
    found = re.findall(r"humanparse\.errors\.(\w+): (.+)", message)
    if not found:
        return None
    name, text = found[-1]
    return (OptionError if name == "OptionError" else ModelError)(text.strip())


def _too_few(state: State, needed: int, settings: Settings) -> str:
    gpus = f" and {settings.ray_gpus_per_replica:g} GPUs" if settings.ray_gpus_per_replica else ""
    said = " ".join(state.message.split())[:500] or "nothing"
    return (
        f"{state.running} of {needed} replicas started within {settings.worker_start_s:g} s "
        f"(worker_start_s); each reserves {settings.cpus_per_replica:g} CPUs{gpus}. "
        f"Ray says: {said}"
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
