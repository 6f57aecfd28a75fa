"""The operator's page is right about every setting, error and metric, and its examples work.

For the files in deploy/, see tests/deploy.
"""

import re
import shutil
import subprocess
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest
from coloured_clips import walk, write_clip
from served import serve

from humanparse.service.problems import KINDS
from humanparse.service.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/service.md").read_text()


@pytest.mark.parametrize("row", fields(Settings), ids=lambda row: row.name)
def test_every_setting_is_in_the_table_with_default_and_unit(row):
    value = row.default
    shown = (
        ",".join(value)
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    default = f"`{shown}`" if shown and value is not False else ""
    assert f"| `{row.name}` | {default} | {row.metadata['unit']} | {row.metadata['help']} |" in PAGE


@pytest.mark.parametrize("code", KINDS)
def test_every_error_is_in_the_table(code):
    kind = KINDS[code]
    assert re.search(
        rf"\| {kind.status} \| `{code}`: .* \| {'yes' if kind.retryable else 'no'} \|", PAGE
    )


def test_every_metric_is_listed(client, photo):
    client.post("/parse", content=photo)
    names = set(re.findall(r"^# TYPE (humanparse_\w+)", client.get("/metrics").text, re.M))
    assert names and {name for name in names if name not in PAGE} == set()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_of_the_page_work(tmp_path, photo):
    for name in ("street.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(photo)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "holiday/a.jpg")
    write_clip(tmp_path / "street.mp4", walk(3))
    lines = [line for line in PAGE.splitlines() if line.startswith(("curl ", "echo "))]
    assert len(lines) >= 5
    with serve(tmp_path, "--workers", "1") as served:
        for line in lines:
            line = line.replace("http://127.0.0.1:7860", served.url).replace(
                "curl ", "curl -sS --fail-with-body "
            )
            done = subprocess.run(
                ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{line}: {done.stdout[:500]} {done.stderr}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_our_unit(tmp_path):
    unit = tmp_path / "humanparse.service"
    unit.write_text(
        (ROOT / "deploy/humanparse.service")
        .read_text()
        .replace("/opt/humanparse/bin/humanparse", "/bin/true")
    )
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "humanparse.service:" not in done.stderr, done.stderr
