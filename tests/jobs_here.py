"""Jobs without workers, for tests: with a FakeRun, in this process or behind the routes."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

from fake_run import FakeRun

from humanparse.service.budget import ByteBudget
from humanparse.service.jobs import Jobs
from humanparse.service.jobs.store import JobItem
from humanparse.service.problems import MEDIA_TYPE
from humanparse.service.settings import Settings

HEAD = {"do": "parse", "model": "small"}


def settings(folder, **given) -> Settings:
    return Settings(data_dir=str(folder), **({"workers": 2, "threads": 1} | given))


@asynccontextmanager
async def started(folder, run=None, run_alone=None, **given):
    jobs = Jobs(settings(folder, **given), run or FakeRun(), run_alone=run_alone)
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def made(jobs, *pictures: bytes, head=HEAD):
    """A job of pictures."""
    async with jobs.incoming() as incoming:
        for number, picture in enumerate(pictures):
            incoming.files.input(number).write_bytes(picture)
        items = [
            JobItem(number, f"{number}.jpg", len(picture))
            for number, picture in enumerate(pictures)
        ]
        return await jobs.create(incoming, head, items)


async def ended(jobs, id):
    """The job when it has ended."""
    last = None
    async with asyncio.timeout(10):
        async for job in jobs.watch(id):
            last = job or last
    return last


class FakeDispatcher:
    """A Dispatcher whose work is done by a FakeRun."""

    def __init__(self):
        self.run, self.held = FakeRun(), ByteBudget()

    async def start(self):
        pass

    async def stop(self, grace_s):
        pass

    async def reload(self):
        pass

    def status(self):
        models = [{"name": name, "sha256": "0"} for name in ("small", "large")]
        return SimpleNamespace(
            workers=1,
            idle=1,
            busy=0,
            starting=0,
            queued=0,
            running=0,
            bytes_held=0,
            mean_service_s=0.1,
            predicted_wait_s=0.0,
            last_success_age_s=0.0,
            restarts=0,
            crashes=0,
            models=models,
            rss_mb=[0.0],
            last_reload_error="",
        )


def client_ended(client, id) -> dict:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        job = client.get(f"/v1/jobs/{id}").json()
        if job["state"] in ("done", "cancelled", "failed"):
            return job
        time.sleep(0.01)
    raise TimeoutError(job)


def is_problem(answer, status, code) -> str:
    """Check that it is one, and return its detail."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE), answer.text
    assert answer.json()["code"] == code and answer.json()["status"] == status
    return answer.json()["detail"]
