"""Export as a site: static files with which the page parses photos in the visitor's browser.

    index.html, static/         the page of `humanparse serve`, with another source of results
    humanparse.js, …            the library that runs the model: export/web/
    ort/                        onnxruntime-web
    model.json, model.onnx.gz   the model, and what the library must know of it
    service-worker.js, site.js  keep all of it in the browser
    _headers                    the HTTP headers, as some hosts read them
    licences/                   of everything above

The two large files are compressed here, since few hosts compress them on the way.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from importlib import metadata
from pathlib import Path

from humanparse import __version__
from humanparse.errors import OptionError
from humanparse.export.graph import Written
from humanparse.export.onnxruntime_web import BINARY, PACKAGE, fetch_runtime, runtime_files
from humanparse.export.web_model import MAX_PIXELS, web_model
from humanparse.system.files import scratch_folder, whole_folder
from humanparse.system.packaged import packaged
from humanparse.webpage import BROWSER, INDEX, POLICY, index_html, page_files

MAX_FILE_MB = 100  # megabytes of a photo's file that the page opens
MODEL = "model.onnx.gz"
# Of the page, what no site needs: it is shown or loaded where a server is.
FOR_SERVERS = (INDEX, "docs.css", "clip.css", "js/clip.js", "js/edit.js")
RUNTIME = f"ort/{BINARY}.gz"
LARGE = (MODEL, RUNTIME)
# WebAssembly may be compiled; JavaScript made from text may not.
WEB_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'").replace(
    "connect-src", "worker-src 'self'; connect-src"
)
# The first two let the page have memory that threads share; docs/web.md shows them for some hosts.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": WEB_POLICY,
    "X-Content-Type-Options": "nosniff",
}


def write_web(model: Path, folder: Path, runtime: Path | None = None) -> Written:
    """Write the site into a folder.

    Args:
        model: The .onnx file of the model.
        folder: The folder to write. It must not exist yet, or be empty.
        runtime: The archive of onnxruntime-web; without it, npm fetches it.

    Returns:
        Those files that others name, and a note on what a first visit transfers.

    Raises:
        OptionError: If the folder holds something, or the model is of another kind.
        MissingExtra: Without npm, if it is needed.
        DownloadFailed: If npm fails, or the archive is another than the one that is pinned.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise OptionError(f"{folder} is no empty folder; give a new one, or delete what is there")
    described = web_model(model)
    with scratch_folder(folder.parent) as scratch:
        parts = runtime_files(runtime or fetch_runtime(scratch))
    with whole_folder(folder) as site:
        _write_page(site)
        for script in packaged("export/web").glob("*.js"):
            shutil.copyfile(script, site / script.name)
        (site / "ort").mkdir()
        for name, data in parts.items():
            if name != BINARY:  # web servers know the ending .js, but not all of them .mjs
                (site / "ort" / name).with_suffix(".js").write_bytes(data)
        _compress(parts[BINARY], site / RUNTIME)
        _compress(model.read_bytes(), site / MODEL)
        sizes = {"model": _size(site / MODEL), "runtime": _size(site / RUNTIME)}
        described |= {"version": __version__, "bytes": sizes}
        (site / "model.json").write_text(json.dumps(described), "utf-8")
        visited = _write_offline(site)
        _write_headers(site)
        notes = _write_licences(site / "licences")
    files = tuple(folder / name for name in (INDEX, "humanparse.js", *LARGE))
    return Written(files, notes=(_first_visit(folder, visited), *notes))


def _write_page(site: Path) -> None:
    """Write the page, with the modules that need no server in place of those that do."""
    ours = packaged("export/web/page")
    for name, path in page_files().items():
        if name in FOR_SERVERS:
            continue
        target = site / "static" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copytree(ours, site, dirs_exist_ok=True)
    in_page = (path for path in (site / "static").rglob("*") if path.is_file())
    names = sorted(path.relative_to(site / "static").as_posix() for path in in_page)
    limits = {"max_body_mb": MAX_FILE_MB, "max_megapixels": MAX_PIXELS / 1e6}
    in_meta = WEB_POLICY.replace("; frame-ancestors 'none'", "")  # has no meaning there
    policy = f'<meta http-equiv="Content-Security-Policy" content="{in_meta}">'
    (site / INDEX).write_text(index_html(BROWSER, limits, names, head=policy), "utf-8")


def _compress(data: bytes, target: Path) -> None:
    """Write the data in gzip; the same data gives the same file."""
    target.write_bytes(gzip.compress(data, mtime=0))


def _write_offline(site: Path) -> list[str]:
    """Write what service-worker.js must know, and return the files that a first visit transfers."""
    files = sorted(path for path in site.rglob("*") if path.is_file())
    sums = {path.relative_to(site).as_posix(): _integrity(path) for path in files}
    version = hashlib.sha256(json.dumps(sums).encode()).hexdigest()[:20]
    del sums["service-worker.js"]  # which the browser itself keeps
    visited = list(sums)
    sums["./"] = sums.pop(INDEX)  # as visitors ask for it
    known = {"version": version, "headers": HEADERS, "files": sums, "large": LARGE}
    (site / "site.js").write_text(f"self.SITE = {json.dumps(known, indent=2)};\n", "utf-8")
    return visited


def _integrity(path: Path) -> str:
    """Return the checksum of a file as browsers compare it."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _write_headers(site: Path) -> None:
    """Write the headers in the form that Netlify and Cloudflare Pages read."""
    lines = "".join(f"  {name}: {value}\n" for name, value in HEADERS.items())
    (site / "_headers").write_text(f"/*\n{lines}", "utf-8")


def _write_licences(folder: Path) -> tuple[str, ...]:
    """Write the licences of what the site ships; return a note for each that is missing here.

    onnxruntime-web's archive has none; they are those of ONNX Runtime, which is installed.
    """
    folder.mkdir()
    listed = {
        "humanparse, LICENSE": ("humanparse", "LICENSE"),
        "humanparse, NOTICE": ("humanparse", "NOTICE"),
        f"{PACKAGE} (MIT)": ("onnxruntime", "LICENSE"),
        "what is inside onnxruntime-web": ("onnxruntime", "ThirdPartyNotices.txt"),
    }
    missing = []
    for title, (package, name) in listed.items():
        text = _licence(package, name)
        if text is None:
            missing.append(f"the licence of {title} was not found here; add it to {folder.name}/")
        else:
            (folder / f"{package}-{Path(name).stem}.txt").write_text(text, "utf-8")
    shutil.copyfile(packaged("cli/demo/README.txt"), folder / "photos.txt")
    return tuple(missing)


def _licence(package: str, name: str) -> str | None:
    """Return a text that an installed package carries, or None."""
    files = metadata.files(package) or ()
    return next((one.read_text("utf-8") for one in files if one.name == name), None)


def _first_visit(site: Path, names: list[str]) -> str:
    ours = [name for name in names if name != MODEL and not name.startswith("ort/")]
    ours_bytes = sum(_size(site / name) for name in ours)
    packed_bytes = sum(len(gzip.compress((site / name).read_bytes())) for name in ours)
    return (
        f"a first visit transfers at most {sum(_size(site / name) for name in names) / 1e6:.1f} MB,"
        f" of which {ours_bytes / 1e3:.0f} kB are neither the model nor onnxruntime-web, or "
        f"{packed_bytes / 1e3:.0f} kB where the host compresses them"
    )


def _size(path: Path) -> int:
    return path.stat().st_size
