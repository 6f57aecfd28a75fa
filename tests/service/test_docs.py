"""The operator's page says what is: every setting, every error, every metric; and the files beside it work."""

import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import fields
from pathlib import Path

import httpx2 as httpx
import pytest
from served import free_port, serve, until

from humanparse.service.problems import KINDS
from humanparse.service.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/service.md").read_text()
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@pytest.mark.parametrize("row", fields(Settings), ids=lambda row: row.name)
def test_every_setting_stands_in_the_table_with_default_and_unit(row):
    value = row.default
    shown = ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    default = f"`{shown}`" if shown and value is not False else ""
    assert f"| `{row.name}` | {default} | {row.metadata['unit']} | {row.metadata['help']} |" in PAGE


@pytest.mark.parametrize("code", KINDS)
def test_every_error_stands_in_the_table(code):
    kind = KINDS[code]
    assert re.search(rf"\| {kind.status} \| `{code}`: .* \| {'yes' if kind.retryable else 'no'} \|", PAGE)


def test_every_metric_is_listed(client, photo):
    client.post("/parse", content=photo)
    names = set(re.findall(r"^# TYPE (humanparse_\w+)", client.get("/metrics").text, re.M))
    assert names and {name for name in names if name not in PAGE} == set()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_of_the_page_work(tmp_path, photo):
    for name in ("street.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(photo)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "holiday/a.jpg")
    lines = [line for line in PAGE.splitlines() if line.startswith(("curl ", "echo "))]
    assert len(lines) >= 5
    with serve(tmp_path) as served:
        for line in lines:
            line = line.replace("http://127.0.0.1:7860", served.url).replace("curl ", "curl -sS --fail-with-body ")
            done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}: {done.stdout[:500]} {done.stderr}"


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_nginx_with_our_file_in_front(tmp_path, photo):
    with serve(tmp_path) as served:
        port, text = free_port(), (ROOT / "deploy/nginx.conf").read_text()
        text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
        text = text.replace("127.0.0.1:7860", served.url.removeprefix("http://"), 1)
        folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        text = text.replace("http {", f"http {{ access_log off; {folders}", 1)
        user = "user root; " if os.geteuid() == 0 else ""  # else its workers could not use our temporary folder
        (tmp_path / "nginx.conf").write_text(f"{user}daemon off; pid {tmp_path}/pid; error_log stderr;\n{text}")
        with subprocess.Popen([NGINX, "-p", tmp_path, "-c", tmp_path / "nginx.conf"], stderr=subprocess.PIPE) as nginx:
            try:
                _talk_through(f"http://127.0.0.1:{port}", photo)
            finally:
                nginx.terminate()


def _talk_through(url: str, photo: bytes) -> None:
    def answers():
        try:
            return httpx.get(url + "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    until(answers)
    assert httpx.post(url + "/parse", files={"image": photo}, timeout=30).json()["people"]
    assert httpx.post(url + "/parse", content=b"x" * 32_500_000, timeout=30).json()["code"] == "body_too_large"
    assert httpx.get(url + "/metrics").status_code == 403
    job = httpx.post(url + "/v1/jobs", files={"image": photo}, timeout=30).json()
    events = httpx.get(f"{url}/v1/jobs/{job['id']}/events", timeout=60).text
    assert "event: done" in events


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_our_unit(tmp_path):
    unit = tmp_path / "humanparse.service"
    unit.write_text((ROOT / "deploy/humanparse.service").read_text().replace("/opt/humanparse/bin/humanparse", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "humanparse.service:" not in done.stderr, done.stderr


def test_the_container_file_copies_what_is_there_and_drops_root():
    text = (ROOT / "deploy/Containerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M) for word in line.split()]
    assert copied and all((ROOT / one).exists() for one in copied)
    assert text.index("USER humanparse") < text.index("ENTRYPOINT")
    assert f"EXPOSE {Settings().port}" in text
