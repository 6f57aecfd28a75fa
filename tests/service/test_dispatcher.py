"""A work item gets a reply or one clear problem, whatever happens to workers and callers."""

import asyncio
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import LONG_S, soon

from humanparse.errors import ModelError
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import BACKGROUND, BATCH, INTERACTIVE
from humanparse.service.work.dispatcher import Dispatcher, WorkItem

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses signals")


def task(act: str = "echo", blob: bytes = b"", digest: str = "") -> WorkItem:
    return WorkItem({"do": "parse", "act": act}, blob, digest)


def with_dispatcher(use, *, command=FAKE, **given):
    """Return `await use(dispatcher)`, with one worker; check that nothing is left afterwards."""

    async def main():
        dispatcher = Dispatcher(Settings(**{"workers": 1, "threads": 1, **given}), command=command)
        await dispatcher.start()
        try:
            result = await asyncio.wait_for(use(dispatcher), LONG_S)
            await soon(lambda: dispatcher._queue.num_running == 0, "the end of all work")
        finally:
            await dispatcher.stop(0)
        assert (dispatcher.status().queued, dispatcher.status().bytes_held) == (0, 0)
        assert dispatcher.held.num_bytes == 0
        assert not dispatcher._replies and not dispatcher._serving and not dispatcher._pool._workers
        return result

    return asyncio.run(main())


async def code_of(work) -> str:
    """ "done", or the code of the problem."""
    try:
        await work
    except Problem as problem:
        return problem.code
    return "done"


def busy(dispatcher, act="slow-0.3", **more) -> asyncio.Task:
    """Work that keeps a worker busy."""
    return asyncio.create_task(dispatcher.run(task(act), **more))


# The normal case


def test_answer_comes_back_with_its_times():
    async def use(dispatcher):
        return await dispatcher.run(task("slow-0.05", b"abc"))

    reply = with_dispatcher(use)
    assert reply.blob == b"cba" and reply.head["size"] == 3 and "id" not in reply.head
    assert reply.worked_ms >= 50 and reply.queued_ms >= 0


def test_many_concurrent_requests_each_get_their_own_reply():
    async def use(dispatcher):
        blobs = [random.randbytes(size) for size in range(1, 50)]
        replies = await asyncio.gather(*(dispatcher.run(task(blob=blob)) for blob in blobs))
        assert [reply.blob for reply in replies] == [blob[::-1] for blob in blobs]

    with_dispatcher(use, workers=2)


def test_what_the_worker_reports_about_a_picture_becomes_a_problem():
    async def use(dispatcher):
        with pytest.raises(Problem, match="breaks off") as caught:
            await dispatcher.run(task("broken"))
        assert caught.value.code == "broken_image"
        return await dispatcher.run(task(blob=b"ab"))

    assert with_dispatcher(use).blob == b"ba"


def test_background_waits_for_all_others():
    order = []

    async def note(dispatcher, name, priority):
        await dispatcher.run(task("slow-0.01"), priority=priority)
        order.append(name)

    async def use(dispatcher):
        first = busy(dispatcher)
        await asyncio.sleep(0.01)
        names = [("job", BACKGROUND), ("batch", BATCH), ("one", INTERACTIVE), ("two", INTERACTIVE)]
        await asyncio.gather(first, *(note(dispatcher, *name) for name in names))

    with_dispatcher(use)
    assert order == ["one", "two", "batch", "job"]


def test_models_that_cannot_be_loaded_are_one_clear_line(tmp_path):
    (tmp_path / "start").write_text("fatal")
    with pytest.raises(ModelError, match=r"^the model is broken$"):
        with_dispatcher(None, command=(*FAKE, str(tmp_path / "start")))


# Turned away


def test_workers_that_were_begun_are_waited_for_and_end_if_nobody_waits(tmp_path):
    (tmp_path / "start").write_text("hang")

    async def main():
        dispatcher = Dispatcher(Settings(workers=2, threads=1), command=FAKE)
        dispatcher.begin()
        await dispatcher.start()
        assert dispatcher.status().idle == 2
        await dispatcher.stop(0)

        hanging = Dispatcher(
            Settings(workers=2, threads=1), command=(*FAKE, str(tmp_path / "start"))
        )
        hanging.begin()
        await soon(lambda: len(hanging._pool._workers) == 2, "the processes")
        await hanging.stop(0)
        assert not hanging._pool._workers

    asyncio.run(main())


