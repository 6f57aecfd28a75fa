"""Every limit and choice of the service: one row each, with its default, its unit and what it
means.

A row becomes a flag of `humanparse serve` (`--max-body-mb`) and an environment variable
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
from humanparse.vocabulary import DEVICES, PRECISIONS

PREFIX = "HUMANPARSE_"
NOWHERE = Path(os.devnull)  # no folder can be made below it


def row(
    default: Any,
    help: str,
    *,
    unit: str = "",
    group: str,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A setting: its default, what it means, its unit, the heading it stands under, and the range
    it may have."""
    return field(
        default=default,
        metadata={"help": help, "unit": unit, "group": group, "least": least, "most": most},
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the service is told. Raises OptionError for an impossible value, and for an open door:
    see `_check_door`."""

    # Where it listens, and who may come in
    host: str = row("127.0.0.1", "Address to listen on.", group="Address")
    port: int = row(
        7860, "Port to listen on; 0 takes a free one.", group="Address", least=0, most=65535
    )
    token: str = row(
        "", "What clients must send as `Authorization: Bearer TOKEN`.", group="Address"
    )
    no_auth: bool = row(False, "Serve other machines without a token.", group="Address")
    cors_origins: tuple[str, ...] = row(
        (), "Origins whose pages may call this service, with commas between.", group="Address"
    )
    allowed_hosts: tuple[str, ...] = row(
        (),
        "Host names answered beside localhost and IP addresses, with commas between, or `*`. Empty: any, but none on "
        "a loopback address without a token.",
        group="Address",
    )
    trusted_proxies: tuple[str, ...] = row(
        ("127.0.0.1",),
        "Addresses of proxies whose X-Forwarded-For, -Proto and -Prefix are believed, "
        "with commas between.",
        group="Address",
    )
    root_path: str = row(
        "",
        "Path, such as /hp, that a proxy takes off requests without saying so in "
        "X-Forwarded-Prefix; links begin with it.",
        group="Address",
    )

    # What works
    models: tuple[str, ...] = row(
        ("humanparse-small",),
        "Models, with commas between; the first answers when none is named.",
        group="Models",
    )
    engine: str = row(
        "auto",
        "What runs the models: onnxruntime, openvino, or auto for the faster one.",
        group="Models",
    )
    precision: str = row(
        "fp32", "Of a float model's arithmetic: fp32, or bf16 with OpenVINO.", group="Models"
    )
    device: str = row(
        "cpu", "Where the models run: cpu, or cuda with onnxruntime-gpu.", group="Models"
    )
    workers: int = row(
        0,
        "Processes that parse; 0 chooses by cores.",
        unit="processes",
        group="Workers",
        least=0,
        most=256,
    )
    threads: int = row(
        0,
        "Threads of each worker; 0 shares out the cores.",
        unit="threads",
        group="Workers",
        least=0,
        most=256,
    )
    worker_start_s: float = row(
        60, "Time for a worker to load its models.", unit="s", group="Workers", least=1
    )
    worker_max_requests: int = row(
        2000, "A worker is replaced after that many.", unit="requests", group="Workers", least=1
    )
    worker_max_memory_mb: int = row(
        2000, "A worker that holds more is replaced.", unit="MB", group="Workers", least=100
    )
    probe_s: float = row(
        20,
        "An idle worker parses a tiny picture every so often.",
        unit="s",
        group="Workers",
        least=0.1,
    )
    ready_window_s: float = row(
        60, "Ready means: something was parsed that recently.", unit="s", group="Workers", least=0.1
    )

    # Replicas on a cluster, in place of processes here: humanparse.ray
    ray: bool = row(
        False,
        "Parse in replicas on a Ray cluster; then `workers` is their number, at least.",
        group="Ray",
    )
    ray_address: str = row(
        "",
        "Where that Ray is, such as head.example:6379; empty: one of our own, here.",
        group="Ray",
    )
    ray_app: str = row(
        "humanparse",
        "Name in Ray Serve; another service on the same Ray needs another.",
        group="Ray",
    )
    ray_max_replicas: int = row(
        0,
        "Most replicas, by the length of the queue; 0 keeps their number.",
        unit="replicas",
        group="Ray",
        least=0,
        most=10000,
    )
    ray_target_requests: float = row(
        1,
        "More waiting or in work for each replica means: more replicas.",
        unit="requests",
        group="Ray",
        least=0.1,
        most=100,
    )
    ray_upscale_delay_s: float = row(
        10, "A queue this long in time brings more replicas.", unit="s", group="Ray", least=0
    )
    ray_downscale_delay_s: float = row(
        120, "Idle replicas end after that.", unit="s", group="Ray", least=0
    )
    ray_cpus_per_replica: float = row(
        0,
        "Processors that a replica claims; 0 claims as many as `threads`.",
        unit="processors",
        group="Ray",
        least=0,
    )
    ray_gpus_per_replica: float = row(
        0, "GPUs that a replica claims, in whole or in part.", unit="GPUs", group="Ray", least=0
    )

    # What one request may be
    max_header_kb: int = row(32, "Largest request head.", unit="kB", group="Requests", least=1)
    max_body_mb: float = row(32, "Largest request body.", unit="MB", group="Requests", least=0.001)
    max_fields: int = row(
        16, "Most fields of a form, its file not counted.", unit="fields", group="Requests", least=1
    )
    max_megapixels: float = row(
        40.0,
        "Larger photos are refused before they are decoded.",
        unit="MP",
        group="Requests",
        least=0.001,
    )
    max_side: int = row(
        2048,
        "Largest `max_side` that a request may ask for.",
        unit="pixels",
        group="Requests",
        least=64,
    )
    batch_max_images: int = row(
        16, "Most images of one /v1/batch.", unit="images", group="Requests", least=1
    )
    deadline_s: float = row(
        30, "Time from the complete request to its answer.", unit="s", group="Requests", least=0.1
    )

    # What a connection may do
    header_timeout_s: float = row(
        10, "Time for a request's head to arrive.", unit="s", group="Connections", least=0.1
    )
    body_timeout_s: float = row(
        30, "Time for a request's body to arrive.", unit="s", group="Connections", least=0.1
    )
    write_timeout_s: float = row(
        30, "Time for a client that does not read on.", unit="s", group="Connections", least=0.1
    )
    keep_alive_s: float = row(
        15, "An idle connection is closed after that.", unit="s", group="Connections", least=0.1
    )
    max_connections: int = row(
        1000, "Connections at a time.", unit="connections", group="Connections", least=1
    )

    # The queue
    queue_size: int = row(64, "Requests that may wait.", unit="requests", group="Queue", least=0)
    queue_max_mb: float = row(
        512, "Bodies held at a time, waiting or in work.", unit="MB", group="Queue", least=1
    )
    answers_max_mb: float = row(
        256,
        "Answers held at a time that clients have not taken yet.",
        unit="MB",
        group="Queue",
        least=1,
    )
    max_wait_s: float = row(
        10, "A request that would wait longer is turned away.", unit="s", group="Queue", least=0
    )

    # Results that are kept
    cache_mb: float = row(
        128, "Answers kept in memory; 0 keeps none.", unit="MB", group="Cache", least=0
    )
    cache_disk_mb: float = row(
        0, "Answers kept on disk; 0 keeps none.", unit="MB", group="Cache", least=0
    )
    cache_age_s: float = row(
        86400, "Answers are forgotten after that.", unit="s", group="Cache", least=1
    )
    redis_url: str = row(
        "", "A Redis that several servers share, such as redis://localhost:6379/0.", group="Cache"
    )

    # Jobs
    data_dir: str = row(
        "", "Folder of jobs and the disk cache; empty: inside HUMANPARSE_HOME.", group="Jobs"
    )
    job_max_images: int = row(1000, "Most images of one job.", unit="images", group="Jobs", least=1)
    job_max_mb: float = row(
        1000,
        "Largest upload of one job, and of its unpacked images.",
        unit="MB",
        group="Jobs",
        least=0.001,
    )
    max_jobs: int = row(100, "Jobs kept, whatever their state.", unit="jobs", group="Jobs", least=1)
    jobs_max_mb: float = row(
        10000,
        "Files of all jobs together, uploads and results.",
        unit="MB",
        group="Jobs",
        least=0.001,
    )
    job_age_s: float = row(
        86400,
        "A finished job and its files are deleted after that.",
        unit="s",
        group="Jobs",
        least=1,
    )

    # How it ends and what it tells
    drain_s: float = row(
        30, "On SIGTERM: time for requests in flight.", unit="s", group="Operation", least=0
    )
    drain_delay_s: float = row(
        0,
        "On SIGTERM: time to be not ready but still open, for load balancers.",
        unit="s",
        group="Operation",
        least=0,
    )
    log_format: str = row("json", "Log lines as json or text.", group="Operation")
    log_level: str = row(
        "info", "What is logged: debug, info, warning or error.", group="Operation"
    )

    def __post_init__(self):
        cores = usable_cores()
        if self.workers == 0:
            object.__setattr__(self, "workers", cores)
        if self.threads == 0:
            object.__setattr__(
                self, "threads", max(1, int(self.ray_cpus_per_replica) or cores // self.workers)
            )
        for one in fields(self):
            _check_range(one.name, getattr(self, one.name), one.metadata)
        _check_choice("engine", self.engine, ("auto", "onnxruntime", "openvino"))
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("device", self.device, DEVICES)
        _check_choice("log_format", self.log_format, ("json", "text"))
        _check_choice("log_level", self.log_level, ("debug", "info", "warning", "error"))
        object.__setattr__(self, "root_path", plain_root(self.root_path))
        if not self.models:
            raise OptionError("models is empty; name at least one")
        if self.ray_max_replicas and self.ray_max_replicas < self.workers:
            raise OptionError(
                f"ray_max_replicas is {self.ray_max_replicas}, fewer than the {self.workers} of workers; "
                "raise it, lower workers, or leave it at 0"
            )
        self._check_door()

    @property
    def folder(self) -> Path:
        """Where jobs and the cache on disk are kept. A user without a home has none: they are as on
        a broken disk.

        Raises OptionError for a ~ in `data_dir` that stands for nothing.
        """
        if not self.data_dir:
            return (home_if_any() or NOWHERE) / "service"
        try:
            return Path(self.data_dir).expanduser()
        except RuntimeError as error:
            raise OptionError(
                f"data_dir is {self.data_dir!r}: {error} Give the folder's whole path"
            ) from None

    @property
    def max_replicas(self) -> int:
        """Replicas on Ray at a time, at most."""
        return max(self.workers, self.ray_max_replicas)

    @property
    def cpus_per_replica(self) -> float:
        """Processors that a replica on Ray claims."""
        return self.ray_cpus_per_replica or self.threads

    def _check_door(self) -> None:
        if is_loopback(self.host) or self.token or self.no_auth:
            return
        raise OptionError(
            f"{self.host} can be reached by other machines: set HUMANPARSE_TOKEN to a secret that clients must send, "
            "or say --no-auth if something in front keeps strangers out"
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
        """The settings of the environment variables; `given` go first. Raises OptionError for what
        cannot be read."""
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


# Plain names with slashes between. Anything else in a Location could lead to another place.
ROOT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")


def plain_root(text: str) -> str:
    """A root_path without a slash at its end, such as "/hp"; "" for none.

    Raises OptionError if it is not a plain path.
    """
    root = text.strip().rstrip("/")
    if root and not ROOT_PATH.fullmatch(root):
        raise OptionError(
            f"root_path is {text!r} but should be a path such as /hp, of letters, digits and . _ ~ -"
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
    least, most, unit = rules["least"], rules["most"], f" {rules['unit']}".rstrip()
    if least is not None and not value >= least:  # not `<`, which would let NaN pass
        raise OptionError(f"{name} is {value}; the least is {least:g}{unit}")
    if most is not None and not value <= most:
        raise OptionError(f"{name} is {value}; the most is {most:g}{unit}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{name} is {value!r}; choose from {', '.join(choices)}")
