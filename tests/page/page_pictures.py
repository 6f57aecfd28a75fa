"""Draws docs/images/page-*.jpg: the page as visitors see it. Run it after changes of the page, and
after new weights.

    PYTHONPATH=tests python tests/page/page_pictures.py

It needs Playwright and Chromium, and takes the fonts of the machine: install Inter and one with
Chinese letters, such as Noto Sans SC.
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from served import serve

from page.conftest import CHROMIUM, DEMO, FLAGS, Visit, couple_of_demo, visits

FOLDER = Path(__file__).parents[2] / "docs/images"
DESK = {"width": 1280, "height": 800, "device_scale_factor": 1.5}
PHONE = {"width": 405, "height": 780, "device_scale_factor": 2, "has_touch": True}
FACE = (222, 110)  # in the astronaut's photo
EDITED = "#edit-save:not([hidden])"


def main(folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve(Path(scratch)) as server,
        sync_playwright() as started,
    ):
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        couple = Path(scratch, "couple.jpg")
        couple_of_demo().save(couple, quality=92)
        with contextmanager(visits)(chromium, server) as visit:
            for name, picture in drawn(visit, DEMO / "astronaut.jpg", couple):
                picture.save(folder / f"page-{name}.jpg", quality=85, optimize=True)
        chromium.close()


def drawn(visit, astronaut: Path, couple: Path):
    """Yield each picture with its name."""
    yield "welcome", seen(visit(**DESK))

    visitor = visit(**DESK)
    visitor.parse(astronaut)
    visitor.page.mouse.move(*visitor.place(*FACE))
    yield "result", seen(visitor)

    visitor = visit(**DESK, color_scheme="dark")
    visitor.parse(couple, astronaut)
    visitor.page.wait_for_selector("#strip >> text=2 results as zip")
    visitor.page.click("#compare")
    yield "compare", seen(visitor)

    visitor = visit(**DESK)
    visitor.parse(couple)
    visitor.page.click("#edit-open")
    visitor.page.click("#edit-form button.main")
    visitor.page.wait_for_selector(EDITED)
    visitor.page.click("#compare")
    for _ in range(4):  # both faces come to its right
        visitor.page.press("#divider", "Shift+ArrowLeft")
    yield "edit", seen(visitor)

    english, chinese = visit(**PHONE), visit(**PHONE, color_scheme="dark", locale="zh-CN")
    english.parse(astronaut)
    chinese.parse(couple)
    sides = [seen(english), seen(chinese)]
    both = Image.new("RGB", (sum(one.width for one in sides), sides[0].height))
    both.paste(sides[0], (0, 0))
    both.paste(sides[1], (sides[0].width, 0))
    yield "phone", both


def seen(visitor: Visit) -> Image.Image:
    visitor.settle()
    visitor.page.wait_for_timeout(500)  # notes that come and go
    return Image.open(io.BytesIO(visitor.page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
