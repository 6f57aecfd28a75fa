"""The service as a process: opens the door, runs the app, and ends as it is told.

SIGTERM, SIGINT   not ready at once; open for drain_delay_s more; what is in work is answered within drain_s; exit code 0
a second one      the end, at once
SIGHUP            app.state.reload()

The app's lifespan is run here rather than by uvicorn, so that what keeps the service from starting
comes out as the error it is. Relies on uvicorn.Server's startup, capture_signals and should_exit;
tests/service/test_server.py holds them fast.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from humanparse.errors import OptionError
from humanparse.service import logs
from humanparse.service.http.connection import POLITE_REFUSALS, protocol_class
from humanparse.service.paths import ProxyHeaders
from humanparse.service.settings import Settings

logger = logging.getLogger(__name__)

SPARE_FILES = 256  # open files beside those of the clients: workers, databases, the cache
LAST_WORD_S = 0.1  # for the answers of requests that did not end in time
BACKLOG = 1024  # connections that the system keeps until we take them


def serve(settings: Settings) -> int:
    """Run the service until it is told to end. Returns the exit code.

    Raises OptionError if it cannot listen there, and whatever the app raises if it cannot start,
    such as ModelError.
    """
    # here, because it is slow to import and `bind` may fail first
    from humanparse.service.app import create_app

    return run(create_app(settings), settings)


def run(app: FastAPI, settings: Settings, on_ready: Callable[[Server], None] | None = None) -> int:
    """Like `serve`, for an app that is there already. on_ready: called once requests are served;
    None prints the address."""
    log = logs.configure(settings)
    _allow_open_files(settings.max_connections + POLITE_REFUSALS + SPARE_FILES)
    try:
        with bind(settings) as listener:
            return asyncio.run(_run(app, settings, listener, on_ready or _print_ready))
    finally:
        log.flush()


async def _run(
    app: FastAPI, settings: Settings, listener: socket.socket, on_ready: Callable[[Server], None]
) -> int:
    server = Server(app, settings, listener, on_ready)
    with server.listening_to_signals():
        try:
            async with app.router.lifespan_context(app):
                await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            if not server.stopping:
                raise
    return 0


class Server(uvicorn.Server):
    """uvicorn's server, which keeps quiet, tells when it is ready, and stops in our order."""

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
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=settings.drain_s,
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
        try:
            await super().startup(sockets)
        except OSError as error:  # two may bind to an address, but only one can listen
            raise _cannot_listen(self._settings, error) from None
        self._starting = None
        logger.info("ready", extra=logs.extra(address=self.address))
        self._on_ready(self)

    @property
    def address(self) -> str:
        """Where it is, with the port that it really has."""
        return _address(self._settings.host, self._listener.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if left := list(self.server_state.connections):  # drain_s is over
            await asyncio.sleep(LAST_WORD_S)
            for connection in left:
                connection.transport.abort()
            await asyncio.sleep(0)  # for asyncio to close them

    def stop(self) -> None:
        """Begin to end: not ready from now on, closed after drain_delay_s."""
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
        # uvicorn's own way begins too late, and raises the signals anew at the end; see below
        yield

    @contextlib.contextmanager
    def listening_to_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self._on_stop_signal, signal.SIGINT: self._on_stop_signal}
        if hasattr(signal, "SIGHUP"):  # not on Windows
            handlers[signal.SIGHUP] = self._on_reload_signal
        try:
            for one, handler in handlers.items():
                loop.add_signal_handler(one, handler, one)
        # not in the main thread, as in tests: then there are no signals
        except (ValueError, RuntimeError):
            handlers = {}
        try:
            yield
        finally:
            for one in handlers:
                loop.remove_signal_handler(one)

    def _on_stop_signal(self, number: signal.Signals) -> None:
        if self.stopping:
            # Not sys.exit: that would wait for whatever made somebody send a second signal. Workers
            # end with their pipes.
            os._exit(128 + number)
        self.stop()

    def _on_reload_signal(self, number: signal.Signals) -> None:
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
            logger.exception("could not reload; what was there stays")


def bind(settings: Settings) -> socket.socket:
    """A socket at the address, not yet listening: until the service is ready, clients are refused.
    Raises OptionError."""
    try:
        found = socket.getaddrinfo(
            settings.host.strip("[]"),
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        family, kind, number, _, address = found[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise _cannot_listen(settings, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(settings, error) from None
    return listener


def _cannot_listen(settings: Settings, error: OSError) -> OptionError:
    where = f"cannot listen on {_address(settings.host, settings.port).removeprefix('http://')}"
    if error.errno == errno.EADDRINUSE:
        return OptionError(
            f"{where}: something else does already; choose another port, or 0 for a free one"
        )
    if error.errno == errno.EACCES:
        return OptionError(f"{where}: ports below 1024 are for administrators; choose another")
    return OptionError(f"{where}: {error.strerror or error}")


def _address(host: str, port: int) -> str:
    host = host.strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _print_ready(server: Server) -> None:
    with contextlib.suppress(OSError):  # nobody reads our output: no reason not to serve
        print(f"humanparse is ready at {server.address}", flush=True)


def _allow_open_files(num_files: int) -> None:
    """Raise this process's limit of open files as far as it may, so that max_connections is what
    limits."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = num_files if hard == resource.RLIM_INFINITY else min(num_files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
