"""What clients get of jobs."""

import asyncio
import io
import json
import time
import zipfile

import pytest
from fake_run import FakeRun
from jobs_here import FakeDispatcher, is_problem
from jobs_here import client_ended as ended
from starlette.testclient import TestClient

from humanparse.service.app import create_app
from humanparse.service.jobs import service as jobs_module
from humanparse.service.problems import MEDIA_TYPE, Problem
from humanparse.service.settings import Settings


@pytest.fixture
def dispatcher():
    return FakeDispatcher()


@pytest.fixture
def settings(tmp_path):
    return Settings(
        data_dir=str(tmp_path / "data"),
        workers=1,
        threads=1,
        max_body_mb=0.1,
        job_max_mb=0.3,
        job_max_images=5,
        max_jobs=4,
        log_level="error",
    )


@pytest.fixture
def client(settings, dispatcher, monkeypatch):
    monkeypatch.setattr(jobs_module, "WATCH_S", 0)
    app = create_app(settings, dispatcher=dispatcher)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def post(client, *pictures, **given):
    return client.post(
        "/v1/jobs",
        files=[("image", (f"{number}.jpg", data)) for number, data in enumerate(pictures)],
        **given,
    )


def zipped(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def folders(settings) -> list:
    return list((settings.folder / "jobs").iterdir())


# From upload to results


def test_pictures_become_a_job_and_the_job_results(client):
    answer = post(client, b"a", b"bad", b"c")
    job = answer.json()
    assert (
        answer.status_code == 202
        and answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    )
    assert job["total"] == 3 and job["expires"] is None and job["created"].endswith("Z")
    done = ended(client, job["id"])
    assert (done["state"], done["done"], done["failed"]) == ("done", 2, 1) and done[
        "expires"
    ] > done["created"]
    assert client.get("/v1/jobs").json() == {"jobs": [done]}

    answer = client.get(done["links"]["results"])
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert lines[0] == {"index": 0, "source": "0.jpg", "result": {"text": "A"}}
    assert (
        lines[1]["problem"]["code"] == "not_an_image"
        and lines[1]["problem"]["instance"] == f"/v1/jobs/{job['id']}/results/1"
    )
    assert len(lines) == 3

    one = client.get(f"/v1/jobs/{job['id']}/results/2")
    assert one.json() == {"text": "C"} and one.headers["cache-control"] == "no-store"
    is_problem(client.get(f"/v1/jobs/{job['id']}/results/1"), 415, "not_an_image")
    is_problem(client.get(f"/v1/jobs/{job['id']}/results/3"), 404, "not_found")


def test_the_results_come_as_a_zip_too(client):
    job = ended(client, post(client, b"a", b"bad").json()["id"])
    answer = client.get(job["links"]["results_zip"])
    assert (
        answer.headers["content-type"] == "application/zip"
        and "attachment" in answer.headers["content-disposition"]
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None and archive.namelist() == ["0000.json", "index.json"]
        assert json.loads(archive.read("0000.json")) == {"text": "A"}
        index = json.loads(archive.read("index.json"))
    assert (
        index[0]["file"] == "0000.json"
        and index[0]["source"] == "0.jpg"
        and index[1]["problem"]["code"] == "not_an_image"
    )


def test_an_archive_becomes_a_job(client):
    answer = client.post(
        "/v1/jobs", files={"archive": ("my.zip", zipped(**{"in/one.jpg": b"a", "two.jpg": b"bad"}))}
    )
    assert answer.status_code == 202 and answer.json()["total"] in (None, 2)
    job = ended(client, answer.json()["id"])
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("done", 2, 1, 1)
    first, _ = client.get(job["links"]["results"]).text.splitlines()
    assert json.loads(first) == {"index": 0, "source": "in/one.jpg", "result": {"text": "A"}}


def test_an_archive_that_is_none_is_a_failed_job(client):
    job = ended(
        client, client.post("/v1/jobs", files={"archive": ("my.zip", b"none")}).json()["id"]
    )
    assert job["state"] == "failed" and job["problem"]["code"] == "bad_request"
    assert "as a whole" in is_problem(client.get(job["links"]["results"]), 409, "conflict")


def test_options_come_by_form_or_query_and_reach_the_workers_with_the_model_by_name(
    client, dispatcher
):
    ended(
        client,
        post(client, b"a", data={"format": "overlay", "include": ["labels", "rle"]}).json()["id"],
    )
    ended(client, post(client, b"b", params={"model": "large", "min_score": "0.5"}).json()["id"])
    first, second = dispatcher.run.heads
    assert (first["format"], first["model"], first["include"]) == (
        "overlay",
        "small",
        ["rle", "labels"],
    )
    assert (second["model"], second["min_score"]) == ("large", 0.5)


def test_a_result_that_is_a_file_is_linked_in_the_lines_and_whole_in_the_zip(
    client, dispatcher, monkeypatch
):
    async def picture(self, task, **given):
        reply = await FakeRun.__call__(self, task, **given)
        return type(reply)({"media_type": "image/png"}, b"\x89PNG", 0, 0)

    monkeypatch.setattr(dispatcher, "run", lambda task, **given: picture(FakeRun(), task, **given))
    client.app.state.jobs._runner._run = dispatcher.run
    job = ended(client, post(client, b"a").json()["id"])
    line = json.loads(client.get(job["links"]["results"]).text)
    assert line == {
        "index": 0,
        "source": "0.jpg",
        "media_type": "image/png",
        "href": f"/v1/jobs/{job['id']}/results/0",
    }
    answer = client.get(line["href"])
    assert answer.content == b"\x89PNG" and answer.headers["content-type"] == "image/png"
    with zipfile.ZipFile(io.BytesIO(client.get(job["links"]["results_zip"]).content)) as archive:
        assert archive.read("0000.png") == b"\x89PNG"


def test_results_of_a_job_at_work_are_not_there_yet_but_those_that_are_done_are(client, dispatcher):
    dispatcher.run.hold()
    id = post(client, b"a", b"b").json()["id"]
    for path in ("results", "results.zip", "results/0"):
        is_problem(client.get(f"/v1/jobs/{id}/{path}"), 409, "conflict")
    client.portal.call(dispatcher.run.release)
    while client.get(f"/v1/jobs/{id}").json()["done"] < 1:
        time.sleep(0.01)
    assert client.get(f"/v1/jobs/{id}/results/0").json() == {"text": "A"}
    is_problem(client.get(f"/v1/jobs/{id}/results/1"), 409, "conflict")
    client.portal.call(dispatcher.run.release)


def test_cancel_and_delete(client, dispatcher, settings):
    dispatcher.run.hold()
    id = post(client, b"a", b"b").json()["id"]
    assert client.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    lines = [json.loads(line) for line in client.get(f"/v1/jobs/{id}/results").text.splitlines()]
    assert [line["problem"]["code"] for line in lines] == ["conflict"] * 2
    is_problem(client.get(f"/v1/jobs/{id}/results/0"), 409, "conflict")
    assert client.delete(f"/v1/jobs/{id}").status_code == 204 and not folders(settings)
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/events"),
        ("GET", "/results"),
        ("GET", "/results.zip"),
        ("GET", "/results/0"),
    ):
        is_problem(client.request(method, f"/v1/jobs/{id}{path}"), 404, "not_found")


@pytest.mark.parametrize("id", ["..", "%2e%2e", "nothing", "%00", "a" * 5000, "写真"])
def test_ids_lead_nowhere(client, id):
    assert client.get(f"/v1/jobs/{id}/results").status_code in (400, 404, 414)


@pytest.mark.parametrize("index", ["-1", "x", "99999999999999999999", "1.5"])
def test_an_index_that_is_none_is_an_option_that_is_wrong(client, index):
    id = post(client, b"a").json()["id"]
    is_problem(client.get(f"/v1/jobs/{id}/results/{index}"), 422, "bad_option")


# Events


def events_of(text: str) -> list[tuple[str, dict]]:
    return [
        (
            block.split("\n")[0].removeprefix("event: "),
            json.loads(block.split("\n")[1].removeprefix("data: ")),
        )
        for block in text.split("\n\n")
        if block.startswith("event")
    ]


def test_events_tell_the_progress_and_end_with_the_job(client):
    id = post(client, b"a", b"b", b"c").json()["id"]
    answer = client.get(f"/v1/jobs/{id}/events", headers={"last-event-id": "7"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [kind for kind, _ in events][-1] == "done" and {kind for kind, _ in events[:-1]} <= {
        "progress"
    }
    assert events[-1][1]["done"] == 3 and events[-1][1]["state"] == "done"


async def spoken(app, path, hear):
    """Ask for `path` and let `hear(text so far)` say when the client hangs up. Returns the text,
    when the app has ended."""
    heard, hung_up, asked = [], asyncio.Event(), []

    async def receive():
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        heard.append(message.get("body", b"").decode())
        if hear("".join(heard)):
            hung_up.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    async with asyncio.timeout(10):
        await app(scope, receive, send)
    return "".join(heard)


def test_events_end_with_the_client_and_with_the_service_and_keep_the_connection_alive(
    client, dispatcher, monkeypatch
):
    monkeypatch.setattr("humanparse.service.jobs.routes.HEARTBEAT_S", 0.5)
    dispatcher.run.hold()
    id = post(client, b"a").json()["id"]
    path = f"/v1/jobs/{id}/events"
    text = client.portal.call(spoken, client.app, path, lambda text: "still here" in text)
    assert events_of(text)[-1][0] == "progress"

    def drain(text):
        client.app.state.draining = "progress" in text

    text = client.portal.call(spoken, client.app, path, drain)
    assert events_of(text)[-1][0] == "progress"
    client.portal.call(dispatcher.run.release)


# What is refused


def test_uploads_are_limited_and_leave_nothing_behind(client, settings):
    many = post(client, *[b"x"] * 6)
    assert "more than the 5 pictures" in is_problem(many, 413, "body_too_large")
    assert "picture 1" in is_problem(post(client, b"x", bytes(150_000)), 413, "body_too_large")
    is_problem(
        client.post("/v1/jobs", files={"archive": ("a.zip", bytes(350_000))}), 413, "body_too_large"
    )
    assert "empty" in is_problem(post(client, b"x", b""), 400, "bad_request")
    assert "longer than" in is_problem(
        post(client, b"x", data={"model": "x" * 4097}), 400, "bad_request"
    )
    assert "64 fields" in is_problem(
        post(client, b"x", data={f"f{n}": "x" for n in range(65)}), 400, "bad_request"
    )
    assert not folders(settings)


def test_a_form_without_pictures_or_with_other_files_is_refused(client, settings):
    assert "neither" in is_problem(
        client.post("/v1/jobs", files={"x": (None, "1")}), 400, "bad_request"
    )
    both = [("image", ("a.jpg", b"x")), ("archive", ("a.zip", b"x"))]
    assert "several kinds" in is_problem(client.post("/v1/jobs", files=both), 400, "bad_request")
    two = [("archive", ("a.zip", b"x"))] * 2
    assert "several archives" in is_problem(client.post("/v1/jobs", files=two), 400, "bad_request")
    assert "'photo'" in is_problem(
        client.post("/v1/jobs", files={"photo": ("a.jpg", b"x")}), 400, "bad_request"
    )
    assert not folders(settings)


def test_a_picture_may_come_without_a_file_name(client):
    job = ended(client, client.post("/v1/jobs", files={"image": (None, b"a")}).json()["id"])
    assert json.loads(client.get(job["links"]["results"]).text) == {
        "index": 0,
        "source": "",
        "result": {"text": "A"},
    }


FORM = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx'


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{}", "unsupported_media_type"),
        ("", b"", "unsupported_media_type"),
        ("multipart/form-data", b"x", "bad_request"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x", "bad_request"),
        ("multipart/form-data; boundary=\xff", b"--\xff--\r\n", "bad_request"),
        (FORM, b"", "bad_request"),
        (FORM, b"x" * 999, "bad_request"),
        (FORM, FILE, "bad_request"),
        (FORM, FILE + b"\r\n--b", "bad_request"),
        (FORM, b"--b\r\n" + b"x" * 9000 + b": y\r\n\r\n", "bad_request"),
        (FORM, b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "bad_request"),
        (FORM, b"--b--\r\n", "bad_request"),
    ],
)
def test_a_body_that_is_no_form_is_refused(client, settings, kind, body, code):
    answer = client.post("/v1/jobs", content=body, headers={"content-type": kind.encode("latin-1")})
    is_problem(answer, {"bad_request": 400, "unsupported_media_type": 415}[code], code)
    assert not folders(settings)


def test_wrong_options_are_refused_in_the_query_before_the_upload_is_read(client, settings):
    is_problem(post(client, b"x", params={"palette": "loud"}), 422, "bad_option")
    is_problem(post(client, b"x", data={"nothing": "1"}), 422, "bad_option")
    is_problem(post(client, b"x", data={"model": "unheard"}), 422, "unknown_model")
    is_problem(post(client, b"x", data={"palette": ["clear", "classic"]}), 422, "bad_option")
    assert not folders(settings)


def test_names_of_files_are_shown_but_never_used(client, settings):
    names = ["../../../evil.jpg", "C:\\evil\\x.jpg", "a\nb.jpg", "holiday/写真.jpg"]
    answer = client.post("/v1/jobs", files=[("image", (name, b"a")) for name in names])
    job = ended(client, answer.json()["id"])
    lines = [json.loads(line) for line in client.get(job["links"]["results"]).text.splitlines()]
    assert [line["source"] for line in lines][::3] == ["evil.jpg", "holiday/写真.jpg"]
    everything = {path.name for path in settings.folder.parent.rglob("*")}
    assert not {name for name in everything if "evil" in name or "x.jpg" in name}


@pytest.mark.parametrize("packed", [False, True], ids=["form", "zip"])
def test_pictures_of_the_same_name_can_be_told_apart(client, dispatcher, packed):
    names = ["a/x.jpg", "b/x.jpg", "./b/x.jpg", "x.jpg"]
    files = (
        {"archive": ("my.zip", zipped(**dict.fromkeys(names, b"a")))}
        if packed
        else [("image", (name, b"a")) for name in names]
    )
    job = ended(client, client.post("/v1/jobs", files=files).json()["id"])
    lines = [json.loads(line) for line in client.get(job["links"]["results"]).text.splitlines()]
    expected = ["a/x.jpg", "b/x.jpg", "b/x-2.jpg", "x.jpg"]
    assert [line["source"] for line in lines] == expected
    zipped_results = io.BytesIO(client.get(job["links"]["results_zip"]).content)
    with zipfile.ZipFile(zipped_results) as archive:
        index = json.loads(archive.read("index.json"))
    assert [entry["source"] for entry in index] == expected
    told = [head["source"] for head in dispatcher.run.heads if head["do"] == "parse"]
    assert sorted(told) == sorted(expected)


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(client, settings):
    sent = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + b"x" * 50_000
    )

    async def hang_up():
        messages = [
            {"type": "http.request", "body": sent, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive():
            return messages.pop(0) if len(messages) > 1 else messages[0]

        async def send(message):
            pass

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/jobs",
            "raw_path": b"/v1/jobs",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"multipart/form-data; boundary=b")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await client.app(scope, receive, send)

    client.portal.call(hang_up)
    assert not folders(settings) and client.get("/v1/jobs").json() == {"jobs": []}
    assert post(client, b"a").status_code == 202


def test_as_many_jobs_as_may_be_are_kept(client):
    for _ in range(4):
        assert post(client, b"a").status_code == 202
    answer = post(client, b"a")
    is_problem(answer, 429, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_second_server_on_the_folder_answers_and_says_why_it_has_no_jobs(client, settings):
    app = create_app(settings, dispatcher=FakeDispatcher())
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as second:
        for answer in (
            second.get("/v1/jobs"),
            post(second, b"a"),
            second.get("/v1/jobs/x"),
            second.delete("/v1/jobs/x"),
        ):
            assert "--data-dir" in is_problem(answer, 503, "not_ready")
        ready = second.get("/readyz")
        assert ready.status_code == 200 and "--data-dir" in ready.json()["degraded"][0]
        assert second.get("/healthz").status_code == 200


def test_a_retryable_problem_of_a_picture_is_told_as_it_was(client, dispatcher, monkeypatch):
    monkeypatch.setattr("humanparse.service.jobs.runner.RETRY_S", ())
    dispatcher.run.trouble = {b"a": [Problem("deadline_exceeded", "it took longer than 30 s")]}
    id = post(client, b"a").json()["id"]
    ended(client, id)
    is_problem(client.get(f"/v1/jobs/{id}/results/0"), 504, "deadline_exceeded")


# The document


def test_the_document_names_bodies_answers_and_problems(client):
    paths = client.get("/openapi.json").json()["paths"]
    create = paths["/v1/jobs"]["post"]
    assert {"202", "400", "413", "415", "422", "429", "503", "507"} <= create["responses"].keys()
    ways = create["requestBody"]["content"]["multipart/form-data"]["schema"]["oneOf"]
    assert [way["required"] for way in ways] == [["image"], ["archive"], ["video"]]
    assert "image" in ways[0]["properties"] and "min_score" in ways[0]["properties"]
    assert MEDIA_TYPE in create["responses"]["507"]["content"]
    assert (
        "text/event-stream" in paths["/v1/jobs/{id}/events"]["get"]["responses"]["200"]["content"]
    )
    for path in (
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/results",
        "/v1/jobs/{id}/results.zip",
        "/v1/jobs/{id}/results/{index}",
    ):
        assert {"200", "404", "503"} <= paths[path]["get"]["responses"].keys()
