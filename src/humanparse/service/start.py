"""`humanparse serve`: the workers and the web side load at the same time.

A worker takes about as long to load as the web framework and the routes. So the workers are
started before anything of the web is imported, and are ready when it is, or soon after.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from humanparse.service.listener import prepared
from humanparse.service.settings import Settings
from humanparse.service.signals import handled, stopping
from humanparse.service.work.dispatcher import Dispatcher

if TYPE_CHECKING:
    from fastapi import FastAPI

Run = Callable[["FastAPI", Settings, socket.socket], Awaitable[int]]


def serve(settings: Settings) -> int:
    """Run the service until it is told to stop.

    Args:
        settings: The service's settings.

    Returns:
        The exit code.

    Raises:
        OptionError: If it cannot listen at the address.
        HumanParseError: Whatever the app raises when it cannot start, such as ModelError.
    """
    with prepared(settings) as listener:
        return asyncio.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> int:
    app: FastAPI | None = None
    told_to_stop = False
    this = asyncio.current_task()

    def replaced(reason: str) -> None:
        if app is not None:
            app.state.metrics.worker_restarted(reason)

    def stop() -> None:
        nonlocal told_to_stop
        told_to_stop = True
        if this is not None:
            this.cancel()

    dispatcher = Dispatcher(settings, on_replaced=replaced)
    with handled(stopping(stop)):  # until the server handles them
        try:
            dispatcher.begin()
            loaded, run = await asyncio.to_thread(_load, settings, dispatcher)
            app = loaded
            return await run(loaded, settings, listener)
        except asyncio.CancelledError:
            if not told_to_stop:
                raise
            return 0
        finally:
            await dispatcher.stop(0)  # where the app has not come to it


def _load(settings: Settings, dispatcher: Dispatcher) -> tuple[FastAPI, Run]:
    """Import the web side; return the app, and what runs it."""
    with _without_collecting():
        from humanparse.service.app import create_app
        from humanparse.service.server import run_in

        return create_app(settings, dispatcher=dispatcher), run_in


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Have nothing collected as garbage meanwhile, and never look again at what was made.

    Imports make very many objects that all stay; looking through them takes a tenth of the time.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
