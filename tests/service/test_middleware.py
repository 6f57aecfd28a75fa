"""What every request passes: id, log line, metrics, headers, errors, token, limits."""

import asyncio
import io
import json
import shutil
import subprocess
import threading
import time
from contextlib import redirect_stderr

import httpx2 as httpx
import pytest
import requests
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from raw_http import loggers_restored, request, served

from humanparse.service import logs
from humanparse.service.budget import ByteBudget
from humanparse.service.http import auth
from humanparse.service.http.middleware import ServiceMiddleware, problem_response
from humanparse.service.metrics import Metrics
from humanparse.service.problems import MEDIA_TYPE, Problem
from humanparse.service.settings import Settings

SECRET = "s3cret-täken"


def made(held: ByteBudget | None = None, **options) -> tuple[FastAPI, Settings]:
    settings = Settings(
        **({"port": 0, "log_level": "debug", "drain_s": 5, "max_body_mb": 1} | options)
    )
    app = FastAPI()
    app.state.metrics = Metrics()
    app.add_middleware(ServiceMiddleware, settings=settings, metrics=app.state.metrics, held=held)

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem):
        return problem_response(error, request.scope)

    @app.get("/healthz")
    @app.get("/hello/{name}")
    async def hello(request: Request, name: str = ""):
        request.state.log["people"] = 3
        return {"request_id": request.state.request_id}

    @app.get("/")
    async def page():
        return Response(
            "page",
            headers={
                "Content-Security-Policy": "default-src 'self'",
                "Cache-Control": "max-age=60",
            },
        )

    @app.post("/echo")
    @app.post("/v1/batch")
    async def echo(request: Request):
        return {"length": len(await request.body())}

    @app.post("/v1/jobs")
    async def jobs(request: Request):
        return {"length": sum([len(chunk) async for chunk in request.stream()])}

    @app.post("/swallows")
    async def swallows(request: Request):
        try:
            await request.body()
        except Exception:
            return JSONResponse({"swallowed": True})

    @app.get("/busy")
    async def busy():
        raise Problem("queue_full", "64 wait", retry_after_s=2.1)

    @app.get("/broken")
    async def broken():
        raise RuntimeError("/home/secret/path.py is broken")

    @app.get("/cut")
    async def cut(request: Request):
        class Breaks(Response):
            async def __call__(self, scope, receive, send):
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                raise RuntimeError("in the middle")

        return Breaks()

    return app, settings


def send(app: FastAPI, *args, **kwargs) -> httpx.Response:
    """Send a request without a server in between."""

    async def go():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(*args, **kwargs)

    return asyncio.run(go())


@pytest.fixture
def lines():
    """Return a function that gives the log's lines after the test's requests."""
    stream = io.StringIO()
    with loggers_restored():
        handler = logs.configure(Settings(log_level="debug"), stream)

        def found(name: str) -> list[dict]:
            handler.flush()
            return [
                line
                for line in map(json.loads, stream.getvalue().splitlines())
                if name in line["message"]
            ]

        yield found


@pytest.fixture(scope="module")
def server():
    app, settings = made(log_level="error", queue_max_mb=4, job_max_mb=20)
    with served(app, settings) as running:
        running.app = app
        yield running


# Request ids


@pytest.mark.parametrize("given", ["abc", "a" * 64, "0.1-2_3"])
def test_a_harmless_request_id_is_kept(given):
    answer = send(made()[0], "GET", "/hello/you", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", 'a"b', "ä", "a\n"])
def test_any_other_request_id_is_replaced(given):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    sent = []

    async def note(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"x-request-id", given.encode("latin-1"))],
    }
    asyncio.run(ServiceMiddleware(app, Settings())(scope, None, note))
    found = dict(sent[0]["headers"])[b"x-request-id"].decode()
    assert len(found) == 32 and found != given


# Headers


@pytest.mark.parametrize(
    ("path", "status"), [("/hello/you", 200), ("/none", 404), ("/busy", 429), ("/broken", 500)]
)
def test_every_answer_has_the_security_headers(path, status):
    answer = send(made()[0], "GET", path)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert (
        answer.headers["x-frame-options"] == "DENY"
        and answer.headers["referrer-policy"] == "no-referrer"
    )


def test_an_answer_keeps_its_own_policy():
    answer = send(made()[0], "GET", "/")
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["cache-control"] == "max-age=60"
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]


