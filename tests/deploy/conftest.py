"""Two real servers with one cache, and pictures to send them."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nginx_server import BINARY, DEPLOY, front
from PIL import Image
from served import free_port, serve, until

import humanparse

PHOTO = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"
PATIENCE = ("--max-wait-s", "100")  # the machine may be busy with much else
FLAGS = ("--workers", "1", "--max-body-mb", "1", "--trusted-proxies", "*", *PATIENCE)
_numbers = itertools.count()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photo of one person, 256×256, JPEG."""
    return jpeg(256, 256)


@pytest.fixture(scope="session")
def nobody() -> bytes:
    """A grey picture, 96×64, PNG."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 96, 3), 128, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def new_photo():
    """Makes photos that nobody has seen before."""
    return lambda width=256: jpeg(width, 200 + next(_numbers))


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize((width, height)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def cache_port(tmp_path_factory) -> int:
    """The port of a Redis with deploy/cache.conf."""
    redis = pytest.importorskip("redis")
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    folder, port = tmp_path_factory.mktemp("cache"), free_port()
    text = (DEPLOY / "cache.conf").read_text().replace("bind * -::*", "bind 127.0.0.1")
    (folder / "cache.conf").write_text(text + f"port {port}\ndir {folder}\n")
    process = subprocess.Popen(
        [binary, folder / "cache.conf"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:

        def answers():
            assert process.poll() is None, process.stdout.read()
            try:
                with redis.Redis(port=port) as client:
                    return client.ping()
            except redis.ConnectionError:
                return False

        until(answers)
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def replicas(cache_port, tmp_path_factory):
    """Two servers that share a cache. `address`: host:port."""
    flags = (*FLAGS, "--redis-url", f"redis://127.0.0.1:{cache_port}/0")
    with (
        serve(tmp_path_factory.mktemp("first"), *flags) as first,
        serve(tmp_path_factory.mktemp("second"), *flags) as second,
    ):
        yield [
            SimpleNamespace(url=one.url, address=one.url.removeprefix("http://"), log=one.log)
            for one in (first, second)
        ]


@pytest.fixture(scope="session")
def nginx(replicas, tmp_path_factory):
    """nginx in front of both; the first has the jobs."""
    if BINARY is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    with front(
        tmp_path_factory.mktemp("nginx"), [one.address for one in replicas], replicas[0].address
    ) as nginx:
        yield nginx
