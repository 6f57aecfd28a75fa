"""The endpoints of jobs: /v1/jobs and the paths below it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from humanparse.service.http.disconnect import ClientGone
from humanparse.service.jobs.results import as_lines, as_zip, problem_of
from humanparse.service.jobs.schemas import (
    JobResponse,
    JobsResponse,
    events_response,
    job_path,
    job_response,
    other_response,
    request_body,
    result_response,
)
from humanparse.service.jobs.service import HEARTBEAT_S, Jobs
from humanparse.service.jobs.store import CLIP, ENDED, Job, JobItem
from humanparse.service.jobs.upload import read_upload
from humanparse.service.options import CLIP_ONLY, NAMES, Options, clip_options, parse_options
from humanparse.service.paths import root_of
from humanparse.service.problems import KINDS, Problem
from humanparse.service.schemas import problem_responses, query_parameters
from humanparse.service.settings import Settings

NO_STORE = {"cache-control": "no-store"}
RECEIVING = (
    "bad_request",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "bad_option",
    "unknown_model",
    "queue_full",
    "storage_full",
)
ALWAYS = ("not_ready", "storage_full")
PICTURE = (
    "not_an_image",
    "image_too_large",
    "broken_image",
    "gone",
    "worker_crashed",
    "deadline_exceeded",
)

Id = Annotated[str, Path(description="From the response of POST /v1/jobs.")]
Index = Annotated[
    int, Path(ge=0, le=2**31, description="Number of the picture in the job, from 0.")
]


def jobs_routes(settings: Settings) -> APIRouter:
    """Return the routes of /v1/jobs.

    They use jobs, cached_dispatcher (for the names of models) and draining of the application's
    state.

    Args:
        settings: For the limits.
    """
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    _add_jobs(router, settings)
    _add_job(router)
    _add_results(router)
    return router


def _add_jobs(router: APIRouter, settings: Settings) -> None:
    @router.post(
        "",
        status_code=202,
        summary="Parse many pictures, or a clip, in the background",
        response_model=JobResponse,
        responses={
            202: {
                "headers": {
                    "Location": {"schema": {"type": "string"}, "description": "Path of the job."}
                }
            },
            **problem_responses(*RECEIVING, *ALWAYS),
        },
        openapi_extra={
            "parameters": query_parameters((*NAMES, *CLIP_ONLY), settings),
            "requestBody": request_body(settings),
        },
    )
    async def create(request: Request) -> Response:
        jobs: Jobs = request.app.state.jobs
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        # report a wrong option before reading a gigabyte
        _options(request, query, settings, not query.keys().isdisjoint(CLIP_ONLY))
        try:
            async with jobs.incoming() as incoming:
                upload = await read_upload(request, incoming.files, settings, jobs.quota)
                fields = query | upload.fields
                is_clip = upload.clip is not None
                head = _options(request, fields, settings, is_clip).head()
                if is_clip:
                    head |= {"do": CLIP, "source": upload.clip}
                job = await jobs.create(incoming, head, upload.items)
        except ClientDisconnect:
            raise ClientGone from None
        headers = {"location": _path(request, job.id), **NO_STORE}
        return JSONResponse(_shown(request, job), 202, headers)

    @router.get(
        "", summary="All jobs", response_model=JobsResponse, responses=problem_responses(*ALWAYS)
    )
    async def show_all(request: Request) -> Response:
        jobs: Jobs = request.app.state.jobs
        shown = [_shown(request, job) for job in await jobs.all()]
        return JSONResponse({"jobs": shown}, headers=NO_STORE)


def _add_job(router: APIRouter) -> None:
    problems = problem_responses("not_found", *ALWAYS)

    @router.get(
        "/{id}", summary="The state of a job", response_model=JobResponse, responses=problems
    )
    async def show(request: Request, id: Id) -> Response:
        jobs: Jobs = request.app.state.jobs
        return JSONResponse(_shown(request, await jobs.get(id)), headers=NO_STORE)

    @router.delete(
        "/{id}",
        status_code=204,
        summary="Delete a job and its files in any state",
        responses=problems,
    )
    async def delete(request: Request, id: Id) -> Response:
        await request.app.state.jobs.delete(id)
        return Response(status_code=204)

    @router.post(
        "/{id}/cancel",
        summary="Cancel a job; its results so far are kept",
        response_model=JobResponse,
        responses=problem_responses("not_found", "conflict", *ALWAYS),
    )
    async def cancel(request: Request, id: Id) -> Response:
        jobs: Jobs = request.app.state.jobs
        return JSONResponse(_shown(request, await jobs.cancel(id)), headers=NO_STORE)

    @router.get(
        "/{id}/events",
        summary="The progress of a job as server-sent events",
        response_class=Response,
        responses=events_response() | problems,
    )
    async def events(request: Request, id: Id) -> Response:
        jobs: Jobs = request.app.state.jobs
        await jobs.get(id)
        headers = {**NO_STORE, "x-accel-buffering": "no"}  # or nginx would buffer the events
        return StreamingResponse(
            _events(request, jobs, id), media_type="text/event-stream", headers=headers
        )


def _add_results(router: APIRouter) -> None:
    problems = problem_responses("not_found", "conflict", *ALWAYS)

    @router.get(
        "/{id}/results",
        summary="All results as JSON lines",
        response_class=Response,
        responses=other_response(
            "A line for each picture: `index`, `source` (the path of its file) and `result`, or "
            "`href` for a result that is not JSON, or `problem`",
            "application/x-ndjson",
        )
        | problems,
    )
    async def results(request: Request, id: Id) -> Response:
        job, items = await _ended(request, id)
        lines = as_lines(request.app.state.jobs.files(job.id), items, _path(request, job.id))
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=NO_STORE)

    @router.get(
        "/{id}/results.zip",
        summary="All results as a zip",
        response_class=Response,
        responses=other_response(
            "0000.json, 0001.json, … and index.json, which describes them",
            "application/zip",
            format="binary",
        )
        | problems,
    )
    async def results_zip(request: Request, id: Id) -> Response:
        job, items = await _ended(request, id)
        headers = {**NO_STORE, "content-disposition": f'attachment; filename="{job.id}.zip"'}
        pieces = as_zip(request.app.state.jobs.files(job.id), items, _path(request, job.id))
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)

    @router.get(
        "/{id}/results/{index}",
        summary="The result of one picture as soon as it is done",
        response_class=Response,
        responses=result_response()
        | problem_responses(
            *sorted(KINDS.keys() - {"unauthorized", "internal_error", "method_not_allowed"})
        ),
    )
    async def result(request: Request, id: Id, index: Index) -> Response:
        jobs: Jobs = request.app.state.jobs
        job = await jobs.get(id)
        if job.is_clip and job.packed and job.state not in ENDED:
            raise Problem(
                "conflict", f"the clip is not parsed yet; {_progress(job)}", retry_after_s=1
            )
        item = await jobs.item(id, index)
        if item.state == "pending" and job.state not in ENDED:
            raise Problem("conflict", f"this is not parsed yet; {_progress(job)}", retry_after_s=1)
        if item.state != "done":
            problem = problem_of(item, request.url.path)
            raise Problem(problem["code"], problem["detail"])
        path = jobs.files(id).result(index)
        try:
            details = await asyncio.to_thread(path.stat)
        except OSError:
            raise Problem(
                "gone", "the result no longer exists; send it again in another job"
            ) from None
        return FileResponse(path, media_type=item.media_type, headers=NO_STORE, stat_result=details)


# Pieces


def _options(
    request: Request, fields: dict[str, list[str]], settings: Settings, is_clip: bool
) -> Options:
    """Return the options with the model's name: after a restart another may be the first."""
    options = (clip_options if is_clip else parse_options)(fields, settings)
    return replace(options, model=request.app.state.cached_dispatcher.model(options.model)["name"])


