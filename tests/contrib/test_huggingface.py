"""contrib/huggingface.py: by requests, and by Hugging Face's own client where it is installed."""

from __future__ import annotations

import base64
import threading
import time

import numpy as np
import pytest
from made_up import made_up_parsing
from stand_in import StandIn, opened, photo, photo_base64
from starlette.testclient import TestClient

from humanparse.contrib.huggingface import create_app


@pytest.fixture
def client():
    with TestClient(create_app(StandIn(), max_body_mb=0.2)) as client:
        yield client


def test_bytes_become_labels_scores_and_masks(client):
    answer = client.post("/", content=photo(), headers={"content-type": "image/png"})
    segments = answer.json()
    assert [one["label"] for one in segments].count("Face") == 2
    assert [one["label"] for one in segments[-2:]] == ["Human", "Human"]
    mask = opened(base64.b64decode(segments[-2]["mask"]))
    assert np.array_equal(mask == 255, made_up_parsing().people[0].mask.to_dense())
    assert client.post("/models/any/name", content=photo()).json() == segments


def test_json_with_a_threshold(client):
    body = {"inputs": photo_base64(), "parameters": {"threshold": 0.85}}
    segments = client.post("/", json=body).json()
    assert [(one["label"], one["score"]) for one in segments] == [("Human", 0.9)]


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [
        ({"content": b"no picture"}, 415, "image"),
        ({"content": photo()[:200]}, 422, "image"),
        ({"content": b"x" * 300_000}, 413, "0.2 MB"),
        ({"json": {"inputs": "%%%"}}, 400, "base64"),
        ({"json": {"inputs": 3}}, 400, "inputs"),
        ({"json": ["x"]}, 400, "JSON object"),
        ({"json": {"inputs": "aa==", "parameters": {"threshold": 3}}}, 422, "threshold"),
    ],
)
def test_what_cannot_be_read_is_said(client, sent, status, word):
    answer = client.post("/", **sent)
    assert answer.status_code == status and word in answer.json()["error"]


@pytest.mark.slow
def test_the_hubs_own_client_reads_the_answer(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    import uvicorn

    config = uvicorn.Config(create_app(StandIn()), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        client = hub.InferenceClient(model=f"http://127.0.0.1:{port}", timeout=60)
        (tmp_path / "street.png").write_bytes(photo())
        segments = client.image_segmentation(tmp_path / "street.png")
        sure = client.image_segmentation(photo(), threshold=0.85)
    finally:
        server.should_exit = True
        thread.join(30)
    assert len(segments) == 14 and [one.label for one in sure] == ["Human"]
    assert np.array_equal(
        np.asarray(segments[-1].mask) == 255, made_up_parsing().people[1].mask.to_dense()
    )
