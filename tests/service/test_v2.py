"""/v2 speaks the Open Inference Protocol, as JSON, with binary data and with tritonclient, and has
the limits of /parse."""

import base64
import json

import numpy as np
import pytest
from served import serve

from humanparse.image import read_image
from humanparse.service.api import v2_requests
from humanparse.service.api.v2_requests import HEADER, read_inference
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

MODEL = "/v2/models/humanparse-small"
INFER = MODEL + "/infer"


def asked(photo: bytes, **more) -> dict:
    data = [base64.b64encode(photo).decode()]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}], **more}


def pixels_of(photo: bytes) -> np.ndarray:
    return read_image(photo).pixels


def of_pixels(shape, data, **more) -> dict:
    return {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": list(shape), "data": data}],
        **more,
    }


def maps(answer) -> dict[str, np.ndarray]:
    """The outputs of a JSON answer."""
    found = {one["name"]: one for one in answer.json()["outputs"]}
    kinds = {"UINT8": np.uint8, "UINT16": np.uint16}
    return {
        name: json.loads(one["data"][0])
        if one["datatype"] == "BYTES"
        else np.array(one["data"], kinds[one["datatype"]]).reshape(one["shape"])
        for name, one in found.items()
    }


# What there is


def test_the_server_and_its_models_say_what_they_are(client):
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    data = client.get(MODEL).json()
    assert data["name"] == "humanparse-small" and data["versions"] == ["1"]
    assert data["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [1]}]
    assert [(one["name"], one["datatype"]) for one in data["outputs"]] == [
        ("labels", "UINT8"),
        ("people", "UINT16"),
        ("result", "BYTES"),
    ]
    assert client.get(MODEL + "/versions/1").json() == data


def test_health_is_that_of_the_service(client, dispatcher):
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        MODEL + "/ready",
        MODEL + "/versions/1/ready",
    ):
        assert client.get(path).status_code == 200, path
    dispatcher.state["idle"] = 0
    assert client.get("/v2/health/live").json() == {"live": True}
    for path in ("/v2/health/ready", MODEL + "/ready"):
        answer = client.get(path)
        assert (
            answer.status_code == 503
            and answer.headers["retry-after"] == "1"
            and answer.json()["code"] == "not_ready"
        )


@pytest.mark.parametrize(
    "path",
    ["/v2/models/nothing", MODEL + "/versions/2", MODEL + "/versions/2/ready", "/v2/nothing"],
)
def test_what_is_not_there_is_404_in_the_protocols_shape(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == "not_found" and answer.json()["error"]


# Tensors in and out


def test_a_photo_gives_the_maps_and_people_that_parse_gives(client, photo):
    answer = client.post(INFER, json=asked(photo, id="seven"))
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json()["id"] == "seven" and answer.json()["model_version"] == "1"
    found, wanted = maps(answer), client.post("/parse", content=photo).json()
    assert found["labels"].shape == found["people"].shape == (1, 256, 256)
    person = wanted["people"][0]
    assert (found["people"] == 1).sum() == person["area"] == found["result"]["people"][0]["area"]
    for part in person["parts"]:
        assert ((found["labels"] == part["class_id"]) & (found["people"] == 1)).sum() == part[
            "area"
        ]


def test_every_way_of_sending_pixels_gives_the_same(client, photo, dispatcher):
    pixels = pixels_of(photo)
    flat, head = (
        pixels.ravel().tolist(),
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": [1, 256, 256, 3],
                    "parameters": {"binary_data_size": pixels.nbytes},
                }
            ]
        },
    )
    text = json.dumps(head).encode()
    answers = [
        client.post(INFER, json=of_pixels((256, 256, 3), pixels.tolist())),
        client.post(INFER, json=of_pixels((1, 256, 256, 3), flat)),
        client.post(INFER, content=text + pixels.tobytes(), headers={HEADER: str(len(text))}),
        client.post(
            MODEL + "/versions/1/infer", json=of_pixels((1, 256, 256, 3), [pixels.tolist()])
        ),
    ]
    assert {answer.status_code for answer in answers} == {200} and len(
        {answer.content for answer in answers}
    ) == 1
    assert len(dispatcher.tasks) == 1 and answers[1].headers["x-cache"] == "hit"


