"""Runs tests of the service again through nginx with our configuration, which must not change what
clients get.

All tests of a module are used that need nothing but a client or the address of a server.
"""

import inspect
import re
import subprocess
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import httpx2 as httpx
import pytest
from coloured_clips import walk, write_clip
from nginx_server import BINARY, front
from service import test_docs, test_serve, test_v1

pytestmark = pytest.mark.skipif(
    BINARY is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"
)
# Signs of tests that look inside the server, depend on other requests, or send pictures that are
# larger than allowed here.
INSIDE = (".app.", "served.process", "/metrics", '["idle"]', "sys.executable", "large_photo")


def taken_over(module: ModuleType, one: str, others: set[str]) -> dict:
    """The tests of a module that need this fixture, no more than the others, and do not look inside
    the server."""
    tests = {
        name: test
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test)
    }
    return {
        name: test
        for name, test in tests.items()
        if {one} <= _fixtures(test) <= {one, *others}
        and not any(word in inspect.getsource(test) for word in INSIDE)
    }


def _fixtures(test: Callable) -> set[str]:
    """What a test needs, without the arguments that its parameters give."""
    names = [mark.args[0] for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    given = {
        name.strip()
        for some in names
        for name in (some.split(",") if isinstance(some, str) else some)
    }
    return set(inspect.signature(test).parameters) - given


OF_ROUTES = taken_over(test_v1, "client", {"photo", "nobody"})
OF_SERVE = taken_over(test_serve, "served", {"tmp_path"})
globals().update(OF_ROUTES | OF_SERVE)


@pytest.fixture(scope="module")
def one(replicas, tmp_path_factory):
    """nginx in front of one server: two would note how long a picture took each for itself, and so
    answer differently."""
    address = replicas[0].address
    with front(tmp_path_factory.mktemp("one") / "nginx", [address], address) as nginx:
        yield nginx


@pytest.fixture
def client(one):
    # without the certificates of the whole web, which take longer to read than a request
    with httpx.Client(base_url=one.url, timeout=60, verify=False) as client:
        yield client


@pytest.fixture
def served(one):
    return SimpleNamespace(url=one.url)


def test_there_are_many_tests_to_take_over():
    assert len(OF_ROUTES) >= 15 and len(OF_SERVE) >= 2


def test_the_lines_of_the_operators_page_work(one, tmp_path, photo):
    for name in ("street.jpg", "a.jpg", "b.jpg", "photos.zip"):
        (tmp_path / name).write_bytes(photo)
    write_clip(tmp_path / "street.mp4", walk(2))
    lines = [line for line in test_docs.PAGE.splitlines() if line.startswith(("curl ", "echo "))]
    assert len(lines) >= 5
    for line in lines:
        line = line.replace("http://127.0.0.1:7860", one.url).replace(
            "curl ", "curl -sS --fail-with-body "
        )
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stdout[:500]} {done.stderr}"


def test_the_page_and_all_that_it_loads_come_through(client):
    page = client.get("/")
    files = set(re.findall(r'(?:src|href)="(static/[^"]+)"', page.text))
    assert len(files) >= 5 and {client.get(f"/{file}").status_code for file in files} == {200}
