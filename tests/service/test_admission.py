"""The queue with a clock that moves only when told to: who is next, who is turned away, and when to
come back.
"""

from dataclasses import dataclass

import pytest

from humanparse.service.problems import Problem
from humanparse.service.work.admission import (
    BACKGROUND,
    BATCH,
    INTERACTIVE,
    SPREAD_S,
    Admission,
    Entry,
    ServiceTimes,
)
from humanparse.service.work.quarantine import MAX_SUSPECTS, REFUSED_S, Quarantine


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def queue(*, size=4, max_wait_s=10.0, workers=1, each_s=1.0, running=1) -> Admission:
    """A queue whose workers are busy with work that takes `each_s` seconds."""
    made = Admission(queue_size=size, max_wait_s=max_wait_s, num_workers=workers, clock=Clock())
    made.service_times.add("parse", each_s)
    for number in range(running):
        made.enter(entry(f"running {number}"))
        made.next()
    return made


@dataclass(eq=False, kw_only=True)
class Named(Entry):
    name: str


def entry(name="", priority=INTERACTIVE, num_bytes=0, kind="parse") -> Named:
    return Named(name=name, num_bytes=num_bytes, priority=priority, kind=kind)


def fill(made: Admission, *names: str, priority=INTERACTIVE, num_bytes=0) -> list[Named]:
    entries = [entry(name, priority, num_bytes) for name in names]
    for one in entries:
        made.check_room(priority)
        made.enter(one)
    return entries


def order(made: Admission) -> str:
    names = []
    while one := made.next():
        names.append(one.name)
    return " ".join(names)


# Who is next


def test_first_come_is_first_served():
    made = queue()
    fill(made, "a", "b", "c")
    assert order(made) == "a b c"


def test_lower_priority_number_goes_first_and_background_last():
    made = queue()
    fill(made, "job", priority=BACKGROUND)
    fill(made, "batch", priority=BATCH)
    fill(made, "one", "two")
    assert order(made) == "one two batch job"


def test_a_retried_entry_goes_before_all_others_of_its_priority():
    made = queue()
    fill(made, "a", "b", "c")
    first = made.next()
    made.again(first)
    assert order(made) == "a b c"


def test_nobody_waits_in_an_empty_queue():
    assert queue().next() is None


# Who is turned away


def problem(made: Admission, priority=INTERACTIVE, **given) -> Problem:
    with pytest.raises(Problem) as caught:
        made.check_room(priority, **given)
    assert caught.value.code == "queue_full" and caught.value.status == 429
    return caught.value


def test_queue_accepts_up_to_its_size():
    made = queue(size=2)
    fill(made, "a")
    fill(made, "b", priority=BATCH)
    assert "2 requests are already waiting" in problem(made).detail
    problem(made, priority=BATCH)


def test_queue_of_size_zero_accepts_work_only_for_a_free_worker():
    made = queue(size=0, workers=2, running=1)
    fill(made, "a")
    problem(made)
    made.next()
    problem(made)


def test_without_workers_requests_wait_for_them():
    made = queue(size=2, workers=0, running=0)
    fill(made, "a", "b")
    problem(made)


def test_bytes_are_held_until_the_work_is_done():
    made = queue()
    fill(made, "a", num_bytes=600)
    assert made.bytes_held == 600
    running = made.next()
    assert made.bytes_held == 600 and made.is_running(running)
    made.done(running)
    assert made.bytes_held == 0 and not made.is_running(running)


def test_a_request_that_would_wait_too_long_is_turned_away():
    made = queue(size=100, max_wait_s=10, workers=2, each_s=4.0)
    fill(made, *"abcdef")
    assert made.predicted_wait_s() == pytest.approx(12)
    assert "about 12.0 s" in problem(made).detail


def test_a_request_that_would_miss_its_deadline_is_turned_away():
    made = queue(size=100, max_wait_s=60, each_s=4.0)
    fill(made, "a", "b")
    made.check_room(deadline_s=9)
    problem(made, deadline_s=7)


def test_only_what_goes_first_counts_as_waiting():
    made = queue(size=100, each_s=2.0)
    fill(made, "batch", "batch", priority=BATCH)
    fill(made, "job", priority=BACKGROUND)
    assert made.predicted_wait_s(INTERACTIVE) == 0
    assert made.predicted_wait_s(BATCH) == pytest.approx(4)
    assert made.predicted_wait_s(BACKGROUND) == pytest.approx(6)


