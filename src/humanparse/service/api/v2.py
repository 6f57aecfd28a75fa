"""/v2: the Open Inference Protocol (REST), so that clients of KServe, Triton and OpenVINO Model
Server find what they know.

One input, `image`: BYTES [1], the file of a picture (in JSON as base64), or UINT8 [1, H, W, 3] or
[H, W, 3], its RGB pixels. Three outputs: `labels` UINT8 [1, H, W], the class of each pixel;
`people` UINT16 [1, H, W], 0 nobody, 1..n; `result` BYTES [1], the JSON of docs/json.md. Tensors
travel as JSON or, by the extension for binary data, as bytes behind it. Pixels become a PPM file
here, so that they go the way of every picture: the same limits, queue, deadline and cache.

Errors have the protocol's shape, {"error": "…"}, and the code of problems.py beside it.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import math
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from humanparse import __version__
from humanparse.service import schemas
from humanparse.service.api import responses
from humanparse.service.api.cached import Front
from humanparse.service.api.uploads import whole_body
from humanparse.service.http.disconnect import while_connected
from humanparse.service.options import TENSORS, Options, parse_options
from humanparse.service.problems import KINDS, Problem
from humanparse.service.settings import Settings

VERSION = "1"  # of every model: the name and the file say more
HEADER = "inference-header-content-length"
INPUT = "image"
OUTPUTS = {
    "labels": ("UINT8", [1, -1, -1]),
    "people": ("UINT16", [1, -1, -1]),
    "result": ("BYTES", [1]),
}
# parameters of a request that mean something here
OPTIONS = ("min_score", "max_side")
# those that clients send by themselves
IGNORED = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")
# in the JSON of a request: reading more would hold up the other requests; send binary data
MAX_JSON_VALUES = 1_000_000
COUNT_BYTES = 8  # of the length that a worker puts before the JSON, see tensors.py


@dataclass(frozen=True)
class Asked:
    """What a request wants: a picture's bytes, options by name, outputs as tensors.py names them,
    and the id to give back."""

    picture: bytes
    options: Mapping[str, Any]
    outputs: tuple[str, ...]
    request_id: str = ""


def inference_routes(settings: Settings) -> APIRouter:
    """/v2 and what is below it."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("", summary="The server", response_model=ServerAnswer, responses=_errors())
    async def server() -> Response:
        return JSONResponse(
            {"name": "humanparse", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    @router.get("/health/live", summary="The server is alive", response_model=LiveAnswer)
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get(
        "/health/ready",
        summary="Pictures are answered",
        response_model=ReadyAnswer,
        responses=_errors("not_ready"),
    )
    async def ready(request: Request) -> Response:
        _check_ready(request)
        return JSONResponse({"ready": True})

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):
        _model_routes(router, path, settings)
    return router


def _model_routes(router: APIRouter, path: str, settings: Settings) -> None:
    """The routes of one model; the same with and without a version."""

    @router.get(
        path,
        summary="What a model takes and gives",
        response_model=MetadataAnswer,
        responses=_errors("not_found"),
    )
    async def metadata(request: Request, model: str, version: str = VERSION) -> Response:
        inputs = [{"name": INPUT, "datatype": "BYTES", "shape": [1]}]
        outputs = [
            {"name": name, "datatype": kind, "shape": shape}
            for name, (kind, shape) in OUTPUTS.items()
        ]
        return JSONResponse(
            {
                "name": _known(request, model, version),
                "versions": [VERSION],
                "platform": "humanparse",
                "inputs": inputs,
                "outputs": outputs,
            }
        )

    @router.get(
        path + "/ready",
        summary="A model answers pictures",
        response_model=ModelReadyAnswer,
        responses=_errors("not_found", "not_ready"),
    )
    async def model_ready(request: Request, model: str, version: str = VERSION) -> Response:
        name = _known(request, model, version)
        _check_ready(request)
        return JSONResponse({"name": name, "ready": True})

    @router.post(
        path + "/infer",
        summary="The maps and the people of one picture",
        response_model=InferAnswer,
        responses={
            200: _BINARY,
            **_errors(*responses.RECEIVING, *responses.PICTURE, *responses.BUSY, "not_found"),
        },
        openapi_extra=_REQUEST,
    )
    async def infer(request: Request, model: str, version: str = VERSION) -> Response:
        name = _known(request, model, version)
        responses.check_room(request)
        asked = await _read(request)
        options = parse_options(asked.options, settings)
        options = replace(options, model=name, format=TENSORS, include=asked.outputs)
        return await _answered(request, asked, options)


async def _answered(request: Request, asked: Asked, options: Options) -> Response:
    front: Front = request.app.state.front
    answer = await while_connected(request, front.answer(asked.picture, options))
    responses.note(request, answer, len(asked.picture))
    head = {"model_name": options.model, "model_version": VERSION} | (
        {"id": asked.request_id} if asked.request_id else {}
    )
    num_json = COUNT_BYTES + int.from_bytes(answer.body[:COUNT_BYTES], "big")
    text = (
        json.dumps(head).encode()[:-1] + b',"outputs":' + answer.body[COUNT_BYTES:num_json] + b"}"
    )
    headers = responses.headers(answer)
    if len(answer.body) == num_json:
        return Response(text, media_type="application/json", headers=headers)
    headers[HEADER] = str(len(text))
    return Response(
        text + answer.body[num_json:], media_type="application/octet-stream", headers=headers
    )


def _known(request: Request, model: str, version: str) -> str:
    """The model's name. Raises Problem not_found."""
    names = [one["name"] for one in request.app.state.dispatcher.status().models]
    if model not in names:
        raise Problem(
            "not_found", f"there is no model {model[:60]!r} here; there are {', '.join(names)}"
        )
    if version != VERSION:
        raise Problem(
            "not_found",
            f"there is no version {version[:20]!r} of {model}; its only version is {VERSION}",
        )
    return model


def _check_ready(request: Request) -> None:
    state = request.app.state
    if trouble := responses.not_ready(state, state.dispatcher.status()):
        raise Problem("not_ready", trouble, retry_after_s=1)


# Requests


async def _read(request: Request) -> Asked:
    """The request's body, read. Raises Problem bad_request, bad_option or body_too_large for what
    it holds."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(
            "unsupported_media_type", f"the body is packed as {coding[:20]!r}; send it as it is"
        )
    length = request.headers.get(HEADER)
    body = await whole_body(request)
    if length is not None and not (
        length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= len(body)
    ):
        raise Problem(
            "bad_request",
            f"the header {HEADER} should be the length of the JSON at the body's start, in bytes",
        )
    return await asyncio.to_thread(read_inference, body, None if length is None else int(length))


def read_inference(body: bytes, num_json: int | None = None) -> Asked:
    """num_json: bytes of the JSON at the start, binary data behind it; None for JSON alone; 0 if
    all of it is the picture's file.

    Raises Problem.
    """
    if num_json == 0:
        return Asked(_not_empty(body), {}, tuple(OUTPUTS))
    data, binary = _parsed(body[:num_json]), b"" if num_json is None else body[num_json:]
    parameters = _object(data.get("parameters", {}), "parameters")
    inputs = data.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Problem("bad_request", f"'inputs' should be a list of one tensor, {INPUT!r}")
    request_id = data.get("id", "")
    if not isinstance(request_id, str):
        raise Problem("bad_request", "'id' should be a text")
    unknown = [
        name for name in parameters if name not in (*OPTIONS, *IGNORED, "binary_data_output")
    ]
    if unknown:
        raise Problem(
            "bad_option",
            f"there is no parameter {unknown[0][:60]!r}; there are {', '.join(OPTIONS)}",
        )
    options = {name: parameters[name] for name in OPTIONS if name in parameters}
    outputs = _outputs(data.get("outputs"), parameters.get("binary_data_output") is True)
    return Asked(_picture(inputs[0], binary), options, outputs, request_id)


def _parsed(text: bytes) -> dict[str, Any]:
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_JSON_VALUES:
        raise Problem(
            "body_too_large",
            f"the JSON holds more than {MAX_JSON_VALUES} values; send the picture's file, "
            "or its pixels as binary data",
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(
            "bad_request",
            f"the body is not JSON; if binary data follows it, the header {HEADER} says where",
        ) from None
    return _object(data, "the body")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem("bad_request", f"{what} should be an object of JSON")
    return value


def _outputs(asked: Any, binary: bool) -> tuple[str, ...]:
    """Which outputs are wanted, and how. binary: the form of those that do not say."""
    if asked is None or asked == []:
        asked = [{"name": name} for name in OUTPUTS]
    if not isinstance(asked, list) or not all(
        isinstance(one, dict) and one.get("name") in list(OUTPUTS) for one in asked
    ):
        raise Problem(
            "bad_request",
            f"'outputs' should be a list of objects with a name of {', '.join(OUTPUTS)}",
        )
    names = [one["name"] for one in asked]
    if len(set(names)) < len(names):
        raise Problem("bad_request", "'outputs' names one of them twice")
    wishes = [
        _object(one.get("parameters", {}), "the parameters of an output").get("binary_data", binary)
        for one in asked
    ]
    return tuple(
        f"{name}:binary" if wish is True else name for name, wish in zip(names, wishes, strict=True)
    )


def _picture(tensor: Mapping[str, Any], binary: bytes) -> bytes:
    """The picture's file of the one input. binary: what followed the JSON."""
    if tensor.get("name") != INPUT:
        raise Problem(
            "bad_request",
            f"the input is called {str(tensor.get('name'))[:60]!r}; it should be {INPUT!r}",
        )
    shape, kind = tensor.get("shape"), tensor.get("datatype")
    if not (
        isinstance(shape, list)
        and 1 <= len(shape) <= 4
        and all(type(side) is int and 0 < side < 2**31 for side in shape)
    ):
        raise Problem(
            "bad_request",
            "the shape of the input should be a list of one to four whole numbers above 0",
        )
    size = _object(tensor.get("parameters", {}), "the parameters of the input").get(
        "binary_data_size"
    )
    if size is not None and (type(size) is not int or size != len(binary)):
        raise Problem(
            "bad_request",
            f"binary_data_size is {str(size)[:20]}, but {len(binary)} bytes follow the JSON",
        )
    if size is None and binary:
        raise Problem("bad_request", "bytes follow the JSON, but the input has no binary_data_size")
    if kind == "BYTES" and math.prod(shape) == 1:
        return _not_empty(
            _element(binary) if size is not None else _from_base64(tensor.get("data"))
        )
    if (
        kind == "UINT8"
        and shape[-1] == 3
        and (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1))
    ):
        return _as_ppm(binary if size is not None else _numbers(tensor.get("data")), *shape[-3:-1])
    raise Problem(
        "bad_request",
        f"the input is {str(kind)[:20]} {str(shape)[:60]}; send BYTES [1], a picture's file, or UINT8 "
        "[1, height, width, 3], RGB",
    )


