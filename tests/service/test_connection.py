"""Connections: every wait has a limit, every refusal is a problem, others never notice."""

import asyncio
import contextlib
import io
import logging
import random
import socket
import threading
import time

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from raw_http import request, served

from humanparse.service.http.middleware import ServiceMiddleware
from humanparse.service.metrics import Metrics
from humanparse.service.settings import Settings

QUICK = {
    "port": 0,
    "header_timeout_s": 0.4,
    "body_timeout_s": 0.4,
    "write_timeout_s": 0.4,
    "keep_alive_s": 0.4,
    "max_header_kb": 4,
    "max_body_mb": 1,
    "drain_s": 5,
    "log_level": "error",
}


def made(**options) -> tuple[FastAPI, Settings]:
    settings = Settings(**(QUICK | options))
    app = FastAPI()
    app.state.metrics = Metrics()
    app.state.gone = threading.Event()
    app.state.received = []
    app.add_middleware(ServiceMiddleware, settings=settings, metrics=app.state.metrics)

    @app.get("/hello")
    async def hello(request: Request):
        return {"hello": "you"}

    @app.post("/echo")
    async def echo(request: Request):
        body = await request.body()
        app.state.received.append(len(body))
        return {"length": len(body)}

    @app.post("/unread")
    async def unread(request: Request):
        return {"read": 0}

    @app.get("/wait")
    async def wait(request: Request):
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
        app.state.gone.set()

    @app.get("/big")
    async def big(request: Request):
        return Response(bytes(int(request.query_params["mb"]) * 1_000_000))

    @app.get("/stream")
    async def stream(request: Request):
        async def parts():
            for _ in range(5):
                yield b"x"
                await asyncio.sleep(0.2)

        return StreamingResponse(parts())

    return app, settings


@pytest.fixture(scope="module")
def server():
    app, settings = made()
    with served(app, settings) as running:
        running.app = app
        yield running


def figure(server, name: str, **labels: str) -> float:
    return server.app.state.metrics.registry.get_sample_value(name, labels) or 0


def eventually(condition) -> bool:
    """Wait for what the server does after its response."""
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# Slow clients


def test_a_head_that_trickles_in_is_answered_with_408(server):
    with server.connect() as client:
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            for one in request("GET", "/hello", "X-Much: " + "x" * 5000 + "\r\n"):
                client.send(bytes([one]))  # each byte would restart an idle timeout
                time.sleep(0.02)
        assert time.monotonic() - begun < 10
    with server.connect() as client:
        client.send(b"GET /hel")
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.json()["retryable"]
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-content-type-options"] == "nosniff" and "date" in answer.headers
        assert client.is_closed()


def test_a_connection_without_any_request_is_closed_without_a_response(server):
    with server.connect() as client:
        assert client.socket.recv(1000) == b""


def test_the_next_head_on_a_connection_has_its_own_deadline(server):
    with server.connect() as client:
        assert client.get().status == 200
        time.sleep(0.2)
        client.send(b"GET /hello HT")
        assert client.answer().code == "request_timeout"


def test_a_head_that_follows_its_predecessor_at_once_has_a_deadline_too(server):
    with server.connect() as client:
        client.send(request("GET", "/hello") + b"GET /hel")
        assert client.answer().status == 200
        assert client.answer().code == "request_timeout"


@pytest.mark.parametrize("head", ["", "Transfer-Encoding: chunked\r\n"], ids=["length", "chunked"])
def test_a_body_that_stalls_is_answered_with_408(server, head):
    before = figure(server, "humanparse_rejected_total", code="request_timeout")
    with server.connect() as client:
        client.send(request("POST", "/echo", head, b"5\r\nabc" if head else b"abc", length=1000))
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert client.is_closed()
    assert eventually(
        lambda: figure(server, "humanparse_rejected_total", code="request_timeout") > before
    )
    assert figure(server, "humanparse_requests_total", method="POST", route="/echo", code="408")


def test_a_body_that_trickles_in_is_answered_with_408(server):
    with server.connect() as client:
        client.send(request("POST", "/echo", length=1000))
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                client.send(b"x")
                time.sleep(0.02)
        assert time.monotonic() - begun < 10


def test_a_large_upload_has_more_time(server):
    """For jobs: each max_body_mb that arrives adds another body_timeout_s."""
    app, settings = made(max_body_mb=0.1, job_max_mb=10, body_timeout_s=0.5)

    @app.post("/v1/jobs")
    async def jobs(request: Request):
        return {"length": len(await request.body())}

    with served(app, settings) as running, running.connect() as client:
        client.send(request("POST", "/v1/jobs", length=800_000))
        for _ in range(8):
            client.send(bytes(100_000))
            time.sleep(0.1)
        assert client.answer().json() == {"length": 800_000}


