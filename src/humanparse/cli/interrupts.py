"""Ctrl-C and SIGTERM end every command, even if something hangs; what is done is kept."""

from __future__ import annotations

import os
import signal
import threading
import time

from humanparse.cli.errors import INTERRUPTED

PATIENCE_S = 15.0  # for photos in progress and the last files; then the process ends


def listen() -> None:
    """Treat SIGTERM like Ctrl-C. Call it in the main thread, before the work begins.

    The first signal raises KeyboardInterrupt. A second one ends the process at once, and so does
    the end of PATIENCE_S: a thread may wait for ever for a network folder that has gone. Signals
    that the process ignores or handles already are left alone.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    end = _End()
    for number, handler in usual.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, end)


class _End:
    """The handler of both signals, and the thread that loses patience.

    The thread exists from the start and waits for a lock. The handler could not start it, since
    the main thread may hold any of Python's own locks at that moment, such as those for starting a
    thread.
    """

    def __init__(self) -> None:
        self._signals = 0
        self._none_yet = threading.Lock()
        self._none_yet.acquire()
        threading.Thread(target=self._watch, daemon=True, name="humanparse-patience").start()

    def __call__(self, *_: object) -> None:
        self._signals += 1
        if self._signals > 1:
            _leave("interrupted twice; the process ends at once")
        self._none_yet.release()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        self._none_yet.acquire()
        time.sleep(PATIENCE_S)
        _leave("interrupted; something did not end in time and was abandoned")


def _leave(line: str) -> None:
    """End now, without waiting for threads or flushing buffers."""
    os.write(2, f"{line}\n".encode())
    os._exit(INTERRUPTED)
