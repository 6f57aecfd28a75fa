"""Jobs outlive whatever happens to the server, the disk, the database and the clock."""

import asyncio
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from fake_run import FakeRun, until
from jobs_here import HEAD, ended, made, settings, started

from humanparse.service.jobs import Jobs, runner, service, store_thread
from humanparse.service.jobs.store import JobItem, Store
from humanparse.service.problems import Problem

IDLE = 0.02


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses short enough to wait for."""
    monkeypatch.setattr(runner, "RETRY_S", (IDLE, IDLE))
    monkeypatch.setattr(runner, "BUSY_S", IDLE)
    monkeypatch.setattr(runner, "STORAGE_S", IDLE)
    monkeypatch.setattr(store_thread, "PAUSES_S", (IDLE, IDLE))
    monkeypatch.setattr(service, "TEND_S", IDLE)
    monkeypatch.setattr(service, "WATCH_S", 0)
    monkeypatch.setattr("humanparse.service.jobs.store.BUSY_S", IDLE)


async def made_of_zip(jobs, data: bytes):
    async with jobs.incoming() as incoming:
        incoming.files.archive.write_bytes(data)
        return await jobs.create(incoming, HEAD, [])


async def texts(jobs, id):
    """Of each item, what its result says, or its problem's code."""

    def text(item):
        if item.state == "done":
            return json.loads(jobs.files(id).result(item.number).read_bytes())["text"]
        return item.problem and item.problem["code"]

    return [text(item) for item in await jobs.items(id)]


