"""Metrics: what is counted, and that clients cannot make up labels."""

import os
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from humanparse.service.metrics import Metrics

STATUS = SimpleNamespace(
    workers=3,
    idle=1,
    busy=2,
    starting=0,
    queued=4,
    bytes_held=5_000_000,
    predicted_wait_s=1.5,
    last_success_age_s=0.25,
    rss_mb=[100.0, 200.0, None],
)


def samples(metrics: Metrics) -> dict:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (one.name, *sorted(one.labels.values())): one.value
        for family in families
        for one in family.samples
    }


def test_a_request_is_counted_with_method_route_and_status():
    metrics = Metrics()
    metrics.request_begun()
    assert samples(metrics)["humanparse_in_flight",] == 1
    metrics.request_done("POST", "/parse", 200, 0.2)
    found = samples(metrics)
    assert found["humanparse_requests_total", "/parse", "200", "POST"] == 1
    assert found["humanparse_request_seconds_count", "/parse"] == 1
    assert found["humanparse_in_flight",] == 0


def test_whatever_clients_make_up_is_counted_as_other():
    metrics = Metrics()
    metrics.request_done("BREW", "", 404, 0.2)
    metrics.rejected("made_up")
    found = samples(metrics)
    assert found["humanparse_requests_total", "404", "other", "other"] == 1
    assert found["humanparse_rejected_total", "other"] == 1


def test_a_reply_is_counted_with_its_stages_people_and_size():
    metrics = Metrics()
    metrics.observe_reply(
        {"people": 2, "megapixels": 1.5, "timings_ms": {"network": 120, "unheard_of": 1}},
        queued_ms=30,
    )
    found = samples(metrics)
    assert found["humanparse_stage_seconds_sum", "queue"] == pytest.approx(0.03)
    assert found["humanparse_stage_seconds_sum", "network"] == pytest.approx(0.12)
    assert found["humanparse_people_found_sum",] == 2
    assert found["humanparse_image_megapixels_sum",] == 1.5
    metrics.observe_reply({}, queued_ms=0)  # a reply without a picture


def test_counters_count():
    metrics = Metrics()
    metrics.worker_restarted("memory")
    metrics.cache_result("hit_disk")
    metrics.rejected("queue_full")
    found = samples(metrics)
    assert found["humanparse_worker_restarts_total", "memory"] == 1
    assert found["humanparse_cache_total", "hit_disk"] == 1
    assert found["humanparse_rejected_total", "queue_full"] == 1


def test_gauges_are_computed_when_they_are_read():
    metrics = Metrics()
    metrics.bind(dispatcher_status=lambda: STATUS)
    metrics.bind(cache_stats=lambda: {"memory": 10, "disk": 20}, jobs_stats=lambda: {"queued": 1})
    found = samples(metrics)
    assert found["humanparse_queue_depth",] == 4
    assert found["humanparse_workers", "busy"] == 2
    assert found["humanparse_memory_bytes", "worker-1"] == 200e6
    assert found["humanparse_cache_bytes", "disk"] == 20
    assert found["humanparse_jobs", "queued"] == 1
    assert found["humanparse_last_success_age_seconds",] == 0.25


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux tells")
def test_the_web_process_reports_its_memory_and_open_files():
    found = samples(Metrics())
    assert found["humanparse_memory_bytes", "web"] > 1e6
    assert found["process_open_fds",] > 0


def test_a_source_that_fails_does_not_stop_the_others():
    metrics = Metrics()
    metrics.bind(dispatcher_status=lambda: 1 / 0, cache_stats=lambda: {"memory": 1})
    found = samples(metrics)
    assert found["humanparse_cache_bytes", "memory"] == 1
    assert ("humanparse_queue_depth",) not in found


def test_two_services_in_a_process_do_not_mix():
    one, other = Metrics(), Metrics()
    one.rejected("queue_full")
    assert ("humanparse_rejected_total", "queue_full") not in samples(other)
    assert REGISTRY.get_sample_value("humanparse_in_flight") is None
