"""contrib/rembg.py: the requests that rembg's clients send."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import made_up_parsing
from stand_in import StandIn, opened, photo
from starlette.testclient import TestClient

from humanparse.contrib import web
from humanparse.contrib.rembg import create_app

PEOPLE = made_up_parsing().person_map > 0


@pytest.fixture
def client():
    with TestClient(create_app(StandIn(), max_body_mb=0.2)) as client:
        yield client


def removed(client, data=None, query=""):
    files = {"file": ("street.png", photo(), "image/png")}
    return client.post(f"/api/remove{query}", files=files, data=data or {})


def test_people_are_cut_out(client):
    answer = removed(client, {"model": "u2net", "a": "true", "af": "240"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    picture = opened(answer.content)
    assert picture.shape == (120, 160, 4)
    assert ((picture[..., 3] > 127) == PEOPLE).mean() > 0.99
    assert not picture[picture[..., 3] == 0].any()


def test_only_the_mask(client):
    mask = opened(removed(client, {"om": "true"}).content)
    assert mask.dtype == np.uint8 and ((mask > 127) == PEOPLE).mean() > 0.99


@pytest.mark.parametrize("where", ["form", "query"])
def test_a_background_colour(client, where):
    colour = {"bgc": "255,0,0,255"}
    answer = (
        removed(client, colour) if where == "form" else removed(client, query="?bgc=255,0,0,255")
    )
    assert opened(answer.content)[0, 0].tolist() == [255, 0, 0, 255]
    assert opened(removed(client, {"bgc": "9,8,7"}).content)[0, 0].tolist() == [9, 8, 7, 255]


def test_what_cannot_be_done_is_said(client):
    def refused(answer, status, *words):
        assert answer.status_code == status
        assert all(word in answer.json()["detail"] for word in words)

    refused(client.get("/api/remove?url=http://example.com/a.jpg"), 400, "not fetched", "POST")
    refused(client.post("/api/remove", data={"om": "true"}), 422, "no file")
    refused(removed(client, {"bgc": "red"}), 422, "'red'", "255,255,255,255")
    refused(removed(client, {"bgc": "1,2,300"}), 422, "1,2,300")
    refused(removed(client, {"om": "perhaps"}), 422, "om", "perhaps")
    refused(client.post("/api/remove", files={"file": b"no picture"}), 415, "image")
    refused(client.post("/api/remove", files={"file": photo()[:200]}), 422, "image")
    refused(client.post("/api/remove", files={"file": b"x" * 300_000}), 413, "0.2 MB", "max_body")
    chunks = (b"x" * 50_000 for _ in range(6))  # without a length in the head of the request
    kind = {"content-type": "multipart/form-data; boundary=b"}
    refused(client.post("/api/remove", content=chunks, headers=kind), 413, "0.2 MB")
    refused(client.get("/elsewhere"), 404)


def test_too_many_requests_are_told_to_come_again(client, monkeypatch):
    monkeypatch.setattr(web, "MAX_REQUESTS", 0)
    answer = removed(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
