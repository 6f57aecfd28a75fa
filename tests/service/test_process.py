"""One worker: its caller learns of everything that happens to it, and no process is left."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import LONG_S, running, until

from humanparse.errors import ModelError
from humanparse.service.work.process import Worker, WorkerDied, oom_kills, worker_command

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
HELLO = {"models": ["small"], "options": {"threads": 1}}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses signals and /proc")


def with_worker(use, command=FAKE, start_s=LONG_S, hello=HELLO):
    """Return `await use(worker)`."""

    async def main():
        worker = await Worker.spawn(command)
        try:
            await worker.load(hello, start_s)
            return await use(worker)
        finally:
            await worker.end()
            assert worker.life.done() and not running(worker.pid)

    return asyncio.run(main())


def act(name: str, **more) -> dict:
    return {"do": "parse", "act": name, **more}


def test_worker_does_one_task_after_another():
    async def use(worker):
        return [
            await worker.call(act("echo"), bytes([number]) * 300_000 + b"!", LONG_S)
            for number in range(5)
        ]

    for number, (head, body) in enumerate(with_worker(use)):
        assert body == b"!" + bytes([number]) * 300_000
        assert head["size"] == 300_001 and head["rss_mb"] > 1


def test_what_is_printed_does_not_reach_the_wire(caplog):
    async def use(worker):
        return [await worker.call(act(name), b"ab", LONG_S) for name in ("print", "echo")]

    assert [body for _, body in with_worker(use)] == [b"ba", b"ba"]
    assert "hello from Python" in caplog.text and "hello from native code" in caplog.text


@pytest.mark.parametrize(
    "name, code, detail",
    [
        ("broken", "broken_image", "breaks off"),
        ("heif", "not_an_image", "JPEG or PNG"),
        ("memory", "image_too_large", "smaller"),
        ("surprise", "internal_error", "failed unexpectedly"),
    ],
)
def test_errors_become_problems_and_the_worker_works_on(name, code, detail, caplog):
    async def use(worker):
        return await worker.call(act(name), b"", LONG_S), await worker.call(
            act("echo"), b"ab", LONG_S
        )

    (head, body), (_, after) = with_worker(use)
    assert head["problem"]["code"] == code and detail in head["problem"]["detail"]
    assert "secret" not in str(head) and body == b"" and after == b"ba"
    assert ("ZeroDivisionError" in caplog.text) == (name == "surprise")


def test_unknown_kind_of_task_is_a_problem():
    async def use(worker):
        return await worker.call({"do": "dance"}, b"", LONG_S)

    assert with_worker(use)[0]["problem"]["code"] == "internal_error"


@pytest.mark.parametrize(
    "name, message, from_outside",
    [
        ("exit", "exit status 7", False),
        ("abort", "SIGABRT", False),
        ("garbage", "SIGKILL", False),
        ("otherid", "SIGKILL", False),
        ("kill", "SIGKILL", oom_kills() is not None),
    ],
)
def test_worker_that_dies_in_a_task_says_how(name, message, from_outside, caplog):
    async def use(worker):
        with pytest.raises(WorkerDied, match=message) as caught:
            await worker.call(act(name), b"x" * 1000, LONG_S)
        assert caught.value.from_outside == from_outside
        assert not worker.alive
        with pytest.raises(WorkerDied):
            await worker.call(act("echo"), b"", LONG_S)

    with_worker(use)


def test_worker_that_died_while_it_was_idle_is_noticed():
    async def use(worker):
        os.kill(worker.pid, signal.SIGKILL)
        await asyncio.wait_for(asyncio.shield(worker.life), LONG_S)
        assert not worker.alive

    with_worker(use)


def test_task_that_takes_too_long_ends_with_its_worker():
    async def use(worker):
        with pytest.raises(TimeoutError):
            await worker.call(act("hang"), b"", 0.05)
        assert not worker.alive
        await asyncio.wait_for(asyncio.shield(worker.life), LONG_S)

    with_worker(use)


def test_worker_that_does_not_read_its_task_ends_at_the_deadline():
    async def use(worker):
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await worker.call(act("echo"), bytes(10_000_000), 0.2)
        await asyncio.wait_for(asyncio.shield(worker.life), LONG_S)

    with_worker(use)


def test_cancelled_call_ends_its_worker_so_that_answers_never_meet_the_wrong_task():
    async def use(worker):
        call = asyncio.create_task(worker.call(act("slow-5"), b"", LONG_S))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not worker.alive

    with_worker(use)


def test_signals_to_the_whole_group_leave_workers_alone():
    async def use(worker):
        call = asyncio.create_task(worker.call(act("slow-0.2"), b"ab", LONG_S))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.pid, number)
        return await call

    assert with_worker(use)[1] == b"ba"


def test_busy_worker_ends_when_it_is_told_to():
    async def use(worker):
        call = asyncio.create_task(worker.call(act("hang"), b"", LONG_S))
        await asyncio.sleep(0.05)
        await worker.end()
        with pytest.raises(WorkerDied):
            await call

    with_worker(use)


def test_worker_does_not_know_the_token(monkeypatch):
    monkeypatch.setenv("HUMANPARSE_TOKEN", "secret")

    async def use(worker):
        return Path(f"/proc/{worker.pid}/environ").read_bytes()

    if sys.platform == "linux":
        assert b"secret" not in with_worker(use)


@pytest.mark.parametrize(
    "start, message",
    [
        ("fatal", "^the model is broken$"),
        ("die", "exit status 3"),
        ("hang", "within 1 s"),
        ("surprise", "in the loader"),
    ],
)
def test_worker_that_cannot_start_says_why_in_one_line(start, message, tmp_path):
    (tmp_path / "start").write_text(start)

    with pytest.raises(ModelError, match=message) as caught:
        with_worker(
            None, (*FAKE, str(tmp_path / "start")), start_s=1 if start == "hang" else LONG_S
        )
    assert "\n" not in str(caught.value)


def test_program_that_is_not_there_is_one_clear_line():
    with pytest.raises(ModelError, match="cannot be started"):
        with_worker(None, command=("/nowhere/python",))


SERVER = """
import asyncio, sys
from humanparse.service.work.process import Worker

async def main():
    worker = await Worker.spawn(sys.argv[2:])
    await worker.load({"models": [], "options": {"threads": 1}}, 60)
    call = asyncio.create_task(worker.call({"do": "parse", "act": sys.argv[1]}, b"", 1000))
    await asyncio.sleep(0.2)
    print(worker.pid, flush=True)
    await call

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "name",
    [
        "hang",
        pytest.param("hog", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl")),
    ],
)
def test_no_worker_outlives_a_server_that_was_killed(name):
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, name, *FAKE], stdout=subprocess.PIPE
    ) as server:
        pid = int(server.stdout.readline())
        assert running(pid)
        server.kill()
    until(lambda: not running(pid), "the worker's end")


def test_real_worker_loads_the_model_inside_the_package_and_parses():
    async def use(worker):
        assert worker.ready["models"][0]["name"] == "humanparse-small"
        head, _ = await worker.call({"do": "probe"}, b"", LONG_S)
        assert "problem" not in head and head["rss_mb"] > 50
        head, _ = await worker.call(
            {"do": "parse", "model": "", "min_score": None, "max_side": None}, b"no", LONG_S
        )
        assert head["problem"]["code"] == "not_an_image"

    with_worker(
        use,
        worker_command(),
        hello={"models": ["humanparse-small"], "options": {"engine": "onnxruntime", "threads": 1}},
    )
