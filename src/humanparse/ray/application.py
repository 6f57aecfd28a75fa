"""The service as an application of Ray Serve, for config files and KubeRay.

`serve run deploy/ray/serve.yaml` starts it. It has two deployments: `Web`, our application behind
Ray Serve's HTTP proxy, and `Parser`, the replicas. What the config file says about a deployment
takes precedence over what is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from humanparse.ray.replicas import State
from humanparse.ray.server import PARSER, app_in_front_of, parser_deployment, state
from humanparse.service.settings import Settings

WEB = "Web"
WEB_CPUS = 0.5
EVERYONE = "0.0.0.0"  # Ray Serve's own default


def build(args: Mapping[str, Any]) -> Any:
    """Return the bound application.

    Args:
        args: Settings of `humanparse serve` by name; where it runs, environment variables count
            too.

    Returns:
        Ray Serve's application.

    Raises:
        OptionError: For settings that are impossible.
    """
    from ray import serve

    # read here only to report mistakes at once; the replicas read them again
    settings = _settings(args, host="127.0.0.1")

    def web() -> Any:
        return _web(args)

    entrance = serve.deployment(
        name=WEB,
        max_ongoing_requests=settings.max_connections,
        ray_actor_options={"num_cpus": WEB_CPUS},
        graceful_shutdown_timeout_s=settings.deadline_s + settings.drain_s,
        logging_config={"enable_access_log": False},
    )(serve.ingress(web)())
    return entrance.bind(parser_deployment(settings))


def _web(args: Mapping[str, Any]) -> Any:
    """The ASGI application, inside a replica of `Web`.

    Raises OptionError if other machines could use it without a token.
    """
    from humanparse.ray.replica import keep_to_rays_address
    from humanparse.service import logs

    keep_to_rays_address()
    settings = _settings(args, host=_proxy_host())
    logs.configure(settings)
    return app_in_front_of(ConfigFileDeployment(), settings)


class ConfigFileDeployment:
    """The replicas of the config file, which Ray Serve starts and stops.

    Implements `replicas.Deployment`.
    """

    needed = 1

    def __init__(self) -> None:
        from ray import serve

        self._app = serve.get_replica_context().app_name

    def start(self) -> None:
        """Do nothing: Ray Serve starts them beside us."""

    def handle(self) -> Any:
        """Return Ray Serve's DeploymentHandle."""
        from ray import serve

        return serve.get_deployment_handle(PARSER, app_name=self._app)

    def state(self) -> State:
        """Return the current state of the replicas."""
        return state(self._app, self.needed)

    def reload(self) -> None:
        """Do nothing: the config file reloads them, with `user_config` of `Parser`."""

    def stop(self) -> None:
        """Do nothing: they end with the application."""

    def leave(self) -> None:
        """Do nothing: we are inside Ray."""


def _settings(args: Mapping[str, Any], host: str) -> Settings:
    given: dict[str, Any] = {"host": host, "ray": True}
    for name, value in args.items():
        given[name] = tuple(value) if isinstance(value, list) else value
    return Settings.from_env(**given)


def _proxy_host() -> str:
    """Where Ray Serve's HTTP proxies listen, which decides who has access, unlike our `host`."""
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    if client is None:
        return EVERYONE
    try:
        return client.get_serve_details()["http_options"]["host"] or EVERYONE
    except (AttributeError, KeyError, TypeError):  # a Ray with other internals
        return EVERYONE
