"""Access: foreign host names, pages of other sites, guessed tokens; and what browsers see."""

import ast
import http.client
import inspect
import json

import pytest
from served import serve

from hardening.looking import ask, connected
from humanparse.service.http import auth
from humanparse.service.http.hosts import HostMiddleware
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve(
        tmp_path_factory.mktemp("door"),
        "--workers",
        "1",
        "--allowed-hosts",
        "parse.example",
        "--cors-origins",
        "https://friend.example",
    ) as served:
        yield served


def asked(name: str, method: str = "GET", headers: dict[str, str] | None = None, **given) -> str:
    """The code of the refusal, "" for none, without a server."""
    scope = {
        "type": "http",
        "method": method,
        "headers": [
            (key.encode(), value.encode("latin-1"))
            for key, value in ({"host": name} | (headers or {})).items()
        ],
    }
    passed = []

    async def app(scope, receive, send):
        passed.append(scope)

    work = HostMiddleware(app, Settings(**given))(scope, None, None)
    try:
        work.send(None)
    except StopIteration:
        assert passed
        return ""
    except Problem as problem:
        assert not passed
        return problem.code
    raise AssertionError("it waits")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:7860",
        "LOCALHOST.",
        "127.0.0.1:1",
        "127.8.9.1",
        "[::1]:7860",
        "[::1]",
        "10.0.0.7",
        "",
    ],
)
def test_this_machine_s_own_names_and_addresses_are_answered(host):
    assert asked(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[evil]",
        "127.0.0.1@evil.example",
        "\xff",
        "0x7f.1",
    ],
)
def test_a_rebound_name_is_not_answered_where_everybody_here_is_trusted(host):
    assert asked(host) == "unknown_host"


def test_with_a_token_or_for_other_machines_any_name_is_answered_unless_names_are_listed():
    assert asked("a.example", token="x") == asked("a.example", host="0.0.0.0", no_auth=True) == ""
    assert (
        asked("a.example", allowed_hosts=("a.example",))
        == asked("A.example:80", allowed_hosts=("a.example", "b"))
        == ""
    )
    assert asked("a.example", allowed_hosts=("b",), token="x") == "unknown_host"
    assert asked("anything", allowed_hosts=("*",)) == ""


def test_work_sent_by_another_site_s_page_is_refused_unless_its_origin_is_listed():
    page = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    assert asked("localhost", "POST", page) == asked("localhost", "DELETE", page) == "foreign_page"
    assert asked("localhost", "GET", page) == "", "a link from elsewhere"
    assert (
        asked("localhost", "POST", {"sec-fetch-site": "same-origin"})
        == asked("localhost", "POST")
        == ""
    )
    assert asked("localhost", "POST", page, cors_origins=("https://evil.example",)) == ""
    assert asked("localhost", "POST", page, token="x") == "", "it has no token"


def test_refused_preflight_requests_are_problems_too(served):
    status, headers, body = ask(served, "GET", "/healthz", headers={"host": "evil.example"})
    assert (status, json.loads(body)["code"]) == (421, "unknown_host") and headers[
        "content-type"
    ] == "application/problem+json"
    assert ask(served, "GET", "/healthz", headers={"host": "parse.example:80"})[0] == 200
    asking = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    status, headers, body = ask(
        served, "OPTIONS", "/parse", headers=asking | {"origin": "https://evil.example"}
    )
    assert (status, json.loads(body)["code"]) == (400, "bad_request") and headers[
        "content-type"
    ] == "application/problem+json"
    assert "access-control-allow-origin" not in headers and "request_id" in json.loads(body)
    status, headers, _ = ask(
        served, "OPTIONS", "/parse", headers=asking | {"origin": "https://friend.example"}
    )
    assert status == 200 and headers["access-control-allow-origin"] == "https://friend.example"


def test_http_1_0_without_a_host_is_answered(served):
    with connected(served) as one:
        one.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = http.client.HTTPResponse(one)
        answer.begin()
        assert answer.status == 200


def test_tokens_are_compared_in_constant_time_and_nowhere_else():
    """Checked in the source: a timing test on a shared machine would prove nothing."""
    tree = ast.parse(inspect.getsource(auth))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "hmac.compare_digest" in calls and "hashlib.sha256" in calls
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert not [text for text in compared if "expected" in text and "is not None" not in text]


def test_a_picture_part_without_a_file_name_is_a_picture_in_every_way_of_sending(served, photo):
    body = (
        b'--seam\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
        + photo
        + b"\r\n--seam--\r\n"
    )
    kind = {"content-type": "multipart/form-data; boundary=seam"}
    assert [
        ask(served, path=path, body=body, headers=kind)[0]
        for path in ("/parse", "/predict", "/v1/batch", "/v1/jobs")
    ] == [200, 200, 200, 202]
