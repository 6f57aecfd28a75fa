"""Below a path, everything is as at the root: decisions by path, and what clients see."""

import json
import re
import time
from dataclasses import replace

import pytest
from fastapi import FastAPI
from raw_http import served
from service.conftest import HereDispatcher
from starlette.testclient import TestClient

from humanparse.errors import OptionError
from humanparse.service.app import create_app
from humanparse.service.paths import ProxyHeaders, put_below, route_path
from humanparse.service.settings import Settings

SECRET = "secret"
WITH_TOKEN = {"authorization": f"Bearer {SECRET}"}
PROXY = ("127.0.0.1", 1)


def stripped(client: TestClient):
    """Send requests as a proxy that removes /hp does."""
    return lambda method, path, **given: client.request(method, path.removeprefix("/hp"), **given)


def by_setting(app, settings):
    app = create_app(replace(settings, root_path="/hp/"), dispatcher=app.state.dispatcher)
    return TestClient(app, base_url="http://localhost", client=PROXY), stripped


def by_header(app, settings):
    client = TestClient(
        ProxyHeaders(app, ["127.0.0.1"]),
        base_url="http://localhost",
        client=PROXY,
        headers={"x-forwarded-prefix": "/hp"},
    )
    return client, stripped


def by_another_server(app, settings):
    client = TestClient(app, base_url="http://localhost", root_path="/hp")
    return client, lambda client: client.request


def by_another_application(app, settings):
    # Starlette does not start a mounted application.
    outer = FastAPI(lifespan=lambda outer: app.router.lifespan_context(app))
    outer.mount("/hp", app)
    return TestClient(outer, base_url="http://localhost"), lambda client: client.request


@pytest.fixture(
    params=[by_setting, by_header, by_another_server, by_another_application], scope="module"
)
def ask(request, models, tmp_path_factory):
    """Return ask(method, path as the client sees it, …) for a service below /hp with a token."""
    settings = Settings(
        data_dir=str(tmp_path_factory.mktemp("data")),
        max_body_mb=1,
        job_max_mb=3,
        token=SECRET,
        log_level="error",
    )
    app = create_app(settings, dispatcher=HereDispatcher(models))
    client, way = request.param(app, settings)
    with client:
        yield way(client)


def ended(ask, path: str) -> dict:
    until = time.monotonic() + 30
    while (job := ask("GET", path, headers=WITH_TOKEN).json())["state"] not in ("done", "failed"):
        assert time.monotonic() < until
    return job


def test_probes_and_the_page_need_no_token_there_and_the_rest_does(ask):
    assert ask("GET", "/hp/healthz").json() == {"status": "ok"}
    for path in ("/", "/docs", "/openapi.json", "/static/page.css", "/v2/health/live"):
        assert ask("GET", f"/hp{path}").status_code == 200, path
    for path in ("/hp/metrics", "/hp/hp/metrics", "/hp/static", "/hp/hp/healthz"):
        assert ask("GET", path).status_code == 401, path


def test_an_upload_of_a_job_may_be_as_large_as_a_jobs_and_a_picture_may_not(ask):
    large = {"files": {"image": b"x" * 500_000, "file": b"x" * 900_000}, "headers": WITH_TOKEN}
    assert ask("POST", "/hp/v1/jobs", **large).status_code == 202
    assert ask("POST", "/hp/parse", **large).json()["code"] == "body_too_large"


def test_every_path_that_a_job_names_leads_to_it(ask, photo):
    form = {"params": {"format": "overlay"}, "files": {"image": photo}}
    answer = ask("POST", "/hp/v1/jobs", headers=WITH_TOKEN, **form)
    job = ended(ask, answer.headers["location"])
    assert answer.headers["location"] == job["links"]["self"] == f"/hp/v1/jobs/{job['id']}"
    for name in ("results", "results_zip", "events"):
        answer = ask("GET", job["links"][name], headers=WITH_TOKEN)
        assert answer.status_code == 200, name
    assert '"self": "/hp/v1/jobs/' in answer.text
    assert ask("POST", job["links"]["cancel"], headers=WITH_TOKEN).status_code == 409
    line = json.loads(ask("GET", job["links"]["results"], headers=WITH_TOKEN).text)
    assert ask("GET", line["href"], headers=WITH_TOKEN).headers["content-type"] == "image/png"


def test_problems_have_the_path_that_the_client_asked_for_in_the_shape_that_belongs_there(ask):
    assert ask("GET", "/hp/nothing", headers=WITH_TOKEN).json()["instance"] == "/hp/nothing"
    batch = {"json": {"images": ["aGVsbG8="]}, "headers": WITH_TOKEN}
    (item,) = ask("POST", "/hp/v1/batch", **batch).json()["results"]
    assert item["problem"]["instance"] == "/hp/v1/batch#0"
    assert set(ask("GET", "/hp/v2/models/none", headers=WITH_TOKEN).json()) >= {"error", "code"}


