"""HTTP/1.1 on one connection: uvicorn's h11 protocol, with an end to its patience.

uvicorn waits for ever for a request to arrive and for its answer to be read. Here every wait has an
end:
    head     from the connection, or a later request's first byte, to the end of the head: header_timeout_s
    body     from there to the end of the body: body_timeout_s, and once more for each max_body_mb that has come
    answer   something must be taken in each write_timeout_s (door.py)
    idle     between two requests: keep_alive_s (uvicorn's own)
What is refused here is a problem like every other (problems.py), except that its connection is
always closed.

Relies on these parts of uvicorn's H11Protocol, which tests/service/test_connection.py holds fast:
connection_made, data_received, on_response_complete, connection_lost and shutdown as they are
called; send_400_response called where an h11 error is handled; the attributes conn, cycle, flow,
transport, connections and server_state.
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
from humanparse.service.metrics import Metrics
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings

# connections beyond the limit that are told so; further ones are just cut off
POLITE_REFUSALS = 100
REFUSED_S = 2.0  # how long a refused client is heard out
# when the service stops: for requests that are on their way over connections which seem idle
LAST_CALL_S = 0.3

# what uvicorn would say of a request, the edge has said already
quiet = logging.getLogger("humanparse.uvicorn")
quiet.setLevel(logging.CRITICAL)


def protocol_class(settings: Settings, metrics: Metrics | None = None) -> type[asyncio.Protocol]:
    """What uvicorn's option `http` takes."""
    return type("HttpProtocol", (PatientProtocol,), {"settings": settings, "metrics": metrics})


class PatientProtocol(H11Protocol):
    """One connection; `protocol_class` adds the settings."""

    settings: Settings
    metrics: Metrics | None
    transport: PatientTransport

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.logger = quiet
        self._waits_for = ""  # "head" or "body" while the clock runs
        self._clock: asyncio.TimerHandle | None = None
        self._body_bytes = 0  # that came since the clock was started
        self._silent = True  # nothing has come yet
        self._stopping = False

    # What asyncio and uvicorn call

    def connection_made(self, transport: asyncio.Transport) -> None:
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
                    "as many clients as may be are connected",
                    retry_after_s=1,
                )
            )
        else:
            self._start_clock("head")

    def data_received(self, data: bytes) -> None:
        if self.transport.lingering:
            return self.transport.throw_away(len(data))
        self._silent = False
        super().data_received(data)
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False
        self._body_bytes += len(data)
        self._follow(has_bytes=True)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()  # answered without waiting for the body
        self._follow(has_bytes=bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self.transport.forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: a request in work is answered, and one that is just arriving gets its
        chance."""
        self._stopping = True
        if self._current is not None:
            self._current.keep_alive = False
        elif self.transport.is_closing():
            self.transport.end()
        else:
            self.loop.call_later(LAST_CALL_S, self._close_if_idle)

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this while it handles h11's error, which knows more than `msg`."""
        # In a body, h11 says the same of a line between chunks that does not end.
        if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431 and self._current is None:
            limit = f"{self.settings.max_header_kb} kB"
            self._refuse(
                Problem(
                    "header_too_large",
                    f"the head of the request is larger than the {limit} taken here",
                )
            )
        else:
            self._refuse(Problem("bad_request", "this is not HTTP as it should be"))

    # How long the client may take

    def _follow(self, has_bytes: bool) -> None:
        """Start, keep or stop the clock after something has come or an answer has ended."""
        if self.transport.is_closing():
            return self._stop_clock()
        state = self.conn.their_state
        wait = (
            "body" if state is h11.SEND_BODY else "head" if state is h11.IDLE and has_bytes else ""
        )
        if wait != self._waits_for or (
            wait == "body" and self._body_bytes >= self.settings.max_body_mb * MB
        ):
            self._start_clock(wait)

    def _start_clock(self, wait: str) -> None:
        """Wait for the head or the body from now on; with "" for nothing."""
        self._stop_clock()
        self._waits_for, self._body_bytes = wait, 0
        if wait:
            self._unset_keepalive_if_required()
            seconds = (
                self.settings.header_timeout_s if wait == "head" else self.settings.body_timeout_s
            )
            self._clock = self.loop.call_later(seconds, self._too_late)

    def _stop_clock(self) -> None:
        self._waits_for = ""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_late(self) -> None:
        self._clock = None
        if self.transport.is_closing():
            return
        if self._silent:
            # browsers keep connections in reserve: there is no request to answer
            self.transport.close()
        elif (
            self._waits_for == "body"
            and self._current is not None
            and _keeps_waiting(self._current)
        ):
            self._start_clock("body")  # it is we who do not read on
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

    # Refusing

    @property
    def _current(self) -> RequestResponseCycle | None:
        """The request that is not yet answered."""
        return self.cycle if self.cycle is not None and not self.cycle.response_complete else None

    def _refuse(self, problem: Problem) -> None:
        """Answer in the app's place, if nothing was answered yet, and close."""
        if self.transport.is_closing():
            return
        state: dict[str, Any] = {}
        if (cycle := self._current) is not None:
            state = cycle.scope["state"]
            state["refused"] = problem  # for the edge, which logs and counts it
            # the app sees http.disconnect, and what it sends goes nowhere
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                return self.transport.abort()
        elif self.metrics is not None:
            self.metrics.rejected(problem.code)
        bodiless = cycle is not None and cycle.scope["method"] == "HEAD"
        self.transport.write(self._answer(problem, state.get("request_id", ""), bodiless))
        self.transport.linger(REFUSED_S)

    def _answer(self, problem: Problem, request_id: str, bodiless: bool) -> bytes:
        """Not through h11, which after an error has no say any more."""
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

    # What the door asks

    def _has_unread(self) -> bool:
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def _transports(self) -> list[PatientTransport]:
        return [connection.transport for connection in self.connections]


def _keeps_waiting(cycle: RequestResponseCycle) -> bool:
    """Whether it is the app that does not want the rest of the body yet."""
    return cycle.flow.read_paused or cycle.waiting_for_100_continue
