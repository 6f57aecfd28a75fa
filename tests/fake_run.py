"""Stands for the workers behind jobs: an answer is the picture's bytes in capitals, at once or when
it is let."""

import asyncio
import json

from humanparse.service.child.archive import unzip
from humanparse.service.problems import Problem
from humanparse.service.work.dispatcher import BACKGROUND, Reply


class FakeRun:
    """`await run(task, …)`. asked: the pictures in order; most: at a time; trouble: raised once
    each, by picture.

    hold(): from now on tasks wait until release(), one by one.
    """

    def __init__(self):
        self.asked, self.heads, self.trouble, self.most, self.now = [], [], {}, 0, 0
        self._gate = None

    def hold(self):
        self._gate = asyncio.Semaphore(0)

    def release(self, number=1):
        for _ in range(number):
            self._gate.release()

    async def __call__(self, task, *, priority, deadline_s=None):
        assert priority == BACKGROUND
        self.asked.append(task.blob)
        self.heads.append(task.head)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self._gate:
                await self._gate.acquire()
            if troubles := self.trouble.get(task.blob):
                raise troubles.pop(0)
            if task.head["do"] == "unzip":
                return Reply(await asyncio.to_thread(unzip, task.head), b"", 0, 0)
            if task.blob.startswith(b"bad"):
                raise Problem("not_an_image", "these bytes are no picture")
            body = json.dumps({"text": task.blob.decode().upper()}, indent=1).encode()
            return Reply({"media_type": "application/json", "people": 1}, body, 0, 0)
        finally:
            self.now -= 1


async def until(true, seconds=10.0):
    """Wait until `true()` is so."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
