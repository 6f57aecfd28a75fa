"""Every limit and choice of the service: one row each, with its default, unit and meaning.

A row becomes an option of `humanparse serve` (`--max-body-mb`) and an environment variable
(`HUMANPARSE_MAX_BODY_MB`); docs/service.md lists them all. 1 MB = 1 000 000 bytes, 1 kB = 1 000
bytes.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from humanparse.errors import OptionError
from humanparse.system.cores import usable_cores
from humanparse.system.home import home_if_any
from humanparse.vocabulary import AUTO, ENGINES, PRECISIONS, RUN_ON

PREFIX = "HUMANPARSE_"
NOWHERE = Path(os.devnull)  # no folder can be created below it


def row(
    default: Any,
    help: str,
    *,
    unit: str = "",
    group: str,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Return a setting as a dataclass field.

    Args:
        default: The value if nothing is given.
        help: What it means; also the option's help text.
        unit: The unit of the value.
        group: The heading that it is listed under.
        minimum: The smallest value that is allowed.
        maximum: The largest value that is allowed.

    Returns:
        The field, with the other arguments in its metadata.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "unit": unit,
            "group": group,
            "minimum": minimum,
            "maximum": maximum,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the service.

    Raises:
        OptionError: For an impossible value, and for a non-loopback host without a token (see
            `_check_access`).
    """

    # Where it listens, and who has access
    host: str = row("127.0.0.1", "Address to listen on.", group="Address")
    port: int = row(
        7860, "Port to listen on; 0 picks a free one.", group="Address", minimum=0, maximum=65535
    )
    token: str = row(
        "", "Token that clients must send as `Authorization: Bearer TOKEN`.", group="Address"
    )
    no_auth: bool = row(False, "Serve other machines without a token.", group="Address")
    cors_origins: tuple[str, ...] = row(
        (), "Origins whose pages may call this service, separated by commas.", group="Address"
    )
    allowed_hosts: tuple[str, ...] = row(
        (),
        "Host names to answer to besides localhost and IP addresses, separated by commas,"
        " or `*`. Empty: any name, but none on a loopback address without a token.",
        group="Address",
    )
    trusted_proxies: tuple[str, ...] = row(
        ("127.0.0.1",),
        "Addresses of proxies whose X-Forwarded-For, -Proto and -Prefix headers are "
        "trusted, separated by commas.",
        group="Address",
    )
    root_path: str = row(
        "",
        "Path, such as /hp, that a proxy removes from requests without sending "
        "X-Forwarded-Prefix; links begin with it.",
        group="Address",
    )

    # Models and workers
    models: tuple[str, ...] = row(
        ("humanparse-small",),
        "Models, separated by commas; the first is used when a request names none.",
        group="Models",
    )
    engine: str = row(
        "auto",
        "Engine that runs the models: onnxruntime, openvino, or auto for the faster one.",
        group="Models",
    )
    precision: str = row(
        "fp32", "Arithmetic of a float model: fp32, or bf16 with OpenVINO.", group="Models"
    )
    device: str = row(
        "cpu",
        f"Where the models run: {', '.join(RUN_ON[:-1])} or {RUN_ON[-1]}.",
        group="Models",
    )
    workers: int = row(
        0,
        "Number of worker processes; 0 chooses by the number of cores.",
        unit="processes",
        group="Workers",
        minimum=0,
        maximum=256,
    )
    threads: int = row(
        0,
        "Threads per worker; 0 divides the cores among the workers.",
        unit="threads",
        group="Workers",
        minimum=0,
        maximum=256,
    )
    worker_start_s: float = row(
        60, "How long a worker may take to load its models.", unit="s", group="Workers", minimum=1
    )
    worker_max_requests: int = row(
        2000,
        "Replace a worker after this many requests.",
        unit="requests",
        group="Workers",
        minimum=1,
    )
    worker_max_memory_mb: int = row(
        2000,
        "Replace a worker that holds more memory than this.",
        unit="MB",
        group="Workers",
        minimum=100,
    )
    probe_s: float = row(
        20,
        "An idle worker parses a tiny picture at this interval.",
        unit="s",
        group="Workers",
        minimum=0.1,
    )
    ready_window_s: float = row(
        60,
        "The service counts as ready if something was parsed within this time.",
        unit="s",
        group="Workers",
        minimum=0.1,
    )

    # Replicas on a cluster instead of processes on this machine: humanparse.ray
    ray: bool = row(
        False,
        "Parse in replicas on a Ray cluster; `workers` is then their minimum number.",
        group="Ray",
    )
    ray_address: str = row(
        "",
        "Address of the Ray cluster, such as head.example:6379; empty: start a Ray on "
        "this machine.",
        group="Ray",
    )
    ray_app: str = row(
        "humanparse",
        "Name of the application in Ray Serve; each service on a Ray cluster needs its own.",
        group="Ray",
    )
    ray_max_replicas: int = row(
        0,
        "Maximum number of replicas when scaling with the queue; 0 keeps their number fixed.",
        unit="replicas",
        group="Ray",
        minimum=0,
        maximum=10000,
    )
    ray_target_requests: float = row(
        1,
        "Scale up when there are more queued or running requests per replica than this.",
        unit="requests",
        group="Ray",
        minimum=0.1,
        maximum=100,
    )
    ray_upscale_delay_s: float = row(
        10,
        "How long the queue must be too long before replicas are added.",
        unit="s",
        group="Ray",
        minimum=0,
    )
    ray_downscale_delay_s: float = row(
        120, "Idle replicas are stopped after this time.", unit="s", group="Ray", minimum=0
    )
    ray_cpus_per_replica: float = row(
        0,
        "CPUs that a replica reserves; 0 reserves as many as `threads`.",
        unit="processors",
        group="Ray",
        minimum=0,
    )
    ray_gpus_per_replica: float = row(
        0,
        "GPUs that a replica reserves; fractions are allowed.",
        unit="GPUs",
        group="Ray",
        minimum=0,
    )

    # Limits of one request
    max_header_kb: int = row(
        32, "Maximum size of a request's head.", unit="kB", group="Requests", minimum=1
    )
    max_body_mb: float = row(
        32, "Maximum size of a request's body.", unit="MB", group="Requests", minimum=0.001
    )
    max_fields: int = row(
        64,  # fifty edits, and the options beside them
        "Maximum number of fields in a form, not counting its file.",
        unit="fields",
        group="Requests",
        minimum=1,
    )
    max_megapixels: float = row(
        40.0,
        "Maximum size of a photo; larger ones are refused before they are decoded.",
        unit="MP",
        group="Requests",
        minimum=0.001,
    )
    max_side: int = row(
        2048,
        "Maximum value of the option `max_side` of a request.",
        unit="pixels",
        group="Requests",
        minimum=64,
    )
    batch_max_images: int = row(
        16,
        "Maximum number of images in one /v1/batch request.",
        unit="images",
        group="Requests",
        minimum=1,
    )
    deadline_s: float = row(
        30,
        "Time limit from the complete request to its response.",
        unit="s",
        group="Requests",
        minimum=0.1,
    )

    # Limits of a connection
    header_timeout_s: float = row(
        10, "Time limit for a request's head to arrive.", unit="s", group="Connections", minimum=0.1
    )
    body_timeout_s: float = row(
        30, "Time limit for a request's body to arrive.", unit="s", group="Connections", minimum=0.1
    )
    write_timeout_s: float = row(
        30,
        "Time limit for a client that has stopped reading its response.",
        unit="s",
        group="Connections",
        minimum=0.1,
    )
    keep_alive_s: float = row(
        15, "Close an idle connection after this time.", unit="s", group="Connections", minimum=0.1
    )
    max_connections: int = row(
        1000,
        "Maximum number of open connections.",
        unit="connections",
        group="Connections",
        minimum=1,
    )

    # The queue
    queue_size: int = row(
        64,
        "Maximum number of requests waiting in the queue.",
        unit="requests",
        group="Queue",
        minimum=0,
    )
    queue_max_mb: float = row(
        512,
        "Maximum size of all request bodies held, waiting or in progress.",
        unit="MB",
        group="Queue",
        minimum=1,
    )
    answers_max_mb: float = row(
        256,
        "Maximum size of all responses that clients have not read yet.",
        unit="MB",
        group="Queue",
        minimum=1,
    )
    max_wait_s: float = row(
        10,
        "Turn away a request that would wait longer than this.",
        unit="s",
        group="Queue",
        minimum=0,
    )

    # The cache
    cache_mb: float = row(
        128,
        "Size of the response cache in memory; 0 turns it off.",
        unit="MB",
        group="Cache",
        minimum=0,
    )
    cache_disk_mb: float = row(
        0,
        "Size of the response cache on disk; 0 turns it off.",
        unit="MB",
        group="Cache",
        minimum=0,
    )
    cache_age_s: float = row(
        86400, "Cached responses expire after this time.", unit="s", group="Cache", minimum=1
    )
    redis_url: str = row(
        "",
        "A Redis server shared by several services, such as redis://localhost:6379/0.",
        group="Cache",
    )

    # Jobs
    data_dir: str = row(
        "", "Folder for jobs and the disk cache; empty: inside HUMANPARSE_HOME.", group="Jobs"
    )
    job_max_images: int = row(
        1000, "Maximum number of images in one job.", unit="images", group="Jobs", minimum=1
    )
    job_max_mb: float = row(
        1000,
        "Maximum size of a job's upload, and of its unpacked images.",
        unit="MB",
        group="Jobs",
        minimum=0.001,
    )
    max_jobs: int = row(
        100, "Maximum number of jobs kept, in any state.", unit="jobs", group="Jobs", minimum=1
    )
    jobs_max_mb: float = row(
        10000,
        "Maximum size of the files of all jobs, uploads and results.",
        unit="MB",
        group="Jobs",
        minimum=0.001,
    )
    job_age_s: float = row(
        86400,
        "Delete a finished job and its files after this time.",
        unit="s",
        group="Jobs",
        minimum=1,
    )

    # Clips, which are jobs
    video_workers: int = row(
        1,
        "Clips parsed at a time, each in a process of its own; 0 refuses clips.",
        unit="processes",
        group="Clips",
        minimum=0,
        maximum=256,
    )
    video_max_mb: float = row(
        200, "Maximum size of a clip's file.", unit="MB", group="Clips", minimum=0.001
    )
    video_max_megapixels: float = row(
        9.0, "Maximum size of a clip's frames.", unit="MP", group="Clips", minimum=0.001
    )
    video_max_seconds: float = row(
        300, "Maximum length of a clip.", unit="s", group="Clips", minimum=0.1
    )
    video_max_frames: int = row(
        9000, "Maximum number of frames of a clip.", unit="frames", group="Clips", minimum=1
    )
    video_deadline_s: float = row(
        3600, "Time limit for parsing a clip.", unit="s", group="Clips", minimum=1
    )

    # Shutdown and log
    drain_s: float = row(
        30,
        "Time limit on SIGTERM for requests in progress.",
        unit="s",
        group="Operation",
        minimum=0,
    )
    drain_delay_s: float = row(
        0,
        "Time on SIGTERM to stay open while reporting not ready, for load balancers.",
        unit="s",
        group="Operation",
        minimum=0,
    )
    log_format: str = row("json", "Format of the log: json or text.", group="Operation")
    log_level: str = row(
        "info", "Lowest level to log: debug, info, warning or error.", group="Operation"
    )

    def __post_init__(self) -> None:
        cores = usable_cores()
        if self.workers == 0:
            object.__setattr__(self, "workers", cores)
        if self.threads == 0:
            object.__setattr__(
                self, "threads", max(1, int(self.ray_cpus_per_replica) or cores // self.workers)
            )
        for one in fields(self):
            _check_range(one.name, getattr(self, one.name), one.metadata)
        _check_choice("engine", self.engine, (AUTO, *ENGINES))
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("device", self.device, RUN_ON)
        _check_choice("log_format", self.log_format, ("json", "text"))
        _check_choice("log_level", self.log_level, ("debug", "info", "warning", "error"))
        object.__setattr__(self, "root_path", plain_root(self.root_path))
        if not self.models:
            raise OptionError("models is empty; name at least one")
        if self.ray_max_replicas and self.ray_max_replicas < self.workers:
            raise OptionError(
                f"ray_max_replicas is {self.ray_max_replicas}, less than workers, {self.workers}; "
                "raise it, lower workers, or set it to 0"
            )
        self._check_access()

    @property
    def folder(self) -> Path:
        """The folder of jobs and of the disk cache.

        For a user without a home directory no such folder can be created, as on a broken disk.

        Raises:
            OptionError: If `data_dir` begins with a ~ that cannot be expanded.
        """
        if not self.data_dir:
            return (home_if_any() or NOWHERE) / "service"
        try:
            return Path(self.data_dir).expanduser()
        except RuntimeError as error:
            raise OptionError(
                f"data_dir is {self.data_dir!r}: {error} Give the folder's absolute path"
            ) from None

    @property
    def max_replicas(self) -> int:
        """The largest number of replicas on Ray."""
        return max(self.workers, self.ray_max_replicas)

    @property
    def cpus_per_replica(self) -> float:
        """CPUs that a replica on Ray reserves."""
        return self.ray_cpus_per_replica or self.threads

    def _check_access(self) -> None:
        if is_loopback(self.host) or self.token or self.no_auth:
            return
        raise OptionError(
            f"other machines can reach {self.host}: set HUMANPARSE_TOKEN to a secret that clients "
            "must send, or give --no-auth if something in front controls access"
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
        """Return the settings of the environment variables.

        Args:
            environ: The environment variables.
            **given: Settings that take precedence over the environment.

        Returns:
            The settings.

        Raises:
            OptionError: For a value that cannot be read or is impossible.
        """
        kinds = get_type_hints(cls)
        found = {
            one.name: _read(one.name, text, kinds[one.name])
            for one in fields(cls)
            if (text := environ.get(PREFIX + one.name.upper(), "").strip())
        }
        return cls(**(found | given))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# Plain names separated by slashes. Anything else could make a Location header lead elsewhere.
ROOT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")


def plain_root(text: str) -> str:
    """Return a root_path without its final slash, such as "/hp"; "" for none.

    Raises:
        OptionError: If it is not a plain path.
    """
    root = text.strip().rstrip("/")
    if root and not ROOT_PATH.fullmatch(root):
        raise OptionError(
            f"root_path is {text!r} but should be a path such as /hp, "
            "made of letters, digits and . _ ~ -"
        )
    return root


def _read(name: str, text: str, kind: Any) -> Any:
    """A setting from the text of its environment variable."""
    try:
        if kind is bool:
            return {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }[text.lower()]
        if kind == tuple[str, ...]:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return kind(text)
    except (ValueError, KeyError):
        what = {int: "a whole number", float: "a number", bool: "1 or 0"}[kind]
        raise OptionError(f"{PREFIX}{name.upper()} is {text!r} but should be {what}") from None


def _check_range(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    minimum, maximum, unit = rules["minimum"], rules["maximum"], f" {rules['unit']}".rstrip()
    if minimum is not None and not value >= minimum:  # not `<`, which would let NaN pass
        raise OptionError(f"{name} is {value}; the minimum is {minimum:g}{unit}")
    if maximum is not None and not value <= maximum:
        raise OptionError(f"{name} is {value}; the maximum is {maximum:g}{unit}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{name} is {value!r}; choose from {', '.join(choices)}")
