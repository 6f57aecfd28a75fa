"""A worker for one long task: a process of its own, which ends with the task.

No request waits behind it, and whoever is cancelled ends it at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from humanparse.errors import ModelError
from humanparse.service.problems import Problem, reported_problem
from humanparse.service.settings import Settings
from humanparse.service.work.pool import hello
from humanparse.service.work.process import Worker, WorkerDied, worker_command

log = logging.getLogger(__name__)


async def run_alone(
    settings: Settings,
    head: Mapping[str, Any],
    timeout_s: float,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Have one task done.

    Args:
        settings: For the models.
        head: Plain JSON values; "do" says what to do, and "model" with which model.
        timeout_s: Time limit in seconds, without the loading of the model.
        command: The command that starts a worker; None for the usual one.

    Returns:
        The head of the reply.

    Raises:
        TimeoutError: If it takes too long.
        Problem: worker_crashed, or what the worker reports.
    """
    try:
        worker = await Worker.spawn(command or worker_command())
        try:
            await worker.load(hello(settings) | {"only": head["model"]}, settings.worker_start_s)
            reply, _ = await worker.call(head, b"", timeout_s)
        finally:
            await worker.end(0)
    except (ModelError, WorkerDied) as error:
        log.error("a worker for one task failed: %s", error)
        raise Problem(
            "worker_crashed", "the parser stopped while it worked on this", retry_after_s=1
        ) from None
    if "problem" in reply:
        raise reported_problem(reply["problem"])
    return reply