def test_no_other_origin_is_allowed_unless_it_is_listed():
    assert (
        "access-control-allow-origin"
        not in send(made()[0], "GET", "/hello/you", headers={"Origin": "http://a.example"}).headers
    )
    app = made(cors_origins=("http://a.example",), token=SECRET)[0]
    # no token, so an error that its page can read
    answer = send(app, "GET", "/busy", headers={"Origin": "http://a.example"})
    assert (
        answer.status_code == 401
        and answer.headers["access-control-allow-origin"] == "http://a.example"
    )
    assert (
        "access-control-allow-origin"
        not in send(app, "GET", "/busy", headers={"Origin": "http://b.example"}).headers
    )
    asking = {
        "Origin": "http://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert send(app, "OPTIONS", "/echo", headers=asking).status_code == 200


# Errors


def test_a_problem_is_an_answer_with_code_instance_and_request_id():
    answer = send(made()[0], "GET", "/busy?token=1", headers={"X-Request-ID": "me"})
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["retry-after"] == "3"
    data = answer.json()
    assert (data["code"], data["instance"], data["request_id"]) == ("queue_full", "/busy", "me")


def test_an_unexpected_error_is_shown_to_the_log_and_not_to_the_client(lines):
    answer = send(made()[0], "GET", "/broken")
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text and "RuntimeError" not in answer.text
    (error,) = lines("unexpected error in a request")
    assert "RuntimeError: /home/secret/path.py is broken" in error["exception"]
    assert error["request_id"] == answer.headers["x-request-id"]


def test_an_error_in_the_middle_of_an_answer_breaks_it_off(server):
    with server.connect() as client:
        client.send(request("GET", "/cut"))
        assert client.is_closed()
    with server.connect() as client:
        assert client.get("/hello/you").status == 200


# Log and metrics


def test_a_request_leaves_one_line_and_its_metrics(lines):
    app, _ = made()
    send(app, "POST", "/echo?token=secret", content=b"abc")
    (line,) = lines("/echo")
    assert line["message"] == "POST /echo 200"
    assert (line["status"], line["bytes_in"], line["bytes_out"]) == (200, 3, 12)
    assert line["total_ms"] >= 0 and line["client"] == "127.0.0.1"
    assert "secret" not in json.dumps(line)
    figures = app.state.metrics.registry
    assert (
        figures.get_sample_value(
            "humanparse_requests_total", {"method": "POST", "route": "/echo", "code": "200"}
        )
        == 1
    )


def test_routes_can_add_to_the_line_and_paths_are_logged_as_templates(lines):
    send(made()[0], "GET", "/hello/somebody")
    (line,) = lines("/hello")
    assert line["message"] == "GET /hello/{name} 200" and line["people"] == 3
    assert "somebody" not in json.dumps(line)


def test_an_unknown_path_is_not_repeated(lines):
    app, _ = made()
    send(app, "GET", "/wp-admin")
    (line,) = lines("404")
    assert line["message"] == "GET (no such path) 404"
    labels = {"method": "GET", "route": "other", "code": "404"}
    assert app.state.metrics.registry.get_sample_value("humanparse_requests_total", labels) == 1


def test_a_problem_is_in_the_line_and_the_metrics_with_its_code(lines):
    app, _ = made()
    send(app, "GET", "/busy")
    assert lines("/busy")[0]["code"] == "queue_full"
    assert (
        app.state.metrics.registry.get_sample_value(
            "humanparse_rejected_total", {"code": "queue_full"}
        )
        == 1
    )


def test_probes_are_only_logged_when_debugging(lines):
    send(made()[0], "GET", "/healthz")
    assert lines("/healthz")[0]["level"] == "debug"


def test_a_client_that_left_is_logged_as_such():
    stream = io.StringIO()
    app, settings = made()
    with redirect_stderr(stream), served(app, settings) as running:
        with running.connect() as client:
            client.send(request("POST", "/echo", body=b"abc", length=1000))
            time.sleep(0.1)
        end = time.monotonic() + 5
        while "client_gone" not in stream.getvalue() and time.monotonic() < end:
            time.sleep(0.02)
    line = json.loads(stream.getvalue().splitlines()[1])
    assert (line["status"], line["code"]) == (499, "client_gone")


def test_the_client_of_a_proxy_is_logged_only_if_the_proxy_is_trusted():
    stream = io.StringIO()
    for proxies in (("127.0.0.1",), ("10.0.0.1",), ()):
        app, settings = made(trusted_proxies=proxies)
        with redirect_stderr(stream), served(app, settings) as running, running.connect() as client:
            client.get("/hello/you", "X-Forwarded-For: 203.0.113.9\r\n")
    clients = [
        json.loads(line)["client"] for line in stream.getvalue().splitlines() if '"client"' in line
    ]
    assert clients == ["203.0.113.9", "127.0.0.1", "127.0.0.1"]


# The token


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}x", "Bearer "],
)
def test_without_the_token_there_is_no_access(header):
    headers = {"Authorization": header.encode()} if header else {}
    answer = send(made(token=SECRET)[0], "POST", "/echo", content=b"abc", headers=headers)
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_there_is_access(kind):
    headers = {"Authorization": f"{kind} {SECRET}".encode()}
    assert send(made(token=SECRET)[0], "POST", "/echo", content=b"abc", headers=headers).json() == {
        "length": 3
    }


