"""What does the exported site take in a browser: bytes, seconds, memory; and does it agree?

    python benchmarks/web.py [photos ...] [--model humanparse-int8] [--runtime FILE.tgz]

The site of `humanparse export --to web` is loaded by headless Chromium from a server on this
machine, with one thread and, from a server that sends the isolation headers, with two. Its times on
a photo of 640×480 are divided by those of HumanParser with the same model, ONNX Runtime and number
of threads, measured in turn with them; the least of each counts. Agreement is that of both maps
with HumanParser's, on the photos that are given, or on those of `humanparse demo`. Memory is what
all processes of the browser hold together (PSS) at most during the first parse of a photo of 12
megapixels, beyond what they held with an empty page. It needs Linux, Playwright, Chromium (or its
path in the variable CHROMIUM), and npm or the archive that npm packs.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import machine
import numpy as np

import humanparse
from humanparse import HumanParser
from humanparse.export.web import HEADERS, write_web
from humanparse.image import read_image
from humanparse.weights.catalog import model_file

DEMO = Path(humanparse.__file__).parent / "cli/demo"
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
ROUNDS = 7
LOAD = """
async (threads) => {
    const { HumanParser } = await import('./humanparse.js');
    const begun = performance.now();
    let there = begun;
    const onProgress = ({ loaded, total }) => loaded === total && (there = performance.now());
    globalThis.parser = await HumanParser.load({ threads, onProgress });
    return [there - begun, performance.now() - there];
}
"""
PARSE = """
async (photo) => {
    const bytes = await (await fetch(photo)).blob();
    const begun = performance.now();
    const { labelMap, personMap, timings, width, height } = await parser.parse(bytes);
    const ms = performance.now() - begun;
    const text = (map) => {
        let found = '';
        for (let at = 0; at < map.length; at += 8192)
            found += String.fromCharCode(...map.subarray(at, at + 8192));
        return btoa(found); // classes and people are below 256
    };
    return { ms, timings, width, height, labels: text(labelMap), people: text(personMap) };
}
"""
TIME = "async (photo) => { await parser.parse(await (await fetch(photo)).blob()); }"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "photos", type=Path, nargs="*", help="for the agreement, or folders of them"
    )
    parser.add_argument("--model", default="humanparse-int8")
    parser.add_argument("--runtime", type=Path, help="what `npm pack onnxruntime-web` writes")
    options = parser.parse_args()
    print(machine.describe())
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        site = Path(scratch, "site")
        written = write_web(model_file(options.model), site, options.runtime)
        print(*written.notes, sep="\n")
        photo = cv2.resize(read_image(DEMO / "astronaut.jpg").pixels, (640, 480))
        cv2.imwrite(str(site / "photo.png"), photo[..., ::-1])
        for threads, headers in ((1, {}), (2, HEADERS)):
            with page(browser, site, headers) as opened:
                times(opened, threads, photo, options.model)
                if threads == 1:
                    agreement(opened, site, photos_of(options.photos), options.model)
        with page(browser, site, {}) as opened:
            memory(opened, site)


def times(page, threads: int, photo: np.ndarray, model: str) -> None:
    """Print how long loading and parsing take."""
    load_ms, ready_ms = page.evaluate(LOAD, threads)
    ours = HumanParser(model, engine="onnxruntime", threads=threads)
    first = page.evaluate(PARSE, "photo.png")
    ours.parse(photo)
    web, python = [], []
    for _ in range(ROUNDS):
        web.append(page.evaluate(PARSE, "photo.png"))
        begun = time.perf_counter()
        ours.parse(photo)
        python.append((time.perf_counter() - begun) * 1e3)
    best = min(web, key=lambda one: one["ms"])
    stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in best["timings"].items())
    print(
        f"{threads} thread(s): loaded in {load_ms:.0f} ms, ready {ready_ms:.0f} ms after that; "
        f"first photo {first['ms']:.0f} ms, then {best['ms']:.0f} ms ({stages}); "
        f"HumanParser {min(python):.0f} ms, ratio {best['ms'] / min(python):.1f}"
    )


def agreement(page, site: Path, photos: list[Path], model: str) -> None:
    """Print the shares of labels and people that are the same as HumanParser's."""
    ours, shares = HumanParser(model, engine="onnxruntime"), []
    for number, photo in enumerate(photos):
        name = f"photo-{number}{photo.suffix}"
        shutil.copyfile(photo, site / name)
        wanted, found = ours.parse(photo), page.evaluate(PARSE, name)
        maps = (
            np.frombuffer(base64.b64decode(found[which]), np.uint8).reshape(wanted.size_hw)
            for which in ("labels", "people")
        )
        pairs = zip(maps, (wanted.label_map, wanted.person_map), strict=True)
        shares.append([float((one == other).mean()) for one, other in pairs])
    for which, values in zip(("labels", "people"), zip(*shares, strict=True), strict=True):
        print(
            f"equal {which} on {len(values)} photos: {statistics.mean(values):.2%} on average, "
            f"{min(values):.2%} at least"
        )


def memory(page, site: Path) -> None:
    """Print what the browser holds at most while it parses a photo of 12 megapixels."""
    large = cv2.resize(read_image(DEMO / "hopper.jpg").pixels, (3000, 4000))
    cv2.imwrite(str(site / "large.jpg"), large[..., ::-1])
    before = held_bytes()
    page.evaluate(LOAD, 1)
    loaded = held_bytes()
    peak = peak_during(lambda: page.evaluate(TIME, "large.jpg"))
    print(
        f"12 MP: {(loaded - before) / 1e6:.0f} MB for the model and the runtime, "
        f"{(peak - before) / 1e6:.0f} MB at most with the photo"
    )


def peak_during(work: Callable[[], object]) -> int:
    """Return the most bytes that the browser holds during some work."""
    seen, done = [held_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(held_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(seen)


def held_bytes() -> int:
    """Return the bytes of all processes that this one has started, their own share of each page."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
    found, waiting = 0, list(children.get(os.getpid(), []))
    for process in waiting:
        waiting += children.get(process, [])
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        found += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return found


def photos_of(paths: list[Path]) -> list[Path]:
    """Return the files that were named, and those in folders that were."""
    found = [
        file
        for path in paths or [DEMO]
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
    ]
    return [file for file in found if file.suffix.lower() in (".jpg", ".jpeg", ".png")]


@contextmanager
def page(browser, site: Path, headers: Mapping[str, str]) -> Iterator:
    """A page beside the library, on a server of its own."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    opened = browser.new_page()
    opened.set_default_timeout(600_000)
    opened.goto(f"http://localhost:{server.server_port}/model.json")
    yield opened
    opened.close()
    server.shutdown()


@contextmanager
def chromium() -> Iterator:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)))
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
