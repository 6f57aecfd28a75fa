"""Ctrl-C and SIGTERM end every command: what is done is kept, and nothing that hangs holds it."""

from __future__ import annotations

import os
import signal
import threading
import time

from humanparse.cli.errors import INTERRUPTED

PATIENCE_S = 15.0  # for photos in progress and the last files; then the process ends as it is


def listen() -> None:
    """Treat SIGTERM like Ctrl-C. Call it in the main thread, before the work.

    The first signal raises KeyboardInterrupt. A second one, or PATIENCE_S, ends the process at
    once: a thread may wait for ever for a network folder that is gone. Signals that whoever
    started us ignores, or handles, stay theirs.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    end = _End()
    for number, handler in usual.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, end)


class _End:
    """The handler of both signals, and the thread that loses patience.

    The thread is there from the start, and waits for a lock: a handler may come while the main
    thread holds any lock of Python's own, as those that starting a thread takes.
    """

    def __init__(self):
        self._signals = 0
        self._none_yet = threading.Lock()
        self._none_yet.acquire()
        threading.Thread(target=self._watch, daemon=True, name="humanparse-patience").start()

    def __call__(self, *_) -> None:
        self._signals += 1
        if self._signals > 1:
            _leave("interrupted twice; the process ended at once")
        self._none_yet.release()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        self._none_yet.acquire()
        time.sleep(PATIENCE_S)
        _leave("interrupted; something did not end in time, and was left as it was")


def _leave(line: str) -> None:
    """End now, without waiting for threads or writing what is buffered."""
    os.write(2, f"{line}\n".encode())
    os._exit(INTERRUPTED)
