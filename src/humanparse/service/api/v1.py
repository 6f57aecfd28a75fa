"""The endpoints that parse pictures and those for operators, one function each.

Those of jobs are in jobs/routes.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from humanparse import __version__
from humanparse.service import schemas
from humanparse.service.api.cached import CachedDispatcher
from humanparse.service.api.responses import (
    BUSY,
    PICTURE,
    RECEIVING,
    check_room,
    degraded,
    headers,
    not_ready,
    record,
)
from humanparse.service.api.uploads import (
    PictureUpload,
    UploadedPicture,
    read_picture,
    read_pictures,
)
from humanparse.service.http.disconnect import while_connected
from humanparse.service.names import tell_apart
from humanparse.service.options import (
    ANSWER,
    EDIT_NAMES,
    NAMES,
    PICTURE_NAMES,
    Options,
    check_edit_options,
    edit_options,
    parse_options,
    picture_options,
)
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import BATCH

API_VERSION = "1"
# those whose results name the picture's file; they are JSON, too
NAMING_FORMATS = ("json", "coco", "labelme", "label-studio")
TEXT_FORMATS = (ANSWER, *NAMING_FORMATS)  # those that fit into the JSON of a batch


def picture_routes(settings: Settings) -> APIRouter:
    """Return the routes /parse, /predict, /v1/edit and /v1/batch.

    Args:
        settings: For the limits in the documentation and of the options.
    """
    router = APIRouter(tags=["pictures"])

    @router.post(
        "/parse",
        summary="Find the people, parts and garments in one picture",
        response_model=schemas.ParseResponse | dict[str, Any],
        responses={
            200: schemas.file_response(),
            **schemas.problem_responses(*RECEIVING, *PICTURE, *BUSY),
        },
        openapi_extra={
            "parameters": schemas.query_parameters(NAMES, settings),
            "requestBody": schemas.request_body(NAMES, settings),
        },
    )
    async def parse(request: Request) -> Response:
        check_room(request)
        upload = await read_picture(request, settings)
        return await _parsed(request, upload.pictures[0], _options(upload, settings))

    @router.post(
        "/predict",
        summary="Draw the parts of one picture in colours",
        response_class=Response,
        **_gives_picture(PICTURE_NAMES, settings),
    )
    async def predict(request: Request) -> Response:
        check_room(request)
        upload = await read_picture(request, settings)
        accept = request.headers.get("accept", "")
        picture_options(upload.query, accept, settings)
        options = picture_options({**upload.query, **upload.fields}, accept, settings)
        response = await _parsed(request, upload.pictures[0], options)
        response.headers["vary"] = "Accept"
        return response

    @router.post(
        "/v1/edit",
        summary="Hide, recolour or cut out regions of one picture, or replace its background",
        response_class=Response,
        **_gives_picture(EDIT_NAMES, settings),
    )
    async def edit(request: Request) -> Response:
        check_room(request)
        upload = await read_picture(request, settings)
        accept = request.headers.get("accept", "")
        check_edit_options(upload.query, settings)
        options = edit_options({**upload.query, **upload.fields}, accept, settings)
        response = await _parsed(request, upload.pictures[0], options)
        response.headers["vary"] = "Accept"
        return response

    @router.post(
        "/v1/batch",
        summary="Parse several pictures, each with its own result or error",
        response_model=schemas.BatchResponse,
        responses=schemas.problem_responses(*RECEIVING, *BUSY),
        openapi_extra={
            "parameters": schemas.query_parameters(NAMES, settings),
            "requestBody": schemas.request_body(NAMES, settings, several=True),
        },
    )
    async def batch(request: Request) -> Response:
        check_room(request)
        upload = await read_pictures(request, settings, settings.batch_max_images)
        options = _options(upload, settings)
        if options.format not in TEXT_FORMATS:
            raise Problem(
                "bad_option",
                f"format is {options.format!r}; for a batch, choose from {', '.join(TEXT_FORMATS)}",
            )
        items = await while_connected(
            request, _each(request, upload.pictures, options, settings.workers)
        )
        return Response(b'{"results":[' + b",".join(items) + b"]}", media_type="application/json")

    return router


def _gives_picture(names: tuple[str, ...], settings: Settings) -> dict[str, Any]:
    """The documentation of a route whose options have these names and that returns a picture."""
    return {
        "responses": {
            200: schemas.picture_response(),
            **schemas.problem_responses(*RECEIVING, *PICTURE, *BUSY, "not_acceptable"),
        },
        "openapi_extra": {
            "parameters": schemas.query_parameters(names, settings),
            "requestBody": schemas.request_body(names, settings),
        },
    }


def operation_routes() -> APIRouter:
    """Return the routes for operators and their tools: health, metrics, versions and models."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/healthz", summary="Check that the server is alive", response_model=schemas.HealthResponse
    )
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        summary="Check that the service can parse pictures",
        response_model=schemas.ReadyResponse,
        responses=schemas.problem_responses("not_ready"),
    )
    async def readyz(request: Request) -> Response:
        state = request.app.state
        status = state.dispatcher.status()
        if trouble := not_ready(state, status):
            raise Problem("not_ready", trouble, retry_after_s=1)
        return JSONResponse(
            {
                "status": "ready",
                "workers": {"idle": status.idle, "busy": status.busy, "starting": status.starting},
                "queued": status.queued,
                "predicted_wait_s": round(status.predicted_wait_s, 3),
                "last_success_age_s": round(status.last_success_age_s, 3),
                "degraded": degraded(state, status),
            }
        )

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            200: {
                "description": "Text exposition",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **schemas.problem_responses(),
        },
    )
    async def metrics(request: Request) -> Response:
        return Response(request.app.state.metrics.render(), media_type="text/plain; version=0.0.4")

    @router.get(
        "/version",
        summary="Versions of the service and its API",
        response_model=schemas.VersionResponse,
        responses=schemas.problem_responses(),
    )
    async def version() -> Response:
        return JSONResponse({"humanparse": __version__, "api": API_VERSION})

    @router.get(
        "/models",
        summary="The models of the service",
        response_model=schemas.ModelsResponse,
        responses=schemas.problem_responses(),
    )
    async def models(request: Request) -> Response:
        return JSONResponse({"models": list(request.app.state.dispatcher.status().models)})

    return router


