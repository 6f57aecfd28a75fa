"""Nothing of a photo's metadata, and no file name, is in any output, log, cache, job or metric."""

import io
import json
from pathlib import Path

from PIL import Image
from served import serve, web
from waiting import until

from hardening import samples
from hardening.conftest import PHOTO
from hardening.looking import ask, get_json

FORMATS = (
    "answer",
    "overlay",
    "outlines",
    "colormap",
    "labels",
    "people",
    "cutout",
    "json",
    "coco",
    "labelme",
    "npz",
)
NAME = "holiday-of-Mallory-0815"


def spoken(secret: str) -> list[bytes]:
    return [secret.encode(), secret.encode("utf-16-le"), secret.encode("utf-16-be")]


def check(what: str, data: bytes) -> None:
    for secret in (samples.GPS, samples.OWNER, NAME):
        assert not any(form in data for form in spoken(secret)), f"{secret!r} is in {what}"
    assert b"Exif\0\0" not in data and b"GPS" not in data, f"metadata in {what}"


def test_no_metadata_and_no_file_name_comes_out_anywhere(tmp_path):
    image = Image.open(PHOTO).convert("RGB").resize((200, 160))
    with serve(
        tmp_path, "--workers", "1", "--cache-disk-mb", "20", "--log-level", "debug"
    ) as served:
        for kind in ("JPEG", "PNG", "TIFF"):
            photo = samples.with_secrets(image, kind)
            assert any(form in photo for form in spoken(samples.OWNER)), (
                "the sample has its secrets"
            )
            look_through(served, photo)
        check("the metrics", ask(served, "GET", "/metrics")[2])
        until(lambda: any(tmp_path.joinpath("data/cache").rglob("??/*")), "the cache on disk")
    check("the log", served.log.read_bytes())
    for file in Path(tmp_path, "data").rglob("*"):
        if file.is_file():
            check(f"the file {file.name}", file.read_bytes())


def look_through(served, photo: bytes) -> None:
    """Everything that can be requested about that photo."""
    for form in FORMATS:
        answer = web.post(
            f"{served.url}/parse?format={form}", files={"image": (f"{NAME}.jpg", photo)}, timeout=60
        )
        assert answer.status_code == 200
        check(f"the format {form}", answer.content + repr(answer.headers).encode())
        if answer.headers["content-type"].startswith("image/"):
            picture = Image.open(io.BytesIO(answer.content))
            assert not picture.getexif() and not {"exif", "xmp", "comment"} & set(picture.info)
    for style in ("colormap", "overlay"):
        check("/predict", ask(served, path=f"/predict?style={style}", body=photo)[2])
    for bad in (photo[: len(photo) // 2], samples.OWNER.encode() + photo):
        check_refusal(
            web.post(f"{served.url}/parse", files={"image": (f"{NAME}.jpg", bad)}, timeout=60),
            bad,
        )
    job = web.post(f"{served.url}/v1/jobs", files={"image": ("a.jpg", photo)}, timeout=60).json()[
        "id"
    ]
    until(lambda: get_json(served, f"/v1/jobs/{job}")["state"] == "done", "the end of the job")
    check("a job's results", ask(served, "GET", f"/v1/jobs/{job}/results")[2])
    check("a job's zip", ask(served, "GET", f"/v1/jobs/{job}/results.zip")[2])


def check_refusal(answer, bad: bytes) -> None:
    """It may show the first bytes of something that is no picture, and nothing else of it."""
    assert 400 <= answer.status_code < 500
    detail = json.loads(answer.content)["detail"]
    assert NAME not in detail and samples.GPS not in detail
    assert samples.OWNER not in detail or bad.startswith(samples.OWNER.encode())
