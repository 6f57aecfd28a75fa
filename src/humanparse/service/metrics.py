"""Metrics for Prometheus: counters and histograms, and gauges that are computed at each scrape.

Nothing that a client chooses becomes a label: unknown paths, methods and codes are "other".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from humanparse.service.problems import KINDS
from humanparse.system.memory import resident_bytes

logger = logging.getLogger(__name__)
disable_created_metrics()  # they would add a second series to each counter

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
STAGES = ("queue", "read", "preprocess", "network", "postprocess", "answer")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PEOPLE = (0, 1, 2, 3, 5, 10, 20)
MEGAPIXELS = (0.25, 0.5, 1, 2, 4, 8, 12, 20, 40)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "humanparse_requests",
            "Requests answered.",
            ("method", "route", "code"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "humanparse_request_seconds",
            "Time from a request's head to the end of its response.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge("humanparse_in_flight", "Requests in progress.", registry=registry)
        self._stage_seconds = Histogram(
            "humanparse_stage_seconds",
            "Duration of each stage.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        )
        self._restarts = Counter(
            "humanparse_worker_restarts",
            "Workers replaced, by reason.",
            ("reason",),
            registry=registry,
        )
        self._rejected = Counter(
            "humanparse_rejected",
            "Requests answered with a problem, by code.",
            ("code",),
            registry=registry,
        )
        self._cache = Counter(
            "humanparse_cache", "Look-ups in the cache.", ("result",), registry=registry
        )
        self._people = Histogram(
            "humanparse_people_found",
            "People found in a picture.",
            buckets=PEOPLE,
            registry=registry,
        )
        self._megapixels = Histogram(
            "humanparse_image_megapixels",
            "Size of a picture.",
            buckets=MEGAPIXELS,
            registry=registry,
        )
        self._live = _Live()
        registry.register(self._live)
        ProcessCollector(registry=registry)

    def bind(
        self,
        dispatcher_status: Callable[[], Any] | None = None,
        cache_stats: Callable[[], Mapping[str, float]] | None = None,
        jobs_stats: Callable[[], Mapping[str, float]] | None = None,
        troubles: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """Set the functions that the gauges ask at each scrape.

        Args:
            dispatcher_status: The Dispatcher's `status`.
            cache_stats: Bytes in the cache, by tier.
            jobs_stats: Number of jobs, by state.
            troubles: What /readyz lists as degraded.
        """
        self._live.sources |= {
            name: source
            for name, source in (
                ("status", dispatcher_status),
                ("cache", cache_stats),
                ("jobs", jobs_stats),
                ("troubles", troubles),
            )
            if source is not None
        }

    def request_begun(self) -> None:
        """Count a request as in progress."""
        self._in_flight.inc()

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record the end of a request.

        Args:
            method: Its method, as it came.
            route: The template of its path; "" if there is no such path.
            status: The status of the response.
            seconds: How long it took.
        """
        self._in_flight.dec()
        self._requests.labels(
            method if method in METHODS else "other", route or "other", str(status)
        ).inc()
        self._request_seconds.labels(route or "other").observe(seconds)

    def rejected(self, code: str) -> None:
        """Count a request answered with a problem."""
        self._rejected.labels(code if code in KINDS else "other").inc()

    def worker_restarted(self, reason: str) -> None:
        """Count a worker that was replaced."""
        self._restarts.labels(reason).inc()

    def cache_result(self, result: str) -> None:
        """Count a look-up: hit_memory, hit_disk, hit_redis, miss or corrupt."""
        self._cache.labels(result).inc()

    def observe_reply(self, head: Mapping[str, Any], queued_ms: float) -> None:
        """Record what a worker reports about a picture.

        Args:
            head: The reply's head; people, megapixels and timings_ms are used where they are there.
            queued_ms: How long the picture waited, in milliseconds.
        """
        timings_ms = {"queue": queued_ms} | dict(head.get("timings_ms") or {})
        for stage in STAGES:
            if stage in timings_ms:
                self._stage_seconds.labels(stage).observe(timings_ms[stage] / 1000)
        if "people" in head:
            self._people.observe(head["people"])
        if "megapixels" in head:
            self._megapixels.observe(head["megapixels"])

    def render(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self.registry)


class _Live(Collector):
    """The gauges, computed at each scrape."""

    def __init__(self) -> None:
        self.sources: dict[str, Callable[[], Any]] = {}

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()  # otherwise the registry would collect once to learn the names

    def collect(self) -> Iterator[GaugeMetricFamily]:
        status = self._ask("status")
        if status is not None:
            yield from _dispatcher_gauges(status)
        yield _gauge(
            "humanparse_memory_bytes",
            "Resident memory of each process.",
            "process",
            _memory(status),
        )
        if (cache := self._ask("cache")) is not None:
            yield _gauge("humanparse_cache_bytes", "Bytes of cached responses.", "tier", cache)
        if (jobs := self._ask("jobs")) is not None:
            yield _gauge("humanparse_jobs", "Jobs by state.", "state", jobs)
        if (troubles := self._ask("troubles")) is not None:
            yield GaugeMetricFamily(
                "humanparse_degraded",
                "Number of parts that /readyz lists as degraded.",
                value=len(troubles),
            )

    def _ask(self, name: str) -> Any:
        """A source's value; None without one. A broken source must not stop the other metrics."""
        try:
            return self.sources[name]() if name in self.sources else None
        except Exception:
            logger.exception("no %s for the metrics", name)
            return None


def _dispatcher_gauges(status: Any) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(
        "humanparse_queue_depth", "Requests waiting for a worker.", value=status.queued
    )
    yield GaugeMetricFamily(
        "humanparse_queue_bytes", "Bytes of pictures, waiting or in work.", value=status.bytes_held
    )
    yield GaugeMetricFamily(
        "humanparse_predicted_wait_seconds",
        "Predicted wait of a new request.",
        value=status.predicted_wait_s,
    )
    states = {state: getattr(status, state) for state in ("idle", "busy", "starting")}
    yield _gauge("humanparse_workers", "Workers by state.", "state", states)
    if status.last_success_age_s is not None:
        yield GaugeMetricFamily(
            "humanparse_last_success_age_seconds",
            "Time since a picture was parsed.",
            value=status.last_success_age_s,
        )


def _memory(status: Any) -> dict[str, float]:
    workers = status.rss_mb if status is not None else ()
    return {"web": resident_bytes() or 0} | {
        f"worker-{index}": mb * 1e6 for index, mb in enumerate(workers) if mb
    }


def _gauge(name: str, help: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help, labels=(label,))
    for key, value in values.items():
        family.add_metric([key], value)
    return family
