"""How long does a first visitor of the page wait for the first result, and for how many bytes?

    python benchmarks/page.py [--repeat 7]

This starts a server without a cache and, for each visit, a browser that has never been there: it
opens the page and presses the sample as soon as that is possible. The page's own time is that from
the start of the visit until the result is drawn, without what the server spent on the photo (its
Server-Timing header). It is also measured on a processor that is four times slower, as in a cheap
phone. It needs Playwright and Chromium (or its path in the variable CHROMIUM).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import machine

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
PRESS_AND_WATCH = """
new MutationObserver(() => {
    const page = document.documentElement;
    if (page.classList.contains('ready') && !page.dataset.ready) {
        page.dataset.ready = performance.now();
        document.querySelector('#sample').click();
    }
    if (document.querySelector('#legend li') && !page.dataset.pending) {
        page.dataset.pending = true;
        requestAnimationFrame(() => requestAnimationFrame(() => {
            page.dataset.drawn = performance.now();
        }));
    }
}).observe(document, {
    subtree: true, childList: true, attributes: true, attributeFilter: ['class'],
});
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=7, help="visits; the medians are printed")
    repeat = parser.parse_args().repeat
    print(machine.describe())
    print(
        f"{'':24}{'page ready':>12}{'result':>12}{'of the server':>15}"
        f"{'own time':>12}{'transferred':>14}"
    )
    with server() as url, chromium() as browser:
        visit(browser, url, slower=1)  # the first one also starts the browser's processes
        for name, slower in (("this processor", 1), ("four times slower", 4)):
            runs = [visit(browser, url, slower) for _ in range(repeat)]
            ready, result, served, sent = (
                statistics.median(column) for column in zip(*runs, strict=True)
            )
            print(
                f"{name:24}{ready:9.0f} ms{result:9.0f} ms{served:12.0f} ms"
                f"{result - served:9.0f} ms{sent / 1000:11.1f} kB"
            )


def visit(browser, url: str, slower: int) -> tuple[float, float, float, float]:
    """Visit the page once.

    Returns milliseconds until the page can be used and until the result is drawn, the server's
    milliseconds, and the bytes received.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(PRESS_AND_WATCH)
    tools = context.new_cdp_session(page)
    tools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    tools.send("Network.enable")
    received: dict[str, float] = {}
    served: list[float] = []
    tools.on(
        "Network.loadingFinished",
        lambda event: received.setdefault(event["requestId"], event["encodedDataLength"]),
    )
    page.on(
        "response",
        lambda answer: (
            "/parse" in answer.url and served.append(server_ms(answer.headers["server-timing"]))
        ),
    )
    tools.on(
        "Network.responseReceived",
        lambda event: (
            received.update({event["requestId"]: 0})
            if "/parse" in event["response"]["url"]
            else None
        ),
    )
    page.goto(url)
    page.wait_for_selector("html[data-drawn]")
    page.wait_for_load_state("networkidle")
    ready, drawn = (
        float(page.get_attribute("html", f"data-{name}")) for name in ("ready", "drawn")
    )
    context.close()
    return ready, drawn, sum(served), sum(received.values())


def server_ms(header: str) -> float:
    return sum(float(entry.partition("dur=")[2]) for entry in header.split(","))


@contextmanager
def server() -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "humanparse",
        "serve",
        "--port",
        "0",
        "--cache-mb",
        "0",
        "--log-level",
        "error",
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*command, "--data-dir", folder], stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait()


@contextmanager
def chromium() -> Iterator:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "google-chrome"))), None
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
