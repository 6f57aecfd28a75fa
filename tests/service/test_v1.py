"""What clients get from each endpoint."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from humanparse.formats import from_json
from humanparse.masks import Mask
from humanparse.service.problems import Problem


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


# /parse


def test_a_form_with_a_picture_gives_people_parts_and_what_old_clients_read(client, photo):
    answer = client.post("/parse", files={"image": ("me.jpg", photo)})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    data = answer.json()
    assert data["success"] is True and len(data["labels"]) == len(data["scores"]) > 3
    assert data["labels"][-1] == "Human" and "Face" in data["labels"]
    assert decoded(data["result_image"]).size == (data["width"], data["height"]) == (256, 256)
    person = data["people"][0]
    assert person["id"] == 1 and 0 < person["score"] <= 1
    face = next(part for part in person["parts"] if part["label"] == "Face")
    assert Mask.from_rle(face["mask"]).area == face["area"] > 100


def test_every_way_of_sending_gives_the_same(client, photo):
    ways = [
        {"files": {"image": ("a.jpg", photo)}},
        {"files": {"file": ("a.jpg", photo)}},
        {"content": photo, "headers": {"content-type": "image/jpeg"}},
        {"content": photo},
        {"content": photo, "headers": {"content-type": "application/octet-stream"}},
        {"json": {"image": base64.b64encode(photo).decode()}},
        {"json": {"image": "data:image/jpeg;base64," + base64.b64encode(photo).decode()}},
    ]
    assert len({client.post("/parse", **way).content for way in ways}) == 1


def test_options_mean_the_same_in_form_query_and_json(client, photo, dispatcher):
    wanted = {"min_score": "0.6", "palette": "classic", "include": "labels"}
    client.post("/parse", files={"image": photo}, data=wanted)
    client.post("/parse", params=wanted, content=photo)
    picture = base64.b64encode(photo).decode()
    client.post(
        "/parse",
        json={"image": picture, "min_score": 0.6, "palette": "classic", "include": ["labels"]},
    )
    assert len(dispatcher.tasks) == 1, "the second and third should have been known from the first"
    assert dispatcher.tasks[0][0].head["include"] == ["labels"]


def test_the_maps_hold_classes_and_people(client, photo):
    data = client.post("/parse", files={"image": photo}, data={"include": "labels,rle"}).json()
    label_map, person_map = (
        np.array(decoded(data["label_map"])),
        np.array(decoded(data["person_map"])),
    )
    for person in data["people"]:
        assert ((person_map == person["id"]) == Mask.from_rle(person["mask"]).to_dense()).all()
        for part in person["parts"]:
            mask = Mask.from_rle(part["mask"]).to_dense()
            assert (label_map[mask] == part["class_id"]).all()
            assert data["classes"][part["class_id"]] == part["label"]


def test_masks_polygons_and_pictures_come_if_asked_for(client, photo):
    bare = client.post("/parse", params={"include": "none"}, content=photo).json()
    assert "mask" not in bare["people"][0] and "overlay" not in bare and "label_map" not in bare
    rich = client.post(
        "/parse", params={"include": "polygons,overlay,colormap"}, content=photo
    ).json()
    assert "mask" not in rich["people"][0] and rich["people"][0]["polygons"][0]
    assert decoded(rich["overlay"]).size == (256, 256) and rich["colormap"] == rich["result_image"]


def test_a_file_may_be_asked_for_instead(client, photo):
    labels = client.post("/parse", params={"format": "labels"}, content=photo)
    assert (
        labels.headers["content-type"] == "image/png"
        and Image.open(io.BytesIO(labels.content)).mode == "P"
    )
    text = client.post("/parse", params={"format": "json"}, content=photo)
    assert from_json(text.content).people[0].parts["Face"].area > 100
    npz = client.post("/parse", params={"format": "npz"}, content=photo)
    assert np.load(io.BytesIO(npz.content))["label_map"].shape == (256, 256)


def test_nobody_is_an_ordinary_answer(client, nobody):
    data = client.post("/parse", content=nobody).json()
    assert data["success"] is True and data["people"] == [] and data["labels"] == []
    assert decoded(data["result_image"]).size == (96, 64)


def test_orientation_is_applied_and_metadata_stay_here(client, photo):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((256, 128)).save(file, "JPEG", exif=exif)
    answer = client.post(
        "/parse", params={"include": "overlay,labels,rle"}, content=file.getvalue()
    )
    assert (answer.json()["width"], answer.json()["height"]) == (128, 256)
    for picture in (answer.json()["overlay"], answer.json()["result_image"]):
        assert not decoded(picture).getexif()
    predicted = client.post("/predict", params={"style": "overlay"}, content=file.getvalue())
    assert (
        b"secret" not in answer.content + predicted.content
        and not Image.open(io.BytesIO(predicted.content)).getexif()
    )


@pytest.mark.parametrize(
    ("sent", "code", "status"),
    [
        ({"content": b"hello"}, "not_an_image", 415),
        ({"content": b""}, "bad_request", 400),
        ({"files": {"image": b""}}, "bad_request", 400),
        ({"files": {"picture": b"x"}}, "bad_request", 400),
        ({"files": [("image", b"x"), ("image", b"y")]}, "bad_request", 400),
        ({"data": {"image": "x"}, "files": {"other": b"x"}}, "bad_request", 400),
        ({"data": {str(n): "x" for n in range(65)}, "files": {"image": b"x"}}, "bad_request", 400),
        ({"data": {"palette": "x" * 5000}, "files": {"image": b"x"}}, "bad_request", 400),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            "bad_request",
            400,
        ),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "bad_request", 400),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "bad_request", 400),
        ({"json": [1]}, "bad_request", 400),
        ({"json": {"image": 3}}, "bad_request", 400),
        ({"json": {"image": "?!"}}, "bad_request", 400),
        (
            {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
            "bad_request",
            400,
        ),
        (
            {"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}},
            "unsupported_media_type",
            415,
        ),
        ({"content": b"x" * 1_000_001}, "body_too_large", 413),
        ({"content": b"x", "params": {"palette": "loud"}}, "bad_option", 422),
        ({"content": b"x", "params": {"colour": "red"}}, "bad_option", 422),
        ({"content": b"x", "params": {"model": "other"}}, "unknown_model", 422),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_one_shape(client, sent, code, status):
    answer = client.post("/parse", **sent)
    assert answer.headers["content-type"] == "application/problem+json"
    data = answer.json()
    assert (data["code"], data["status"], answer.status_code) == (code, status, status), data
    assert (
        data["instance"] == "/parse"
        and data["title"]
        and data["detail"]
        and data["retryable"] is False
    )
    assert data["request_id"] == answer.headers["x-request-id"]


def test_a_damaged_and_a_huge_picture_are_told_apart(client, photo):
    assert client.post("/parse", content=photo[: len(photo) // 2]).json()["code"] == "broken_image"
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    answer = client.post("/parse", content=file.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (
        413,
        "image_too_large",
    ) and "81" in answer.json()["detail"]


def test_known_answers_are_not_parsed_again(client, photo, dispatcher):
    first, second = (client.post("/parse", content=photo) for _ in range(2))
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.content == second.content and len(dispatcher.tasks) == 1
    assert (
        client.post("/parse", content=photo, params={"palette": "classic"}).headers["x-cache"]
        == "miss"
    )


def test_an_error_is_not_kept(client, dispatcher, photo):
    dispatcher.trouble = Problem("worker_crashed", "the parser stopped in the middle, twice")
    answer = client.post("/parse", content=photo)
    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
    dispatcher.trouble = None
    assert client.post("/parse", content=photo).status_code == 200


def test_a_full_queue_says_when_to_come_again(client, dispatcher, photo):
    dispatcher.full = Problem("queue_full", "64 requests are waiting", retry_after_s=2.3)
    answer = client.post("/parse", content=photo)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["retryable"]) == (
        429,
        "3",
        True,
    )


# /v1/edit


def test_a_photo_is_edited_by_its_regions(client, photo):
    before = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    answer = client.post(
        "/v1/edit",
        files={"image": photo},
        data={"fill": ["face=#000000", "hair=#ffffff"]},
        headers={"accept": "image/png"},
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert answer.headers["vary"] == "Accept" and "x-missing" not in answer.headers
    after = np.asarray(Image.open(io.BytesIO(answer.content)))
    data = client.post("/parse", content=photo).json()
    parts = {part["label"]: part for part in data["people"][0]["parts"]}
    assert (after[Mask.from_rle(parts["Face"]["mask"]).to_dense()] == 0).all()
    assert (after[Mask.from_rle(parts["Hair"]["mask"]).to_dense()] == 255).all()
    assert np.array_equal(after[:5], before[:5])


def test_edits_mean_the_same_in_form_query_and_json(client, photo):
    picture = base64.b64encode(photo).decode()
    ways = [
        client.post("/v1/edit", files={"image": photo}, data={"blur": "face", "strength": "2"}),
        client.post("/v1/edit", params={"blur": "face", "strength": 2}, content=photo),
        client.post("/v1/edit", json={"image": picture, "blur": ["face"], "strength": 2}),
        client.post("/v1/edit?people=1&strength=2", files={"image": photo}, data={"blur": "face"}),
        client.post(
            "/v1/edit", json={"image": picture, "blur": "face", "people": [1], "strength": 2}
        ),
    ]
    assert len({answer.content for answer in ways}) == 1 and ways[0].status_code == 200


def test_a_cut_out_is_transparent_and_what_is_missing_is_said(client, photo):
    answer = client.post("/v1/edit", params={"cutout": "person", "blur": "shoes"}, content=photo)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).mode == "RGBA"
    assert json.loads(answer.headers["x-missing"]) == ["person 1 has no shoes"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "nothing is to be edited"),
        ({"blur": "fase"}, "did you mean 'face'?"),
        ({"blur": "face:7"}, "no person 7"),
        ({"blur": "face", "people": "7"}, "no person 7"),
        ({"blur": "face", "people": "first"}, "numbers of people"),
        ({"blur": "face", "people": "1", "without_people": "2"}, "exclude each other"),
        ({"fill": "face"}, "give a region and a colour"),
        ({"background": "/etc/passwd.png"}, "no colour"),
        ({"smear": "face"}, "no option 'smear'"),
        ({"blur": "face", "strength": "0"}, "0.1 to 10"),
    ],
)
def test_impossible_edits_are_told(client, photo, options, word):
    answer = client.post("/v1/edit", params=options, content=photo)
    assert answer.status_code == 422 and answer.json()["code"] == "bad_option"
    assert word in answer.json()["detail"]


def test_the_query_of_an_edit_is_checked_where_the_form_says_otherwise(client, photo):
    form = {"blur": "face", "strength": "2"}
    answer = client.post("/v1/edit?strength=99", files={"image": photo}, data=form)
    assert answer.status_code == 422 and "strength" in answer.json()["detail"]


def test_a_form_has_room_for_fifty_edits(client, photo):
    form = {"blur": ["face:1"] * 49, "pixelate": "hair:1", "strength": "1", "people": "1"}
    assert client.post("/v1/edit", files={"image": photo}, data=form).status_code == 200
    form["blur"] += ["face:1"]
    answer = client.post("/v1/edit", files={"image": photo}, data=form)
    assert answer.status_code == 422 and "1 to 50" in answer.json()["detail"]


# /predict


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "JPEG"),
        ("image/png", "PNG"),
        ("image/webp", "WEBP"),
        ("image/avif,image/webp,*/*;q=0.8", "WEBP"),
    ],
)
def test_predict_draws_in_the_encoding_that_is_accepted(client, photo, accept, kind):
    answer = client.post("/predict", files={"image": photo}, headers={"accept": accept})
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == (kind, (256, 256))
    assert (
        answer.headers["content-type"] == f"image/{kind.lower()}"
        and "Accept" in answer.headers["vary"]
    )


def test_predict_is_in_colour_and_styles_differ(client, photo):
    pictures = {
        style: client.post(
            "/predict", params={"style": style}, content=photo, headers={"accept": "image/png"}
        ).content
        for style in ("colormap", "overlay", "outlines", "cutout")
    }
    assert len(set(pictures.values())) == 4
    assert len(Image.open(io.BytesIO(pictures["colormap"])).getcolors()) > 3
    assert Image.open(io.BytesIO(pictures["cutout"])).mode == "RGBA"


def test_what_the_dispatcher_still_holds_leaves_less_room_for_bodies(client, dispatcher, photo):
    dispatcher.held.limit_bytes, dispatcher.held.num_bytes = len(photo), 1
    answer = client.post("/parse", content=photo)
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    dispatcher.held.num_bytes = 0
    assert client.post("/parse", content=photo).status_code == 200
    assert dispatcher.held.num_bytes == 0


def test_predict_for_somebody_who_wants_no_picture(client, photo):
    answer = client.post("/predict", content=photo, headers={"accept": "text/html"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


# /v1/batch


def test_a_batch_gives_each_picture_its_own_result_or_error(client, photo, nobody):
    answer = client.post(
        "/v1/batch",
        files=[("image", photo), ("image", b"hello"), ("image", nobody)],
        data={"include": "none"},
    )
    results = answer.json()["results"]
    assert [one["index"] for one in results] == [0, 1, 2]
    assert results[0]["result"]["people"] and results[2]["result"]["people"] == []
    assert results[1]["problem"]["code"] == "not_an_image" and "result" not in results[1]


def test_a_batch_of_base64(client, photo):
    texts = [base64.b64encode(photo).decode()] * 2
    results = client.post("/v1/batch", json={"images": texts}).json()["results"]
    assert results[0]["result"]["people"] == results[1]["result"]["people"] != []


def coco_names(answer) -> list[str]:
    return [one["result"]["images"][0]["file_name"] for one in answer.json()["results"]]


def test_the_results_of_a_batch_are_named_after_their_files(client, photo):
    names = ["a/x.jpg", "b/../x.jpg", "a/x.jpg", None]
    body = b"".join(form_part("image", photo, name) for name in names) + b"--b--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    sent = client.post("/v1/batch", params={"format": "coco"}, content=body, headers=kind)
    assert coco_names(sent) == ["a/x.jpg", "b/x.jpg", "a/x-2.jpg", "image-3"]
    texts = [base64.b64encode(photo).decode()] * 2
    sent = client.post("/v1/batch", json={"images": texts, "format": "coco"})
    assert coco_names(sent) == ["image-0", "image-1"]
    sent = client.post("/v1/batch", json={"images": texts, "format": "json"})
    assert [one["result"]["name"] for one in sent.json()["results"]] == ["image-0", "image-1"]


def test_names_do_not_keep_a_batch_from_the_cache_where_results_have_none(
    client, photo, dispatcher
):
    for name in ("a.jpg", "b.jpg"):
        client.post("/v1/batch", files=[("image", (name, photo))])
    assert len(dispatcher.tasks) == 1


def form_part(name: str, data: bytes, file_name: str | None) -> bytes:
    named = "" if file_name is None else f'; filename="{file_name}"'
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + data + b"\r\n"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"files": [("image", b"x")] * 17}, "bad_request"),
        ({"json": {"images": []}}, "bad_request"),
        ({"json": {"images": ["x"] * 17}}, "bad_request"),
        ({"json": {"image": "x"}}, "bad_request"),
        ({"files": [("image", b"x")], "data": {"format": "npz"}}, "bad_option"),
    ],
)
def test_batches_that_cannot_be(client, sent, code):
    assert client.post("/v1/batch", **sent).json()["code"] == code


# Operation


def test_health_version_and_models(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/version").json()["humanparse"]
    model = client.get("/models").json()["models"][0]
    assert (
        model["name"] == "humanparse-small"
        and model["classes"][0] == "Background"
        and len(model["sha256"]) == 64
    )


def test_ready_says_what_is_going_on(client):
    data = client.get("/readyz").json()
    assert data["status"] == "ready" and data["workers"]["idle"] == 1 and data["degraded"] == []


@pytest.mark.parametrize(
    "state", [{"idle": 0}, {"last_success_age_s": None}, {"last_success_age_s": 61.0}]
)
def test_not_ready_without_a_worker_or_a_recent_success(client, dispatcher, state):
    dispatcher.state |= state
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready") and answer.headers[
        "retry-after"
    ]


def test_not_ready_but_alive_while_stopping(client, photo):
    client.app.state.draining = True
    assert client.get("/readyz").status_code == 503 and client.get("/healthz").status_code == 200
    assert client.post("/parse", content=photo).status_code == 200


def test_metrics_count_what_happened(client, photo):
    for _ in range(2):
        client.post("/parse", content=photo)
    client.post("/parse", content=b"hello")
    client.get("/nothing/here")
    text = client.get("/metrics").text
    assert 'humanparse_requests_total{code="200",method="POST",route="/parse"} 2.0' in text
    assert 'humanparse_requests_total{code="415",method="POST",route="/parse"} 1.0' in text
    assert 'humanparse_cache_total{result="hit_memory"} 1.0' in text and "/nothing" not in text


def test_unknown_paths_and_methods_are_problems_too(client):
    nothing, wrong = client.get("/nothing"), client.get("/parse")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"], wrong.headers["allow"]) == (
        405,
        "method_not_allowed",
        "POST",
    )


def test_the_api_is_described_and_shown_without_another_host(client):
    document = client.get("/openapi.json").json()
    assert {"/parse", "/predict", "/v1/batch", "/v1/jobs", "/healthz", "/readyz"} <= set(
        document["paths"]
    )
    bodies = document["paths"]["/parse"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/json", "image/jpeg"} <= set(bodies)
    page = client.get("/docs")
    assert page.status_code == 200 and "POST /parse" in page.text
    assert not re.search(r"<script(?! src=)|https://", page.text)


def test_an_unforeseen_error_says_nothing_of_the_inside(client, dispatcher, photo):
    dispatcher.trouble = RuntimeError("/secret/path went wrong")
    answer = client.post("/parse", content=photo)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_json_answers_are_plain_json(client, photo):
    assert json.loads(client.post("/parse", content=photo).content)["model"] == "humanparse-small"


def test_the_results_of_a_job_are_called_as_their_files_are(client, photo):
    files = [("image", (name, photo)) for name in ("a/x.jpg", "b/x.jpg", "b/x.jpg")]
    found = {}
    for form in ("coco", "json"):
        sent = client.post("/v1/jobs", files=files, params={"format": form})
        # The events end with the job.
        client.get(sent.json()["links"]["events"])
        lines = client.get(sent.json()["links"]["results"]).text.splitlines()
        found[form] = [json.loads(line)["result"] for line in lines]
    names = [result["images"][0]["file_name"] for result in found["coco"]]
    assert names == ["a/x.jpg", "b/x.jpg", "b/x-2.jpg"]
    parsings = [from_json(json.dumps(result)) for result in found["json"]]
    assert [parsing.name for parsing in parsings] == ["a_x", "b_x", "b_x-2"]


def test_the_files_of_all_formats_have_a_type_that_the_document_names():
    from humanparse.formats import FORMATS
    from humanparse.service.schemas import FILE_TYPES

    assert {one.content_type for one in FORMATS.values()} <= {*FILE_TYPES, "application/json"}
