"""A Ray to work on: one that runs already, or one of our own that ends with us. Another's Ray is left as it was.

Ray's token authentication is on unless the environment says otherwise (`RAY_AUTH_MODE`). Our own Ray is bound to loopback,
has no dashboard, tells nobody of its use, and has a token that only its processes know, unless one was given.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable

from humanparse.cores import usable_cores
from humanparse.errors import MissingExtra, OptionError
from humanparse.service.settings import Settings

OLDEST = (2, 58)  # before it, replicas take pickles from whoever reaches their port, token or not
OBJECT_STORE_SPARE_MB = 256  # for answers, beside the pictures that may be held
LARGEST_SHARE = 0.3  # of the memory, for Ray's object store: Ray's own default
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
OUR_OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what Ray does on a laptop: one machine, bound to loopback
    "RAY_enable_worker_prestart": "0",  # a process for each processor would start at once, and idle
    "RAY_prestart_worker_first_driver": "0",
}

log = logging.getLogger(__name__)


def join(settings: Settings) -> Callable[[], None]:
    """Connect to the Ray at `settings.ray_address`, or start one if that is empty. Returns what ends it, or leaves it.

    Call it in a thread that lives as long as the service: Ray's processes end with it. Raises MissingExtra without Ray,
    OptionError for an address where no Ray answers, or one that does not let us in.
    """
    _check_installed()
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    if os.environ.setdefault("RAY_AUTH_MODE", "token") != "token":
        log.warning("RAY_AUTH_MODE is %r: whoever reaches this Ray can run programs on it", os.environ["RAY_AUTH_MODE"])
    ours = threading.current_thread() is threading.main_thread()
    on_stop = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if ours}
    try:
        return _connect(settings.ray_address) if settings.ray_address else _start(settings)
    finally:
        for number, handler in on_stop.items():  # Ray puts its own in their place
            signal.signal(number, handler)


def _check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("replicas on a cluster need Ray", "ray")
    from importlib.metadata import version

    found = version("ray")
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise OptionError(f"Ray {found} is installed, but {'.'.join(map(str, OLDEST))} is the oldest that is safe to serve with: "
                          "pip install --upgrade 'humanparse[ray]'")


def _connect(address: str) -> Callable[[], None]:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except ray.exceptions.AuthenticationError as error:
        raise OptionError(f"the Ray at {address} does not let us in ({_first_line(error)}): "
                          "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to its token") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OptionError(f"no Ray answers at {address}: {_first_line(error)}") from None
    return ray.shutdown


def _start(settings: Settings) -> Callable[[], None]:
    os.environ.update({name: value for name, value in OUR_OWN.items() if name not in os.environ})
    if not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    folder = tempfile.mkdtemp(prefix="hp", dir=_short_folder())  # not /tmp/ray: others may write there

    def end() -> None:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

    try:
        ray.init(
            address="local", num_cpus=_processors(settings), object_store_memory=_object_store_bytes(settings),
            include_dashboard=False, log_to_driver=False, configure_logging=False,
            _temp_dir=os.path.join(folder, "ray"),  # which Ray opens to everybody, but `folder` lets nobody in
        )
    except BaseException:
        end()
        raise
    return end


def _processors(settings: Settings) -> int:
    """As many as there are, or as all replicas claim together: how many replicas share a core is the operator's choice."""
    return max(usable_cores(), math.ceil(settings.most_replicas * settings.cpus_per_replica))


def _object_store_bytes(settings: Settings) -> int:
    """Room for all pictures that may be held, so that none is ever written to disk."""
    wanted = (settings.queue_max_mb + OBJECT_STORE_SPARE_MB) * 1e6
    try:
        present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        present = 4e9
    return int(min(wanted, LARGEST_SHARE * present))


def _short_folder() -> str | None:
    """Ray's sockets lie below the folder, and their paths may have 107 characters."""
    folder = tempfile.gettempdir()
    return folder if len(folder) < 30 else "/tmp"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
