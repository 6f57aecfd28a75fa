"""A Ray to work on: one that is already running, or one of our own that ends with us.

Somebody else's Ray is left as it was. Ray's token authentication is on unless the environment says
otherwise (`RAY_AUTH_MODE`). Our own Ray is bound to loopback, has no dashboard, sends no usage
statistics, and has a token that only its processes know, unless one was given.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from humanparse.errors import MissingExtra, OptionError
from humanparse.extras import EXTRAS

# in older ones, Ray Serve's replicas accept pickles from anybody who reaches their port
OLDEST = (2, 58)
CONNECT_S = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
SILENT = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
# as Ray does on a laptop: do not replace 127.0.0.1 by another address
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
OUR_OWN = {
    "RAY_enable_worker_prestart": "0",  # it would start an idle process for each processor
    "RAY_prestart_worker_first_driver": "0",
}

log = logging.getLogger(__name__)


def join(
    address: str | None, *, cpus: int, object_store_bytes: int, silent: bool = False
) -> Callable[[], None]:
    """Connect to a running Ray, or start one.

    Call it in a thread that lives as long as the work, since Ray's processes end with it.

    Args:
        address: "host:port" or "auto"; None starts a Ray on this machine.
        cpus: The number of processors of a Ray that is started.
        object_store_bytes: The memory for objects of a Ray that is started.
        silent: Suppress all terminal output meanwhile, including that of other threads.

    Returns:
        A function that disconnects, and ends a Ray that was started.

    Raises:
        MissingExtra: Without Ray.
        OptionError: If no Ray answers at the address, or it refuses our token, or Ray is too old.
    """
    _check_installed()
    _prepare(address, QUIET | SILENT if silent else QUIET)
    ours = threading.current_thread() is threading.main_thread()
    on_stop = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if ours
    }
    try:
        with _stderr_discarded() if silent else nullcontext():
            return _connect(address) if address else _start(cpus, object_store_bytes)
    finally:
        for number, handler in on_stop.items():  # Ray has replaced them
            signal.signal(number, handler)


def _check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("work on a cluster needs Ray", "ray")
    from importlib.metadata import version

    found = version("ray")
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise OptionError(
            f"Ray {found} is installed, but the oldest version that is safe to serve with is "
            f"{'.'.join(map(str, OLDEST))}: "
            f"pip install --upgrade '{EXTRAS['ray'][0]}'"
        )


def _prepare(address: str | None, wanted: dict[str, str]) -> None:
    """Set what Ray reads from the environment, unless it is already set."""
    wanted = wanted | {"RAY_AUTH_MODE": "token"}
    if not address:
        wanted |= OUR_OWN | ON_LOOPBACK
        if not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    elif address.rpartition(":")[0] in LOOPBACK:
        wanted |= ON_LOOPBACK
    os.environ.update({name: value for name, value in wanted.items() if name not in os.environ})
    if os.environ["RAY_AUTH_MODE"] != "token":
        log.warning(
            "RAY_AUTH_MODE is %r: anybody who can reach this Ray can run programs on it",
            os.environ["RAY_AUTH_MODE"],
        )


def _connect(address: str) -> Callable[[], None]:
    if ":" in address:
        _knock(address)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except ray.exceptions.AuthenticationError as error:
        raise OptionError(
            f"the Ray at {address} refuses access ({first_line(error)}): "
            "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to its token"
        ) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OptionError(f"no Ray answers at {address}: {first_line(error)}") from None
    return ray.shutdown


def _start(cpus: int, object_store_bytes: int) -> Callable[[], None]:
    import ray

    # not /tmp/ray, where others may write
    folder = tempfile.mkdtemp(prefix="hp", dir=_short_folder())

    def end() -> None:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=object_store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            # Ray makes it accessible to everybody, but `folder` is ours alone
            _temp_dir=os.path.join(folder, "ray"),
        )
    except BaseException:
        end()
        raise
    return end


@contextmanager
def _stderr_discarded() -> Iterator[None]:
    """Discard stderr while the context is open.

    Ray's core announces there that it obeys RAY_BACKEND_LOG_LEVEL; errors arrive as exceptions.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _knock(address: str) -> None:
    """Raise OptionError if nothing listens there; Ray itself would try for most of a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise OptionError(
            f"no Ray answers at {address}: {error}; give the HOST:PORT of its head node"
        ) from None


def _short_folder() -> str | None:
    """Where Ray's sockets go: their paths may have at most 107 characters."""
    folder = tempfile.gettempdir()
    return folder if len(folder) < 30 else "/tmp"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; Ray's errors have pages of it."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
