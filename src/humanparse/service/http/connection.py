"""HTTP/1.1 on one connection: uvicorn's h11 protocol with timeouts.

uvicorn waits for ever for a request to arrive and for its response to be read. Here every wait has
a limit:
    head      header_timeout_s, from the connection, or the first byte of a later request, to the
              end of the head
    body      body_timeout_s, from there to the end of the body, and once more for each
              max_body_mb received
    response  write_timeout_s, in each of which the client must read something (transport.py)
    idle      keep_alive_s between two requests (uvicorn's own)
A refusal is a problem like every other (problems.py), except that it always closes the connection.

This relies on parts of uvicorn's H11Protocol: that connection_made, data_received,
on_response_complete, connection_lost and shutdown are called; that send_400_response is called
while an h11 error is handled; and the attributes conn, cycle, flow, transport, connections and
server_state. tests/service/test_connection.py is a regression test for them.
"""

from __future__ import annotations

import asyncio
import http
import logging
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from humanparse.service.http.middleware import HEADERS
from humanparse.service.http.transport import MB, PatientTransport
from humanparse.service.listener import POLITE_REFUSALS
from humanparse.service.metrics import Metrics
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

REFUSED_S = 2.0  # how long a refused client may still send
# on shutdown, for requests that are on their way over connections that seem idle
LAST_CALL_S = 0.3

# the middleware has already logged what uvicorn would
quiet = logging.getLogger("humanparse.uvicorn")
quiet.setLevel(logging.CRITICAL)


def protocol_class(settings: Settings, metrics: Metrics | None = None) -> type[asyncio.Protocol]:
    """Return a protocol class with these settings, for uvicorn's option `http`."""
    return type("HttpProtocol", (PatientProtocol,), {"settings": settings, "metrics": metrics})


class PatientProtocol(H11Protocol):
    """One connection; `protocol_class` adds the settings."""

    settings: Settings
    metrics: Metrics | None
    transport: PatientTransport

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.logger = quiet
        self._waits_for = ""  # "head" or "body" while the timer runs
        self._timer: asyncio.TimerHandle | None = None
        self._body_bytes = 0  # received since the timer was started
        self._silent = True  # nothing was received yet
        self._stopping = False

    # Called by asyncio and uvicorn

    # as in uvicorn, and as asyncio means it: a stream protocol gets a Transport
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the head, or refuse the connection if there are too many."""
        super().connection_made(
            PatientTransport(transport, self.settings, self._has_unread, self._transports)
        )
        too_many = len(self.connections) - self.settings.max_connections
        if too_many > POLITE_REFUSALS:
            self.transport.abort()
        elif too_many > 0:
            self._refuse(
                Problem(
                    "too_many_connections",
                    "the maximum number of clients is connected; try again in a moment",
                    retry_after_s=1,
                )
            )
        else:
            self._start_timer("head")

    def data_received(self, data: bytes) -> None:
        """Pass on what was received, and update the timer."""
        if self.transport.lingering:
            return self.transport.throw_away(len(data))
        self._silent = False
        super().data_received(data)
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False
        self._body_bytes += len(data)
        self._follow(has_bytes=True)

    def on_response_complete(self) -> None:
        """Close the connection if the body was not read, and update the timer."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()  # the response did not wait for the body
        self._follow(has_bytes=bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_timer()
        self.transport.forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Prepare for the end of the server.

        A request in progress is answered, and one that is just arriving gets its chance.
        """
        self._stopping = True
        if self._current is not None:
            self._current.keep_alive = False
        elif self.transport.is_closing():
            self.transport.end()
        else:
            self.loop.call_later(LAST_CALL_S, self._close_if_idle)

    def send_400_response(self, msg: str) -> None:
        """Refuse the request. uvicorn calls this while it handles h11's error, which says more than
        `msg`.
        """
        # h11 has the same hint for an endless line between the chunks of a body.
        if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431 and self._current is None:
            limit = f"{self.settings.max_header_kb} kB"
            self._refuse(
                Problem(
                    "header_too_large",
                    f"the request head is larger than the {limit} allowed here",
                )
            )
        else:
            self._refuse(Problem("bad_request", "this is not valid HTTP"))

    # How long the client may take

    def _follow(self, has_bytes: bool) -> None:
        """Start, keep or stop the timer after something was received or a response has ended."""
        if self.transport.is_closing():
            return self._stop_timer()
        state = self.conn.their_state
        wait = (
            "body" if state is h11.SEND_BODY else "head" if state is h11.IDLE and has_bytes else ""
        )
        if wait != self._waits_for or (
            wait == "body" and self._body_bytes >= self.settings.max_body_mb * MB
        ):
            self._start_timer(wait)

    def _start_timer(self, wait: str) -> None:
        """Start the timer for the head or the body; "" stops it."""
        self._stop_timer()
        self._waits_for, self._body_bytes = wait, 0
        if wait:
            self._unset_keepalive_if_required()
            seconds = (
                self.settings.header_timeout_s if wait == "head" else self.settings.body_timeout_s
            )
            self._timer = self.loop.call_later(seconds, self._too_late)

    def _stop_timer(self) -> None:
        self._waits_for = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._silent:
            # browsers open spare connections; there is no request to answer
            self.transport.close()
        elif (
            self._waits_for == "body"
            and self._current is not None
            and _keeps_waiting(self._current)
        ):
            self._start_timer("body")  # it is we who have stopped reading
        else:
            self._refuse(
                Problem(
                    "request_timeout",
                    f"the {self._waits_for} of the request did not arrive in time",
                )
            )

    def _close_if_idle(self) -> None:
        if self._current is None:
            self.transport.close()

    # Refusals

    @property
    def _current(self) -> RequestResponseCycle | None:
        """The request that is not yet answered."""
        return self.cycle if self.cycle is not None and not self.cycle.response_complete else None

    def _refuse(self, problem: Problem) -> None:
        """Respond instead of the app, if it has not responded yet, and close the connection."""
        if self.transport.is_closing():
            return
        state: dict[str, Any] = {}
        if (cycle := self._current) is not None:
            state = cycle.scope["state"]
            state["refused"] = problem  # for the middleware, which logs and counts it
            # the app sees http.disconnect, and what it sends is discarded
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                return self.transport.abort()
        elif self.metrics is not None:
            self.metrics.rejected(problem.code)
        bodiless = cycle is not None and cycle.scope["method"] == "HEAD"
        self.transport.write(self._response(problem, state.get("request_id", ""), bodiless))
        self.transport.linger(REFUSED_S)

    def _response(self, problem: Problem, request_id: str, bodiless: bool) -> bytes:
        """The bytes of the response. h11 cannot write it after an error."""
        body = problem.body(request_id=request_id)
        headers = (
            HEADERS | problem.headers() | {"content-length": str(len(body)), "connection": "close"}
        )
        headers |= {
            name.decode(): value.decode() for name, value in self.server_state.default_headers
        }
        headers |= {"x-request-id": request_id} if request_id else {}
        head = [f"HTTP/1.1 {problem.status} {http.HTTPStatus(problem.status).phrase}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*head, "", ""]).encode() + (b"" if bodiless else body)

    # For the transport

    def _has_unread(self) -> bool:
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def _transports(self) -> list[PatientTransport]:
        return [one.transport for one in self.connections if isinstance(one, PatientProtocol)]


def _keeps_waiting(cycle: RequestResponseCycle) -> bool:
    """Whether it is the app that does not read the rest of the body yet."""
    return cycle.flow.read_paused or cycle.waiting_for_100_continue
