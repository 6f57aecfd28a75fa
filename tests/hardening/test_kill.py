"""Workers killed under load: each kill costs at most one request, and the server recovers."""

import http.client
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from served import serve
from waiting import running, until

from hardening.conftest import jpeg, quick_and_long
from hardening.looking import ask, crowd, essence, is_whole, metric, stopped_cleanly, waited_s

WORKERS = 2
READY_AGAIN_S = 10  # as promised; a busy test machine gets three times as long
CGROUP = Path("/sys/fs/cgroup")


@pytest.mark.parametrize("kills", quick_and_long(3, 100))
def test_each_kill_costs_at_most_its_own_request_and_no_answer_is_wrong(
    tmp_path, photo, kills, measured
):
    patience = ("--max-wait-s", "100", "--deadline-s", "100")  # the machine may be busy
    flags = ["--workers", str(WORKERS), "--cache-mb", "0", "--log-level", "error", *patience]
    # A busy worker may find another engine the faster, whose scores differ in the last digit.
    with serve(tmp_path, *flags, "--engine", "onnxruntime") as served:
        expected = essence(ask(served, body=photo)[2])
        killed, slowest_s = [], 0.0

        def visit():
            status, _, body = ask(served, body=photo)
            return status, status != 200 or essence(body) == expected

        with crowd(3, visit) as found:
            for _ in range(kills):
                time.sleep(random.random() * 0.2)  # anywhere in a request
                pid = random.choice(served.children())
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                # and until the server knows it
                until(lambda pid=pid: pid not in served.children(), "the end of a killed worker")
                slowest_s = max(
                    slowest_s,
                    waited_s(
                        lambda: is_whole(served, WORKERS), "a whole server", 3 * READY_AGAIN_S
                    ),
                )
            before = len(found)
            until(lambda: len(found) >= before + 3, "answers after the last kill")
        statuses = [status for status, _ in found]
        assert all(right for _, right in found), "an answer was wrong"
        assert set(statuses) <= {200, 503} and statuses.count(503) <= len(killed)
        assert statuses.count(200) >= kills / 2
        measured(
            "kills, failed requests, longest time until whole",
            f"{len(killed)}, {statuses.count(503)}, {slowest_s:.1f} s of {len(found)} requests",
        )
        assert metric(served, "humanparse_in_flight") <= 1  # the request for the metrics itself
        assert not any(map(running, killed))
        stopped_cleanly(served, WORKERS)


def test_a_worker_that_uses_up_the_memory_of_its_group_is_struck_and_its_picture_refused(
    tmp_path, photo
):
    with (
        memory_group(tmp_path.name) as limited,
        serve(tmp_path, "--workers", "1", "--cache-mb", "0") as served,
    ):
        until(lambda: is_whole(served, 1), "a whole server")
        limited([served.process.pid, *served.children()], limit_mb=240)  # a worker is some 170 MB
        large = jpeg(6000)  # needs some 300 MB more
        codes = [refused(served, large) for _ in range(3)]
        assert codes[-1] == "refused_image" and set(codes[:-1]) <= {
            "worker_crashed",
            "refused_image",
        }, codes
        until(lambda: is_whole(served, 1), "a whole server")
        assert ask(served, body=photo)[0] == 200, "others are served as before"
        assert served.process.poll() is None


def refused(served, body: bytes) -> str:
    status, _, answer = ask(served, body=body)
    return answer.decode().split('"code": "')[1].split('"')[0] if status != 200 else "ok"


class memory_group:
    """A control group for memory; skips if we may not create one.

    Gives a function that adds processes and sets the limit.
    """

    def __init__(self, name: str):
        self._v2 = (CGROUP / "cgroup.controllers").exists()
        self._folder = (
            CGROUP if self._v2 else CGROUP / "memory"
        ) / f"humanparse-{os.getpid()}-{abs(hash(name)) % 10**6}"

    def __enter__(self):
        try:
            self._folder.mkdir()
            self._limit = self._folder / ("memory.max" if self._v2 else "memory.limit_in_bytes")
            if not self._limit.exists():
                raise OSError("no memory controller")
        except OSError as error:
            with suppress(OSError):
                self._folder.rmdir()
            pytest.skip(f"no control group may be made here: {error}")
        return self._fill

    def _fill(self, pids: list[int], limit_mb: float) -> None:
        """Memory that a process held before it joined does not count in the group."""
        try:
            for pid in pids:
                (self._folder / "cgroup.procs").write_text(str(pid))
            self._limit.write_text(str(int(limit_mb * 1e6)))
        except OSError as error:
            pytest.skip(f"no memory may be limited here: {error}")

    def __exit__(self, *_):
        parent = self._folder.parent
        for pid in (self._folder / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        until(self._is_gone, "the end of the control group")

    def _is_gone(self) -> bool:
        with suppress(OSError):  # its last process may still be on its way out
            self._folder.rmdir()
        return not self._folder.exists()


def test_a_worker_out_of_address_space_answers_and_lives(photo):
    """Where ulimit limits memory, allocations fail instead: that gives a response, not a crash."""
    program = (
        "import resource, sys; from humanparse.service.child import answers, main\n"
        "from humanparse.service.options import Options\n"
        "models = answers.load(['humanparse-small'], {'engine': 'onnxruntime', 'threads': 1})\n"
        "head = Options().head()\n"
        "tasks = {'parse': lambda task, blob: answers.answer(models, task, blob)}\n"
        "small, large = sys.stdin.buffer.read(int(sys.argv[1])), sys.stdin.buffer.read()\n"
        "def parsed(picture):\n"
        "    reply = main._reply(tasks, {'id': 1, **head}, picture)[0]\n"
        "    return reply.get('problem', {}).get('code', 'ok')\n"
        "print(parsed(small))\n"
        "lines = open('/proc/self/status').readlines()\n"
        "held = int(next(one for one in lines if one.startswith('VmSize')).split()[1]) * 1024\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 100_000_000, resource.RLIM_INFINITY))\n"
        "print(parsed(large)); print(parsed(small))\n"
    )
    command = [sys.executable, "-c", program, str(len(photo))]
    done = subprocess.run(command, input=photo + jpeg(6000), capture_output=True, timeout=120)
    assert done.stdout.split() == [b"ok", b"image_too_large", b"ok"], done.stderr.decode()


def test_the_clients_of_a_killed_server_see_a_closed_connection(tmp_path, photo):
    with serve(tmp_path, "--workers", "1", "--cache-mb", "0") as served:
        workers = served.children()
        served.process.kill()
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(served, body=photo)
        until(lambda: not any(map(running, workers)), "the end of all workers")
