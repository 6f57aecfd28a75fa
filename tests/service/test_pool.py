"""The pool: another worker replaces each that ends, and in the end no process is left."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from waiting import LONG_S, running, soon

from humanparse.errors import ModelError
from humanparse.service.settings import Settings
from humanparse.service.work.pool import Slot, WorkerPool
from humanparse.service.work.process import WorkerDied

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses signals")


def act(name: str) -> dict:
    return {"do": "parse", "act": name}


def with_pool(use, *, command=FAKE, **given):
    """Return `await use(pool)`, with a pool of two workers."""

    async def main():
        reasons = []
        settings = Settings(**{"workers": 2, "threads": 1, **given})
        pool = WorkerPool(settings, command, lambda: None, reasons.append)
        pool.reasons = reasons
        await pool.start()
        try:
            return await use(pool)
        finally:
            pids = [worker.pid for worker in pool._workers]
            await pool.stop()
            assert not pool._workers and not pool._tasks
            assert not any(map(running, pids))

    return asyncio.run(main())


def pids(pool) -> set[int]:
    return {slot.worker.pid for slot in pool.slots if slot.alive}


def test_pool_lends_its_workers_and_takes_them_back():
    async def use(pool):
        first, second = pool.take(), pool.take()
        assert (
            first is not second
            and pool.take() is None
            and pool.num_idle == 0
            and pool.num_alive == 2
        )
        pool.give_back(first)
        assert pool.take() is first

    with_pool(use)


def test_idle_worker_that_is_killed_is_replaced():
    async def use(pool):
        before = pids(pool)
        os.kill(min(before), signal.SIGKILL)
        await soon(lambda: len(pids(pool) - before) == 1 and pool.num_idle == 2, "a successor")
        assert pool.crashes == pool.restarts == 1 and pool.reasons == ["crashed"]

    with_pool(use)


def test_busy_worker_that_is_killed_is_replaced_once():
    async def use(pool):
        worker = pool.take()
        call = asyncio.create_task(worker.call(act("hang"), b"", LONG_S))
        await asyncio.sleep(0.02)
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await call
        pool.give_back(worker)
        await soon(lambda: pool.num_idle == 2, "a successor")
        assert pool.restarts == 1

    with_pool(use)


def test_pauses_grow_while_workers_end_early(tmp_path):
    start = tmp_path / "start"
    start.write_text("")

    async def use(pool):
        start.write_text("fatal")
        os.kill(min(pids(pool)), signal.SIGKILL)
        await soon(lambda: any(slot.failures >= 3 for slot in pool.slots), "the third failure")
        slot = next(slot for slot in pool.slots if slot.failures)
        assert slot.pause_s >= 0.4 and pool.num_alive == 1
        start.write_text("")
        await soon(lambda: pool.num_alive == 2, "a successor")

    with_pool(use, command=(*FAKE, str(start)))


def test_longest_pause_is_five_seconds():
    assert [Slot(failures=number).pause_s for number in (0, 1, 2, 3, 100)] == [0, 0.1, 0.2, 0.4, 5]


@pytest.mark.parametrize(
    "limit, reason",
    [({"worker_max_requests": 2}, "requests"), ({"worker_max_memory_mb": 100}, "memory")],
)
def test_worn_worker_works_until_its_successor_is_ready(limit, reason):
    async def use(pool):
        before = pids(pool)
        fewest = 2
        while pool.restarts == 0:
            worker = pool.take()
            await worker.call(act("echo"), b"", LONG_S)
            if reason == "memory":
                worker.rss_mb = 101
            pool.give_back(worker)
            fewest = min(fewest, pool.num_idle)
            await asyncio.sleep(0.001)
        assert fewest == 2 and pool.reasons[0] == reason
        await soon(lambda: not any(map(running, before - pids(pool))), "the end of the old one")
        assert pool.crashes == 0

    with_pool(use, **limit)


def test_idle_workers_are_probed_and_a_sick_one_is_replaced(tmp_path):
    start = tmp_path / "start"
    start.write_text("sick")

    async def use(pool):
        before = pids(pool)
        start.write_text("")
        await soon(lambda: not (pids(pool) & before) and pool.num_idle == 2, "two healthy ones")
        assert set(pool.reasons) == {"probe"}
        last = max(slot.worker.last_success for slot in pool.slots)
        await soon(
            lambda: all(slot.worker.last_success > last for slot in pool.slots), "a probe of each"
        )

    with_pool(use, command=(*FAKE, str(start)), probe_s=0.1)


def test_reload_replaces_all_and_busy_ones_finish_first(tmp_path):
    start = tmp_path / "start"
    start.write_text("one")

    async def use(pool):
        busy = pool.take()
        call = asyncio.create_task(busy.call(act("slow-0.5"), b"ab", LONG_S))
        start.write_text("two")
        await pool.reload()
        assert [slot.worker.ready["models"][0]["wish"] for slot in pool.slots] == ["two", "two"]
        assert (await call)[1] == b"ba"
        pool.give_back(busy)
        await soon(lambda: not running(busy.pid), "the end of the old one")
        assert pool.num_idle == 2 and pool.crashes == 0 and pool.last_reload_error == ""

    with_pool(use, command=(*FAKE, str(start)))


def test_reload_that_fails_leaves_the_old_ones(tmp_path):
    start = tmp_path / "start"
    start.write_text("one")

    async def use(pool):
        before = pids(pool)
        start.write_text("fatal")
        await pool.reload()
        assert pids(pool) == before and pool.num_idle == 2
        assert pool.last_reload_error == "the model is broken"
        start.write_text("two")
        await pool.reload()
        assert pool.last_reload_error == "" and not pids(pool) & before

    with_pool(use, command=(*FAKE, str(start)))


def test_pool_that_cannot_start_leaves_no_process(tmp_path):
    (tmp_path / "start").write_text("fatal")

    async def main():
        pool = WorkerPool(
            Settings(workers=3, threads=1), (*FAKE, str(tmp_path / "start")), lambda: None
        )
        with pytest.raises(ModelError, match="the model is broken"):
            await pool.start()
        assert not pool._workers

    asyncio.run(main())


def test_stop_while_everything_starts_and_works_leaves_no_process(tmp_path):
    start = tmp_path / "start"
    start.write_text("")

    async def use(pool):
        start.write_text("hang")
        os.kill(min(pids(pool)), signal.SIGKILL)
        reload = asyncio.create_task(pool.reload())
        worker = pool.take()
        call = asyncio.create_task(worker.call(act("hang"), b"", LONG_S))
        await asyncio.sleep(0.2)
        reload.cancel()
        await asyncio.wait({reload})
        await pool.stop()
        with pytest.raises(WorkerDied):
            await call

    with_pool(use, command=(*FAKE, str(start)))


def test_worker_that_gets_nothing_but_bad_pictures_is_still_probed():
    async def use(pool):
        worker = pool.take()
        started = worker.last_success
        while worker.last_success == started:
            head, _ = await worker.call(act("broken"), b"", LONG_S)
            assert head["problem"]["code"] == "broken_image"
            pool.give_back(worker)
            await soon(lambda: pool.num_idle, "the end of the probe")
            assert pool.take() is worker
        pool.give_back(worker)

    with_pool(use, workers=1, probe_s=0.1)


def test_reload_ends_with_the_pool(tmp_path):
    (tmp_path / "start").write_text("")

    async def use(pool):
        (tmp_path / "start").write_text("hang")
        reload = asyncio.create_task(pool.reload())
        await asyncio.sleep(0.1)
        await pool.stop()
        await reload

    with_pool(use, command=(*FAKE, str(tmp_path / "start")))


@pytest.mark.parametrize("after_s", [0, 0.001, 0.03, 0.1, 0.2])
def test_start_that_is_cancelled_leaves_no_process(after_s):
    async def main():
        pool = WorkerPool(Settings(workers=2, threads=1), FAKE, lambda: None)
        starting = asyncio.create_task(pool.start())
        await asyncio.sleep(after_s)
        starting.cancel()
        await asyncio.wait({starting})
        if starting.cancelled():
            assert not pool._workers
        else:  # it was already ready
            starting.result()
            await pool.stop()

    asyncio.run(main())