def test_full_queue_turns_away_at_once_and_says_when_to_come_back():
    async def use(dispatcher):
        works = [busy(dispatcher, "slow-0.1") for _ in range(3)]
        await asyncio.sleep(0.01)
        start = time.perf_counter()
        for _ in range(1000):
            with pytest.raises(Problem, match="queue_full") as caught:
                dispatcher.check_room()
            assert await code_of(dispatcher.run(task())) == "queue_full"
        assert time.perf_counter() - start < 5  # far below a millisecond each
        assert caught.value.retry_after_s >= 0
        assert [await code_of(work) for work in works] == ["done"] * 3
        dispatcher.check_room()

    with_dispatcher(use, queue_size=2)


def test_bytes_of_work_are_held_until_it_is_done():
    async def use(dispatcher):
        work = asyncio.create_task(dispatcher.run(task("slow-0.1", bytes(900_000))))
        await asyncio.sleep(0.01)
        assert dispatcher.status().bytes_held == 900_000
        assert dispatcher.held.num_bytes == 0  # the request counts them
        await work
        await soon(lambda: dispatcher.status().bytes_held == 0, "free bytes")

    with_dispatcher(use)


def test_a_picture_that_a_worker_has_counts_when_its_client_has_gone():
    async def use(dispatcher):
        running = asyncio.create_task(dispatcher.run(task("slow-0.3", bytes(500))))
        waiting = asyncio.create_task(dispatcher.run(task("slow-0.3", bytes(70))))
        await soon(lambda: dispatcher.status().busy == 1, "work")
        for work in (running, waiting):
            work.cancel()
        await asyncio.wait({running, waiting})
        assert dispatcher.held.num_bytes == 500
        await soon(lambda: dispatcher.held.num_bytes == 0, "the end of the work")

    with_dispatcher(use)


@pytest.mark.parametrize("act", ["slow-0.1", "exit"])
def test_a_picture_of_a_job_counts_until_it_is_done(act):
    async def use(dispatcher):
        work = asyncio.create_task(dispatcher.run(task(act, bytes(500)), priority=BACKGROUND))
        await asyncio.sleep(0.01)
        assert dispatcher.held.num_bytes == 500
        assert await code_of(work) == ("done" if act != "exit" else "worker_crashed")
        assert dispatcher.held.num_bytes == 0

    with_dispatcher(use)


# Callers that have gone


def test_cancelled_request_leaves_the_queue_empty():
    async def use(dispatcher):
        first = busy(dispatcher)
        waiting = asyncio.create_task(dispatcher.run(task(blob=bytes(1000))))
        await asyncio.sleep(0.01)
        assert (dispatcher.status().queued, dispatcher.status().bytes_held) == (1, 1000)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled() and (
            dispatcher.status().queued,
            dispatcher.status().bytes_held,
        ) == (0, 0)
        await first

    with_dispatcher(use)


def test_answer_of_a_cancelled_request_is_dropped_and_the_worker_works_on():
    async def use(dispatcher):
        work = asyncio.create_task(dispatcher.run(task("slow-0.1", b"mine")))
        await asyncio.sleep(0.03)
        work.cancel()
        reply = await dispatcher.run(task(blob=b"yours"))
        assert reply.blob == b"sruoy" and work.cancelled()
        assert dispatcher.status().restarts == 0

    with_dispatcher(use)


def test_request_that_is_cancelled_just_as_its_turn_comes_costs_nothing():
    async def use(dispatcher):
        work = asyncio.create_task(dispatcher.run(task("hang")))
        await asyncio.sleep(0)  # it has a worker now, but the worker has not received it yet
        work.cancel()
        assert (await dispatcher.run(task(blob=b"ab"))).blob == b"ba"
        assert dispatcher.status().restarts == 0

    with_dispatcher(use)


def test_thousand_cancelled_requests_leave_nothing():
    async def use(dispatcher):
        works = []
        for _ in range(1000):
            works.append(asyncio.create_task(dispatcher.run(task("slow-0.001", bytes(10)))))
            await asyncio.sleep(random.random() * 0.001)
            random.choice(works).cancel()
        for work in works[::2]:
            work.cancel()
        codes = await asyncio.gather(*map(code_of, works), return_exceptions=True)
        assert {str(code) for code in codes} <= {"done", "queue_full", ""}  # "": cancelled
        assert (await dispatcher.run(task(blob=b"ab"))).blob == b"ba"
        assert dispatcher.status().restarts == 0

    with_dispatcher(use, workers=2)


# Deadlines


