"""A request's body → the picture's bytes and the options beside it. Nothing is decoded here but forms, JSON and base64.

A picture arrives as the file `image` of a form, as the body itself, or in base64 as the key `image` of a JSON body.
Its file name is not looked at. Bodies stay in memory; how large they may be is settled before (edge.py).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

FILE_FIELDS = ("image", "file")  # what clients call the picture: the first is ours
FILE_NAMES = tuple(name.encode() for name in FILE_FIELDS)
RAW_TYPES = ("application/octet-stream", "binary/octet-stream")
MAX_FIELD_BYTES = 4096
_HOW = "send a form with the file field 'image', the picture itself as image/jpeg or alike, or JSON with base64 in 'image'"


@dataclass(frozen=True)
class Upload:
    """What came with a request: pictures as the files' bytes, and options by name, of the query and of the body."""

    pictures: tuple[bytes, ...]
    query: Mapping[str, Any]
    fields: Mapping[str, Any]


async def read_picture(request: Request, settings: Settings) -> Upload:
    """The request's one picture. Raises Problem if there is none, more than one, or a body that cannot be read."""
    upload = await read_pictures(request, settings, most=1)
    if len(upload.pictures) != 1:
        raise Problem("bad_request", f"{len(upload.pictures)} pictures arrived; send one, or several to /v1/batch")
    return upload


async def read_pictures(request: Request, settings: Settings, most: int) -> Upload:
    """One to `most` pictures: several file fields of a form, or the list `images` of a JSON body.

    Raises Problem bad_request, body_too_large or unsupported_media_type.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        pictures, fields = await _from_form(request, settings, most)
    elif kind == "application/json":
        pictures, fields = await _from_json(request, most)
    elif kind.startswith("image/") or kind in RAW_TYPES or not kind:
        pictures, fields = [await request.body()], {}
    else:
        raise Problem("unsupported_media_type", f"the body is {kind[:100]!r}; {_HOW}")
    if not pictures or not all(pictures):
        raise Problem("bad_request", f"a picture is missing or empty; {_HOW}")
    return Upload(tuple(pictures), _query(request), fields)


def _query(request: Request) -> dict[str, Any]:
    return {name: _one_or_more(request.query_params.getlist(name)) for name in request.query_params}


def _one_or_more(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


# Forms

class _InMemory(MultiPartParser):
    spool_max_size = 0  # never in a temporary file: the body's size is bounded before

    def on_headers_finished(self) -> None:
        """A picture is a picture also where it comes without a file name, as in a job."""
        _, given = parse_options_header(part := self._current_part.content_disposition)
        if b"filename" not in given and given.get(b"name") in FILE_NAMES:
            self._current_part.content_disposition = part + b'; filename=""'
        super().on_headers_finished()


async def _from_form(request: Request, settings: Settings, most: int) -> tuple[list[bytes], dict[str, Any]]:
    parser = _InMemory(
        request.headers, request.stream(), max_files=most, max_fields=settings.max_fields, max_part_size=MAX_FIELD_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem("bad_request", _form_trouble(error, settings, most)) from None
    try:
        return await _sorted_out(form.multi_items())
    finally:
        await form.close()


async def _sorted_out(items: list[tuple[str, str | UploadFile]]) -> tuple[list[bytes], dict[str, Any]]:
    """A form's files and its other fields."""
    pictures: list[bytes] = []
    fields: dict[str, list[str]] = {}
    for name, value in items:
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
        elif name in FILE_FIELDS:
            pictures.append(await value.read())
        else:
            raise Problem("bad_request", f"there is a file in the field {name[:60]!r}; the field of a picture is 'image'")
    return pictures, {name: _one_or_more(values) for name, values in fields.items()}


def _form_trouble(error: MultiPartException, settings: Settings, most: int) -> str:
    """What is wrong with a form, in our words: the library's speak of its own parameters."""
    if "files" in error.message:
        more = "; several go to /v1/batch" if most == 1 else ""
        return f"the form holds more than {most} file{'s' * (most != 1)}{more}"
    if "fields" in error.message:
        return f"the form holds more than {settings.max_fields} fields"
    if "Part exceeded" in error.message:
        return f"a field of the form is longer than {MAX_FIELD_BYTES} bytes; a picture is to be sent as a file, with a file name"
    return f"the form cannot be read ({error.message}); {_HOW}"


# JSON

async def _from_json(request: Request, most: int) -> tuple[list[bytes], dict[str, Any]]:
    body = await request.body()
    data = await asyncio.to_thread(_parsed, body)
    if most == 1:
        texts = [data.pop("image", None)]
    else:
        texts = data.pop("images", None)
        if not isinstance(texts, list) or not 1 <= len(texts) <= most:
            raise Problem("bad_request", f"the key 'images' should be a list of 1 to {most} pictures in base64")
    return [await asyncio.to_thread(_decoded, text) for text in texts], data


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("bad_request", f"the body is not JSON; {_HOW}") from None
    if not isinstance(data, dict):
        raise Problem("bad_request", "the body is JSON but not an object; send {\"image\": \"<base64>\"}")
    return data


def _decoded(text: Any) -> bytes:
    """A picture from base64, with or without `data:image/…;base64,` before it."""
    if not isinstance(text, str):
        raise Problem("bad_request", "a picture in JSON should be a text in base64, under the key 'image'")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad_request", "a picture in JSON is not valid base64") from None