def test_a_redirect_stays_below_the_path(ask):
    answer = ask("POST", "/hp/parse/", headers=WITH_TOKEN, follow_redirects=False)
    assert answer.headers["location"] == "http://localhost/hp/parse"


def test_the_description_of_the_api_says_where_it_is(ask):
    assert ask("GET", "/hp/openapi.json").json()["servers"] == [{"url": "/hp"}]
    assert "http://localhost/hp/parse<" in ask("GET", "/hp/docs").text


def test_the_page_and_all_it_loads_are_found_also_without_the_slash_at_the_end(ask):
    page = ask("GET", "/hp/")
    assert re.search(r'<base href="([^"]+)">', page.text)[1] == "/hp/"
    assert page.text.index("<base") < page.text.index('href="static/')
    assert "base-uri 'self'" in page.headers["content-security-policy"]
    for path in re.findall(r'(?:href|src)="(static/[^"]+)"', page.text):
        assert ask("GET", f"/hp/{path}").status_code == 200


def test_at_the_root_nothing_is_different(client):
    page = client.get("/")
    assert "<base" not in page.text and "{{" not in page.text
    assert "servers" not in client.get("/openapi.json").json()


# Where the prefix comes from


@pytest.mark.parametrize(
    ("peer", "given", "expected"),
    [
        (PROXY, ["/hp"], "/hp"),
        (PROXY, ["/hp/"], "/hp"),
        (PROXY, ["/a", "/b, /c"], "/a/b/c"),
        (PROXY, ["/"], ""),
        (PROXY, [""], ""),
        (("10.0.0.1", 1), ["/hp"], ""),
        (None, ["/hp"], ""),
        (PROXY, ["//evil.example"], ""),
        (PROXY, ["https://evil.example"], ""),
        (PROXY, ["/a/../b"], ""),
        (PROXY, ["/a", "\\b"], ""),
        (PROXY, ["/ä"], ""),
        (PROXY, ["hp"], ""),
    ],
)
def test_a_plain_path_from_a_trusted_proxy_is_accepted(peer, given, expected):
    def app(scope, receive, send):
        seen.update(scope)
        return send({"type": "http.response.start", "status": 204, "headers": []})

    seen = {}
    client = TestClient(ProxyHeaders(app, ["127.0.0.1"]), client=peer)
    client.get("/parse", headers=[("x-forwarded-prefix", one.encode("latin-1")) for one in given])
    assert seen.get("root_path", "") == expected
    assert seen["path"] == f"{expected}/parse" and seen["raw_path"] == seen["path"].encode()


def test_a_proxys_prefix_precedes_the_setting_and_is_used_for_no_other_client(dispatcher, tmp_path):
    settings = Settings(port=0, data_dir=str(tmp_path), log_level="error", root_path="/set")
    app = create_app(settings, dispatcher=dispatcher)
    with served(app, settings) as running, running.connect() as client:
        for head, expected in (("X-Forwarded-Prefix: /hp\r\n", "/hp"), ("", "/set")):
            document = json.loads(client.get("/openapi.json", head).body)
            assert document["servers"] == [{"url": expected}]


@pytest.mark.parametrize(
    "text",
    [
        "hp",
        "//hp",
        "/a//b",
        "/a b",
        "/.",
        "/a/..",
        "https://a.example",
        "/a?b",
        "/ä",
    ],
)
def test_a_root_path_must_be_a_plain_path(text):
    with pytest.raises(OptionError, match="root_path is"):
        Settings(root_path=text)
    assert Settings(root_path="/a/b.c/").root_path == "/a/b.c"


@pytest.mark.parametrize("root", ["", "/hp", "/hp/", "/a/b"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/hp",
        "/hp/",
        "/hp/x",
        "/hpx",
        "/hp//x",
        "/a/b/x",
        "/a/bx",
        "/x",
    ],
)
def test_the_path_is_read_as_the_router_reads_it(root, path):
    app = FastAPI()

    @app.get("/{rest:path}")
    async def found(rest: str):
        return rest

    answer = TestClient(app, root_path=root).get(path, follow_redirects=False)
    expected = route_path({"path": path, "root_path": root})
    assert expected in ("", f"/{answer.json() if answer.status_code == 200 else ''}")


def test_a_path_put_below_another_is_itself_without_it():
    scope = {"path": "/hp/x", "raw_path": b"/hp/x"}
    put_below(scope, "/hp")
    assert (scope["path"], scope["raw_path"]) == ("/hp/hp/x", b"/hp/hp/x")
    assert route_path(scope) == "/hp/x"
