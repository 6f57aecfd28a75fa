"""Ctrl-C and SIGTERM end every command: what is done is kept, and nothing that hangs holds it."""

from __future__ import annotations

import os
import signal
import threading

from humanparse.cli.errors import INTERRUPTED

PATIENCE_S = 15.0  # for photos in progress and the last files; then the process ends as it is


def listen() -> None:
    """Treat SIGTERM like Ctrl-C. Call it in the main thread, before the work.

    The first signal raises KeyboardInterrupt. A second one, or PATIENCE_S, ends the process at
    once: a thread may wait for ever for a network folder that is gone. Signals that whoever
    started us ignores, or handles, stay theirs.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, _Once())


class _Once:
    """The handler of a signal."""

    last: threading.Timer | None = None  # shared: Ctrl-C and then SIGTERM are two signals as well

    def __call__(self, *_) -> None:
        if _Once.last is not None:
            _leave("interrupted twice; the process ended at once")
        line = "interrupted; something did not end in time, and was left as it was"
        _Once.last = threading.Timer(PATIENCE_S, _leave, (line,))
        _Once.last.daemon = True
        _Once.last.start()
        raise KeyboardInterrupt


def _leave(line: str) -> None:
    """End now, without waiting for threads or writing what is buffered."""
    os.write(2, f"{line}\n".encode())
    os._exit(INTERRUPTED)