def _element(data: bytes) -> bytes:
    """The one element of a binary BYTES tensor: its length in 4 bytes, then itself."""
    if len(data) < 4 or int.from_bytes(data[:4], "little") != len(data) - 4:
        raise Problem(
            "bad_request",
            "binary BYTES should be one element: its length in 4 bytes, then the picture's file",
        )
    return data[4:]


def _from_base64(data: Any) -> bytes:
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, str):
        raise Problem(
            "bad_request",
            "'data' of BYTES should be a list of one text, the picture's file in base64",
        )
    try:
        return b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad_request", "'data' of BYTES is not valid base64") from None


def _numbers(data: Any) -> bytes:
    """Pixels from lists of numbers, nested or not."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            raise Problem("bad_request", "'data' mixes numbers and lists")
        data = list(chain.from_iterable(data))
    try:
        return bytes(data if isinstance(data, list) else [None])
    except (TypeError, ValueError):
        raise Problem(
            "bad_request", "'data' of UINT8 should be a list of whole numbers from 0 to 255"
        ) from None


def _as_ppm(pixels: bytes, height: int, width: int) -> bytes:
    """RGB pixels as a file that every picture reader knows."""
    if len(pixels) != height * width * 3:
        raise Problem(
            "bad_request",
            f"{height}x{width}x3 pixels take {height * width * 3} values, but {len(pixels)} arrived",
        )
    return b"P6\n%d %d\n255\n" % (width, height) + pixels


def _not_empty(picture: bytes) -> bytes:
    if not picture:
        raise Problem("bad_request", "the picture is empty")
    return picture


# The OpenAPI document


class Tensor(BaseModel):
    """A tensor, without its values where these follow as bytes."""

    name: str
    datatype: str
    shape: list[int]


class OutputTensor(Tensor):
    data: Annotated[list[Any] | None, Field(description="Row by row, all in one list.")] = None
    parameters: dict[str, Any] | None = None


class InferAnswer(BaseModel):
    """The outputs, in the order in which they were asked for."""

    model_name: str
    model_version: str
    id: Annotated[str | None, Field(description="As in the request, if it had one.")] = None
    outputs: list[OutputTensor]


class ServerAnswer(BaseModel):
    name: str
    version: str
    extensions: list[str]


class LiveAnswer(BaseModel):
    live: bool


class ReadyAnswer(BaseModel):
    ready: bool


class ModelReadyAnswer(BaseModel):
    name: str
    ready: bool


class MetadataAnswer(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class InferenceError(BaseModel):
    """Every error below /v2."""

    error: Annotated[str, Field(description="What arrived, what was expected and what to do.")]
    code: Annotated[
        str,
        Field(description="A stable word for programs.", json_schema_extra={"enum": sorted(KINDS)}),
    ]
    retryable: Annotated[bool, Field(description="Whether the same request may work later.")]
    request_id: str = ""


def _errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """As schemas.problem_responses, in the protocol's shape."""
    found = schemas.problem_responses(*codes)
    return {
        status: {"model": InferenceError, "description": one["description"]}
        for status, one in found.items()
    }


_FILE = {"schema": {"type": "string", "format": "binary"}}
_BINARY = {
    "description": "The outputs; with binary data behind the JSON if any was asked for",
    "content": {"application/octet-stream": _FILE},
}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "min_score": {"type": "number", "minimum": 0, "maximum": 1},
        "max_side": {"type": "integer", "minimum": 64},
        "binary_data_output": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_ASKED = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS,
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "datatype", "shape"],
                "properties": {
                    "name": {"type": "string", "enum": [INPUT]},
                    "datatype": {"type": "string", "enum": ["BYTES", "UINT8"]},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                    "data": {"type": "array", "items": {}},
                    "parameters": {"type": "object"},
                },
            },
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "enum": list(OUTPUTS)},
                    "parameters": {
                        "type": "object",
                        "properties": {"binary_data": {"type": "boolean"}},
                    },
                },
            },
        },
    },
}
_REQUEST = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "Bytes of the JSON, if binary data follows it; 0 if the body is the picture's file.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _ASKED}, "application/octet-stream": _FILE},
    },
}
