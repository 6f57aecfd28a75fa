"""What the service and the exported site share of the web page: its files, index.html, its policy.

The files lie in `service/page/static/`. index.html has blanks, {{like this}}, that are filled in
here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from humanparse.system.packaged import packaged

INDEX = "index.html"
SAMPLE = "cli/demo/astronaut.jpg"  # one of the photos of `humanparse demo`
# Where the results come from. The page's CSS and its dom.js know these words.
SERVER, BROWSER = "server", "browser"
# no module, and those that few need
NOT_PRELOADED = (
    "js/early.js",
    *(f"js/{name}.js" for name in ("clip", "clipedit", "edit", "edits", "live")),
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def page_files() -> dict[str, Path]:
    """Return the files of the page, by their names below static/; index.html is among them."""
    folder = packaged("service/page/static")
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {**files, "sample.jpg": packaged(SAMPLE)}


def index_html(
    source: str, limits: Mapping[str, float], names: Iterable[str], *, head: str = ""
) -> str:
    """Return index.html with its blanks filled in.

    Args:
        source: Where the results come from, SERVER or BROWSER.
        limits: `max_body_mb` and `max_megapixels`, and of a server `video_max_mb` and
            `video_workers`, so that the page sends nothing that would be refused.
        names: The files below static/. Browsers are told to preload the modules among them but
            those of NOT_PRELOADED.
        head: An element that the head begins with, if any.
    """
    preloads = "\n".join(
        f'  <link rel="modulepreload" href="static/{name}">'
        for name in names
        if name.startswith("js/") and name not in NOT_PRELOADED
    )
    blanks = {
        "source": source,
        "head": f"  {head}\n" if head else "",
        "limits": escape(json.dumps(limits)),
        "preloads": preloads,
    }
    text = page_files()[INDEX].read_text(encoding="utf-8")
    for name, filling in blanks.items():
        text = text.replace(f"{{{{{name}}}}}", filling)
    return text
