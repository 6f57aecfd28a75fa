"""contrib/label_studio.py: the requests that Label Studio sends to a backend.

Their bodies are those of `label_studio/ml/api_connector.py` of HumanSignal/label-studio.
"""

from __future__ import annotations

import os

import pytest
from stand_in import StandIn, photo, photo_base64
from starlette.testclient import TestClient

from humanparse.contrib.label_studio import create_app, interface_of
from humanparse.formats.label_studio import label_studio_config
from humanparse.labels import CIHP

POLYGONS = """<View><!-- <!DOCTYPE> in a comment does no harm -->
  <Header value="Faces"/>
  <Image name="img" value="$photo"/>
  <PolygonLabels name="tag" toName="img"><Label value="Face"/><Label value="Nose"/></PolygonLabels>
</View>"""


@pytest.fixture
def client(tmp_path):
    for folder in ("upload/1", "local/street"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a b.png").write_bytes(photo())
    (tmp_path / "secret.png").write_bytes(photo())
    os.symlink(tmp_path / "secret.png", tmp_path / "upload/link.png")
    app = create_app(
        StandIn(), uploads=tmp_path / "upload", local_files=tmp_path / "local", max_body_mb=0.2
    )
    with TestClient(app) as client:
        yield client


def predicted(client, picture, key="image", config=None):
    body = {
        "tasks": [{"id": 7, "data": {key: picture}, "meta": {}, "project": 1}],
        "model_version": None,
        "project": "1.1694809921",
        "label_config": config or label_studio_config(CIHP),
        "params": {"login": None, "password": None, "context": None},
    }
    return client.post("/predict", json=body)


def test_health_setup_and_webhook(client):
    assert client.get("/health").json()["status"] == client.get("/").json()["status"] == "UP"
    body = {
        "project": "1.1694809921",
        "schema": label_studio_config(CIHP),
        "hostname": "http://localhost:8080",
        "access_token": "token",
    }
    assert client.post("/setup", json=body).json() == {"model_version": "stand-in"}
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "label_config": POLYGONS}}
    assert client.post("/webhook", json=event).json()["status"] == "Unknown event"


@pytest.mark.parametrize(
    "picture",
    [
        photo_base64(),
        f"data:image/png;base64,{photo_base64()}",
        "/data/upload/1/a%20b.png",
        "/data/local-files/?d=street/a%20b.png",
    ],
)
def test_pictures_in_the_task_and_in_the_folders_are_parsed(client, picture):
    answer = predicted(client, picture).json()
    assert answer["model_version"] == "stand-in"
    (prediction,) = answer["results"]
    regions = prediction["result"]
    assert len(regions) == 12 and {one["type"] for one in regions} == {"brushlabels"}
    assert {(one["from_name"], one["to_name"]) for one in regions} == {("parts", "image")}
    assert {(one["original_width"], one["original_height"]) for one in regions} == {(160, 120)}


def test_the_projects_own_names_and_labels_are_kept_to(client):
    (prediction,) = predicted(client, photo_base64(), "photo", POLYGONS).json()["results"]
    assert [one["value"]["polygonlabels"] for one in prediction["result"]] == [["Face"], ["Face"]]
    assert {(one["from_name"], one["to_name"]) for one in prediction["result"]} == {("tag", "img")}
    assert interface_of(label_studio_config(CIHP, "polygons")).kind == "polygons"


@pytest.mark.parametrize(
    ("picture", "status", "word"),
    [
        ("https://example.com/a.jpg?token=secret", 400, "not fetched"),
        ("s3://bucket/a.jpg", 400, "not fetched"),
        ("file:///etc/passwd", 400, "not fetched"),
        ("/etc/passwd", 400, "not read"),
        ("/data/upload/../secret.png", 404, "no file"),
        ("/data/upload/%2e%2e/secret.png", 404, "no file"),
        ("/data/upload//etc/passwd", 404, "no file"),
        ("/data/upload/link.png", 404, "no file"),
        ("/data/upload/1/a%00b.png", 404, "cannot be read"),
        ("/data/upload/1", 404, "no file"),
        ("/data/local-files/?d=../secret.png", 404, "no file"),
        ("data:image/png,abc", 400, "base64"),
        ("%%%", 400, "base64"),
        ("aGVsbG8=", 415, "image"),
        (photo_base64()[:400], 422, "image"),
        ("", 400, "'image'"),
        (7, 400, "'image'"),
        ("A" * 300_000, 413, "0.2 MB"),
    ],
)
def test_other_pictures_are_refused_with_the_reason(client, picture, status, word):
    answer = predicted(client, picture)
    assert answer.status_code == status and word in answer.json()["error"]
    assert "secret'" not in answer.text and "root:" not in answer.text
    assert status == 413 or answer.json()["error"].startswith("task 7: ")


def test_files_are_not_read_unless_their_folder_was_given():
    with TestClient(create_app(StandIn())) as client:
        for picture, name in (
            ("/data/upload/a", "uploads="),
            ("/data/local-files/", "local_files="),
        ):
            answer = predicted(client, picture)
            assert answer.status_code == 403 and name in answer.json()["error"]


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ("<View>", 400),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><View>&a;</View>", 400),
        ("<View><Text name='t' value='$text'/></View>", 422),
        ("<View>" + " " * 100_000 + "</View>", 400),
        (3, 400),
    ],
)
def test_interfaces_without_a_place_for_labels_are_refused(client, config, status):
    assert client.post("/setup", json={"schema": config}).status_code == status
    assert predicted(client, photo_base64(), config=config).status_code == status


def test_bodies_that_are_no_such_request(client):
    assert client.post("/predict", content=b"{").status_code == 400
    assert client.post("/predict", json={"tasks": "x"}).status_code == 400
    assert client.post("/predict", json={"tasks": [3]}).json()["error"].startswith("a task: ")