def _options(upload: PictureUpload, settings: Settings) -> Options:
    """Return the options; those in the body take precedence, but those in the query are checked."""
    parse_options(upload.query, settings)
    return parse_options({**upload.query, **upload.fields}, settings)


# One picture


async def _parsed(request: Request, picture: UploadedPicture, options: Options) -> Response:
    dispatcher: CachedDispatcher = request.app.state.cached_dispatcher
    parsed = await while_connected(request, dispatcher.parse(picture.data, options))
    record(request, parsed, len(picture.data))
    return Response(parsed.body, media_type=parsed.head["media_type"], headers=headers(parsed))


# Several pictures


async def _each(
    request: Request, pictures: Sequence[UploadedPicture], options: Options, max_queued: int
) -> list[bytes]:
    """Return the JSON of each picture's item, in order.

    At most `max_queued` of them are in the queue at once, so that other requests get their turn.
    """
    gate = asyncio.Semaphore(max_queued)
    sources = _sources(pictures) if options.format in NAMING_FORMATS else [""] * len(pictures)

    async def one(index: int, picture: UploadedPicture, source: str) -> bytes:
        async with gate:
            return await _item(request, index, picture, options, source)

    items = (one(index, *named) for index, named in enumerate(zip(pictures, sources, strict=True)))
    return list(await asyncio.gather(*items))


def _sources(pictures: Sequence[UploadedPicture]) -> list[str]:
    """Return the names of the files, each once; image-0 and so on for pictures without one."""
    names = [picture.file_name or f"image-{index}" for index, picture in enumerate(pictures)]
    return tell_apart(names)


async def _item(
    request: Request, index: int, picture: UploadedPicture, options: Options, source: str
) -> bytes:
    dispatcher: CachedDispatcher = request.app.state.cached_dispatcher
    try:
        parsed = await dispatcher.parse(picture.data, options, source=source, priority=BATCH)
    except Problem as problem:
        return json.dumps(
            {"index": index, "problem": problem.to_dict(f"{request.url.path}#{index}")}
        ).encode()
    if not parsed.cached:
        request.app.state.metrics.observe_reply(parsed.head, parsed.queued_ms)
    return b'{"index":%d,"result":%s}' % (index, parsed.body)
