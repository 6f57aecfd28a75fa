"""How the page and its files are served: small, cached by browsers, nothing from other hosts."""

import re

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image

from humanparse.system.packaged import packaged
from page.welcome_picture import FILE, drawn

STATIC = packaged("service/page/static")
BUDGET = 150_000  # bytes of a first visit


@pytest.fixture
def client(server):
    gzip = {"accept-encoding": "gzip"}
    with httpx.Client(base_url=server.url, headers=gzip, verify=False) as client:
        yield client


def sent(answer) -> int:
    """Bytes on the wire: the body and, about, the head."""
    return int(answer.headers["content-length"]) + sum(
        len(name) + len(value) + 4 for name, value in answer.headers.items()
    )


def test_a_first_visit_transfers_at_most_150_kb(client, visit):
    visitor = visit()
    visitor.page.wait_for_load_state("networkidle")
    paths = {one.removeprefix("GET ") for one in visitor.requests if one.startswith("GET ")}
    assert "/static/sample.jpg" in paths and "/static/js/app.js" in paths
    assert sum(sent(client.get(path)) for path in paths) <= BUDGET


def test_every_module_that_all_need_is_named_in_the_page_so_that_none_is_waited_for(client):
    page = client.get("/").text
    for file in (STATIC / "js").glob("*.js"):
        later = file.stem in ("clip", "clipedit", "edit", "edits", "live")  # once they are needed
        assert (f"static/js/{file.name}" in page) is not later


def test_a_file_that_is_known_already_is_not_sent_again(client):
    first = client.get("/static/page.css")
    assert (
        first.headers["cache-control"] == "no-cache" and first.headers["content-encoding"] == "gzip"
    )
    again = client.get("/static/page.css", headers={"if-none-match": first.headers["etag"]})
    assert (
        again.status_code == 304
        and again.content == b""
        and again.headers["etag"] == first.headers["etag"]
    )
    assert client.get("/static/page.css", headers={"if-none-match": '"another"'}).status_code == 200


def test_a_client_without_gzip_gets_the_file_as_it_is_under_another_tag(client):
    packed = client.get("/static/page.css")
    plain = client.get("/static/page.css", headers={"accept-encoding": "identity"})
    assert (
        "content-encoding" not in plain.headers
        and plain.content == (STATIC / "page.css").read_bytes() == packed.content
    )
    assert (
        plain.headers["etag"] != packed.headers["etag"]
        and packed.headers["vary"] == "Accept-Encoding"
    )
    refused = client.get("/static/page.css", headers={"accept-encoding": "gzip;q=0, br"})
    assert "content-encoding" not in refused.headers


def test_the_head_of_a_file_is_that_of_the_file(client):
    assert client.head("/").headers["content-type"] == "text/html; charset=utf-8"
    assert (
        client.head("/static/js/app.js").headers["content-type"] == "text/javascript; charset=utf-8"
    )
    assert client.get("/favicon.ico").headers["content-type"].startswith("image/svg+xml")
    assert client.get("/static/sample.jpg").headers["content-type"] == "image/jpeg"


def test_nothing_but_our_own_files_is_handed_out(client):
    for name in ("index.html", "nothing.js", "../pages.py", "%2e%2e/pages.py", "js/", ""):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 404 and answer.json()["code"] == "not_found"


def test_the_policy_forbids_inline_scripts_and_other_hosts(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert not re.search(
        r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|https?://(?!www\.w3\.org/)", page.text
    )
    for file in STATIC.rglob("*.js"):
        assert (
            "http://" not in (text := file.read_text().replace("http://www.w3.org/", ""))
            and "eval(" not in text
        )
        assert text.startswith("// "), f"{file.name} should open with what it does"


def test_the_page_knows_the_limits_of_its_server(client):
    assert '"max_body_mb&quot;: 2.0' in client.get("/").text.replace("&quot;max", '"max')


def test_the_welcome_shows_what_the_model_finds_now():
    shown, now = (np.asarray(one)[..., 3] > 100 for one in (Image.open(FILE), drawn()))
    assert (shown & now).sum() / (shown | now).sum() > 0.95, (
        "draw it again: python tests/page/welcome_picture.py"
    )
