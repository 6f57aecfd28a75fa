"""The page as visitors see it: a real server with the model in the package, and a headless
Chromium."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from served import serve

import humanparse

DEMO = Path(humanparse.__file__).parent / "cli/demo"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--process-per-site",  # see SharedContext
    # a host that tests of the policy try to reach
    "--host-resolver-rules=MAP evil.invalid 127.0.0.1:1",
)
USUAL = {"locale": "en-GB", "reduced_motion": "reduce"}  # of a context
WAIT_MS = 15_000


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    with serve(
        tmp_path_factory.mktemp("page"),
        "--workers",
        "1",
        "--max-body-mb",
        "2",
        "--max-megapixels",
        "4",
    ) as served:
        yield served


@pytest.fixture(scope="package")
def chromium():
    """A headless Chromium. Skips, and says so, where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install playwright"
    )
    if not CHROMIUM:
        pytest.skip("needs Chromium: install it, or name it in the variable CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def contexts(chromium):
    """Finds the context for a kind of visitor, the same for all of that kind:
    `contexts(url, locale="zh-CN", …)`."""
    found: dict[str, SharedContext] = {}

    def context(url: str, **options) -> SharedContext:
        kind = repr((url, sorted((USUAL | options).items())))
        if kind not in found:
            found[kind] = SharedContext(chromium, url, **options)
        return found[kind]

    yield context
    for one in found.values():
        one.context.close()


@pytest.fixture
def visit(contexts, server):
    """Opens the page as a new visitor: `visit(locale="zh-CN", width=360, …)` gives a Visit."""
    yield from visits(contexts, server.url)


@pytest.fixture(scope="module")
def visit_for_all(chromium, server):
    """The same for a Visit that several tests share, in a context of its own."""
    shared = SharedContext(chromium, server.url)
    yield from visits(lambda *_, **__: shared, server.url)
    shared.context.close()


def visits(contexts, url: str):
    """Open pages, as the fixtures above do, and close them when the tests are done with them."""
    used: set[SharedContext] = set()

    def opened(
        width=1100, height=720, url=url, color_scheme="light", prepare=lambda page: None, **options
    ) -> Visit:
        shared = contexts(url, **options)
        used.add(shared)
        page = shared.context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=color_scheme)
        page.set_default_timeout(WAIT_MS)
        prepare(page)
        return Visit(page, url)

    yield opened
    for shared in used:
        shared.forget()


class SharedContext:
    """A browser's context for visitors who come one after the other, each as if nobody had come
    before.

    Their pages run in one process, which is started once and compiles the page's scripts once:
    that takes longer than what most visitors do.
    """

    def __init__(self, chromium, url: str, **options):
        self.url = url
        self.context = chromium.new_context(**(USUAL | options))
        self.first = self.context.new_page()  # keeps the process between visitors
        self.first.goto(f"{url.rstrip('/')}/static/page.css")

    def forget(self) -> None:
        """Close the visitors' pages, and take away what they stored and were allowed."""
        for page in set(self.context.pages) - {self.first}:
            page.unroute_all(behavior="ignoreErrors")  # some tests leave requests without an answer
            page.close()
        tools = self.context.new_cdp_session(self.first)
        stored = {"origin": self.url, "storageTypes": "all"}
        tools.send("Storage.clearDataForOrigin", stored)
        tools.detach()
        self.context.clear_permissions()


@pytest.fixture(scope="package")
def site_folder(tmp_path_factory, runtime_archive) -> Path:
    """What `humanparse export --to web` writes for humanparse-int8."""
    from humanparse.export.web import write_web
    from humanparse.weights.catalog import model_file

    out = tmp_path_factory.mktemp("site") / "site"
    write_web(model_file("humanparse-int8"), out, runtime_archive)
    return out


@pytest.fixture(scope="package")
def astronaut() -> Path:
    """One person, 512×512."""
    return DEMO / "astronaut.jpg"


