"""Running a few at a time."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from humanparse.cli.batch import in_order_of_completion


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


def test_a_long_list_is_taken_a_few_at_a_time():
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    with closing(in_order_of_completion(lambda number: number, items, jobs=2)) as ended:
        next(ended)
        assert len(taken) <= 4


def test_leaving_early_drops_the_waiting_items():
    done = []
    with pytest.raises(KeyboardInterrupt), closing(in_order_of_completion(done.append, range(1000), jobs=2)) as ended:
        next(ended)
        raise KeyboardInterrupt
    assert len(done) <= 4


def test_no_items_end_at_once():
    assert list(in_order_of_completion(print, [], jobs=2)) == []
