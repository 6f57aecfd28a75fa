"""The way out of a connection: a transport that notices clients who do not read, and closes without
losing the answer.

uvicorn's protocol gets a PatientTransport in place of asyncio's transport and uses it like one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from humanparse.service.settings import Settings

MB = 1_000_000
# bytes that a client must take in each write_timeout_s, unless it takes all there is
LEAST_TAKEN = 250_000
CROWD_FROM = 64_000  # bytes unsent on one connection, from which on the sum over all is looked at
LINGER_IDLE_S = 2.0  # a lingering connection over which nothing comes for that long is closed


class PatientTransport:
    """An asyncio.Transport around another.

    has_unread: whether the client may still be sending, so that close() has to linger.
    others: every PatientTransport of the server; together they hold at most answers_max_mb that are not taken.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        settings: Settings,
        has_unread: Callable[[], bool],
        others: Callable[[], Iterable[PatientTransport]],
    ):
        self._transport, self._settings = transport, settings
        self._has_unread, self._others = has_unread, others
        self._loop = asyncio.get_running_loop()
        self._written = 0  # bytes
        self._taken_before = 0  # bytes that the client had taken when the watch began
        self._watch: asyncio.TimerHandle | None = None
        # since when there has been something that the client does not take
        self.waiting_since = 0.0
        self.lingering = False
        self._linger_clock: asyncio.TimerHandle | None = None
        self._linger_end, self._thrown_away, self._last_look = 0.0, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.lingering or self._transport.is_closing()

    def forget(self) -> None:
        """The connection is gone."""
        for clock in (self._watch, self._linger_clock):
            if clock is not None:
                clock.cancel()
        self._watch = self._linger_clock = None

    # Clients who do not read

    def write(self, data: bytes) -> None:
        if self.lingering:
            return
        self._written += len(data)
        self._transport.write(data)
        self._watch_unsent()

    @property
    def num_unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    def _watch_unsent(self) -> None:
        """As long as something is unsent, look after each write_timeout_s whether it becomes
        less."""
        if not self.num_unsent:
            return
        if self._watch is None:
            self.waiting_since = self._loop.time()
            self._watch_on()
        if self.num_unsent > CROWD_FROM:
            self._thin_out()

    def _watch_on(self) -> None:
        self._taken_before = self._written - self.num_unsent
        self._watch = self._loop.call_later(self._settings.write_timeout_s, self._look)

    def _look(self) -> None:
        self._watch = None
        if not self.num_unsent:
            return
        if self._written - self.num_unsent - self._taken_before < LEAST_TAKEN:
            self._transport.abort()
        else:
            self._watch_on()

    def _thin_out(self) -> None:
        """If the clients leave too much untaken in all, cut off the one that has been at it
        longest."""
        waiting = [door for door in self._others() if door.num_unsent and not door.is_closing()]
        if sum(door.num_unsent for door in waiting) > self._settings.answers_max_mb * MB:
            min(waiting, key=lambda door: door.waiting_since).abort()

    # Closing

    def close(self) -> None:
        if self._transport.is_closing() or not self._has_unread():
            self._transport.close()
        else:
            self.linger(self._settings.body_timeout_s)

    def linger(self, seconds: float) -> None:
        """Send what there is and say that it was all, but hear the client out for a while.

        Were the connection closed with bytes unread, TCP would reset it, and the client might lose
        the answer.
        """
        if self.lingering:
            return
        self.lingering = True
        self._transport.resume_reading()
        with contextlib.suppress(OSError):  # it is gone already
            self._transport.write_eof()
        self._linger_end = self._loop.time() + seconds
        self._linger_on()

    def throw_away(self, num_bytes: int) -> None:
        """What the client still sends."""
        self._thrown_away += num_bytes
        if self._thrown_away > 2 * self._settings.max_body_mb * MB:
            self.end()

    def _linger_on(self) -> None:
        self._last_look = self._thrown_away
        wait_s = min(LINGER_IDLE_S, max(0, self._linger_end - self._loop.time()))
        self._linger_clock = self._loop.call_later(wait_s, self._look_again)

    def _look_again(self) -> None:
        if self._thrown_away > self._last_look and self._loop.time() < self._linger_end:
            self._linger_on()
        else:
            self.end()

    def end(self) -> None:
        """Close without further ado; what is unsent still goes out if the client takes it."""
        self._transport.close()
