"""The log: one line per event on standard error, as JSON or as text.

    {"time": "2026-11-21T06:17:02.120Z", "level": "info", "message": "POST /parse 200",
    "request_id": "…", "status": 200, …}

A line never holds a picture's content or a file's name. Text from a client may appear in it (a
path, an id), but cannot end the line or control a terminal, because control characters are escaped.
A thread writes the lines, so that the service goes on when its output stalls (a full pipe, Ctrl-S
in a terminal). Only the logger `humanparse` and those of the libraries that carry our requests are
configured; the root logger is left alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from humanparse.service.settings import Settings

# The request that a line belongs to: set by the middleware, inherited by the request's tasks.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# Libraries whose warnings belong in our log, in the same form.
LIBRARIES = ("uvicorn.error", "asyncio")
MAX_LINES = 10_000  # lines that may wait to be written; further ones are dropped, and counted
FLUSH_S = 1.0  # how long the process waits for them when it ends


def configure(settings: Settings, stream: TextIO | None = None) -> BackgroundHandler:
    """Set up the log as the settings say. Can be called more than once.

    Args:
        settings: log_format and log_level are used.
        stream: Where the lines go; None for standard error.

    Returns:
        The handler, to be flushed before the process ends.
    """
    handler = BackgroundHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    _take_over("humanparse", handler, settings.log_level.upper())
    for name in LIBRARIES:
        _take_over(name, handler, "WARNING")
    return handler


def _take_over(name: str, handler: BackgroundHandler, level: str) -> None:
    logger = logging.getLogger(name)
    for one in logger.handlers[:]:
        if isinstance(one, BackgroundHandler):  # of an earlier call
            logger.removeHandler(one)
            one.close()
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class BackgroundHandler(logging.Handler):
    """Writes lines in a thread of its own, and never waits for it while the service runs.

    The standard library's QueueHandler and QueueListener would not be shorter. Their thread ends
    only when the output takes everything, and a full queue is reported as an error, so each of
    their methods would have to be replaced.
    """

    def __init__(self, stream: TextIO):
        super().__init__()
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_LINES)
        self._dropped = 0
        self._thread = threading.Thread(
            target=self._write_on, args=(_writer(stream),), name="log", daemon=True
        )
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the formatted line; drop and count it if the queue is full."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until everything is written, but at most FLUSH_S."""
        done = self._lines.all_tasks_done
        with done:
            done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_S)

    def close(self) -> None:
        """Write what is left, and end the thread. Each logger with this handler may call it."""
        self.flush()
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(None)
            self._thread.join(FLUSH_S)
        super().close()

    def _write_on(self, write: Callable[[str], None]) -> None:
        while (line := self._lines.get()) is not None:
            # the stream is closed or has no reader: no reason to stop
            with contextlib.suppress(OSError, ValueError):
                write(line + "\n")
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    record = logging.makeLogRecord(
                        {
                            "levelname": "WARNING",
                            "msg": f"{dropped} log lines were dropped",
                        }
                    )
                    write(self.format(record) + "\n")
            self._lines.task_done()
        self._lines.task_done()


def _writer(stream: TextIO) -> Callable[[str], None]:
    """Return a function that writes to a stream.

    A file is written past Python's buffer, whose lock must not be held when the process ends.
    """
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        number = -1

    def write(text: str) -> None:
        if number < 0:
            stream.write(text)
            return
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(number, data) :]

    return write


def extra(**fields: Any) -> dict[str, Any]:
    """Return further fields of a line: `logger.info("replaced", extra=logs.extra(worker=2))`."""
    return {"fields": fields}


class JsonLines(logging.Formatter):
    """One JSON object per line, in pure ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        data = _fields(record)
        if record.exc_info:
            data["exception"] = self.formatException(record.exc_info)
        # JSON does not escape DEL, which a terminal may act on.
        return json.dumps(data, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


class TextLines(logging.Formatter):
    """Text: `2026-11-21T06:17:02.120Z info POST /parse 200 request_id=… status=200`.

    A traceback follows, indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and those of the traceback."""
        data = _fields(record)
        line = " ".join([data.pop("time"), data.pop("level"), visible(data.pop("message"))])
        line += "".join(f" {name}={_value(value)}" for name, value in data.items())
        if record.exc_info:
            line += "".join(
                "\n    " + visible(one)
                for one in self.formatException(record.exc_info).splitlines()
            )
        return line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What both formats show of an event, in order."""
    when = (
        datetime.fromtimestamp(record.created, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
    data = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
    given = getattr(record, "fields", {})
    if found := given.get("request_id") or request_id.get():
        data["request_id"] = found
    return data | {
        name: value for name, value in given.items() if value is not None and name not in data
    }


def _value(value: Any) -> str:
    """A field's value in a text line, in quotes if it could be mistaken for something else."""
    text = visible(value if isinstance(value, str) else json.dumps(value, default=str))
    plain = text and not set(text) & set(' "=')
    return text if plain else '"' + text.replace('"', '\\"') + '"'


def visible(text: str) -> str:
    """Return the text with every invisible character, such as a line end, written as an escape."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