def zipped(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


# A job's way


def test_each_picture_gets_its_result_or_its_problem(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run) as jobs:
            job = await made(jobs, b"a", b"bad", b"c")
            assert (job.state, job.total, job.done) == ("queued", 3, 0)
            last = await ended(jobs, job.id)
            assert (last.state, last.done, last.failed) == ("done", 2, 1)
            assert await texts(jobs, job.id) == ["A", "not_an_image", "C"]
            heads = [HEAD | {"source": f"{number}.jpg"} for number in range(3)]
            assert sorted(run.heads, key=lambda head: head["source"]) == heads
            # finished pictures go, a moment later
            await until(lambda: not list(jobs.files(job.id).inputs.iterdir()))

    asyncio.run(go())


def test_an_archive_is_unpacked_by_a_worker_and_then_worked_on(tmp_path):
    async def go():
        async with started(tmp_path) as jobs:
            job = await made_of_zip(jobs, zipped(one=b"a", two=b"bad", three=b"c"))
            assert job.packed
            last = await ended(jobs, job.id)
            assert (last.state, last.total, last.done, last.failed) == ("done", 3, 2, 1)
            assert [item.source for item in await jobs.items(job.id)] == ["one", "two", "three"]
            await until(lambda: not jobs.files(job.id).archive.exists())

    asyncio.run(go())


def test_an_archive_that_is_none_is_a_job_that_failed_and_says_why(tmp_path):
    async def go():
        async with started(tmp_path) as jobs:
            last = await ended(jobs, (await made_of_zip(jobs, b"no zip")).id)
            assert (
                last.state == "failed"
                and last.problem["code"] == "bad_request"
                and "zip" in last.problem["detail"]
            )

    asyncio.run(go())


def test_an_archive_whose_entries_all_fail_is_done(tmp_path):
    async def go():
        async with started(tmp_path, max_body_mb=0.001) as jobs:
            last = await ended(
                jobs, (await made_of_zip(jobs, zipped(a=bytes(2000), b=bytes(2000)))).id
            )
            assert (last.state, last.total, last.failed) == ("done", 2, 2)
            assert await texts(jobs, last.id) == ["image_too_large"] * 2

    asyncio.run(go())


def test_no_more_pictures_at_a_time_than_workers_and_jobs_take_turns(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1) as jobs:
            run.hold()
            first = await made(jobs, b"a1", b"a2", b"a3")
            second = await made(jobs, b"b1", b"b2")
            run.release(5)
            await ended(jobs, first.id)
            await ended(jobs, second.id)
        assert run.asked == [b"a1", b"a2", b"b1", b"a3", b"b2"] or run.asked == [
            b"a1",
            b"b1",
            b"a2",
            b"b2",
            b"a3",
        ]
        assert run.most == 1

    asyncio.run(go())


def test_watching_shows_every_step_in_order_and_ends(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1) as jobs:
            run.hold()
            job = await made(jobs, b"a", b"b")
            steps = []
            async with asyncio.timeout(10):
                async for seen in jobs.watch(job.id):
                    if seen:
                        steps.append((seen.state, seen.done))
                        run.release()
            assert (
                steps[-1] == ("done", 2)
                and steps == sorted(steps, key=lambda step: step[1])
                and len(steps) >= 3
            )

    asyncio.run(go())


# Again, and not for ever


@pytest.mark.parametrize("code", ["worker_crashed", "deadline_exceeded"])
def test_what_may_work_the_next_time_is_tried_three_times(tmp_path, code):
    async def go():
        run = FakeRun()
        run.trouble = {b"a": [Problem(code, "")] * 2, b"b": [Problem(code, "")] * 3}
        async with started(tmp_path, run) as jobs:
            last = await ended(jobs, (await made(jobs, b"a", b"b")).id)
            assert (last.done, last.failed) == (1, 1)
            assert await texts(jobs, last.id) == ["A", code]
            assert run.asked.count(b"a") == 3 and run.asked.count(b"b") == 3

    asyncio.run(go())


def test_a_picture_that_was_not_even_tried_waits_as_long_as_it_takes(tmp_path):
    async def go():
        run = FakeRun()
        run.trouble = {b"a": [Problem("queue_full", ""), Problem("not_ready", "")] * 5}
        async with started(tmp_path, run) as jobs:
            assert (await ended(jobs, (await made(jobs, b"a")).id)).done == 1

    asyncio.run(go())


def test_an_error_nobody_thought_of_fails_the_picture_and_not_the_job(tmp_path, caplog):
    async def go():
        run = FakeRun()
        run.trouble = {b"a": [RuntimeError("/secret")] * 3}
        async with started(tmp_path, run) as jobs:
            last = await ended(jobs, (await made(jobs, b"a", b"b")).id)
            assert await texts(jobs, last.id) == ["internal_error", "B"]
            assert "secret" not in json.dumps([item.problem for item in await jobs.items(last.id)])

    asyncio.run(go())


def test_a_picture_that_vanished_from_the_disk_fails_alone(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1) as jobs:
            run.hold()
            job = await made(jobs, b"a", b"b", b"c")
            await until(lambda: run.asked)
            jobs.files(job.id).input(1).unlink()
            jobs.files(job.id).input(2).write_bytes(b"cut")
            run.release(9)
            await ended(jobs, job.id)
            assert await texts(jobs, job.id) == ["A", "gone", "gone"]

    asyncio.run(go())


# Cancel, delete, expire


def test_cancelling_keeps_what_is_done_and_frees_the_workers(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1) as jobs:
            run.hold()
            job = await made(jobs, b"a", b"b", b"c")
            run.release()
            await until(lambda: len(run.asked) == 2)
            assert (await jobs.cancel(job.id)).state == "cancelled"
            assert run.now == 0 and (await jobs.cancel(job.id)).state == "cancelled"
            assert await texts(jobs, job.id) == ["A", None, None]
            other = await made(jobs, b"z")
            run.release()
            assert (await ended(jobs, other.id)).done == 1
            assert run.asked == [b"a", b"b", b"z"]
            with pytest.raises(Problem) as caught:
                await jobs.cancel(other.id)
            assert caught.value.code == "conflict"

    asyncio.run(go())


def test_deleting_removes_everything_also_of_a_job_at_work(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run) as jobs:
            run.hold()
            job = await made(jobs, b"a", b"b")
            await until(lambda: run.now == 2)
            await jobs.delete(job.id)
            assert run.now == 0 and not list((tmp_path / "jobs").iterdir())
            with pytest.raises(Problem) as caught:
                await jobs.get(job.id)
            assert caught.value.code == "not_found" and not await jobs.all()

    asyncio.run(go())


def test_a_job_expires_when_its_time_has_come_whatever_the_wall_clock_says(tmp_path, monkeypatch):
    right_time = time.time

    async def go():
        async with started(tmp_path, job_age_s=1000) as jobs:
            job = await ended(jobs, (await made(jobs, b"a")).id)
            for jump in (86_400, -86_400):
                monkeypatch.setattr(time, "time", lambda jump=jump: right_time() + jump)
                await asyncio.sleep(5 * IDLE)
                assert (await jobs.get(job.id)).state == "done"
                assert jobs.rest_s(job) == pytest.approx(1000, abs=5)
            offset = jobs._clock._offset
            jobs._clock._offset = offset + 999 - 5
            await asyncio.sleep(5 * IDLE)
            assert await jobs.all()
            jobs._clock._offset = offset + 1001
            with pytest.raises(Problem):
                await jobs.get(job.id)
            await until(lambda: not list((tmp_path / "jobs").iterdir()))

    asyncio.run(go())


def test_a_job_that_has_not_ended_does_not_expire(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, job_age_s=1) as jobs:
            run.hold()
            job = await made(jobs, b"a")
            jobs._clock._offset += 10_000
            await asyncio.sleep(5 * IDLE)
            assert (await jobs.get(job.id)).state in ("queued", "running")
            run.release()
            assert (await ended(jobs, job.id)).state == "done"

    asyncio.run(go())


def test_no_more_jobs_than_allowed_uploads_included(tmp_path):
    async def go():
        async with started(tmp_path, max_jobs=2) as jobs:
            first = await made(jobs, b"a")
            async with jobs.incoming():
                with pytest.raises(Problem) as caught:
                    await made(jobs, b"c")
                assert caught.value.code == "queue_full" and caught.value.retry_after_s
            await made(jobs, b"b")
            with pytest.raises(Problem):
                await made(jobs, b"c")
            await jobs.delete(first.id)
            await made(jobs, b"c")

    asyncio.run(go())


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path):
    async def go():
        async with started(tmp_path) as jobs:
            with pytest.raises(KeyError):
                async with jobs.incoming() as incoming:
                    incoming.files.input(0).write_bytes(b"half")
                    raise KeyError
            task = asyncio.create_task(_hang(jobs))
            await until(lambda: list((tmp_path / "jobs").iterdir()))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not list((tmp_path / "jobs").iterdir()) and not jobs._uploads

    async def _hang(jobs):
        async with jobs.incoming():
            await asyncio.sleep(60)

    asyncio.run(go())