def test_deadline_ends_the_work_itself_and_the_next_one_finds_a_worker():
    async def use(dispatcher):
        pid = (await dispatcher.run(task())).head["pid"]
        assert await code_of(dispatcher.run(task("hang"), deadline_s=0.1)) == "deadline_exceeded"
        assert (await dispatcher.run(task())).head["pid"] != pid
        assert (dispatcher.status().restarts, dispatcher.status().crashes) == (1, 0)

    with_dispatcher(use)


def test_deadline_counts_while_a_request_waits():
    async def use(dispatcher):
        work = busy(dispatcher, "slow-0.5")
        await asyncio.sleep(0.01)
        start = time.perf_counter()
        assert await code_of(dispatcher.run(task(), deadline_s=0.1)) == "deadline_exceeded"
        assert time.perf_counter() - start < 0.4 and dispatcher.status().queued == 0
        await work
        assert dispatcher.status().restarts == 0

    with_dispatcher(use, max_wait_s=0.1)


def test_deadline_in_the_background_counts_from_when_the_work_begins():
    async def use(dispatcher):
        work = busy(dispatcher, "slow-0.3")
        await asyncio.sleep(0.01)
        assert await code_of(dispatcher.run(task(), priority=BACKGROUND, deadline_s=0.2)) == "done"
        assert (
            await code_of(dispatcher.run(task("hang"), priority=BACKGROUND, deadline_s=0.2))
            == "deadline_exceeded"
        )
        await work

    with_dispatcher(use)


# Workers that die


def test_crash_costs_nothing_but_a_second_try(tmp_path):
    (tmp_path / "once").touch()

    async def use(dispatcher):
        reply = await dispatcher.run(task(f"once {tmp_path / 'once'} abort", b"ab", "digest"))
        assert reply.blob == b"ba" and dispatcher.status().crashes == 1
        assert not dispatcher._quarantine.refused("digest")

    with_dispatcher(use)


def test_picture_that_crashes_two_workers_is_refused_from_then_on():
    async def use(dispatcher):
        assert await code_of(dispatcher.run(task("abort", b"", "bad"))) == "worker_crashed"
        assert await code_of(dispatcher.run(task("abort", b"", "bad"))) == "refused_image"
        assert dispatcher.status().crashes == 2
        assert (await dispatcher.run(task("echo", b"ab", "good"))).blob == b"ba"

    with_dispatcher(use)


def test_waiting_copies_of_a_bad_picture_are_refused_in_their_turn():
    async def use(dispatcher):
        codes = await asyncio.gather(
            *(code_of(dispatcher.run(task("abort", b"", "bad"))) for _ in range(6))
        )
        assert sorted(codes) == ["refused_image"] * 5 + ["worker_crashed"]
        assert dispatcher.status().crashes == 2

    with_dispatcher(use)


def test_picture_that_takes_too_long_twice_is_refused():
    async def use(dispatcher):
        for code in ("deadline_exceeded", "deadline_exceeded", "refused_image"):
            await soon(lambda: dispatcher.status().idle, "a worker")
            assert await code_of(dispatcher.run(task("hang", b"", "slow"))) == code

    with_dispatcher(use, deadline_s=0.2)


def test_picture_is_not_to_blame_for_a_deadline_that_the_queue_used_up():
    async def use(dispatcher):
        for _ in range(3):
            assert (
                await code_of(dispatcher.run(task("hang", b"", "fine"), deadline_s=0.1))
                == "deadline_exceeded"
            )
        assert await code_of(dispatcher.run(task("echo", b"", "fine"))) == "done"

    with_dispatcher(use, deadline_s=30)


@pytest.mark.skipif(
    sys.platform != "linux", reason="needs the kernel's count of kills for want of memory"
)
def test_picture_is_not_to_blame_for_an_operator_who_kills_workers():
    async def use(dispatcher):
        for _ in range(2):
            assert await code_of(dispatcher.run(task("kill", b"", "fine"))) == "worker_crashed"
        assert await code_of(dispatcher.run(task("echo", b"", "fine"))) == "done"

    with_dispatcher(use)


def test_picture_that_uses_up_all_memory_twice_is_refused(monkeypatch):
    counts = iter(range(100))
    monkeypatch.setattr("humanparse.service.work.process.oom_kills", lambda: next(counts))

    async def use(dispatcher):
        assert await code_of(dispatcher.run(task("kill", b"", "huge"))) == "worker_crashed"
        assert await code_of(dispatcher.run(task("kill", b"", "huge"))) == "refused_image"

    with_dispatcher(use)


