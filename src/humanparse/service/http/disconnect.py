"""Clients that disconnect before they have their response: their work is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


class ClientGone(Exception):
    """The client has disconnected, so the response has no reader."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await work for a client, and cancel it if the client disconnects.

    Args:
        request: The client's request, whose body must have been read already.
        work: The work.

    Returns:
        The work's result.

    Raises:
        ClientGone: If the client disconnected first.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _hung_up(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