# Restarts


def test_a_stop_in_the_middle_leaves_the_rest_pending_and_the_next_start_continues(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1, drain_s=0) as jobs:
            run.hold()
            job = await made(jobs, b"a", b"b", b"c")
            run.release()
            await until(lambda: len(run.asked) == 2)
        async with started(tmp_path) as jobs:
            last = await ended(jobs, job.id)
            assert (last.state, last.done) == ("done", 3) and await texts(jobs, job.id) == [
                "A",
                "B",
                "C",
            ]

    asyncio.run(go())


def test_a_stop_waits_for_the_pictures_in_work_and_begins_no_others(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1) as jobs:
            run.hold()
            job = await made(jobs, b"a", b"b")
            await until(lambda: run.asked)
            asyncio.get_running_loop().call_later(0.1, run.release, 5)
        assert run.asked == [b"a"]
        async with started(tmp_path, later := FakeRun()) as jobs:
            await ended(jobs, job.id)
            assert later.asked == [b"b"]

    asyncio.run(go())


def test_workers_that_stop_first_fail_no_picture(tmp_path):
    async def go():
        run = FakeRun()
        run.trouble = {b"a": [Problem("shutting_down", "")] * 9}
        async with started(tmp_path, run) as jobs:
            job = await made(jobs, b"a", b"b")
            await until(lambda: len(run.asked) == 2)
        async with started(tmp_path) as jobs:
            assert (await ended(jobs, job.id)).done == 2

    asyncio.run(go())


def test_a_result_without_its_row_is_made_again_and_counted_once(tmp_path):
    """As a server leaves it that is killed between the two."""

    async def go():
        run = FakeRun()
        async with started(tmp_path, run, workers=1, drain_s=0) as jobs:
            run.hold()
            job = await made(jobs, b"a")
            await until(lambda: run.asked)
            jobs.files(job.id).write_result(0, b"of before")
        async with started(tmp_path) as jobs:
            last = await ended(jobs, job.id)
            assert (last.done, last.failed, last.total) == (1, 0, 1) and await texts(
                jobs, job.id
            ) == ["A"]

    asyncio.run(go())


def test_an_unpacking_that_was_cut_off_begins_anew(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run, drain_s=0) as jobs:
            run.hold()
            job = await made_of_zip(jobs, zipped(one=b"a", two=b"b"))
            await until(lambda: run.asked)
            jobs.files(job.id).input(0).write_bytes(b"half of")
        async with started(tmp_path) as jobs:
            assert (await ended(jobs, job.id)).done == 2 and await texts(jobs, job.id) == ["A", "B"]

    asyncio.run(go())


