"""Several items at the same time, in order or as they are done."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from waiting import LONG_S

from humanparse.system import parallel
from humanparse.system.parallel import (
    Behind,
    in_order,
    in_order_of_completion,
    jobs_for,
    shared_threads,
)

both = pytest.mark.parametrize("run", [in_order, in_order_of_completion])

INTERRUPTED_LOOPS = """
import random, signal, sys
from contextlib import closing
from humanparse.system import parallel

signal.signal(signal.SIGALRM, signal.default_int_handler)
run, rounds, moments = getattr(parallel, sys.argv[1]), int(sys.argv[2]), random.Random(7)
for _ in range(rounds):
    try:
        signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-4, 3e-3))
        with closing(run(str, iter(int, 1), jobs=2)) as ended:  # the items never end
            for _ in ended:
                pass
    except KeyboardInterrupt:
        pass
print("every loop ended")
"""


def test_results_come_in_the_order_of_the_items():
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(20)
        else:
            first_may_end.set()
        return number * number

    assert [(item, future.result()) for item, future in in_order(work, range(20), jobs=2)] == [
        (n, n * n) for n in range(20)
    ]


@both
def test_a_long_list_is_taken_a_few_at_a_time(run):
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    with closing(run(lambda number: number, items, jobs=2)) as ended:
        next(ended)
        assert len(taken) <= 4


def test_an_error_comes_in_its_place_and_the_others_go_on():
    ended = [
        future.exception() for _, future in in_order(lambda number: 1 / number, [1, 0, 2], jobs=2)
    ]
    assert ended[0] is ended[2] is None and isinstance(ended[1], ZeroDivisionError)


def test_leaving_early_drops_the_waiting_items():
    done = []
    with closing(in_order(done.append, range(1000), jobs=2)) as ended:
        next(ended)
    assert len(done) <= 5


@both
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timers that signal")
def test_a_loop_that_is_interrupted_at_any_moment_ends(run):
    child = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_LOOPS, run.__name__, "600"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (child.stdout, child.stderr) == ("every loop ended\n", "")


def test_a_result_does_not_wait_for_the_next_item():
    waiting = queue.Queue()
    waiting.put(0)
    items = iter(lambda: waiting.get(timeout=LONG_S), 5)  # each is the result of the one before
    results = []
    for _, ended in in_order(lambda number: number + 1, items, jobs=2):
        results.append(ended.result())
        waiting.put(results[-1])
    assert results == [1, 2, 3, 4, 5]


def test_a_loop_that_ends_early_does_not_wait_for_its_source(monkeypatch):
    monkeypatch.setattr(parallel, "SOURCE_S", 0.01)
    comes = threading.Event()

    def items():
        yield "first"
        comes.wait()

    with closing(in_order(str.upper, items(), jobs=2)) as ended:
        assert next(ended)[1].result() == "FIRST"
    comes.set()


@both
def test_an_item_that_is_being_worked_on_is_finished_when_the_loop_ends_early(run):
    begun, finished = threading.Event(), []

    def work(number: int) -> None:
        if number:
            begun.set()
            threading.Event().wait(0.05)  # the loop ends meanwhile
            finished.append(number)

    with closing(run(work, [0, 1], jobs=1)) as ended:
        next(ended)
        assert begun.wait(LONG_S)
    assert finished == [1]


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3)])
def test_what_the_source_raises_comes_after_the_results_before_it(error):
    def items():
        yield from (1, 2)
        raise error

    results = []
    with pytest.raises(type(error)) as raised:
        for _, ended in in_order(str, items(), jobs=2):
            results.append(ended.result())
    assert results == ["1", "2"] and raised.value is error


def test_an_exit_of_the_process_waits_for_what_is_running(tmp_path):
    code = """
from pathlib import Path
from threading import Event
from humanparse.system.parallel import in_order

def work(name):
    if name == "second":
        begun.set()
        Event().wait(0.2)  # the process begins to exit meanwhile
    Path(name).write_text("whole")

begun = Event()
loop = in_order(work, ["first", "second"], jobs=1)
next(loop)
begun.wait()
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=LONG_S, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@both
def test_no_items_end_at_once(run):
    assert list(run(print, [], jobs=2)) == []


@pytest.mark.parametrize(
    ("cores", "model_bytes", "threads", "jobs"),
    [
        (1, 7e6, None, 1),
        (2, 7e6, None, 2),
        (2, 7e6, 2, 1),
        (6, 7e6, 2, 3),
        (64, 7e6, None, parallel.MAX_JOBS),
        (2, 7e6, 5, 1),
        (64, 2.5e8, None, 1),
    ],
)
def test_jobs_follow_cores_and_model(monkeypatch, cores, model_bytes, threads, jobs):
    monkeypatch.setattr(parallel, "usable_cores", lambda: cores)
    assert jobs_for(model_bytes, threads) == jobs


@pytest.mark.parametrize(
    ("cores", "jobs", "threads"), [(2, 2, 1), (8, 2, 7), (8, 8, 1), (2, 5, 1), (4, 1, 4)]
)
def test_jobs_and_threads_fill_the_cores(monkeypatch, cores, jobs, threads):
    monkeypatch.setattr(parallel, "usable_cores", lambda: cores)
    assert shared_threads(jobs) == threads


# In order of completion


def test_every_item_comes_back_with_its_result():
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
    with (
        pytest.raises(KeyboardInterrupt),
        closing(in_order_of_completion(done.append, range(1000), jobs=2)) as ended,
    ):
        next(ended)
        raise KeyboardInterrupt
    assert len(done) <= 4


def test_what_is_done_behind_keeps_its_order_and_no_more_waits_than_there_is_room():
    may, done = threading.Semaphore(0), []

    def slowly(number):
        assert may.acquire(timeout=LONG_S)
        done.append(number)

    behind = Behind(slowly, room=2)
    behind.give(1)
    behind.give(2)
    third = threading.Thread(target=behind.give, args=(3,))
    third.start()
    assert done == [] and third.is_alive()  # it waits for room
    may.release(3)
    third.join(LONG_S)
    behind.finish()
    behind.end()
    assert done == [1, 2, 3]


def test_an_error_behind_is_raised_at_the_next_item_or_the_end():
    def fails(number):
        raise ValueError(number)

    behind = Behind(fails, room=1)
    behind.give(1)
    with pytest.raises(ValueError, match="1"):
        behind.give(2)
    behind.end()
