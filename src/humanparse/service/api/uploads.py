"""Reads pictures and options from a request's body, in memory.

A picture arrives as a file in the field `image` of a form, as the body itself, or in base64 under
the key `image` of a JSON body. Only forms, JSON and base64 are decoded here, never pictures. The
size of a body is limited before, in http/limits.py.
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
from humanparse.service.names import clean_name
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

RAW_TYPES = ("application/octet-stream", "binary/octet-stream")
_HOW = (
    "send a form with a file in the field 'image', the picture itself with a content type such as "
    "image/jpeg, or JSON with base64 under the key 'image'"
)


@dataclass(frozen=True)
class UploadedPicture:
    """The bytes of one file, and the name that the client gave it, "" if there is none."""

    data: bytes
    file_name: str = ""


@dataclass(frozen=True)
class PictureUpload:
    """What a request contains.

    Attributes:
        pictures: The pictures, in the order of the request.
        query: Options in the query, by name.
        fields: Options in the body, by name.
    """

    pictures: tuple[UploadedPicture, ...]
    query: Mapping[str, Any]
    fields: Mapping[str, Any]


async def read_picture(request: Request, settings: Settings) -> PictureUpload:
    """Read a request with one picture.

    Args:
        request: Its body is read to the end.
        settings: For the limits.

    Returns:
        The upload, with exactly one picture.

    Raises:
        Problem: If there is no picture or more than one, or if the body cannot be read.
    """
    upload = await read_pictures(request, settings, max_pictures=1)
    if len(upload.pictures) != 1:
        raise Problem(
            "bad_request",
            f"{len(upload.pictures)} pictures arrived; send one, or several to /v1/batch",
        )
    return upload


async def read_pictures(request: Request, settings: Settings, max_pictures: int) -> PictureUpload:
    """Read a request with one or more pictures.

    Several pictures are several file fields of a form or the list `images` of a JSON body.

    Args:
        request: Its body is read to the end.
        settings: For the limits.
        max_pictures: The most pictures that may arrive.

    Returns:
        The upload; none of its pictures is empty.

    Raises:
        Problem: bad_request, body_too_large or unsupported_media_type.
    """
    kind = kind_of(request)
    fields: Mapping[str, Any] = {}
    if kind == FORM:
        pictures, fields = await _from_form(request, settings, max_pictures)
    elif kind == "application/json":
        pictures, fields = await _from_json(request, max_pictures)
    elif kind.startswith("image/") or kind in RAW_TYPES or not kind:
        pictures = [UploadedPicture(await whole_body(request))]
    else:
        raise unsupported(request, _HOW)
    if not pictures or not all(picture.data for picture in pictures):
        raise Problem("bad_request", f"a picture is missing or empty; {_HOW}")
    return PictureUpload(tuple(pictures), _query(request), fields)


async def whole_body(request: Request) -> bytes:
    """Return the body; Request.body() would keep a copy of it until the request is finished."""
    return b"".join([chunk async for chunk in request.stream()])


def _query(request: Request) -> dict[str, Any]:
    return {name: _one_or_more(request.query_params.getlist(name)) for name in request.query_params}


def _one_or_more(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


# Forms


class _InMemory:
    """Collects one picture of a form; the size of the body is limited before."""

    def __init__(self, pictures: list[UploadedPicture], file_name: str):
        self._pictures, self._file_name, self._data = pictures, file_name, bytearray()

    def write(self, data: memoryview) -> None:
        self._data += data

    def end(self) -> None:
        self._pictures.append(UploadedPicture(bytes(self._data), self._file_name))

    def close(self) -> None:
        self._data.clear()


async def _from_form(
    request: Request, settings: Settings, max_pictures: int
) -> tuple[list[UploadedPicture], dict[str, Any]]:
    pictures: list[UploadedPicture] = []

    def open_file(name: str, file_name: str) -> Sink:
        if len(pictures) >= max_pictures:
            more = "; send several to /v1/batch" if max_pictures == 1 else ""
            files = "1 file" if max_pictures == 1 else f"{max_pictures} files"
            raise Problem("bad_request", f"the form contains more than {files}{more}")
        return _InMemory(pictures, clean_name(file_name))

    fields = await read_form(request, open_file, max_fields=settings.max_fields, how=_HOW)
    return pictures, {name: _one_or_more(values) for name, values in fields.items()}


# JSON


async def _from_json(
    request: Request, max_pictures: int
) -> tuple[list[UploadedPicture], dict[str, Any]]:
    body = await whole_body(request)
    data = await asyncio.to_thread(_parsed, body)
    if max_pictures == 1:
        texts = [data.pop("image", None)]
    else:
        texts = data.pop("images", None)
        if not isinstance(texts, list) or not 1 <= len(texts) <= max_pictures:
            raise Problem(
                "bad_request",
                f"the key 'images' should be a list of 1 to {max_pictures} pictures in base64",
            )
    return [UploadedPicture(await asyncio.to_thread(_decoded, text)) for text in texts], data


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("bad_request", f"the body is not valid JSON; {_HOW}") from None
    if not isinstance(data, dict):
        raise Problem(
            "bad_request", 'the body is JSON but not an object; send {"image": "<base64>"}'
        )
    return data


def _decoded(text: Any) -> bytes:
    """Decode a picture from base64, with or without `data:image/…;base64,` in front."""
    if not isinstance(text, str):
        raise Problem(
            "bad_request", "a picture in JSON should be a string in base64 under the key 'image'"
        )
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad_request", "a picture in the JSON is not valid base64") from None