def test_folders_of_no_job_are_removed_at_start(tmp_path):
    async def go():
        async with started(tmp_path) as jobs:
            job = await ended(jobs, (await made(jobs, b"a")).id)
        (tmp_path / "jobs" / "cut-off-upload" / "inputs").mkdir(parents=True)
        (tmp_path / "jobs" / "gone-1234").mkdir()
        async with started(tmp_path) as jobs:
            assert [path.name for path in (tmp_path / "jobs").iterdir()] == [job.id]
            assert await texts(jobs, job.id) == ["A"]

    asyncio.run(go())


SERVER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from fake_run import FakeRun
from humanparse.service.jobs import Jobs
from humanparse.service.settings import Settings

class Slow(FakeRun):
    async def __call__(self, task, **given):
        reply = await super().__call__(task, **given)
        with open(Path(sys.argv[1]) / "done.txt", "ab") as file:
            file.write(task.blob + b"\\n")
        await asyncio.sleep(0.004)
        return reply

async def main():
    jobs = Jobs(Settings(data_dir=sys.argv[1], workers=2, threads=1), Slow())
    await jobs.start()
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(6, marks=pytest.mark.long)])
def test_a_server_killed_again_and_again_loses_no_picture_and_does_none_twice_in_the_output(
    tmp_path, kills
):
    pictures = [f"p{number}".encode() for number in range(60)]

    async def create():
        run = FakeRun()
        async with started(tmp_path, run, drain_s=0) as jobs:
            run.hold()
            return [
                (await made(jobs, *pictures)).id,
                (await made_of_zip(jobs, zipped(**{p.decode(): p for p in pictures}))).id,
            ]

    async def finish():
        async with started(tmp_path) as jobs:
            return [(await ended(jobs, id), await texts(jobs, id)) for id in ids]

    ids = asyncio.run(create())
    for attempt in range(0, 6, 6 // kills):
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(tmp_path), str(Path(__file__).parent.parent)],
            stdout=subprocess.PIPE,
        )
        with server:
            assert server.stdout.readline() == b"ready\n"
            asyncio.run(asyncio.sleep(0.03 + 0.02 * attempt))
            server.send_signal(signal.SIGKILL)
    worked = (tmp_path / "done.txt").read_bytes().splitlines()
    assert len(worked) > 10, "the server should have been killed in the middle of work"
    for job, found in asyncio.run(finish()):
        assert (job.state, job.total, job.done, job.failed) == ("done", 60, 60, 0)
        assert found == [picture.decode().upper() for picture in pictures]


# Two servers


def test_a_second_server_has_no_jobs_says_why_and_takes_over_when_the_first_ends(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path) as first:
            second = Jobs(settings(tmp_path), run)
            await second.start()
            try:
                job = await ended(first, (await made(first, b"a")).id)
                with pytest.raises(Problem) as caught:
                    await second.all()
                assert caught.value.code == "not_ready" and "--data-dir" in caught.value.detail
                assert second.problems == [caught.value.detail]
                await first.stop()
                await until(lambda: second._continued)
                assert not second.problems
                assert await texts(second, job.id) == ["A"] and not run.asked
            finally:
                await second.stop()

    asyncio.run(go())


# Disk and database


def test_a_folder_that_cannot_be_made_leaves_the_service_without_jobs_until_it_can(tmp_path):
    (tmp_path / "data").write_text("in the way")

    async def go():
        async with started(tmp_path / "data") as jobs:
            with pytest.raises(Problem) as caught:
                await jobs.all()
            assert (
                caught.value.code == "not_ready"
                and str(tmp_path) not in caught.value.detail
                and jobs.problems
            )
            (tmp_path / "data").unlink()
            await until(lambda: jobs._continued)
            assert not jobs.problems
            await ended(jobs, (await made(jobs, b"a")).id)

    asyncio.run(go())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"this was a database",
        lambda data: data[:100] + os.urandom(len(data) - 100),
        lambda data: data[:5000],
    ],
    ids=["something else", "noise", "cut short"],
)
def test_a_damaged_database_is_set_aside_and_reported(tmp_path, damage, caplog):
    async def go():
        async with started(tmp_path) as jobs:
            await ended(jobs, (await made(jobs, b"a")).id)
        file = tmp_path / "jobs.sqlite"
        file.write_bytes(damage(file.read_bytes()))
        for number in (1, 2):
            async with started(tmp_path) as jobs:
                assert "damaged" in jobs.problems[0] and await jobs.all() == []
                await ended(jobs, (await made(jobs, b"a")).id)
            assert (tmp_path / f"jobs.damaged-{number}.sqlite").exists()
            assert list(tmp_path.glob(f"jobs.damaged-{number}.files/*/results/0000")), (
                "results should be kept for the operator"
            )
            file.write_bytes(b"damaged again")
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]

    asyncio.run(go())


