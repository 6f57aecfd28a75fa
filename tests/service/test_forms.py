"""Forms mean the same for pictures and jobs, and problems with them have the same wording."""

import asyncio

import pytest
from starlette.requests import Request

from humanparse.service.api.forms import FILE_FIELDS, MAX_FIELD_BYTES, read_form
from humanparse.service.problems import Problem

KIND = "multipart/form-data; boundary=b"
WAYS = ("/parse", "/v1/jobs")


class Kept:
    """A sink that keeps the bytes, and records what happens to it."""

    def __init__(self, files: list, name: str, file_name: str):
        self.data, self.events = b"", []
        files.append((name, file_name, self))

    def write(self, data):
        self.data += data

    def end(self):
        self.events.append("end")

    def close(self):
        self.events.append("close")


def part(name: str, data: bytes, file_name: str | None = None) -> bytes:
    named = "" if file_name is None else f'; filename="{file_name}"'
    head = f'Content-Disposition: form-data; name="{name}"{named}'
    return b"--b\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


def read(body: bytes, step: int, **given) -> tuple[dict, list]:
    """Return the fields and files of a form that arrives in pieces of `step` bytes."""
    chunks = [body[start : start + step] for start in range(0, len(body), step)]

    async def receive():
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    files: list = []
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", KIND.encode())]}
    given = {"max_fields": 3, "how": "send a form"} | given
    fields = asyncio.run(
        read_form(
            Request(scope, receive), lambda name, file_name: Kept(files, name, file_name), **given
        )
    )
    return fields, files


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_files_and_fields_come_apart_however_the_bytes_arrive(step):
    data = bytes(range(256)) + b"\r\n--c"
    body = (
        part("image", data, "a.jpg")
        + part("palette", "grün".encode())
        + part("file", b"x")
        + part("palette", b"clear")
        + b"--b--\r\n"
    )
    fields, files = read(body, step)
    assert fields == {"palette": ["grün", "clear"]}
    assert [(name, file_name) for name, file_name, _ in files] == [("image", "a.jpg"), ("file", "")]
    assert [file.data for *_, file in files] == [data, b"x"]
    assert all(file.events == ["end", "close"] for *_, file in files)


def test_a_file_that_breaks_off_is_closed_and_not_kept():
    files: list = []
    with pytest.raises(Problem, match="incomplete"):
        read(part("image", b"x" * 100, "a.jpg")[:-2], 50, file_fields=FILE_FIELDS)
    with pytest.raises(OSError, match="full"):
        asyncio.run(_into_a_full_disk(files))
    assert files[0].events == ["close"]


async def _into_a_full_disk(files: list) -> None:
    class Full(Kept):
        def write(self, data):
            raise OSError("the disk is full")

    def opened(name, file_name):
        sink = Full([], name, file_name)
        files.append(sink)
        return sink

    async def receive():
        return {"type": "http.request", "body": part("image", b"x", "a"), "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", KIND.encode())]}
    await read_form(Request(scope, receive), opened, max_fields=1, how="")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"--b\r\n" + b"x" * 9000 + b": y\r\n\r\n", "the form cannot be read"),
        (b"x" * 99, "the form cannot be read"),
        (part("image", b"x", "a.jpg"), "the form is incomplete"),
        (
            b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
            "a part of the form has no name",
        ),
        (part("image", b"", "a.jpg") + b"--b--\r\n", "the file in the field 'image' is empty"),
        (part("photo", b"x", "a.jpg") + b"--b--\r\n", "the field 'photo' should not be a file"),
        (
            part("model", b"x" * (MAX_FIELD_BYTES + 1)) + b"--b--\r\n",
            f"the field 'model' is longer than {MAX_FIELD_BYTES} bytes",
        ),
        (
            b"".join(part(f"f{n}", b"x") for n in range(65)) + b"--b--\r\n",
            "the form contains more than 64 fields",
        ),
    ],
)
def test_what_is_wrong_with_a_form_is_said_in_the_same_words_everywhere(client, body, words):
    for way in WAYS:
        answer = client.post(way, content=body, headers={"content-type": KIND})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), way
        assert answer.json()["detail"].partition(";")[0] == words


def test_a_field_may_be_as_long_and_a_picture_be_called_the_same_everywhere(client):
    for way in WAYS:
        for name in FILE_FIELDS:
            body = part("model", b"x" * MAX_FIELD_BYTES) + part(name, b"x") + b"--b--\r\n"
            answer = client.post(way, content=body, headers={"content-type": KIND})
            assert answer.json()["code"] == "unknown_model"