def test_outputs_come_as_bytes_behind_the_json_if_asked_for(client, photo):
    plain = maps(client.post(INFER, json=asked(photo)))
    outputs = [
        {"name": "people", "parameters": {"binary_data": True}},
        {"name": "labels"},
        {"name": "result", "parameters": {"binary_data": True}},
    ]
    answer = client.post(INFER, json=asked(photo, outputs=outputs))
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[HEADER])
    people, labels, result = json.loads(answer.content[:length])["outputs"]
    tail = answer.content[length:]
    size = people["parameters"]["binary_data_size"]
    assert (np.frombuffer(tail[:size], "<u2").reshape(people["shape"]) == plain["people"]).all()
    assert (np.array(labels["data"]).reshape(labels["shape"]) == plain["labels"]).all()
    text = tail[size:]
    assert (
        int.from_bytes(text[:4], "little")
        == len(text) - 4
        == result["parameters"]["binary_data_size"] - 4
    )
    assert json.loads(text[4:])["people"] == plain["result"]["people"]


def test_only_what_is_asked_for_comes(client, photo):
    answer = client.post(INFER, json=asked(photo, outputs=[{"name": "labels"}]))
    assert [one["name"] for one in answer.json()["outputs"]] == ["labels"]
    binary = client.post(INFER, json=asked(photo, parameters={"binary_data_output": True}))
    head = json.loads(binary.content[: int(binary.headers[HEADER])])
    assert (
        all("binary_data_size" in one["parameters"] for one in head["outputs"])
        and len(head["outputs"]) == 3
    )


def test_the_file_alone_may_be_the_body(client, photo):
    assert maps(client.post(INFER, content=photo, headers={HEADER: "0"}))["people"].max() == 1


def test_options_are_parameters(client, photo, dispatcher):
    client.post(
        INFER, json=asked(photo, parameters={"min_score": 0.9, "max_side": 128, "sequence_id": 0})
    )
    assert (
        dispatcher.tasks[0][0].head["min_score"] == 0.9
        and dispatcher.tasks[0][0].head["max_side"] == 128
    )
    assert (
        client.post(INFER, json=asked(photo, parameters={"min_scor": 1})).json()["code"]
        == "bad_option"
    )


def test_a_picture_without_people_is_an_ordinary_answer(client, nobody):
    found = maps(client.post(INFER, json=asked(nobody)))
    assert (
        found["labels"].shape == (1, 64, 96)
        and not found["labels"].any()
        and found["result"]["people"] == []
    )


# Errors


def image(**changes) -> bytes:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": [1, 2, 3]} | changes
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"hello", "not valid JSON"),
        (b"[" * 10_000, "not valid JSON"),
        (b"[]", "should be a JSON object"),
        (b"{}", "'inputs' should be"),
        (json.dumps({"inputs": [{}, {}]}).encode(), "'inputs' should be"),
        (image(name="photo"), "should be 'image'"),
        (image(datatype="FP32"), "send BYTES"),
        (image(datatype=None), "send BYTES"),
        (image(shape="big"), "whole numbers"),
        (image(shape=[1, 1, True]), "whole numbers"),
        (image(shape=[]), "whole numbers"),
        (image(shape=[1] * 5), "whole numbers"),
        (image(datatype="BYTES", shape=[2]), "send BYTES"),
        (image(shape=[1, 2, 3]), "take 6 values, but 3"),
        (image(shape=[2, 1, 1, 3]), "send BYTES"),
        (image(shape=[1, 3]), "send BYTES"),
        (image(data=[1, 2, 300]), "0 to 255"),
        (image(data=[1, 2, "3"]), "0 to 255"),
        (image(data=5), "0 to 255"),
        (image(data=[[1], 2]), "mixes"),
        (image(data=None), "0 to 255"),
        (image(parameters={"binary_data_size": 3}), "follow the JSON"),
        (image(parameters=[]), "should be a JSON object"),
        (image(datatype="BYTES", shape=[1], data=["%%"]), "base64"),
        (image(datatype="BYTES", shape=[1], data=[1]), "base64"),
        (image(datatype="BYTES", shape=[1], data=[""]), "empty"),
    ],
)
def test_a_tensor_that_is_none_is_told(body, says):
    with pytest.raises(Problem, match=says) as caught:
        read_inference(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "scores"}],
        ["labels"],
        {"name": "labels"},
        [{"name": ["labels"]}],
        [{"name": "labels"}, {"name": "labels"}],
        [{"name": "labels", "parameters": 1}],
    ],
)
def test_outputs_that_are_none_are_told(outputs):
    with pytest.raises(Problem) as caught:
        read_inference(json.dumps({**json.loads(image()), "outputs": outputs}).encode())
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize("tail", [b"", b"\x01\x00", b"\x05\x00\x00\x00abc", b"\xff\xff\xff\xffabc"])
def test_a_binary_element_that_lies_about_its_length_is_told(tail):
    text = image(datatype="BYTES", shape=[1], parameters={"binary_data_size": len(tail)})
    with pytest.raises(Problem, match="one element"):
        read_inference(text + tail, len(text))


