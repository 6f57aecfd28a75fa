"""A worker as the server sees it: one child process, which does one task at a time.

Whoever waits for a reply learns what happens to the process, and a reply reaches only the call that
it belongs to.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from humanparse.errors import ModelError
from humanparse.service.work import wire
from humanparse.system.packaged import environment, python

# Kept from a process that decodes what strangers sent.
SECRETS = ("HUMANPARSE_TOKEN", "HUMANPARSE_REDIS_URL", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
PIPE_BUFFER = 2**20
LONGEST_LINE = 2000  # characters of a worker's stderr
END_S = 2  # time for an idle worker to end by itself
REAP_S = 5  # time for a killed one to be gone; only a blocked system call takes longer
SIGKILL = 9

log = logging.getLogger(__name__)


class WorkerDied(Exception):
    """The worker ended before it replied.

    Attributes:
        from_outside: Whether somebody else killed it: neither we nor the kernel for lack of memory.
    """

    def __init__(self, message: str, *, from_outside: bool = False):
        super().__init__(message)
        self.from_outside = from_outside


class Worker:
    """One child process.

    Attributes:
        ready: What it reported when it was ready; empty before.
        ready_at: When it was ready, by time.monotonic.
        last_success: When it last replied without a problem, by time.monotonic.
        rss_mb: Its resident memory after its last task, in MB.
        num_tasks: How many tasks it has done.
        killed_for: Why we ended it, or "".
        death: How it ended; None while it lives.
        life: A task that is done when the process is gone.
    """

    def __init__(self, process: asyncio.subprocess.Process):
        self.pid = process.pid
        self.ready: dict[str, Any] = {}
        self.ready_at = time.monotonic()
        self.last_success = time.monotonic()
        self.rss_mb = 0.0
        self.num_tasks = 0
        self.killed_for = ""
        self.death: WorkerDied | None = None
        assert process.stdin and process.stdout and process.stderr, "all three must be pipes"
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._ooms = oom_kills()
        self._call_id = 0
        self._reply: asyncio.Future[wire.Frame] | None = None
        self._logging = asyncio.create_task(self._log_stderr())
        self.life = asyncio.create_task(self._listen())

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> Worker:
        """Start a new process, which has yet to `load`.

        Args:
            command: The program and its arguments.

        Returns:
            The worker.

        Raises:
            ModelError: If the process cannot be started.
        """
        try:
            return cls(
                await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    # so that Ctrl-C reaches the server alone
                    limit=PIPE_BUFFER,
                    env=_environment(),
                    start_new_session=True,
                )
            )
        except OSError as error:
            raise ModelError(f"a worker cannot be started: {error.strerror}") from error

    async def load(self, hello: Mapping[str, Any], start_s: float) -> None:
        """Load the models.

        Args:
            hello: Which models, and with which options.
            start_s: Time limit in seconds.

        Raises:
            ModelError: In one clear line, if they cannot be loaded; the process is then ended.
        """
        try:
            ready, _ = await self.call(hello, b"", start_s)
            if "fatal" in ready:
                raise ModelError(str(ready["fatal"]))
            self.ready, self.ready_at, self.num_tasks = ready, time.monotonic(), 0
        except TimeoutError:
            raise ModelError(
                f"a worker did not load its models within {start_s:g} s (worker_start_s)"
            ) from None
        except WorkerDied as error:
            raise ModelError(
                f"a worker ended while it loaded its models: {error}; see the log for details"
            ) from None
        finally:
            if not self.ready:
                await self.end(0)

    @property
    def alive(self) -> bool:
        """Whether the process is running and should go on running."""
        return not self.life.done() and not self.killed_for

    async def call(self, head: Mapping[str, Any], blob: bytes, timeout_s: float) -> wire.Frame:
        """Have one task done.

        Args:
            head: Plain JSON values; "do" says what to do.
            blob: The picture's file, or b"".
            timeout_s: Time limit in seconds.

        Returns:
            The head and the blob of the reply.

        Raises:
            TimeoutError: If it takes too long; the process is then killed.
            WorkerDied: If the process ends before it replies.
        """
        if not self.alive:
            raise WorkerDied("it had already ended", from_outside=True)
        self._call_id += 1
        self._reply = reply = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                # if the pipe is broken, `_listen` reports why through `reply`
                with suppress(ConnectionError):
                    await wire.write_frame(self._stdin, {**head, "id": self._call_id}, blob)
                answer, body = await reply
        except (TimeoutError, asyncio.CancelledError):
            self.kill("timeout")  # otherwise its late reply would meet the next task
            raise
        finally:
            self._reply = None
        self.num_tasks += 1
        if "problem" not in answer:
            self.last_success = time.monotonic()
        return answer, body

    async def end(self, grace_s: float = END_S) -> None:
        """End the process: close its stdin, and kill it if it is still there after `grace_s`."""
        self.killed_for = self.killed_for or "end"
        self._stdin.close()
        await asyncio.wait({self.life}, timeout=grace_s)
        self.kill("end")
        await asyncio.wait({self.life}, timeout=REAP_S)

    def kill(self, reason: str) -> None:
        """Kill the process."""
        self.killed_for = self.killed_for or reason
        if not self.life.done():
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _listen(self) -> None:
        """Pass every reply on to its caller, until the process is gone."""
        try:
            while True:
                self._take(*await wire.read_frame(self._stdout))
        except (EOFError, OSError):
            pass
        except asyncio.CancelledError:
            self.kill("end")
            raise
        except Exception as error:  # nothing after it can be trusted
            if not self.killed_for:
                log.error("worker %d sends invalid data: %s", self.pid, error)
            self.kill("nonsense")
        finally:
            self.death = await self._reap()
            if self._reply and not self._reply.done():
                self._reply.set_exception(self.death)

    def _take(self, answer: dict[str, Any], body: bytes) -> None:
        if self._reply is None or self._reply.done() or answer.pop("id", None) != self._call_id:
            raise wire.WireError("a reply to another task")
        self.rss_mb = float(answer.get("rss_mb", self.rss_mb))
        self._reply.set_result((answer, body))

    async def _reap(self) -> WorkerDied:
        """Wait until the process is gone, and return how it ended."""
        try:
            # it has closed its pipes, so it is about to end by itself
            async with asyncio.timeout(END_S):
                await self._gone()
        except TimeoutError:
            self.kill("hung")
            await self._gone()
        status = self._process.returncode
        killed = (
            not self.killed_for
            and status == -SIGKILL
            and self._ooms is not None
            and oom_kills() == self._ooms
        )
        return WorkerDied(_epitaph(status), from_outside=self.killed_for == "end" or killed)

    async def _gone(self) -> None:
        # an unread pipe would keep `wait` from returning
        await self._stdout.read()
        await self._process.wait()
        await asyncio.wait({self._logging})

    async def _log_stderr(self) -> None:
        while True:
            try:
                line = await self._stderr.readline()
            except ValueError:  # a line longer than the buffer; it is dropped
                continue
            if not line:
                return
            log.warning(
                "worker %d: %s", self.pid, line.decode(errors="replace").rstrip()[:LONGEST_LINE]
            )


def worker_command() -> tuple[str, ...]:
    """Return the command that starts a worker.

    Raises:
        HumanParseError: In a bundled program, which has no Python for it.
    """
    return python("-m", "humanparse.service.child.main")


def oom_kills() -> int | None:
    """Return how many processes Linux has killed for lack of memory; None if it does not say."""
    try:
        with open("/proc/vmstat") as file:
            return next(
                (int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None
            )
    except OSError:
        return None


def _environment() -> dict[str, str]:
    return {name: value for name, value in environment().items() if name not in SECRETS}


def _epitaph(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"status {status}"