def test_a_client_that_does_not_read_is_cut_off(server):
    with server.connect() as client:
        client.send(request("GET", "/big?mb=20"))
        time.sleep(1.5)  # two checks of what it has read
        received = 0
        try:
            while data := client.socket.recv(1 << 20):
                received += len(data)
        except ConnectionError:
            pass
        assert received < 20_000_000


def test_a_client_that_reads_slowly_but_steadily_gets_everything(server):
    with server.connect() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        client.send(request("GET", "/big?mb=4"))
        received = 0
        while received < 4_000_000:
            received += len(client.socket.recv(100_000))
            time.sleep(0.02)


def test_unread_answers_are_bounded_over_all_clients():
    app, settings = made(answers_max_mb=30, write_timeout_s=60)
    with served(app, settings) as running:
        clients = [running.connect() for _ in range(6)]
        for client in clients:
            client.send(request("GET", "/big?mb=20"))
        time.sleep(0.5)
        with running.connect() as one_more:
            assert one_more.get().status == 200
        unsent = [c.transport.num_unsent for c in list(running.server.server_state.connections)]
        for client in clients:
            client.socket.close()
        assert sum(unsent) <= 30_000_000


def test_an_idle_connection_is_closed(server):
    with server.connect() as client:
        assert client.get().status == 200
        assert client.socket.recv(1000) == b""


def test_many_slow_clients_do_not_disturb_others(server):
    slow = [server.connect() for _ in range(100)]
    for index, client in enumerate(slow):
        client.send(b"GET /he" if index % 2 else request("POST", "/echo", length=900_000))
    with server.connect() as client:
        assert client.get().status == 200
    for client in slow:
        assert client.answer().status == 408
        client.socket.close()


def test_a_stream_with_pauses_is_not_cut(server):
    with server.connect() as client:
        client.send(request("GET", "/stream", "Connection: close\r\n"))
        received = b""
        while data := client.socket.recv(1000):
            received += data
        assert received.endswith(b"0\r\n\r\n")


# Too large, malformed, unusual


def test_a_head_that_is_too_large_is_answered_with_431(server):
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\nHost: test\r\nX-Much: " + b"x" * 300_000)
        answer = client.answer()
        assert (answer.status, answer.code) == (431, "header_too_large")
        assert client.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET /hello HTTP/1.1\r\n\r\n",  # no Host
        b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n folded: first\r\nHost: a\r\n\r\n",
        b"GET /he llo HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_invalid_http_is_answered_with_400(server, data):
    with server.connect() as client:
        client.send(data)
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "bad_request")
        assert client.is_closed()
    with server.connect() as client:
        assert client.get().status == 200


def test_a_chunk_whose_head_never_ends_is_answered_with_400(server):
    with server.connect() as client:
        client.send(
            request("POST", "/echo", "Transfer-Encoding: chunked\r\n", b"3;" + b"x" * 10_000)
        )
        assert client.answer().code == "bad_request"


def test_a_broken_chunk_after_the_answer_has_begun_ends_the_connection(server):
    with server.connect() as client:
        client.send(request("POST", "/unread", "Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"))
        assert client.answer().json() == {"read": 0}
        client.send(b"nonsense\r\n")
        assert client.is_closed()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW"])
def test_unknown_methods_are_not_allowed(server, method):
    with server.connect() as client:
        client.send(request(method, "/hello"))
        assert client.answer().status == 405
        assert client.get().status == 200


def test_http_1_0_is_answered_and_closed(server):
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.0\r\n\r\n")
        assert client.answer().status == 200
        assert client.is_closed()


def test_http_2_without_asking_is_refused(server):
    with server.connect() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.answer().status in (400, 404, 405)
        assert client.is_closed()


def test_a_client_that_asks_first_is_told_to_go_on(server):
    with server.connect() as client:
        client.send(request("POST", "/echo", "Expect: 100-continue\r\n", length=3))
        assert client.answer().status == 100
        client.send(b"abc")
        assert client.answer().json() == {"length": 3}


def test_a_client_that_asks_first_is_refused_without_sending_its_body(server):
    with server.connect() as client:
        client.send(request("POST", "/echo", "Expect: 100-continue\r\n", length=5_000_000))
        assert client.answer().code == "body_too_large"
        assert client.is_closed()


