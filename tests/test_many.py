"""Several at a time, in order or as they end."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from humanparse import many
from humanparse.many import in_order, in_order_of_completion, jobs_for, shared_threads

both = pytest.mark.parametrize("run", [in_order, in_order_of_completion])


def test_results_come_in_the_order_of_the_items():
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(20)
        else:
            first_may_end.set()
        return number * number

    assert [(item, future.result()) for item, future in in_order(work, range(20), jobs=2)] == [(n, n * n) for n in range(20)]


@both
def test_a_long_list_is_taken_a_few_at_a_time(run):
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    with closing(run(lambda number: number, items, jobs=2)) as ended:
        next(ended)
        assert len(taken) <= 4


def test_an_error_comes_in_its_place_and_the_others_go_on():
    ended = [future.exception() for _, future in in_order(lambda number: 1 / number, [1, 0, 2], jobs=2)]
    assert ended[0] is ended[2] is None and isinstance(ended[1], ZeroDivisionError)


def test_leaving_early_drops_the_waiting_items():
    done = []
    with closing(in_order(done.append, range(1000), jobs=2)) as ended:
        next(ended)
    assert len(done) <= 5


@both
def test_no_items_end_at_once(run):
    assert list(run(print, [], jobs=2)) == []


@pytest.mark.parametrize(("cores", "model_bytes", "threads", "jobs"), [
    (1, 7e6, None, 1), (2, 7e6, None, 2), (2, 7e6, 2, 1), (6, 7e6, 2, 3), (64, 7e6, None, many.MAX_JOBS), (2, 7e6, 5, 1),
    (64, 2.5e8, None, 1),
])
def test_jobs_follow_cores_and_model(monkeypatch, cores, model_bytes, threads, jobs):
    monkeypatch.setattr(many, "usable_cores", lambda: cores)
    assert jobs_for(model_bytes, threads) == jobs


@pytest.mark.parametrize(("cores", "jobs", "threads"), [(2, 2, 1), (8, 2, 7), (8, 8, 1), (2, 5, 1), (4, 1, 4)])
def test_jobs_and_threads_fill_the_cores(monkeypatch, cores, jobs, threads):
    monkeypatch.setattr(many, "usable_cores", lambda: cores)
    assert shared_threads(jobs) == threads


# In order of completion

def test_every_item_comes_back_with_its_answer():
    ended = in_order_of_completion(lambda number: number * number, range(20), jobs=3)
    assert {item: future.result() for item, future in ended} == {n: n * n for n in range(20)}


def test_an_item_that_is_done_first_comes_first():
    released = threading.Event()

    def work(name):
        if name == "slow":
            assert released.wait(20)
        return name

    ended = in_order_of_completion(work, ["slow", "fast"], jobs=2)
    assert next(ended)[0] == "fast"
    released.set()
    assert next(ended)[0] == "slow"


def test_ctrl_c_drops_the_waiting_items():
    done = []
    with pytest.raises(KeyboardInterrupt), closing(in_order_of_completion(done.append, range(1000), jobs=2)) as ended:
        next(ended)
        raise KeyboardInterrupt
    assert len(done) <= 4