def test_too_many_numbers_in_json_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(v2_requests, "MAX_JSON_VALUES", 3)
    with pytest.raises(Problem, match="more than 3 values") as caught:
        read_inference(image())
    assert caught.value.status == 413


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "9" * 30, "²"])
def test_a_header_that_is_no_length_is_told(client, length):
    answer = client.post(INFER, content=image(), headers={HEADER: length.encode()})
    assert answer.status_code == 400 and HEADER in answer.json()["error"]


def test_packed_bodies_are_refused(client):
    answer = client.post(INFER, content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415 and "gzip" in answer.json()["error"]


def test_problems_of_picture_and_queue_keep_their_status_and_code(client, photo, dispatcher):
    answer = client.post(INFER, json=asked(b"hello"))
    assert (
        answer.status_code == 415
        and answer.json()["code"] == "not_an_image"
        and not answer.json()["retryable"]
    )
    assert (
        client.post(INFER, content=b"x" * 1_100_000, headers={HEADER: "0"}).json()["code"]
        == "body_too_large"
    )
    dispatcher.full = Problem("queue_full", "full", retry_after_s=3)
    answer = client.post(INFER, json=asked(photo))
    assert answer.status_code == 429 and answer.headers["retry-after"] == "3"
    assert answer.json()["error"] == "full" and answer.json()["retryable"]


def test_the_token_is_wanted_for_models_and_not_for_health(dispatcher, tmp_path, photo):
    from starlette.testclient import TestClient

    from humanparse.service.app import create_app

    settings = Settings(data_dir=str(tmp_path), token="secret", log_level="error")
    with TestClient(create_app(settings, dispatcher=dispatcher)) as client:
        assert (
            client.get("/v2/health/live").status_code
            == client.get("/v2/health/ready").status_code
            == 200
        )
        for answer in (client.get("/v2"), client.get(MODEL), client.post(INFER, json=asked(photo))):
            assert (
                answer.status_code == 401
                and answer.json()["code"] == "unauthorized"
                and "error" in answer.json()
            )
        client.headers["authorization"] = "Bearer secret"
        assert client.get(MODEL).status_code == 200


# A client that others wrote


@pytest.mark.slow
def test_tritonclient_works_with_a_running_server(tmp_path, photo):
    http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    utils = pytest.importorskip("tritonclient.utils")
    with serve(tmp_path, "--workers", "1") as served:
        client = http.InferenceServerClient(served.url.removeprefix("http://"))
        try:
            assert (
                client.is_server_live()
                and client.is_server_ready()
                and client.is_model_ready("humanparse-small")
            )
            assert client.get_model_metadata("humanparse-small", "1")["platform"] == "humanparse"
            file = http.InferInput("image", [1], "BYTES")
            file.set_data_from_numpy(np.array([photo], np.object_))
            by_file = client.infer("humanparse-small", [file], request_id="7")
            pixels = pixels_of(photo)[None]
            raw = http.InferInput("image", pixels.shape, "UINT8")
            raw.set_data_from_numpy(pixels)
            wanted = [
                http.InferRequestedOutput(name, binary_data=name != "people")
                for name in ("labels", "people", "result")
            ]
            by_pixels = client.infer("humanparse-small", [raw], outputs=wanted)
            for name in ("labels", "people"):
                one, other = by_file.as_numpy(name), by_pixels.as_numpy(name)
                assert (
                    one.dtype == other.dtype
                    and one.shape == (1, 256, 256)
                    and one.any()
                    and (one == other).all()
                )
            assert by_file.get_response()["id"] == "7"
            assert json.loads(by_pixels.as_numpy("result")[0])["people"][0]["id"] == 1
            file.set_data_from_numpy(np.array([b"hello"], np.object_))
            with pytest.raises(utils.InferenceServerException, match="expected a picture"):
                client.infer("humanparse-small", [file])
            with pytest.raises(utils.InferenceServerException, match="there is no model"):
                client.get_model_metadata("nothing")
        finally:
            client.close()
