"""A request's body → the picture's bytes and the options beside it. Nothing is decoded here but
forms, JSON and base64.

A picture arrives as the file `image` of a form, as the body itself, or in base64 as the key `image`
of a JSON body. Its file name is not looked at. Bodies stay in memory; how large they may be is
settled before (edge.py).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from humanparse.service.api.forms import FORM, Sink, kind_of, read_form, unsupported
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

RAW_TYPES = ("application/octet-stream", "binary/octet-stream")
_HOW = "send a form with the file field 'image', the picture itself as image/jpeg or alike, or JSON with base64 in 'image'"


@dataclass(frozen=True)
class Upload:
    """What came with a request: pictures as the files' bytes, and options by name, of the query and
    of the body."""

    pictures: tuple[bytes, ...]
    query: Mapping[str, Any]
    fields: Mapping[str, Any]


async def read_picture(request: Request, settings: Settings) -> Upload:
    """The request's one picture. Raises Problem if there is none, more than one, or a body that
    cannot be read."""
    upload = await read_pictures(request, settings, most=1)
    if len(upload.pictures) != 1:
        raise Problem(
            "bad_request",
            f"{len(upload.pictures)} pictures arrived; send one, or several to /v1/batch",
        )
    return upload


async def read_pictures(request: Request, settings: Settings, most: int) -> Upload:
    """One to `most` pictures: several file fields of a form, or the list `images` of a JSON body.

    Raises Problem bad_request, body_too_large or unsupported_media_type.
    """
    kind = kind_of(request)
    if kind == FORM:
        pictures, fields = await _from_form(request, settings, most)
    elif kind == "application/json":
        pictures, fields = await _from_json(request, most)
    elif kind.startswith("image/") or kind in RAW_TYPES or not kind:
        pictures, fields = [await whole_body(request)], {}
    else:
        raise unsupported(request, _HOW)
    if not pictures or not all(pictures):
        raise Problem("bad_request", f"a picture is missing or empty; {_HOW}")
    return Upload(tuple(pictures), _query(request), fields)


async def whole_body(request: Request) -> bytes:
    """The body. Request.body() would keep it as long as the picture in it is in work."""
    return b"".join([chunk async for chunk in request.stream()])


def _query(request: Request) -> dict[str, Any]:
    return {name: _one_or_more(request.query_params.getlist(name)) for name in request.query_params}


def _one_or_more(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


# Forms


class _InMemory:
    """One picture of a form; the body's size is bounded before."""

    def __init__(self, pictures: list[bytes]):
        self._pictures, self._data = pictures, bytearray()

    def write(self, data: memoryview) -> None:
        self._data += data

    def end(self) -> None:
        self._pictures.append(bytes(self._data))

    def close(self) -> None:
        self._data.clear()


async def _from_form(
    request: Request,
    settings: Settings,
    most: int,
) -> tuple[list[bytes], dict[str, Any]]:
    pictures: list[bytes] = []

    def open_file(name: str, file_name: str) -> Sink:
        if len(pictures) >= most:
            more = "; several go to /v1/batch" if most == 1 else ""
            files = "1 file" if most == 1 else f"{most} files"
            raise Problem("bad_request", f"the form holds more than {files}{more}")
        return _InMemory(pictures)

    fields = await read_form(request, open_file, max_fields=settings.max_fields, how=_HOW)
    return pictures, {name: _one_or_more(values) for name, values in fields.items()}


# JSON


async def _from_json(request: Request, most: int) -> tuple[list[bytes], dict[str, Any]]:
    body = await whole_body(request)
    data = await asyncio.to_thread(_parsed, body)
    if most == 1:
        texts = [data.pop("image", None)]
    else:
        texts = data.pop("images", None)
        if not isinstance(texts, list) or not 1 <= len(texts) <= most:
            raise Problem(
                "bad_request",
                f"the key 'images' should be a list of 1 to {most} pictures in base64",
            )
    return [await asyncio.to_thread(_decoded, text) for text in texts], data


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("bad_request", f"the body is not JSON; {_HOW}") from None
    if not isinstance(data, dict):
        raise Problem(
            "bad_request", 'the body is JSON but not an object; send {"image": "<base64>"}'
        )
    return data


def _decoded(text: Any) -> bytes:
    """A picture from base64, with or without `data:image/…;base64,` before it."""
    if not isinstance(text, str):
        raise Problem(
            "bad_request", "a picture in JSON should be a text in base64, under the key 'image'"
        )
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad_request", "a picture in JSON is not valid base64") from None