def test_two_tokens_count_as_none():
    headers = [("Authorization", f"Bearer {SECRET}".encode()), ("Authorization", b"Bearer other")]
    assert send(made(token=SECRET)[0], "POST", "/echo", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "is_open"),
    [
        ("GET", "/", True),
        ("HEAD", "/healthz", True),
        ("GET", "/readyz", True),
        ("GET", "/static/page.js", True),
        ("POST", "/", False),
        ("GET", "/metrics", False),
        ("GET", "/docs", True),
        ("GET", "/openapi.json", True),
        ("GET", "/static", False),
        ("GET", "//healthz", False),
        ("GET", "/healthz/", False),
        ("POST", "/static/page.js", False),
    ],
)
def test_only_the_page_and_the_probes_are_open(method, path, is_open):
    assert auth.is_open({"method": method, "path": path}) == is_open


def test_the_token_is_compared_in_constant_time(monkeypatch):
    calls = []
    monkeypatch.setattr(
        auth.hmac, "compare_digest", lambda a, b: calls.append((len(a), len(b))) or a == b
    )
    for token in (b"x", b"x" * 1000, SECRET.encode()):
        send(
            made(token=SECRET)[0], "GET", "/metrics", headers={"Authorization": b"Bearer " + token}
        )
    assert calls == [(32, 32)] * 3


# Sizes


def test_a_body_that_says_it_is_too_large_is_refused_at_once(server):
    with server.connect() as client:
        client.send(request("POST", "/echo", length=50_000_000))
        answer = client.answer()
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert answer.headers["connection"] == "close"


def test_a_body_that_becomes_too_large_is_refused():
    async def chunks():
        for _ in range(30):
            yield bytes(50_000)

    assert send(made()[0], "POST", "/echo", content=chunks()).json()["code"] == "body_too_large"


def test_a_body_of_just_the_size_is_taken(server):
    for content in (bytes(1_000_000), iter([bytes(500_000)] * 2)):
        assert httpx.post(server.url + "/echo", content=content).json() == {"length": 1_000_000}


@pytest.mark.parametrize("content", [bytes(1_000_001), "chunked"], ids=["length", "chunked"])
def test_an_app_that_swallows_the_refusal_does_not_get_past_it(content):
    async def chunks():
        yield bytes(2_000_000)

    answer = send(
        made()[0], "POST", "/swallows", content=chunks() if content == "chunked" else content
    )
    assert answer.json()["code"] == "body_too_large"