def test_a_database_of_a_later_version_is_not_touched_but_set_aside(tmp_path):
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")

    async def go():
        async with started(tmp_path) as jobs:
            assert jobs.problems and await jobs.all() == []

    asyncio.run(go())
    with closing(sqlite3.connect(tmp_path / "jobs.damaged-1.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_locked_database_is_waited_for_then_reported_and_nothing_is_lost(tmp_path):
    async def go():
        run = FakeRun()
        async with started(tmp_path, run) as jobs:
            run.hold()
            job = await made(jobs, b"a")
            await until(lambda: run.asked)
            with closing(sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                run.release()
                with pytest.raises(Problem) as caught:
                    await made(jobs, b"b")
                assert caught.value.code == "not_ready" and "locked" in caught.value.detail
                await until(lambda: any("jobs are waiting" in problem for problem in jobs.problems))
                assert (await jobs.get(job.id)).done == 0, "others may still look"
                other.execute("ROLLBACK")
            assert (await ended(jobs, job.id)).done == 1 and run.asked == [b"a"]
            await until(lambda: not jobs.problems)
            assert [path.name for path in (tmp_path / "jobs").iterdir()] == [job.id], (
                "of the refused one nothing is left"
            )

    asyncio.run(go())


def test_a_full_disk_makes_a_job_wait_and_an_upload_fail(tmp_path, monkeypatch):
    full = [True]
    right = service.JobFiles.write_result

    def write(files, number, body):
        if full[0]:
            raise OSError(28, "No space left on device", "/secret")
        right(files, number, body)

    def create(files):
        raise OSError(28, "No space left on device", "/secret")

    async def go():
        run = FakeRun()
        async with started(tmp_path, run) as here:
            monkeypatch.setattr(service.JobFiles, "write_result", write)
            job = await made(here, b"a")
            await until(lambda: any("No space" in problem for problem in here.problems))
            assert (await here.get(job.id)).state == "running"
            full[0] = False
            assert (
                (await ended(here, job.id)).done == 1 and run.asked == [b"a"] and not here.problems
            )
            monkeypatch.setattr(service.JobFiles, "create", create)
            with pytest.raises(Problem) as caught:
                await made(here, b"b")
            assert caught.value.code == "storage_full" and "secret" not in caught.value.detail

    asyncio.run(go())


def test_the_database_does_not_follow_a_link_out_of_its_folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "data" / "jobs.sqlite").symlink_to(tmp_path / "elsewhere")

    async def go():
        async with started(tmp_path / "data") as jobs:
            assert jobs.problems

    asyncio.run(go())
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_a_finished_item_is_counted_once_however_often_it_is_reported(tmp_path):
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        store.add("a", {}, [JobItem(0), JobItem(1)], 0.0)
        for state in ("done", "done", "failed"):
            store.finish("a", JobItem(0, state=state), 1.0)
        job = store.job("a")
        assert (job.done, job.failed, job.state) == (1, 0, "queued")
        store.finish("a", JobItem(1, state="failed", problem={"code": "gone", "detail": ""}), 2.0)
        assert store.job("a").state == "done" and store.job("a").ended == 2.0
        assert store.counts() == {"queued": 0, "running": 0, "done": 1, "cancelled": 0, "failed": 0}


# The clock, with the real thing

CLOCK = """
import sys
from pathlib import Path
from humanparse.service.clock import SteadyClock
clock = SteadyClock(Path(sys.argv[1]))
print(clock.now())
clock.save()
"""


def test_a_server_that_starts_with_another_wall_clock_counts_on(tmp_path):
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed (Debian: apt-get install faketime)")

    def now(*command):
        return float(
            subprocess.run(
                [*command, sys.executable, "-c", CLOCK, str(tmp_path / "clock.json")],
                check=True,
                capture_output=True,
                env=os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            ).stdout
        )

    first = now()
    assert first <= now("faketime", "+1 day") < first + 60
    assert first <= now("faketime", "-1 day") < first + 60
