"""`humanparse serve --ray`: our web server in front of replicas that Ray Serve keeps running."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from humanparse import __version__
from humanparse.ray import cluster
from humanparse.ray.replicas import Deployment, Replicas, State
from humanparse.service.settings import Settings
from humanparse.system.cores import usable_cores

if TYPE_CHECKING:
    from fastapi import FastAPI

PARSER = "Parser"  # the deployment's name in Ray Serve
REPLICA_STOP_S = 5  # in addition to the deadline of the work in progress
HEALTH_TIMEOUT_S = 30
RUNNING = ("RUNNING", "UPDATING")  # a replica that changes its models is back in a moment
OBJECT_STORE_SPARE_MB = 256  # for responses, in addition to the pictures
MAX_SHARE = 0.3  # of the memory, for Ray's object store: Ray's own default
LOOK_BACK_S = 12  # Ray Serve counts waiting requests every 10 s
# Ray Serve's first and longest pause when all replicas are busy
ROUTER_BACKOFF_S = (0.01, 0.1)


def serve(settings: Settings) -> int:
    """Run the service until it is told to stop.

    Args:
        settings: The service's settings.

    Returns:
        The exit code.

    Raises:
        HumanParseError: As `service.start.serve` and `cluster.join` do.
    """
    from humanparse.service.server import run

    return run(app_in_front_of(ServerDeployment(settings), settings), settings)


def app_in_front_of(deployment: Deployment, settings: Settings) -> FastAPI:
    """Return the service's application, with these replicas as its workers."""
    from humanparse.service.app import create_app
    from humanparse.service.work.dispatcher import Dispatcher

    def crashed() -> None:
        app.state.metrics.worker_restarted("crashed")

    dispatcher = Dispatcher(
        settings, pool=lambda on_idle: Replicas(settings, deployment, on_idle, crashed)
    )
    app = create_app(settings, dispatcher=dispatcher)
    return app


class ServerDeployment:
    """The replicas of one server, which start and stop with it.

    Implements `replicas.Deployment`.
    """

    def __init__(self, settings: Settings):
        self.needed = settings.workers
        self._settings = settings
        self._leave: Callable[[], None] | None = None
        self._deployed = False

    def start(self) -> None:
        """Connect to Ray, or start one, and deploy the replicas."""
        chosen = self._settings
        self._leave = cluster.join(
            chosen.ray_address,
            cpus=_processors(chosen),
            object_store_bytes=_object_store_bytes(chosen),
        )
        from ray import serve

        _share_our_log()
        serve.start(proxy_location="Disabled")
        self._deploy()
        self._deployed = True

    def handle(self) -> Any:
        """Return Ray Serve's DeploymentHandle."""
        from ray import serve

        return serve.get_deployment_handle(PARSER, app_name=self._settings.ray_app)

    def state(self) -> State:
        """Return the current state of the replicas."""
        return state(self._settings.ray_app, self.needed)

    def reload(self) -> None:
        """Have every replica reload its models, a few at a time."""
        self._deploy()

    def stop(self) -> None:
        """Delete the replicas, unless they end with our own Ray."""
        if (
            self._deployed and self._settings.ray_address
        ):  # otherwise the replicas end with our own Ray
            from ray import serve

            serve.delete(self._settings.ray_app)

    def leave(self) -> None:
        """Disconnect from Ray, and end it if it is ours."""
        if self._leave:
            self._leave()

    def _deploy(self) -> None:
        from ray import serve

        # Replicas that another server has left behind reload the models as well.
        parser = parser_deployment(self._settings, reload=time.time())
        target = serve.RunTarget(parser, name=self._settings.ray_app, route_prefix=None)
        serve.run_many([target], wait_for_applications_running=False)


