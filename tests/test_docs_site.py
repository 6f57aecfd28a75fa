"""The documentation builds into a site without a warning, and the site stands alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import humanparse

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(900)  # a build takes seconds, but minutes on busy cores
# What a browser loads by itself, as opposed to what a reader may click on.
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"'](?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built site."""
    for package in ("mkdocs", "mkdocstrings", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="MkDocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_public_name_is_in_the_api_reference(site):
    page = (site / "api.html").read_text("utf-8")
    names = {name for name in humanparse.__all__ if name[0].isupper()}
    names |= {
        f"errors.{name}"
        for name, kind in vars(humanparse.errors).items()
        if isinstance(kind, type) and kind.__module__ == "humanparse.errors"
    }
    assert len(names) >= 17
    assert {name for name in names if f'id="humanparse.{name}"' not in page} == set()


def test_the_pages_beside_the_folder_are_in_the_site(site):
    for page in ("readme", "changelog", "contributing", "code-of-conduct", "security-policy"):
        assert (site / f"{page}.html").exists(), page


def test_links_to_other_files_of_the_repository_are_text_until_there_is_an_address(site):
    page = (site / "deploy.html").read_text("utf-8")
    assert "deploy/nginx.conf" in page
    assert 'nginx.conf"' not in page


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 25
    assert [page.name for page in pages if LOADED.search(page.read_text("utf-8"))] == []
