"""A connection's way out: a transport with a timeout for clients that do not read, which closes
without losing the response.

uvicorn's protocol uses a PatientTransport in place of asyncio's transport.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from humanparse.service.settings import Settings

MB = 1_000_000
# bytes that a client must read in each write_timeout_s, unless it reads all there are
MIN_READ = 250_000
CHECK_TOTAL_FROM = 64_000  # bytes unsent on one connection from which the total is checked
# A shorter write, such as a response's head, waits for the next one until the loop's next turn.
# Both leave in one piece: half the system calls, and the client is woken once.
SHORT_BYTES = 4096
JOINED_BYTES = 65_536  # more is not worth copying
LINGER_IDLE_S = 2.0  # close a lingering connection if nothing arrives for this long


class PatientTransport(asyncio.Transport):
    """An asyncio.Transport that wraps another.

    Args:
        transport: The wrapped transport.
        settings: The service's settings.
        has_unread: Whether the client may still be sending, so that close() has to linger.
        others: Returns every PatientTransport of the server; together they hold at most
            answers_max_mb of unread responses.

    Attributes:
        waiting_since: Since when something has been unread by the client, in the loop's seconds.
        lingering: Whether it is being closed, but still receives.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        settings: Settings,
        has_unread: Callable[[], bool],
        others: Callable[[], Iterable[PatientTransport]],
    ):
        super().__init__()
        self._transport, self._settings = transport, settings
        self._has_unread, self._others = has_unread, others
        self._loop = asyncio.get_running_loop()
        self._written = 0  # bytes
        self._short = b""  # what waits for the next write
        self._turn: asyncio.Handle | None = None  # sends it, if there is none
        self._read_before = 0  # bytes that the client had read when the watch began
        self._watch: asyncio.TimerHandle | None = None
        self.waiting_since = 0.0
        self.lingering = False
        self._linger_timer: asyncio.TimerHandle | None = None
        self._linger_end, self._thrown_away, self._last_look = 0.0, 0, 0

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self.lingering or self._transport.is_closing()

    def forget(self) -> None:
        """Stop all timers: the connection is gone."""
        self._forget_short()
        for timer in (self._watch, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._watch = self._linger_timer = None

    # Clients that do not read

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send data, and watch whether the client reads it."""
        if self.lingering or not data:
            return
        self._written += len(data)
        if self._turn is None and len(data) < SHORT_BYTES:
            self._short = bytes(data)
            self._turn = self._loop.call_soon(self._send)
        elif self._turn is not None and len(data) < JOINED_BYTES:
            self._send(self._short + data)
        else:
            self._send()
            self._send(data)

    def _send(self, data: bytes | bytearray | memoryview | None = None) -> None:
        """Send data; None for what waits for the next write, if there is anything."""
        if data is None:
            data = self._short
        self._forget_short()
        if data:
            self._transport.write(data)
            self._watch_unsent()

    def _forget_short(self) -> None:
        self._short = b""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    @property
    def num_unsent(self) -> int:
        """Bytes that are still to be sent."""
        return self._transport.get_write_buffer_size() + len(self._short)

    def _watch_unsent(self) -> None:
        """While something is unsent, check every write_timeout_s that the client reads enough."""
        if not self.num_unsent:
            return
        if self._watch is None:
            self.waiting_since = self._loop.time()
            self._watch_on()
        if self.num_unsent > CHECK_TOTAL_FROM:
            self._thin_out()

    def _watch_on(self) -> None:
        self._read_before = self._written - self.num_unsent
        self._watch = self._loop.call_later(self._settings.write_timeout_s, self._look)

    def _look(self) -> None:
        self._watch = None
        if not self.num_unsent:
            return
        if self._written - self.num_unsent - self._read_before < MIN_READ:
            self._transport.abort()
        else:
            self._watch_on()

    def _thin_out(self) -> None:
        """If all clients leave too much unread, cut off the one that has waited longest."""
        waiting = [one for one in self._others() if one.num_unsent and not one.is_closing()]
        if sum(one.num_unsent for one in waiting) > self._settings.answers_max_mb * MB:
            min(waiting, key=lambda one: one.waiting_since).abort()

    # Closing

    def close(self) -> None:
        """Close the connection, and linger if the client may still be sending."""
        if self._transport.is_closing() or not self._has_unread():
            self.end()
        else:
            self.linger(self._settings.body_timeout_s)

    def linger(self, seconds: float) -> None:
        """Send what is left and the end of the stream, but keep receiving for some seconds.

        If the connection were closed with unread bytes, TCP would reset it, and the client might
        lose the response.
        """
        if self.lingering:
            return
        self._send()
        self.lingering = True
        self._transport.resume_reading()
        with contextlib.suppress(OSError):  # it is already gone
            self._transport.write_eof()
        self._linger_end = self._loop.time() + seconds
        self._linger_on()

    def throw_away(self, num_bytes: int) -> None:
        """Count and discard what the client still sends."""
        self._thrown_away += num_bytes
        if self._thrown_away > 2 * self._settings.max_body_mb * MB:
            self.end()

    def _linger_on(self) -> None:
        self._last_look = self._thrown_away
        wait_s = min(LINGER_IDLE_S, max(0, self._linger_end - self._loop.time()))
        self._linger_timer = self._loop.call_later(wait_s, self._look_again)

    def _look_again(self) -> None:
        if self._thrown_away > self._last_look and self._loop.time() < self._linger_end:
            self._linger_on()
        else:
            self.end()

    def end(self) -> None:
        """Close without lingering; what is unsent still goes out if the client reads it."""
        self._send()
        self._transport.close()

    # The rest of asyncio.Transport, passed on

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection."""
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol that receives."""
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that receives."""
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        """Whether the protocol receives data."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Pass no data on to the protocol for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Pass data on to the protocol again."""
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set from how many unsent bytes on the protocol is paused."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits, low and high."""
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
        return self.num_unsent

    def can_write_eof(self) -> bool:
        """Whether `write_eof` works."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Send the end of the stream after what is unsent."""
        self._send()
        self._transport.write_eof()

    def abort(self) -> None:
        """Close at once; what is unsent is lost."""
        self._forget_short()
        self._transport.abort()
