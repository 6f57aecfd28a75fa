"""What every request passes before it reaches a route, and every response on its way out.

From the outside in:
    ServiceMiddleware  the request's id, headers of every response, the log line, the metrics
    CorsMiddleware     only if other origins are allowed; outside what follows, so that their pages
                       can read errors too
    ErrorMiddleware    turns whatever is raised into a problem (problems.py); stack traces go to the
                       log and nowhere else
    HostMiddleware     host names and pages of other sites (hosts.py)
    AuthMiddleware     the token (auth.py); before the limits, so that strangers hold no memory
    BodyLimits         framing, size of the body, bytes held by all (limits.py)
    the app            its routes add fields of the log line to `request.state.log`, a dict
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from humanparse.service import logs
from humanparse.service.budget import ByteBudget
from humanparse.service.http.auth import AuthMiddleware
from humanparse.service.http.hosts import HostMiddleware
from humanparse.service.http.limits import MB, BodyLimits, declared_length
from humanparse.service.metrics import METHODS, Metrics
from humanparse.service.paths import put_below, route_path
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

logger = logging.getLogger(__name__)
access = logging.getLogger("humanparse.access")

# On every response, unless it sets the header itself, as the page does with its policy.
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_GONE = 499  # logged as the status if the client disconnected before its response
# bytes of an unread body that are read before an early response, to keep the connection
REST_TO_READ = 64_000
# Requested every few seconds: not logged above debug while all is well.
PROBES = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")


class ServiceMiddleware:
    """The outermost middleware, which contains the others; see the top of this file.

    Args:
        app: The application.
        settings: The service's settings.
        metrics: Where requests are counted.
        held: The bytes held by all requests; None for a limit of queue_max_mb.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics | None = None,
        held: ByteBudget | None = None,
    ):
        self._app = app
        self._metrics = metrics or Metrics()
        self._root_path = settings.root_path
        held = held or ByteBudget(settings.queue_max_mb * MB)
        self._inner: ASGIApp = ErrorMiddleware(
            HostMiddleware(AuthMiddleware(BodyLimits(app, settings, held), settings), settings)
        )
        if settings.cors_origins:
            self._inner = ErrorMiddleware(
                CorsMiddleware(
                    self._inner,
                    allow_origins=settings.cors_origins,
                    allow_methods=METHODS,
                    allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
                    expose_headers=("X-Request-ID", "Retry-After"),
                )
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._root_path and not scope.get("root_path"):
            put_below(scope, self._root_path)
        exchange = _Exchange(scope, receive, send)
        token = logs.request_id.set(exchange.request_id)
        self._metrics.request_begun()
        try:
            await self._inner(scope, exchange.receive, exchange.send)
        finally:
            self._record(exchange)
            logs.request_id.reset(token)

    def _record(self, exchange: _Exchange) -> None:
        """Write the log line and the metrics, with the path's template: a path may hold secrets."""
        scope, status, seconds = (
            exchange.scope,
            exchange.final_status(),
            time.monotonic() - exchange.begun,
        )
        fields, route = scope["state"]["log"], route_of(scope)
        self._metrics.request_done(scope["method"], route, status, seconds)
        if "code" in fields:
            self._metrics.rejected(fields["code"])
        level = (
            logging.WARNING
            if status >= 500
            else logging.DEBUG
            if route in PROBES and status < 400
            else logging.INFO
        )
        access.log(
            level,
            "%s %s %d",
            scope["method"][:20],
            route or "(no such path)",
            status,
            extra=logs.extra(
                request_id=exchange.request_id,
                client=(scope.get("client") or ("",))[0][:64],
                status=status,
                bytes_in=exchange.bytes_in,
                bytes_out=exchange.bytes_out,
                total_ms=round(seconds * 1000, 1),
                broken_off=True if exchange.started and not exchange.finished else None,
                **fields,
            ),
        )


class _Exchange:
    """One request and its response, as seen from outside."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self.scope, self._receive, self._send = scope, receive, send
        self.begun = time.monotonic()
        self.request_id = request_id_of(scope)
        self.status, self.bytes_in, self.bytes_out = 0, 0, 0
        self.started = self.finished = False
        state = scope.setdefault("state", {})
        state["request_id"], state["log"] = self.request_id, {}
        self._length: int | None = None
        with contextlib.suppress(Problem):  # BodyLimits raises it
            self._length = declared_length(scope)
        self._all_read = self._length == 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._all_read = not message.get("more_body", False)
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._settle_rest()
            self.started, self.status = True, message["status"]
            self._add_headers(MutableHeaders(scope=message))
        elif message["type"] == "http.response.body":
            self.bytes_out += len(message.get("body", b""))
            self.finished = not message.get("more_body", False)
        await self._send(message)

    async def _settle_rest(self) -> None:
        """Before an early response, read a small rest of the body, so that the connection can be
        reused.

        Not if the client waits to be told whether to send it at all. A large rest is cheaper to cut
        off.
        """
        if (
            self._length is None
            or self._length - self.bytes_in > REST_TO_READ
            or _expects_continue(self.scope)
        ):
            return
        while not self._all_read:
            await self.receive()

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers["x-request-id"] = self.request_id
        if not self._all_read or _is_draining(self.scope):
            headers["connection"] = "close"

    def final_status(self) -> int:
        """The status for the log; adds the code if it is missing."""
        if self.started:
            return self.status
        # The protocol may have responded instead of the app; it leaves the problem here.
        refused: Problem | None = self.scope["state"].get("refused")
        self.scope["state"]["log"]["code"] = refused.code if refused else "client_gone"
        return refused.status if refused else CLIENT_GONE


class CorsMiddleware(CORSMiddleware):
    """Starlette's, but it raises Problem for a refused preflight instead of sending plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the response to a preflight request. Raises Problem bad_request to refuse it."""
        answer = super().preflight_response(request_headers)
        if answer.status_code >= 400:
            raise Problem(
                "bad_request",
                f"pages of that origin may not send this: {bytes(answer.body).decode()}; "
                "the operator can allow it with the setting cors_origins",
            )
        return answer


class ErrorMiddleware:
    """Turns whatever is raised inside into a response, unless one has been started."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def answer(problem: Problem) -> None:
            if not started:
                await problem_response(problem, scope)(scope, receive, send)

        try:
            await self._app(scope, receive, noting)
        except Problem as problem:
            await answer(problem)
        except ClientDisconnect:
            pass  # while sending its body; the log line says so
        except asyncio.CancelledError:
            await answer(
                Problem(
                    "shutting_down",
                    "the service stopped before the request was done; send it again",
                    retry_after_s=5,
                )
            )
            raise
        except Exception:
            logger.exception("unexpected error in a request")
            await answer(
                Problem(
                    "internal_error",
                    "the request failed; the log of the service says why",
                )
            )


def problem_response(problem: Problem, scope: Scope) -> Response:
    """Return the response for a problem; its code goes into the log line and the metrics."""
    state: dict[str, Any] = scope.setdefault("state", {})
    state.setdefault("log", {})["code"] = problem.code
    instance = scope.get("raw_path", b"").decode("ascii", "replace")[:200]
    if f"{route_path(scope)}/".startswith("/v2/"):
        headers = problem.headers() | {"content-type": "application/json"}
        return Response(
            problem.inference_body(state.get("request_id", "")), problem.status, headers
        )
    return Response(
        problem.body(instance, state.get("request_id", "")), problem.status, problem.headers()
    )


def request_id_of(scope: Scope) -> str:
    """Return the id that the client or a proxy gave, if it is harmless; otherwise a new one."""
    given = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), ""
    )
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def route_of(scope: Scope) -> str:
    """Return the template of the matched path, such as /v1/jobs/{id}; "" if there is none."""
    return getattr(scope.get("route"), "path", "")


def _expects_continue(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


def _is_draining(scope: Scope) -> bool:
    return getattr(getattr(scope.get("app"), "state", None), "draining", False)
