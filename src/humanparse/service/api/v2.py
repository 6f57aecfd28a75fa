"""/v2: the Open Inference Protocol (REST), for clients of KServe, Triton and OpenVINO Model Server.

There is one input, `image` (see v2_requests.py), and three outputs: `labels` UINT8 [1, H, W], the
class of each pixel; `people` UINT16 [1, H, W], the person of each pixel, 0 is nobody; `result`
BYTES [1], the JSON of docs/json.md. Tensors travel as JSON or, with the protocol's extension for
binary data, as bytes after the JSON.

Errors have the protocol's shape, {"error": "…"}, plus the code of problems.py.
"""

from __future__ import annotations

import json
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from humanparse import __version__
from humanparse.service.api import responses
from humanparse.service.api.cached import CachedDispatcher
from humanparse.service.api.v2_requests import (
    HEADER,
    INPUT,
    OUTPUTS,
    InferenceRequest,
    read_request,
)
from humanparse.service.api.v2_schemas import (
    BINARY_RESPONSE,
    INFER_REQUEST,
    InferenceError,
    InferResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
    error_responses,
)
from humanparse.service.http.disconnect import while_connected
from humanparse.service.options import TENSORS, Options, parse_options
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

VERSION = "1"  # of every model; the name and the file identify it
COUNT_BYTES = 8  # of the length that a worker puts before the JSON, see child/tensors.py


def inference_routes(settings: Settings) -> APIRouter:
    """Return the routes of /v2.

    Args:
        settings: For the limits of the options.
    """
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    errors = error_responses()
    # Brings the model into the document once: given to each error of each route, it would be built
    # for each.
    errors[500]["model"] = InferenceError

    @router.get("", summary="The server", response_model=ServerMetadataResponse, responses=errors)
    async def server() -> Response:
        return JSONResponse(
            {"name": "humanparse", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    @router.get(
        "/health/live", summary="Check that the server is alive", response_model=ServerLiveResponse
    )
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get(
        "/health/ready",
        summary="Check that the service can parse pictures",
        response_model=ServerReadyResponse,
        responses=error_responses("not_ready"),
    )
    async def ready(request: Request) -> Response:
        _check_ready(request)
        return JSONResponse({"ready": True})

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):
        _model_routes(router, path, settings)
    return router


def _model_routes(router: APIRouter, path: str, settings: Settings) -> None:
    """Add the routes of one model, which are the same with and without a version."""

    @router.get(
        path,
        summary="The inputs and outputs of a model",
        response_model=ModelMetadataResponse,
        responses=error_responses("not_found"),
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
        summary="Check that a model can parse pictures",
        response_model=ModelReadyResponse,
        responses=error_responses("not_found", "not_ready"),
    )
    async def model_ready(request: Request, model: str, version: str = VERSION) -> Response:
        name = _known(request, model, version)
        _check_ready(request)
        return JSONResponse({"name": name, "ready": True})

    @router.post(
        path + "/infer",
        summary="Compute the label map, person map and people of one picture",
        response_model=InferResponse,
        responses={
            200: BINARY_RESPONSE,
            **error_responses(
                *responses.RECEIVING, *responses.PICTURE, *responses.BUSY, "not_found"
            ),
        },
        openapi_extra=INFER_REQUEST,
    )
    async def infer(request: Request, model: str, version: str = VERSION) -> Response:
        name = _known(request, model, version)
        responses.check_room(request)
        inference = await read_request(request)
        options = parse_options(inference.options, settings)
        options = replace(options, model=name, format=TENSORS, include=inference.outputs)
        return await _parsed(request, inference, options)


async def _parsed(request: Request, inference: InferenceRequest, options: Options) -> Response:
    dispatcher: CachedDispatcher = request.app.state.cached_dispatcher
    parsed = await while_connected(request, dispatcher.parse(inference.picture, options))
    responses.record(request, parsed, len(inference.picture))
    head = {"model_name": options.model, "model_version": VERSION}
    if inference.request_id:
        head["id"] = inference.request_id
    num_json = COUNT_BYTES + int.from_bytes(parsed.body[:COUNT_BYTES], "big")
    outputs, binary = parsed.body[COUNT_BYTES:num_json], parsed.body[num_json:]
    text = json.dumps(head).encode()[:-1] + b',"outputs":' + outputs + b"}"
    headers = responses.headers(parsed)
    if not binary:
        return Response(text, media_type="application/json", headers=headers)
    headers[HEADER] = str(len(text))
    return Response(text + binary, media_type="application/octet-stream", headers=headers)


def _known(request: Request, model: str, version: str) -> str:
    """Return the model's name. Raises Problem not_found."""
    names = [one["name"] for one in request.app.state.dispatcher.status().models]
    if model not in names:
        raise Problem(
            "not_found", f"there is no model {model[:60]!r} here; choose from {', '.join(names)}"
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
