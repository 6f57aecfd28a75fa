"""What the service answers: one function an endpoint. Jobs have their own, in the folder beside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from humanparse import __version__
from humanparse.service import schemas
from humanparse.service.api.cached import Front
from humanparse.service.api.responses import (
    BUSY,
    PICTURE,
    RECEIVING,
    check_room,
    degraded,
    headers,
    not_ready,
    note,
)
from humanparse.service.api.uploads import Upload, read_picture, read_pictures
from humanparse.service.http.disconnect import while_connected
from humanparse.service.options import (
    ANSWER,
    NAMES,
    PICTURE_NAMES,
    Options,
    parse_options,
    picture_options,
)
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.admission import BATCH

API_VERSION = "1"
TEXT_FORMATS = (ANSWER, "json", "coco", "labelme")  # those that fit into a JSON of several pictures


def picture_routes(settings: Settings) -> APIRouter:
    """/parse, /predict and /v1/batch."""
    router = APIRouter(tags=["pictures"])

    @router.post(
        "/parse",
        summary="People, parts and garments of one picture",
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
        return await _answered(request, upload.pictures[0], _options(upload, settings))

    @router.post(
        "/predict",
        summary="One picture in colours",
        response_class=Response,
        responses={
            200: schemas.picture_response(),
            **schemas.problem_responses(*RECEIVING, *PICTURE, *BUSY, "not_acceptable"),
        },
        openapi_extra={
            "parameters": schemas.query_parameters(PICTURE_NAMES, settings),
            "requestBody": schemas.request_body(PICTURE_NAMES, settings),
        },
    )
    async def predict(request: Request) -> Response:
        check_room(request)
        upload = await read_picture(request, settings)
        accept = request.headers.get("accept", "")
        picture_options(upload.query, accept, settings)
        options = picture_options({**upload.query, **upload.fields}, accept, settings)
        answered = await _answered(request, upload.pictures[0], options)
        answered.headers["vary"] = "Accept"
        return answered

    @router.post(
        "/v1/batch",
        summary="Several pictures, each with its own result or error",
        response_model=schemas.BatchResponse,
        responses=schemas.problem_responses(*RECEIVING, *BUSY),
        openapi_extra={
            "parameters": schemas.query_parameters(NAMES, settings),
            "requestBody": schemas.request_body(NAMES, settings, several=True),
        },
    )
    async def batch(request: Request) -> Response:
        check_room(request)
        upload = await read_pictures(request, settings, most=settings.batch_max_images)
        options = _options(upload, settings)
        if options.format not in TEXT_FORMATS:
            raise Problem(
                "bad_option",
                f"format is {options.format!r}; a batch can hold {', '.join(TEXT_FORMATS)}",
            )
        items = await while_connected(
            request, _each(request, upload.pictures, options, settings.workers)
        )
        return Response(b'{"results":[' + b",".join(items) + b"]}", media_type="application/json")

    return router


def operation_routes() -> APIRouter:
    """What operators and their machines ask."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="The server is alive", response_model=schemas.HealthResponse)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        summary="Pictures are answered",
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
        summary="Figures for Prometheus",
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
        summary="Versions",
        response_model=schemas.VersionResponse,
        responses=schemas.problem_responses(),
    )
    async def version() -> Response:
        return JSONResponse({"humanparse": __version__, "api": API_VERSION})

    @router.get(
        "/models",
        summary="The models that answer here",
        response_model=schemas.ModelsResponse,
        responses=schemas.problem_responses(),
    )
    async def models(request: Request) -> Response:
        return JSONResponse({"models": list(request.app.state.dispatcher.status().models)})

    return router


def _options(upload: Upload, settings: Settings) -> Options:
    """The options of query and body; what the body says goes first, but a mistake in the query is
    told all the same."""
    parse_options(upload.query, settings)
    return parse_options({**upload.query, **upload.fields}, settings)


# One picture


async def _answered(request: Request, picture: bytes, options: Options) -> Response:
    front: Front = request.app.state.front
    answer = await while_connected(request, front.answer(picture, options))
    note(request, answer, len(picture))
    return Response(answer.body, media_type=answer.head["media_type"], headers=headers(answer))


# Several pictures


async def _each(
    request: Request, pictures: Iterable[bytes], options: Options, at_a_time: int
) -> list[bytes]:
    """The JSON of each picture's item, in order. No more than `at_a_time` stand in the queue, so
    that others get through."""
    gate = asyncio.Semaphore(at_a_time)

    async def one(index: int, picture: bytes) -> bytes:
        async with gate:
            return await _item(request, index, picture, options)

    return list(
        await asyncio.gather(*(one(index, picture) for index, picture in enumerate(pictures)))
    )


async def _item(request: Request, index: int, picture: bytes, options: Options) -> bytes:
    front: Front = request.app.state.front
    try:
        answer = await front.answer(picture, options, priority=BATCH)
    except Problem as problem:
        return json.dumps(
            {"index": index, "problem": problem.to_dict(f"{request.url.path}#{index}")}
        ).encode()
    if not answer.cached:
        request.app.state.metrics.observe_reply(answer.head, answer.queued_ms)
    return b'{"index":%d,"result":%s}' % (index, answer.body)
