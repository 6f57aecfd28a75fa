"""`create_app` puts the parts of the service together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from humanparse import __version__
from humanparse.service.api import responses, v1
from humanparse.service.api.cached import CachedDispatcher
from humanparse.service.api.v2 import inference_routes
from humanparse.service.cache import Cache
from humanparse.service.http.disconnect import ClientGone
from humanparse.service.http.middleware import ServiceMiddleware, problem_response
from humanparse.service.jobs import Jobs, jobs_routes
from humanparse.service.metrics import Metrics
from humanparse.service.page.routes import page_routes
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.dispatcher import Dispatcher

CLIENT_GONE = 499  # for the log alone: the client is gone
STATUS_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def create_app(
    settings: Settings | None = None, *, dispatcher: Dispatcher | None = None
) -> FastAPI:
    """Return the service as an ASGI application.

    `humanparse serve` adds timeouts for slow clients and an orderly shutdown; under another server
    the application lacks both.

    Args:
        settings: The service's settings; None reads them from the environment.
        dispatcher: What does the work; None starts worker processes on this machine.

    Returns:
        The application. Its `state` holds settings, dispatcher,
        cached_dispatcher, cache, jobs, metrics, draining (True once it is about to stop) and
        reload().

    Raises:
        OptionError: For settings that are impossible.
    """
    settings = settings or Settings.from_env()
    app = FastAPI(
        title="humanparse",
        version=__version__,
        lifespan=_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,  # page/routes.py serves them
        description="Every person in a photo, with their body parts and garments, pixel by pixel.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    state = app.state
    state.settings, state.draining = settings, False
    state.metrics = Metrics()
    state.dispatcher = dispatcher or Dispatcher(
        settings, on_replaced=state.metrics.worker_restarted
    )
    state.cache = Cache(settings, metrics=state.metrics)
    state.cached_dispatcher = CachedDispatcher(state.dispatcher, state.cache)
    state.jobs = Jobs(settings, state.dispatcher.run, metrics=state.metrics)
    state.metrics.bind(
        dispatcher_status=state.dispatcher.status,
        troubles=lambda: responses.degraded(state, state.dispatcher.status()),
    )
    state.reload = state.dispatcher.reload
    for router in (
        v1.picture_routes(settings),
        inference_routes(settings),
        jobs_routes(settings),
        v1.operation_routes(),
        page_routes(),
    ):
        app.routes.extend(router.routes)  # include_router() would build each a second time
    held = state.dispatcher.held
    app.add_middleware(ServiceMiddleware, settings=settings, metrics=state.metrics, held=held)
    _answer_errors(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the parts, and stop them in reverse order, also when one of them cannot be started."""
    state = app.state
    async with AsyncExitStack() as stack:
        await state.dispatcher.start()
        stack.push_async_callback(state.dispatcher.stop, state.settings.drain_s)
        await state.cache.start()
        stack.push_async_callback(state.cache.stop)
        await state.jobs.start()
        stack.push_async_callback(state.jobs.stop)
        yield


def _answer_errors(app: FastAPI) -> None:
    """Give every error the one shape of problems.py."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return problem_response(error, request.scope)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = STATUS_CODES.get(error.status_code, "bad_request")
        answer = problem_response(Problem(code, _http_detail(request, code)), request.scope)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"][1:])
        return problem_response(Problem("bad_option", f"{where}: {first['msg']}"), request.scope)

    @app.exception_handler(ClientGone)
    async def gone(request: Request, error: ClientGone) -> Response:
        return Response(status_code=CLIENT_GONE)


def _http_detail(request: Request, code: str) -> str:
    if code == "not_found":
        return "there is nothing at this path; see /docs for the paths that exist"
    if code == "method_not_allowed":
        return f"this path does not allow {request.method}; see the Allow header"
    return "the request could not be read"
