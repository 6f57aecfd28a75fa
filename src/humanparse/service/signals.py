"""Signals, handled on the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

Handlers = Mapping[signal.Signals, Callable[[], object]]


def stopping(stop: Callable[[], object]) -> Handlers:
    """Return handlers of SIGTERM and SIGINT: the first one calls `stop`, the second one ends all.

    Not by sys.exit, which would wait for whatever led to the second signal. The workers end when
    their pipes close.
    """
    received: list[signal.Signals] = []

    def handle(number: signal.Signals) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        stop()

    return {number: partial(handle, number) for number in (signal.SIGTERM, signal.SIGINT)}


@contextmanager
def handled(handlers: Handlers) -> Iterator[None]:
    """Have these functions called when these signals arrive, while the context is open.

    Signals can be handled in the main thread alone; elsewhere, as in tests, this has no effect.
    """
    loop = asyncio.get_running_loop()
    try:
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
    except (ValueError, RuntimeError):  # not the main thread
        handlers = {}
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
