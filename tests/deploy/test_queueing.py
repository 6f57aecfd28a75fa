"""The simulation behind docs/scaling.md agrees with the formulas of queueing theory where they
exist."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from humanparse.service.settings import Settings

with pytest.MonkeyPatch.context() as path:  # scripts, which import each other
    path.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import queueing
    import scaling
    from queueing import Cluster, Load

EXPONENTIAL = -np.log((np.arange(20_000) + 0.5) / 20_000)  # seconds, mean 1


def settings(workers: int, **given) -> Settings:
    """Return settings without limits except those that are given."""
    return Settings(
        **{"workers": workers, "queue_size": 10**9, "max_wait_s": 1e9, "deadline_s": 1e9, **given}
    )


@pytest.mark.parametrize(("workers", "rate"), [(1, 0.6), (2, 1.5), (8, 6.8)])
def test_the_mean_wait_of_mmc_is_erlangs(workers, rate):
    found = Cluster(EXPONENTIAL, settings(workers), seed=1).run(
        Load(rate=rate), 30_000 / rate, warm_s=500
    )
    expected = queueing.mm_wait_s(rate, 1.0, workers)
    assert np.mean(found.waited_s) == pytest.approx(expected, rel=0.1)
    assert np.mean(np.array(found.waited_s) > 0) == pytest.approx(
        queueing.erlang_c(rate, 1.0, workers), rel=0.05
    )
    assert found.waiting == pytest.approx(rate * expected, rel=0.1), "Little's law"
    assert found.busy == pytest.approx(rate / workers, rel=0.03)


@pytest.mark.parametrize("service_s", [[1.0], [0.5, 1.5], [0.2] * 8 + [4.2] * 2])
def test_the_mean_wait_of_mg1_is_pollaczeks_and_khinchines(service_s):
    found = Cluster(service_s, settings(1), seed=2).run(Load(rate=0.7), 40_000, warm_s=500)
    assert np.mean(found.waited_s) == pytest.approx(queueing.mg1_wait_s(0.7, service_s), rel=0.1)


@pytest.mark.parametrize("service_s", [EXPONENTIAL, [1.0]], ids=["random", "constant"])
def test_where_nobody_may_wait_erlangs_share_is_turned_away(service_s):
    found = Cluster(service_s, settings(4, queue_size=0), seed=3).run(
        Load(rate=3.0), 15_000, warm_s=100
    )
    assert found.refused_share == pytest.approx(queueing.erlang_b(3.0, 1.0, 4), rel=0.08)
    assert max(found.waited_s) == 0


def test_the_formulas_are_those_of_the_books():
    # M/M/1: the load itself
    assert queueing.erlang_c(0.5, 1.0, 1) == pytest.approx(0.5)
    assert queueing.mm_wait_s(0.5, 1.0, 1) == pytest.approx(1.0)  # ρ / (μ − λ)
    # M/D/1: half of it
    assert queueing.mg1_wait_s(0.5, [1.0]) == pytest.approx(0.5)
    # ½ / (1 + 1 + ½)
    assert queueing.erlang_b(1.0, 1.0, 2) == pytest.approx(0.2)


def test_a_full_queue_turns_away_and_bounds_the_wait():
    found = Cluster([0.1], settings(2, queue_size=10), seed=4).run(Load(rate=40), 300, warm_s=10)
    assert found.goodput == pytest.approx(20, rel=0.01) and found.refused_share == pytest.approx(
        0.5, abs=0.02
    )
    assert (
        found.percentile_s(100) <= 0.1 * (10 / 2 + 1) + 1e-9
        and found.late == 0
        and found.waiting < 10
    )


def test_the_predicted_wait_turns_away_too():
    found = Cluster([0.1], settings(1, max_wait_s=0.5), seed=5).run(Load(rate=30), 200, warm_s=10)
    assert 0.5 <= max(found.waited_s) <= 0.6 + 1e-9 and found.goodput == pytest.approx(10, rel=0.01)


def test_what_is_past_its_deadline_is_late_and_not_worked_for():
    found = Cluster([1.0], settings(1, deadline_s=3.0), seed=6).run(Load(rate=5), 200, warm_s=20)
    assert max(found.answered_s) <= 3.0 and found.refused_share > 0.5


def test_clients_who_wait_for_their_answers_never_queue_beyond_their_number():
    found = Cluster([0.2], settings(2), seed=7).run(Load(clients=8), 100, warm_s=10)
    assert found.goodput == pytest.approx(10, rel=0.01) and found.percentile_s(50) == pytest.approx(
        0.8, rel=0.01
    )
    assert found.turned_away == 0


def test_clients_who_are_turned_away_come_again_when_they_were_told():
    found = Cluster([0.2], settings(2, queue_size=4), seed=8).run(Load(clients=40), 200, warm_s=10)
    assert found.goodput == pytest.approx(10, rel=0.05)
    assert 0 < found.turned_away / found.seconds < 40, "at most one try a client and second"


def test_many_nodes_behind_a_balancer_wait_less_than_each_for_itself():
    service_s = EXPONENTIAL / 10
    alone = Cluster(service_s, settings(2), seed=9).run(Load(rate=16), 600, warm_s=20)
    by_chance = Cluster(service_s, settings(2), nodes=4, least=False, seed=9).run(
        Load(rate=64), 150, warm_s=20
    )
    fewest = Cluster(service_s, settings(2), nodes=4, seed=9).run(Load(rate=64), 150, warm_s=20)
    assert np.mean(by_chance.waited_s) == pytest.approx(np.mean(alone.waited_s), rel=0.25)
    assert np.mean(fewest.waited_s) < np.mean(alone.waited_s) / 2


def test_known_answers_take_no_worker():
    found = Cluster([0.1], settings(1), seed=10).run(
        Load(rate=30, hit_share=0.8, hit_s=0.002), 300, warm_s=10
    )
    assert found.goodput == pytest.approx(30, rel=0.05) and found.busy == pytest.approx(
        0.6, rel=0.1
    )
    assert found.percentile_s(50) == pytest.approx(0.002)


def test_the_same_seed_gives_the_same_and_leaves_everybody_elses_luck_alone():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    first, second = (
        Cluster([0.1, 0.3], settings(1, queue_size=2), seed=11).run(Load(clients=9), 50)
        for _ in range(2)
    )
    assert first.answered_s == second.answered_s and random.random() == expected


# docs/scaling.md


@pytest.fixture(scope="module")
def plan():
    """As the page has it."""
    measured = json.loads(scaling.MEASURED.read_text())
    return scaling.Plan(measured, core_hour=0.04, link_gbit=10, mix=[0.6, 0.3, 0.1])


def test_the_simulation_says_what_was_measured(plan, monkeypatch):
    monkeypatch.setattr(scaling, "REPEATS", 5)
    rows = plan.checked("sleeping")
    assert len(rows) >= 6
    for row in rows:
        for one, tolerance in (("goodput", 0.05), ("p50", 0.1), ("p99", 0.4)):
            assert row["said"][one][1] == pytest.approx(row["seen"][one], rel=tolerance), (
                row["load"].get("rate"),
                one,
            )
        assert row["said"]["lost"][1] == pytest.approx(row["seen"]["lost"], abs=0.03)


def test_the_page_is_that_of_the_measured_file_and_of_the_defaults(plan):
    tables, page = plan.tables_without_chance(), scaling.PAGE.read_text()
    assert set(tables) == {"conditions", "sizes"} and all(
        table in page for table in tables.values()
    )


def test_a_million_photos_cost_their_processor_time(plan):
    assert plan.cost(rate=2 / 0.18, cores=2) == pytest.approx(0.18 * 1e6 / 3600 * 0.04)
