"""What nginx.conf promises, tested with nginx and real servers, or fake ones that misbehave."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from nginx_server import BINARY, DEPLOY, front, write_configuration
from served import free_port, serve, until, web

from humanparse.service.problems import KINDS
from humanparse.service.settings import Settings

pytestmark = pytest.mark.skipif(
    BINARY is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
PATIENCE_S = 20


@contextmanager
def upstream(behave):
    """A server that hands each connection to `behave(socket)`, in a thread, and closes it after;
    yields host:port."""

    def answer(connection):
        with connection:
            connection.settimeout(PATIENCE_S)
            behave(connection)

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def head_of(connection) -> bytes:
    """What comes until the end of the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    return data


def nowhere() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free_port()}"


def problem(answer) -> dict:
    """An answer's problem, which must have the service's shape, in body and header."""
    data = answer.json()
    kind = KINDS[data["code"]]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (data["status"], data["title"], data["retryable"]) == (
        answer.status_code,
        kind.title,
        kind.retryable,
    )
    assert (
        answer.status_code == kind.status
        and data["detail"]
        and data["type"] == "about:blank"
        and data["instance"] == ""
    )
    assert (
        data["request_id"] == answer.headers["x-request-id"]
        and answer.headers["cache-control"] == "no-store"
    )
    return data


# Configuration