@pytest.mark.parametrize(
    "post",
    [
        lambda url, data: requests.post(url, data=data, timeout=20),
        lambda url, data: requests.post(url, files={"image": data}, timeout=20),
        lambda url, data: requests.post(url, data=iter([data[:1_000_000]] * 8), timeout=20),
        lambda url, data: httpx.post(url, content=data, timeout=20),
        lambda url, data: httpx.post(url, content=iter([data[:1_000_000]] * 8), timeout=20),
    ],
    ids=["requests", "requests-form", "requests-chunked", "httpx", "httpx-chunked"],
)
def test_clients_that_send_before_they_read_see_the_refusal(post):
    """The limit is 5 MB, and the body of 8 MB is more than the sockets' buffers hold."""
    app, settings = made(log_level="error", max_body_mb=5)
    with served(app, settings) as running:
        for _ in range(3):
            answer = post(running.url + "/echo", bytes(8_000_000))
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "options", [[], ["-H", "Expect:"], ["-H", "Expect:", "-H", "Transfer-Encoding: chunked"]]
)
def test_curl_sees_the_refusal(server, tmp_path, options):
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    command = [
        "curl",
        "-sS",
        "--data-binary",
        f"@{tmp_path / 'large'}",
        *options,
        server.url + "/echo",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(done.stdout)["code"] == "body_too_large", done.stderr


def test_the_limit_depends_on_what_is_asked_for(server):
    assert httpx.post(server.url + "/v1/batch", content=bytes(3_000_000)).json() == {
        "length": 3_000_000
    }
    # never more than queue_max_mb
    assert httpx.post(server.url + "/v1/batch", content=bytes(4_000_001)).status_code == 413
    assert httpx.post(server.url + "/v1/jobs", content=bytes(20_000_000)).json() == {
        "length": 20_000_000
    }
    with server.connect() as client:
        client.send(request("POST", "/v1/jobs", length=20_000_001))
        assert client.answer().code == "body_too_large"


def test_a_head_with_two_lengths_is_refused():
    headers = {"Content-Length": "3", "Transfer-Encoding": "chunked"}
    assert (
        send(made()[0], "POST", "/echo", content=b"abc", headers=headers).json()["code"]
        == "bad_request"
    )


def test_uploads_in_progress_have_a_total_limit(server):
    holding = [server.connect() for _ in range(4)]
    for client in holding:
        client.send(request("POST", "/echo", body=bytes(999_000), length=999_001))
    time.sleep(0.3)
    with server.connect() as late:
        late.send(request("POST", "/echo", length=900_000))
        answer = late.answer()
        assert (answer.status, answer.code) == (429, "queue_full") and answer.headers[
            "retry-after"
        ] == "1"
    holding[0].send(b"x")
    assert holding[0].answer().json() == {"length": 999_001}
    with server.connect() as late:
        late.send(request("POST", "/echo", body=bytes(900_000)))
        assert late.answer().status == 200
    for client in holding:
        client.socket.close()


def test_what_others_hold_leaves_less_room_for_bodies():
    held = ByteBudget(1_000_000)
    app, _ = made(held)
    held.num_bytes = 800_000  # of a client that has gone, or of a job
    assert send(app, "POST", "/echo", content=bytes(200_001)).status_code == 429
    assert send(app, "POST", "/echo", content=bytes(200_000)).status_code == 200
    held.num_bytes = 0
    assert send(app, "POST", "/echo", content=bytes(1_000_000)).status_code == 200


def test_announcing_much_and_sending_little_blocks_nobody(server):
    slow = [server.connect() for _ in range(20)]
    for client in slow:
        client.send(request("POST", "/echo", body=b"x", length=1_000_000))
    time.sleep(0.1)
    assert httpx.post(server.url + "/echo", content=bytes(900_000)).status_code == 200
    for client in slow:
        client.socket.close()


def test_what_was_held_is_given_back_however_a_request_ends():
    app, settings = made(queue_max_mb=1, log_level="error")
    with served(app, settings) as running:
        for _ in range(5):
            with running.connect() as client:  # vanishes while sending
                client.send(request("POST", "/echo", body=bytes(600_000), length=900_000))
            post = {"url": running.url + "/echo", "timeout": 20}
            assert httpx.post(content=bytes(1_000_001), **post).status_code == 413
            end = time.monotonic() + 5
            while (
                answer := httpx.post(content=bytes(1_000_000), **post)
            ).status_code == 429 and time.monotonic() < end:
                time.sleep(0.02)
            assert answer.status_code == 200


def test_a_small_unread_body_does_not_cost_the_connection():
    app, settings = made(token=SECRET, log_level="error")
    with served(app, settings) as running, running.connect() as client:
        client.send(request("POST", "/echo", body=bytes(60_000)))
        assert client.answer().code == "unauthorized"
        client.send(request("POST", "/echo", body=bytes(900_000)))
        answer = client.answer()
        assert answer.code == "unauthorized" and answer.headers["connection"] == "close"


def test_the_app_may_answer_from_several_threads_at_once():
    """The middleware holds no state of a request outside the request."""
    app, settings = made(log_level="error")
    with served(app, settings) as running:
        wrong = []

        def work(length: int) -> None:
            with httpx.Client() as client:
                for _ in range(10):
                    answer = client.post(
                        running.url + "/echo",
                        content=bytes(length),
                        headers={"X-Request-ID": str(length)},
                    )
                    if answer.json() != {"length": length} or answer.headers["x-request-id"] != str(
                        length
                    ):
                        wrong.append(length)

        threads = [threading.Thread(target=work, args=(length,)) for length in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