def test_background_is_never_turned_away_and_takes_no_place():
    made = queue(size=1, max_wait_s=0)
    fill(made, *"abcdefgh", priority=BACKGROUND)
    fill(made, "one")
    problem(made)


def test_time_to_come_back_is_when_half_is_done():
    made = queue(size=8, max_wait_s=100, workers=2, each_s=3.0)
    fill(made, *"abcdefgh")
    half_s = 8 * 3 / 2 / 2
    told = [problem(made).retry_after_s for _ in range(100)]
    assert (
        all(half_s <= one <= half_s + SPREAD_S for one in told)
        and max(told) - min(told) > SPREAD_S / 2
    )


def test_time_to_come_back_is_at_least_a_second():
    made = queue(size=1, each_s=0.01)
    fill(made, "a")
    assert int(problem(made).headers()["retry-after"]) >= 1


# Leaving


def test_a_withdrawn_entry_is_forgotten_at_once():
    made = queue()
    a, b, c = fill(made, "a", "b", "c", num_bytes=10)
    made.withdraw(b)
    made.withdraw(b)
    assert (made.num_waiting, made.bytes_held, made.predicted_wait_s()) == (2, 20, pytest.approx(2))
    assert order(made) == "a c"
    made.withdraw(a)  # it is running, so only its end frees its bytes
    assert (made.num_running, made.bytes_held) == (3, 20)
    made.done(a)
    made.done(a)
    made.done(c)
    assert (made.num_running, made.bytes_held) == (1, 0)


def test_thousands_that_come_and_go_leave_nothing():
    made = queue(size=10_000, max_wait_s=1e9, each_s=0.1, running=0)
    entries = fill(made, *map(str, range(5000)), num_bytes=0)
    for one in entries[1::2]:
        made.withdraw(one)
    while one := made.next():
        made.done(one)
    assert (made.num_waiting, made.num_running, made.bytes_held, made.predicted_wait_s()) == (
        0,
        0,
        0,
        0,
    )


# Service times


def test_first_guess_gives_way_to_the_first_measurement():
    times = ServiceTimes()
    times.guess(5.0)
    assert times.expected_s("small") == 5
    times.add("small", 1.0)
    times.guess(9.0)
    assert times.expected_s("small") == 1
    assert times.expected_s("unknown") == 1


def test_each_kind_has_its_own_mean_that_follows_slowly():
    times = ServiceTimes()
    for _ in range(50):
        times.add("small", 1.0)
        times.add("large", 9.0)
    assert (times.expected_s("small"), times.expected_s("large")) == (
        pytest.approx(1),
        pytest.approx(9),
    )
    times.add("small", 2.0)
    assert times.expected_s("small") == pytest.approx(1.2)


# Pictures that stop workers


def test_two_strikes_are_refused_and_one_is_not():
    quarantine = Quarantine(Clock())
    quarantine.strike("bad")
    quarantine.check("bad")
    quarantine.strike("bad")
    with pytest.raises(Problem, match="refused_image"):
        quarantine.check("bad")
    quarantine.check("good")


def test_picture_that_was_answered_is_innocent():
    quarantine = Quarantine(Clock())
    quarantine.strike("a")
    quarantine.clear("a")
    quarantine.strike("a")
    assert not quarantine.refused("a")


def test_refusal_ends_after_an_hour():
    quarantine = Quarantine(clock := Clock())
    quarantine.strike("bad")
    quarantine.strike("bad")
    clock.now = REFUSED_S
    assert quarantine.refused("bad")
    clock.now += 1
    assert not quarantine.refused("bad")


def test_picture_without_digest_is_never_refused():
    quarantine = Quarantine(Clock())
    quarantine.strike("")
    quarantine.strike("")
    assert not quarantine.refused("")


def test_the_number_of_remembered_pictures_is_limited():
    quarantine = Quarantine(Clock())
    for number in range(MAX_SUSPECTS + 1):
        quarantine.strike(str(number))
        quarantine.strike(str(number))
    assert not quarantine.refused("0")
    assert quarantine.refused("1")
    assert quarantine.refused(str(MAX_SUSPECTS))