@pytest.mark.parametrize("upstreams", sorted(path.name for path in DEPLOY.glob("upstreams*.conf")))
def test_nginx_takes_every_file(tmp_path, upstreams):
    write_configuration(
        tmp_path / "nginx", ["127.0.0.1:1"], "127.0.0.1:2", port=free_port(), upstreams=upstreams
    )
    done = subprocess.run(
        [BINARY, "-t", "-p", tmp_path, "-c", tmp_path / "nginx/nginx.conf"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "test is successful" in done.stderr, done.stderr


def test_limits_are_a_little_wider_than_those_of_the_service():
    text, settings = (DEPLOY / "nginx.conf").read_text(), Settings()
    first, batch, jobs = (
        int(number) for number in re.findall(r"client_max_body_size (\d+)m;", text)
    )
    assert settings.max_body_mb < first < settings.max_body_mb * 1.1
    most = min(settings.max_body_mb * settings.batch_max_images, settings.queue_max_mb)
    assert most < batch < most * 1.1
    assert settings.job_max_mb < jobs < settings.job_max_mb * 1.1
    assert int(re.search(r"proxy_read_timeout (\d+)s;", text)[1]) > settings.deadline_s
    assert int(re.search(r"proxy_next_upstream_timeout (\d+)s;", text)[1]) < settings.deadline_s
    for file in DEPLOY.glob("upstreams*.conf"):
        kept = [
            int(number) for number in re.findall(r"keepalive_timeout (\d+)s;", file.read_text())
        ]
        assert len(kept) == 2 and all(number < settings.keep_alive_s for number in kept), file.name


# Several servers


def test_requests_are_shared_out(nginx, replicas, new_photo):
    photos = [new_photo() for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(
                lambda photo: web.post(nginx.url + "/parse", content=photo, timeout=60), photos
            )
        )
    assert [answer.status_code for answer in answers] == [200] * 6
    used = {nginx.server_of(answer.headers["x-request-id"]) for answer in answers}
    assert used == {one.address for one in replicas}


def test_what_one_server_has_answered_the_other_knows(nginx, replicas, cache_port, new_photo):
    redis = pytest.importorskip("redis")
    photo = new_photo()
    with redis.Redis(port=cache_port) as client:
        before = client.dbsize()
        first = web.post(replicas[0].url + "/parse", content=photo, timeout=60)
        until(lambda: client.dbsize() > before)  # it is kept behind the answer's back
    answers = [web.post(nginx.url + "/parse", content=photo, timeout=60) for _ in range(4)]
    assert first.headers["x-cache"] == "miss" and {
        answer.headers["x-cache"] for answer in answers
    } == {"hit"}
    assert {answer.content for answer in answers} == {first.content}
    assert replicas[1].address in {
        nginx.server_of(answer.headers["x-request-id"]) for answer in answers
    }
    assert (
        'humanparse_cache_total{result="hit_redis"}' in web.get(replicas[1].url + "/metrics").text
    )


def test_the_cache_does_for_the_servers_what_they_need_and_nothing_else(cache_port):
    redis = pytest.importorskip("redis")
    with redis.Redis(port=cache_port) as client:
        for forbidden in (
            client.flushall,
            client.keys,
            lambda: client.get("other"),
            lambda: client.config_set("dir", "/etc"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()


def test_a_server_that_is_killed_costs_nobody_an_answer(tmp_path, replicas, new_photo):
    statuses, over = [], threading.Event()

    def send():
        while not over.is_set():
            statuses.append(
                web.post(
                    nginx.url + "/parse?include=none", content=new_photo(1000), timeout=60
                ).status_code
            )

    (tmp_path / "server").mkdir()
    with serve(tmp_path / "server", "--workers", "1") as victim, ThreadPoolExecutor(4) as threads:
        address, other = victim.url.removeprefix("http://"), replicas[1].address
        with front(tmp_path / "nginx", [address, other], other) as nginx:
            sending = [threads.submit(send) for _ in range(4)]
            try:
                until(lambda: '"busy":1' in web.get(victim.url + "/readyz").text)
                os.kill(victim.process.pid, signal.SIGKILL)
                until(
                    lambda: any(line["servers"] == f"{address}, {other}" for line in nginx.log()),
                    60,
                )
            finally:
                over.set()
                for one in sending:
                    one.result()
    assert len(statuses) >= 4 and set(statuses) == {200}


def test_a_picture_is_sent_to_another_server_only_if_one_fails_and_only_once(tmp_path):
    asked = []

    def hang_up(connection):
        asked.append(head_of(connection))

    with (
        upstream(hang_up) as first,
        upstream(hang_up) as second,
        upstream(hang_up) as third,
        front(tmp_path / "nginx", [first, second, third], first) as nginx,
    ):
        answer = web.post(nginx.url + "/parse", content=b"picture")
    assert problem(answer)["code"] == "not_ready" and len(asked) == 2


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_what_a_server_answers_is_the_answer(tmp_path, status):
    asked = []

    def refuse(connection):
        asked.append(head_of(connection))
        connection.sendall(
            f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nours!".encode()
        )

    with (
        upstream(refuse) as first,
        upstream(refuse) as second,
        front(tmp_path / "nginx", [first, second], first) as nginx,
    ):
        answer = web.post(nginx.url + "/parse", content=b"picture")
    assert (answer.status_code, answer.text, answer.headers["retry-after"], len(asked)) == (
        status,
        "ours!",
        "7",
        1,
    )


# Jobs


def test_a_job_stays_with_the_server_that_has_it(nginx, replicas, new_photo):
    answer = web.post(
        nginx.url + "/v1/jobs", files=[("image", new_photo()) for _ in range(2)], timeout=60
    )
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    with web.stream("GET", f"{nginx.url}/v1/jobs/{job['id']}/events", timeout=60) as events:
        assert "event: done" in "".join(events.iter_text())
    assert {web.get(f"{nginx.url}/v1/jobs/{job['id']}").json()["state"] for _ in range(4)} == {
        "done"
    }
    lines = [
        json.loads(line)
        for line in web.get(f"{nginx.url}/v1/jobs/{job['id']}/results").text.splitlines()
    ]
    assert [line["index"] for line in lines] == [0, 1] and all(
        line["result"]["people"] for line in lines
    )
    assert (
        web.get(f"{nginx.url}/v1/jobs/{job['id']}/results.zip").headers["content-type"]
        == "application/zip"
    )
    assert (
        job["id"] in web.get(nginx.url + "/v1/jobs").text
        and job["id"] not in web.get(replicas[1].url + "/v1/jobs").text
    )


def test_a_job_is_never_sent_twice(tmp_path):
    asked = []

    def hang_up(connection):
        asked.append(head_of(connection))

    with upstream(hang_up) as one, front(tmp_path / "nginx", [one], one) as nginx:
        answer = web.post(nginx.url + "/v1/jobs", content=b"pictures")
    assert problem(answer)["code"] == "not_ready" and len(asked) == 1


def test_events_come_as_they_happen(tmp_path):
    heard = threading.Event()

    def tell(connection):
        head_of(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            b"event: progress\n\n"
        )
        if heard.wait(PATIENCE_S):
            connection.sendall(b"event: done\n\n")

    with (
        upstream(tell) as one,
        front(tmp_path / "nginx", [nowhere()], one) as nginx,
        web.stream("GET", nginx.url + "/v1/jobs/1/events", timeout=PATIENCE_S) as events,
    ):
        texts = events.iter_text()
        assert next(texts) == "event: progress\n\n"
        heard.set()
        assert next(texts) == "event: done\n\n"


@pytest.mark.parametrize(
    ("path", "comes_at_once"), [("/v1/jobs", True), ("/v1/batch", True), ("/parse", False)]
)
def test_slow_uploads_of_one_picture_wait_in_nginx_and_large_ones_go_through(
    tmp_path, path, comes_at_once
):
    begun, complete = threading.Event(), threading.Event()

    def take(connection):
        data = head_of(connection)
        begun.set()
        while not data.endswith(b"end"):
            data += connection.recv(65536)
        complete.set()
        connection.sendall(ANSWER)

    with upstream(take) as one, front(tmp_path / "nginx", [one], one) as nginx:
        host, port = nginx.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as client:
            client.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                "Content-Length: 10\r\n\r\nthe be".encode()
            )
            assert begun.wait(PATIENCE_S if comes_at_once else 0.3) == comes_at_once
            client.sendall(b" end")
            assert complete.wait(PATIENCE_S) and b"200 OK" in client.recv(65536)


# What nginx says itself


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """nginx without any server."""
    with front(
        tmp_path_factory.mktemp("alone") / "nginx",
        [nowhere()],
        nowhere(),
        proxy_connect_timeout="1s",
    ) as nginx:
        yield nginx


@pytest.mark.parametrize(
    ("method", "path", "sent", "code"),
    [
        ("GET", "/metrics", {}, "not_found"),
        ("GET", "/-/problem", {}, "not_found"),
        ("POST", "/parse", {"content": b"x"}, "not_ready"),
        ("POST", "/v1/jobs", {"content": b"x"}, "not_ready"),
        ("POST", "/parse", {"content": b"x" * 35_000_000}, "body_too_large"),
        ("GET", "/healthz", {"headers": {"x-long": "x" * 20_000}}, "header_too_large"),
        ("GET", "/?" + "x" * 20_000, {}, "header_too_large"),
        ("TRACE", "/healthz", {}, "method_not_allowed"),
    ],
)
def test_errors_of_nginx_look_like_those_of_the_service(alone, method, path, sent, code):
    answer = web.request(method, alone.url + path, timeout=30, **sent)
    assert problem(answer)["code"] == code
    assert ("retry-after" in answer.headers) == KINDS[code].retryable


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"nonsense\r\n\r\n"],
)
def test_what_is_no_http_is_a_problem_too(alone, sent):
    host, port = alone.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(sent)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        data = json.loads(answer.read())
    assert (answer.status, data["code"], data["status"]) == (400, "bad_request", 400)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_server_that_never_answers_is_a_problem_in_time(tmp_path):
    over = threading.Event()
    with upstream(lambda connection: over.wait(PATIENCE_S)) as one:
        changes = {"proxy_read_timeout": "1s", "proxy_next_upstream_timeout": "500ms"}
        with front(tmp_path / "nginx", [one, one], one, **changes) as nginx:
            answer = web.post(nginx.url + "/parse", content=b"x", timeout=PATIENCE_S)
        over.set()
    assert problem(answer)["code"] == "deadline_exceeded"


def test_who_sends_too_much_is_turned_away_before_the_servers_hear_of_it(alone):
    host, port = alone.url.removeprefix("http://").split(":")
    many = (
        b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n" * 400
        + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(many)
        data = b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert data.count(b'"code":"not_ready"') >= 100 and data.count(b'"code":"queue_full"') >= 50
    assert b"HTTP/1.1 429 Too Many Requests" in data


# What is passed on, and what is noted


def test_servers_hear_who_asks_and_cannot_be_told_otherwise(tmp_path):
    heads = []

    def note(connection):
        heads.append(head_of(connection).decode().lower())
        connection.sendall(ANSWER)

    forged = {
        "x-forwarded-for": "8.8.8.8",
        "x-forwarded-proto": "https",
        "x-request-id": "my-own.id_1",
    }
    with upstream(note) as one, front(tmp_path / "nginx", [one], one) as nginx:
        web.get(nginx.url + "/models?secret=yes", headers=forged)
        wicked = web.get(nginx.url + "/metrics", headers={"x-request-id": 'x","code":"'})
        until(lambda: len(nginx.log()) == 2)
        noted = (nginx.folder / "access.log").read_text()
    assert (
        "x-forwarded-for: 127.0.0.1\r\n" in heads[0] and "x-forwarded-proto: http\r\n" in heads[0]
    )
    assert "x-request-id: my-own.id_1\r\n" in heads[0] and "8.8.8.8" not in heads[0]
    assert re.fullmatch("[0-9a-f]{32}", problem(wicked)["request_id"])
    assert "my-own.id_1" in noted and "secret" not in noted and "models" not in noted


def test_behind_an_ingress_the_client_is_whom_it_names(tmp_path):
    heads = []

    def note(connection):
        heads.append(head_of(connection).decode().lower())
        connection.sendall(ANSWER)

    with (
        upstream(note) as one,
        front(tmp_path / "nginx", [one], one, upstreams="upstreams-kubernetes.conf") as nginx,
    ):
        web.get(nginx.url + "/models", headers={"x-forwarded-for": "1.2.3.4, 203.0.113.7"})
        until(lambda: nginx.log())
    assert (
        "x-forwarded-for: 203.0.113.7\r\n" in heads[0] and nginx.log()[0]["client"] == "203.0.113.7"
    )


def test_a_picture_can_be_followed_from_nginx_to_the_server_and_its_client_is_known(
    nginx, replicas, photo
):
    web.post(nginx.url + "/parse", content=photo, headers={"x-request-id": "follow-me"}, timeout=60)
    server = next(one for one in replicas if one.address == nginx.server_of("follow-me"))

    def lines():
        """Of requests: others may speak of this one, too."""
        told = [line for line in server.log.read_text().splitlines() if "follow-me" in line]
        return [line for line in map(json.loads, told) if "client" in line]

    [line] = until(lines)
    assert (line["client"], line["status"]) == ("127.0.0.1", 200)


def test_an_archive_larger_than_a_picture_may_be_becomes_a_job(nginx, tmp_path, new_photo):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", new_photo())
        archive.writestr("padding.bin", b"\0" * 34_000_000)
    with open(tmp_path / "photos.zip", "rb") as file:
        answer = web.post(nginx.url + "/v1/jobs", files={"archive": file}, timeout=60)
    assert answer.status_code == 202, answer.text
    assert web.delete(f"{nginx.url}/v1/jobs/{answer.json()['id']}").status_code == 204
