"""The service as a process: it listens, runs the app, and stops on signals.

SIGTERM, SIGINT   not ready from now on, but still open for drain_delay_s;
                  requests in progress are answered within drain_s; exit code 0
a second one      stops at once
SIGHUP            app.state.reload()

The app's lifespan is run here instead of by uvicorn, so that the error that keeps the service from
starting is raised as it is. This relies on uvicorn.Server's startup, capture_signals and
should_exit; tests/service/test_server.py is a regression test for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from humanparse.service import logs
from humanparse.service.http.connection import protocol_class
from humanparse.service.listener import cannot_listen, prepared, url_of
from humanparse.service.paths import ProxyHeaders
from humanparse.service.settings import Settings
from humanparse.service.signals import handled, stopping

logger = logging.getLogger(__name__)

LAST_WORD_S = 0.1  # for the responses to requests that did not end in time
BACKLOG = 1024  # connections that the system queues until we accept them


def run(app: FastAPI, settings: Settings, on_ready: Callable[[Server], None] | None = None) -> int:
    """Run an app until it is told to stop.

    Args:
        app: The application.
        settings: The service's settings.
        on_ready: Called once requests are served; None prints the address.

    Returns:
        The exit code.

    Raises:
        OptionError: If it cannot listen at the address.
        HumanParseError: Whatever the app raises when it cannot start.
    """
    with prepared(settings) as listener:
        return asyncio.run(run_in(app, settings, listener, on_ready))


async def run_in(
    app: FastAPI,
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[Server], None] | None = None,
) -> int:
    """Do what `run` does in a running event loop, with a socket of `listener.prepared`."""
    server = Server(app, settings, listener, on_ready or _print_ready)
    with server.listening_to_signals():
        try:
            async with app.router.lifespan_context(app):
                await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            if not server.stopping:
                raise
    return 0


class Server(uvicorn.Server):
    """uvicorn's server, made quiet: it reports when it is ready, and stops in our order."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        listener: socket.socket,
        on_ready: Callable[[Server], None],
    ):
        metrics = getattr(app.state, "metrics", None)
        super().__init__(
            uvicorn.Config(
                ProxyHeaders(app, list(settings.trusted_proxies)),
                proxy_headers=False,  # uvicorn's own
                http=protocol_class(settings, metrics),
                ws="none",
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                workers=1,
                h11_max_incomplete_event_size=settings.max_header_kb * 1000,
                # annotated as int, but used as seconds in floats
                timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]
                timeout_graceful_shutdown=settings.drain_s,  # type: ignore[arg-type]
            )
        )
        self._app, self._settings, self._listener, self._on_ready = (
            app,
            settings,
            listener,
            on_ready,
        )
        self._starting = asyncio.current_task()
        self._reloading: asyncio.Task[None] | None = None
        self.stopping = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and report that the service is ready. Raises OptionError if it cannot listen."""
        try:
            await super().startup(sockets)
        except OSError as error:  # two may bind to an address, but only one can listen
            raise cannot_listen(self._settings, error) from None
        self._starting = None
        logger.info("ready", extra=logs.extra(address=self.address))
        self._on_ready(self)

    @property
    def address(self) -> str:
        """The server's URL, with the port that is really used."""
        return url_of(self._settings.host, self._listener.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections, within drain_s where a request is in progress."""
        await super().shutdown(sockets)
        if left := list(self.server_state.connections):  # drain_s is over
            await asyncio.sleep(LAST_WORD_S)
            for connection in left:
                connection.transport.abort()
            await asyncio.sleep(0)  # for asyncio to close them

    def stop(self) -> None:
        """Begin to stop: not ready from now on, closed after drain_delay_s."""
        self.stopping = True
        self._app.state.draining = True
        logger.info("stopping")
        if self._starting is not None:
            self._starting.cancel()
        else:
            asyncio.get_running_loop().call_later(self._settings.drain_delay_s, self._close)

    def _close(self) -> None:
        self.should_exit = True

    # Signals

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing, since uvicorn's way begins too late and raises the signals again."""
        yield

    def listening_to_signals(self) -> contextlib.AbstractContextManager[None]:
        """Handle signals while the context is open; without effect outside the main thread."""
        handlers = dict(stopping(self.stop))
        if hasattr(signal, "SIGHUP"):  # not on Windows
            handlers[signal.SIGHUP] = self._on_reload_signal
        return handled(handlers)

    def _on_reload_signal(self) -> None:
        busy = self._starting is not None or (
            self._reloading is not None and not self._reloading.done()
        )
        if not busy and not self.stopping:
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        logger.info("reloading")
        try:
            await self._app.state.reload()
            logger.info("reloaded")
        except Exception:
            logger.exception("the reload failed; the old models stay")


def _print_ready(server: Server) -> None:
    with contextlib.suppress(OSError):  # a closed output is no reason not to serve
        print(f"humanparse is ready at {server.address}", flush=True)