def _path(request: Request, id: str) -> str:
    return job_path(id, root_of(request))


def _shown(request: Request, job: Job) -> dict[str, Any]:
    jobs: Jobs = request.app.state.jobs
    return job_response(job, jobs.rest_s(job), root_of(request))


def _progress(job: Job) -> str:
    if job.is_clip:
        done, total = job.frames or (0, None)
        return f"the job is {job.state}, {done} of {total or 'its'} frames are done"
    return (
        f"the job is {job.state}, {job.done + job.failed} of {job.total or 'its'} pictures are done"
    )


async def _ended(request: Request, id: str) -> tuple[Job, list[JobItem]]:
    """Return a job that has ended, and its items. Raises Problem conflict for any other job."""
    jobs: Jobs = request.app.state.jobs
    job = await jobs.get(id)
    if job.state == "failed":
        raise Problem(
            "conflict", f"the job failed as a whole: {(job.problem or {}).get('detail', '')}"
        )
    if job.state not in ENDED:
        raise Problem(
            "conflict", f"the results are not complete yet; {_progress(job)}", retry_after_s=1
        )
    return job, await jobs.items(id)


async def _events(request: Request, jobs: Jobs, id: str) -> AsyncIterator[bytes]:
    """Yield the events of a job until it or the service ends.

    Starlette cancels this when the client closes the connection.
    """
    loop = asyncio.get_running_loop()
    silent_since = loop.time()
    async for job in jobs.watch(id):
        if request.app.state.draining:
            return
        if job is not None:
            kind = "done" if job.state in ENDED else "progress"
            yield f"event: {kind}\ndata: {json.dumps(_shown(request, job))}\n\n".encode()
            silent_since = loop.time()
        elif loop.time() - silent_since > HEARTBEAT_S:
            yield b": still here\n\n"
            silent_since = loop.time()
