"""The application with the model in this process: all but worker processes, quick to test."""

from __future__ import annotations

import asyncio
import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from remembering import RememberingEngine
from starlette.testclient import TestClient

import humanparse
from humanparse import HumanParser
from humanparse.errors import HumanParseError
from humanparse.service.budget import ByteBudget
from humanparse.service.child import answers
from humanparse.service.problems import KINDS, Problem
from humanparse.service.settings import Settings
from humanparse.service.work.dispatcher import Reply, Status

PHOTO = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"


@pytest.fixture(scope="session")
def models():
    [(name, loaded)] = answers.load(
        ["humanparse-small"], {"engine": "onnxruntime", "threads": 1}
    ).items()
    parser = HumanParser(engine=RememberingEngine(loaded.parser.engine))
    return {name: answers.Loaded(parser, loaded.sha256)}


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photo of one person, 256×256, JPEG."""
    file = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize((256, 256)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def nobody() -> bytes:
    """A grey picture, 96×64, PNG."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 96, 3), 128, np.uint8)).save(file, "PNG")
    return file.getvalue()


class HereDispatcher:
    """Works like a Dispatcher, but in this process.

    `tasks` records what was run; `trouble`, if set, is raised instead.
    """

    def __init__(self, models):
        self.models, self.tasks, self.trouble, self.full = models, [], None, None
        self.held = ByteBudget()
        self.state = {"idle": 1, "last_success_age_s": 0.0}

    async def start(self):
        pass

    async def stop(self, grace_s):
        pass

    async def reload(self):
        pass

    def check_room(self, priority=0):
        if self.full:
            raise self.full

    async def run(self, task, *, priority=0, deadline_s=None):
        self.tasks.append((task, priority))
        if self.trouble:
            raise self.trouble
        try:
            head, body = await asyncio.to_thread(answers.answer, self.models, task.head, task.blob)
        except HumanParseError as error:
            raise Problem(error.code if error.code in KINDS else "bad_option", str(error)) from None
        return Reply(head, body, queued_ms=0.5, worked_ms=2.0)

    def status(self):
        return made_status(models=answers.describe(self.models), **self.state)


def made_status(**given) -> Status:
    """A Status with nothing going on, except for what is given."""
    plain = {
        "workers": 1,
        "idle": 0,
        "busy": 0,
        "starting": 0,
        "queued": 0,
        "bytes_held": 0,
        "mean_service_s": 0.1,
        "predicted_wait_s": 0.0,
        "last_success_age_s": None,
        "restarts": 0,
        "crashes": 0,
        "models": [],
        "rss_mb": [],
        "last_reload_error": "",
    }
    return Status(**(plain | given))


@pytest.fixture
def dispatcher(models):
    return HereDispatcher(models)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=str(tmp_path / "data"), max_body_mb=1, log_level="error")


@pytest.fixture
def client(settings, dispatcher):
    """A client of the application; `client.app.state` holds its parts."""
    from humanparse.service.app import create_app

    app = create_app(settings, dispatcher=dispatcher)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True, scope="module")
def own_logging():
    """Keep what one module's servers do to our logger from the next module."""
    logger = logging.getLogger("humanparse")
    before = logger.propagate, logger.level, list(logger.handlers)
    yield
    logger.propagate, logger.handlers = before[0], before[2]
    logger.setLevel(before[1])