@pytest.fixture(scope="package")
def couple(tmp_path_factory) -> Path:
    """Two people side by side, 726×512."""
    file = tmp_path_factory.mktemp("photos") / "couple.jpg"
    couple_of_demo().save(file, quality=92)
    return file


def couple_of_demo() -> Image.Image:
    left = Image.open(DEMO / "astronaut.jpg").convert("RGB").crop((0, 0, 400, 512))
    right = (
        Image.open(DEMO / "hopper.jpg").convert("RGB").crop((130, 0, 512, 600)).resize((326, 512))
    )
    both = Image.new("RGB", (726, 512))
    both.paste(left, (0, 0))
    both.paste(right, (400, 0))
    return both


class Visit:
    """One visitor's page, its errors, and short ways through it."""

    def __init__(self, page, url: str):
        self.page, self.url = page, url
        self.errors: list[str] = []  # what scripts threw, and what the policy forbade
        self.requests: list[str] = []  # what was asked of the server
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                "Content Security Policy" in message.text and self.errors.append(message.text)
            ),
        )
        page.on(
            "request",
            lambda request: self.requests.append(
                f"{request.method} {request.url.removeprefix(url)}"
            ),
        )
        page.goto(url)
        page.wait_for_selector("html.ready")

    def foreign(self) -> list[str]:
        """What was asked of other hosts."""
        return [one for one in self.requests if "://" in one and f"blob:{self.url}" not in one]

    def choose(self, *files) -> None:
        self.page.set_input_files("#files", list(files))

    def parse(self, *files) -> None:
        """Choose photos and wait for the result of the first."""
        self.choose(*files)
        self.page.wait_for_selector("#summary h2:has-text('part'), #summary h2:has-text('部位')")
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def place(self, x: float, y: float, size=(512, 512)) -> tuple[float, float]:
        """Where a pixel of the photo is in the window, while the whole photo is shown."""
        box = self.page.locator("#stage").bounding_box()
        margin = 24 if box["width"] > 600 else 0
        scale = min(
            (box["width"] - 2 * margin) / size[0], (box["height"] - 2 * margin) / size[1], 3
        )
        left, top = (box["width"] - scale * size[0]) / 2, (box["height"] - scale * size[1]) / 2
        return box["x"] + left + scale * (x + 0.5), box["y"] + top + scale * (y + 0.5)

    def pixel(self, x: float, y: float, size=(512, 512)) -> tuple[int, int, int]:
        """The colour that is seen at a pixel of the photo."""
        self.settle()
        box = self.page.locator("#stage").bounding_box()
        left, top = self.place(x, y, size)
        at = [left - box["x"], top - box["y"]]
        return tuple(
            self.page.evaluate(
                "([x, y]) => [...document.querySelector('#canvas').getContext('2d').getImageData("
                "Math.floor(x * devicePixelRatio), Math.floor(y * devicePixelRatio), 1, 1"
                ").data].slice(0, 3)",
                at,
            )
        )

    def download(self, selector: str) -> tuple[str, bytes]:
        """Press something that hands out a file; its name and content."""
        with self.page.expect_download() as coming:
            self.page.click(selector)
        return coming.value.suggested_filename, Path(coming.value.path()).read_bytes()

    def picture(self, selector: str) -> tuple[str, Image.Image]:
        name, data = self.download(selector)
        return name, Image.open(io.BytesIO(data))

    def answer_with(self, status: int, code: str, **headers: str) -> None:
        """From now on photos are answered with this problem."""
        body = json.dumps(
            {
                "code": code,
                "status": status,
                "detail": "the server's own words",
                "retryable": status in (429, 503),
            }
        )
        answer = {
            "status": status,
            "content_type": "application/problem+json",
            "headers": headers,
            "body": body,
        }
        self.page.route("**/parse?*", lambda route: route.fulfill(**answer))

    def answer_as_usual(self) -> None:
        self.page.unroute("**/parse?*")

    def problem(self) -> str:
        """The card with what went wrong, once it is there."""
        return self.page.locator("#problem:not([hidden])").inner_text()