def parser_deployment(settings: Settings, reload: float = 0) -> Any:
    """Return the replicas as a bound deployment of Ray Serve.

    Args:
        settings: The service's settings.
        reload: Another number makes the replicas reload their models.

    Returns:
        The deployment.
    """
    from ray import serve
    from ray.serve.config import RequestRouterConfig

    from humanparse.ray.replica import LeastBusy, Replica, options

    first_s, longest_s = ROUTER_BACKOFF_S
    routing: dict[str, Any] = {
        "request_router_class": LeastBusy,
        "initial_backoff_s": first_s,
        "max_backoff_s": longest_s,
    }
    given = options(settings)
    parser = serve.deployment(
        name=PARSER,
        max_ongoing_requests=1,
        max_queued_requests=_max_waiting(settings),
        request_router_config=RequestRouterConfig(**routing),
        user_config={"models": list(settings.models), "reload": reload},
        ray_actor_options={
            "num_cpus": settings.cpus_per_replica,
            "num_gpus": settings.ray_gpus_per_replica,
        },
        health_check_period_s=settings.probe_s,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=settings.deadline_s + REPLICA_STOP_S,
        graceful_shutdown_wait_loop_s=1,
        logging_config={"enable_access_log": False},
        **_number(settings),
    )(Replica)
    # Without this, each deployment has a new version for Ray Serve, which would replace replicas
    # that only need to be reconfigured.
    parser._version = hashlib.sha256(json.dumps([__version__, given]).encode()).hexdigest()[:16]
    return parser.bind(given)


def _max_waiting(settings: Settings) -> int:
    """The size of Ray Serve's own queue.

    Room for the tasks that show that more replicas are needed, and for a whole queue before it.
    """
    return settings.queue_size + math.ceil(settings.max_replicas * settings.ray_target_requests)


def _number(settings: Settings) -> dict[str, Any]:
    """How many replicas: a fixed number, or by the number of waiting and running tasks."""
    if not settings.ray_max_replicas:
        return {"num_replicas": settings.workers}
    return {
        "autoscaling_config": {
            "min_replicas": settings.workers,
            "max_replicas": settings.ray_max_replicas,
            "target_ongoing_requests": settings.ray_target_requests,
            "look_back_period_s": LOOK_BACK_S,
            "upscale_delay_s": settings.ray_upscale_delay_s,
            "downscale_delay_s": settings.ray_downscale_delay_s,
        }
    }


def state(app: str, wanted: int) -> State:
    """Return the state of an application's replicas, as Ray Serve's controller knows it.

    Args:
        app: The application's name.
        wanted: The minimum number of replicas that there should be.

    Returns:
        The state.
    """
    from ray import serve

    found = serve.status().applications.get(app)
    if found is None:
        return State(0, wanted, False, "")
    parser = found.deployments.get(PARSER)
    if parser is None:
        return State(0, wanted, False, found.message)
    states = cast("Mapping[str, int]", parser.replica_states)  # by ReplicaState, which is a str
    running = sum(states.get(name, 0) for name in RUNNING)
    others = sum(number for name, number in states.items() if name not in (*RUNNING, "STOPPING"))
    steady = found.status == "RUNNING" and parser.status == "HEALTHY"
    return State(
        running, max(others, wanted - running), steady, f"{found.message}\n{parser.message}"
    )


def _share_our_log() -> None:
    """Ray Serve's warnings become lines of our log."""
    ours, theirs = logging.getLogger("humanparse"), logging.getLogger("ray.serve")
    theirs.handlers[:] = ours.handlers
    theirs.setLevel(max(logging.WARNING, ours.level))
    theirs.propagate = False


def _processors(settings: Settings) -> int:
    """How many processors our own Ray should have: all, or as many as all replicas reserve.

    How many replicas share a core is the operator's choice.
    """
    return max(usable_cores(), math.ceil(settings.max_replicas * settings.cpus_per_replica))


def _object_store_bytes(settings: Settings) -> int:
    """Room for all pictures that may be held, so that none is ever written to disk."""
    wanted = (settings.queue_max_mb + OBJECT_STORE_SPARE_MB) * 1e6
    try:
        present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        present = 4_000_000_000
    return int(min(wanted, MAX_SHARE * present))