def test_models_are_known_while_all_workers_restart():
    async def use(dispatcher):
        os.kill(dispatcher._pool.slots[0].worker.pid, signal.SIGKILL)
        await soon(lambda: dispatcher.status().starting == 1, "the death of the only worker")
        assert dispatcher.status().models and dispatcher.status().last_success_age_s is None
        assert (await dispatcher.run(task(blob=b"ab"))).blob == b"ba"

    with_dispatcher(use)


def test_replies_to_other_tasks_are_never_passed_on():
    async def use(dispatcher):
        for act in ("otherid", "garbage"):
            assert await code_of(dispatcher.run(task(act, b"x"))) == "worker_crashed"
        assert (await dispatcher.run(task(blob=b"ab"))).blob == b"ba"

    with_dispatcher(use)


@pytest.mark.slow
def test_workers_are_killed_again_and_again_under_load_and_no_answer_is_wrong():
    async def use(dispatcher):
        stop, codes = asyncio.Event(), []

        async def client():
            while not stop.is_set():
                blob = random.randbytes(1000)
                try:
                    reply = await dispatcher.run(task("slow-0.01", blob, blob.hex()))
                    assert reply.blob == blob[::-1]
                    codes.append("done")
                except Problem as problem:
                    codes.append(problem.code)
                    # a problem may come at once, so let the others run
                    await asyncio.sleep(0.001)

        clients = [asyncio.create_task(client()) for _ in range(6)]
        kills = 10
        try:
            for _ in range(kills):
                await soon(lambda: dispatcher._pool.num_alive, "a worker")
                # the last kill may have hit it without our knowing yet
                with suppress(ProcessLookupError):
                    os.kill(
                        random.choice(
                            [slot.worker.pid for slot in dispatcher._pool.slots if slot.alive]
                        ),
                        signal.SIGKILL,
                    )
                await asyncio.sleep(random.random() * 0.1)
            await soon(lambda: dispatcher.status().starting == 0, "all workers")
        finally:
            stop.set()
            await asyncio.gather(*clients)
        assert (
            set(codes) <= {"done", "worker_crashed"} and codes.count("worker_crashed") <= kills / 2
        )
        assert codes.count("done") > 0

    with_dispatcher(use, workers=2)


# Reload and stop


def test_reload_under_load_loses_nothing(tmp_path):
    (tmp_path / "start").write_text("one")

    async def use(dispatcher):
        works = [busy(dispatcher, "slow-0.02") for _ in range(30)]
        (tmp_path / "start").write_text("two")
        await dispatcher.reload()
        assert dispatcher.status().models[0]["wish"] == "two"
        assert {await code_of(work) for work in works} == {"done"}

    with_dispatcher(use, command=(*FAKE, str(tmp_path / "start")), workers=2)


def test_stop_finishes_what_was_accepted_and_takes_nothing_more():
    async def use(dispatcher):
        works = [busy(dispatcher, "slow-0.05") for _ in range(5)]
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(dispatcher.stop(LONG_S))
        await asyncio.sleep(0)
        assert await code_of(dispatcher.run(task())) == "shutting_down"
        await stopping
        assert [await code_of(work) for work in works] == ["done"] * 5

    with_dispatcher(use)


def test_stop_after_its_grace_ends_what_is_left_with_a_clear_problem():
    async def use(dispatcher):
        works = [busy(dispatcher, "hang") for _ in range(3)]
        await asyncio.sleep(0.05)
        await dispatcher.stop(0.1)
        assert [await code_of(work) for work in works] == ["shutting_down"] * 3

    with_dispatcher(use)


def test_status_shows_what_is_going_on():
    async def use(dispatcher):
        works = [busy(dispatcher, "slow-0.1") for _ in range(3)]
        await asyncio.sleep(0.01)
        status = dispatcher.status()
        assert (status.workers, status.idle, status.busy, status.starting, status.queued) == (
            2,
            0,
            2,
            0,
            1,
        )
        await asyncio.gather(*works)
        status = dispatcher.status()
        assert (status.idle, status.busy, status.queued, status.predicted_wait_s) == (2, 0, 0, 0)
        assert 0.1 <= status.mean_service_s < 10 and 0 <= status.last_success_age_s < 10
        assert len(status.rss_mb) == 2 and min(status.rss_mb) > 1
        assert status.models == [{"name": "humanparse-small", "wish": ""}]

    with_dispatcher(use, workers=2)