def test_requests_sent_in_one_go_are_answered_in_order(server):
    with server.connect() as client:
        client.send(b"".join(request("POST", "/echo", body=bytes(length)) for length in range(5)))
        assert [client.answer().json()["length"] for _ in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_an_upgrade_is_ignored(server, upgrade):
    with server.connect() as client:
        head = (
            f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBs\r\nSec-WebSocket-Version: 13\r\n"
        )
        assert client.get("/hello", head).status == 200
        assert client.get().status == 200


def test_head_gets_no_body_even_for_a_timeout(server):
    with server.connect() as client:
        client.send(b"HEAD /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        answer = client.answer(bodiless=True)
        assert answer.status in (405, 408)
        assert client.is_closed()


# Early responses


@pytest.mark.parametrize("num_bytes", [10, 60_000, 900_000])
def test_an_answer_without_reading_the_body_reaches_a_client_that_sends_first(server, num_bytes):
    with server.connect() as client:
        client.send(request("POST", "/unread", body=bytes(num_bytes)))
        answer = client.answer()
        assert answer.json() == {"read": 0}
        if num_bytes == 10:
            assert client.get().status == 200  # a small body is no reason to close the connection


# Many connections, vanished clients


def test_too_many_connections_get_a_response():
    app, settings = made(max_connections=3, header_timeout_s=10, keep_alive_s=10)
    with served(app, settings) as running:
        running.app = app
        inside = [running.connect() for _ in range(3)]
        assert inside[0].get().status == 200
        with running.connect() as outside:
            answer = outside.get()
            assert (answer.status, answer.code) == (503, "too_many_connections")
            assert int(answer.headers["retry-after"]) >= 1
            assert outside.is_closed()
        assert inside[1].get().status == 200
        for client in inside:
            client.socket.close()
        assert eventually(lambda: not running.server.server_state.connections)
        with running.connect() as client:
            assert client.get().status == 200
        assert figure(running, "humanparse_rejected_total", code="too_many_connections") == 1


def test_a_vanished_client_is_a_disconnect_for_the_app(server):
    server.app.state.gone.clear()
    client = server.connect()
    client.send(request("GET", "/wait"))
    time.sleep(0.1)
    client.socket.close()
    assert server.app.state.gone.wait(5)


def test_clients_that_vanish_in_the_middle_of_a_body_leave_nothing(server):
    server.app.state.received.clear()
    for _ in range(50):
        with server.connect() as client:
            client.send(request("POST", "/echo", body=bytes(100_000), length=900_000))
    state = server.server.server_state
    assert eventually(lambda: not state.tasks and not state.connections)
    assert server.app.state.received == []


def mutated(rng: random.Random) -> bytes:
    """One or two requests, usually with something wrong."""
    data = bytearray(b"".join(rng.choice(REQUESTS) for _ in range(rng.choice([1, 1, 2]))))
    for _ in range(rng.choice([0, 1, 2, 3])):
        at = rng.randrange(len(data))
        change = rng.randrange(4)
        if change == 0:
            data[at:at] = rng.choice(SNIPPETS)
        elif change == 1:
            del data[at : at + rng.randrange(1, min(20, len(data)))]
        elif change == 2:
            data[at] = rng.randrange(256)
        else:
            data = data[: at + 1]
    return bytes(data)


REQUESTS = [
    request("GET", "/hello"),
    request("POST", "/echo", body=b"abc"),
    request("POST", "/unread", body=bytes(3000), length=5000),
    request("POST", "/echo", "Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
    request("POST", "/echo", "Expect: 100-continue\r\n", b"abc"),
    request("CONNECT", "a:1"),
    request("OPTIONS", "*"),
    request("HEAD", "/hello", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    b"GET /big?mb=1 HTTP/1.0\r\n\r\n",
    b"GET http://a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
]
SNIPPETS = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b": ",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"0\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"HTTP/1.0",
    b"%00%ff%2e%2e",
    b"x" * 5000,
]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_sent_is_answered_or_closed_without_an_internal_error(server, seed):
    rng, errors = random.Random(seed), io.StringIO()
    handler = logging.StreamHandler(errors)
    loggers = [logging.getLogger(name) for name in ("humanparse", "asyncio", "uvicorn.error")]
    for logger in loggers:
        logger.addHandler(handler)
    clients = [(server.connect(), mutated(rng)) for _ in range(80)]
    for client, data in clients:
        with contextlib.suppress(ConnectionError):
            client.send(data)
        if rng.random() < 0.2:
            client.socket.close()
    for client, data in clients:
        with client, contextlib.suppress(EOFError, OSError):
            assert client.answer().status < 500, data
            assert client.is_closed(), data
    for logger in loggers:
        logger.removeHandler(handler)
    assert errors.getvalue() == ""
    with server.connect() as client:
        assert client.get().status == 200


def test_nothing_was_left_behind(server):
    """Last in this file: everything refused above is gone."""
    assert eventually(lambda: not server.server.server_state.connections)
    assert figure(server, "humanparse_in_flight") == 0
