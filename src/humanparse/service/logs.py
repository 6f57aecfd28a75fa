"""The log: one line an event, to standard error, as JSON or as text for people. Never picture
content or file names.

    {"time": "2026-11-21T06:17:02.120Z", "level": "info", "message": "POST /parse 200",
    "request_id": "…", "status": 200, …}

What a client sent may stand in a line (a path, an id) but cannot end it or steer a terminal:
control characters are escaped. Lines are written by a thread of their own: whoever reads our output
may stall (a full pipe, Ctrl-S in a terminal) without the service stalling with it. Only the logger
`humanparse`, and those of the libraries that carry our requests, are set up; the root logger is
left alone.
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

# Which request a line belongs to: set by the edge, and inherited by what a request starts.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# Libraries whose warnings belong into our log: they would otherwise go past it, in another form.
LIBRARIES = ("uvicorn.error", "asyncio")
MOST_LINES = 10_000  # that may wait to be written; further ones are dropped, and counted
FLUSH_S = 1.0  # how long the end of the process waits for them


def configure(settings: Settings, stream: TextIO | None = None) -> BackgroundHandler:
    """Send our log to `stream` (standard error if None) as the settings want it. Can be called
    again."""
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
    """Writes lines in a thread; never waits for it while the service runs."""

    def __init__(self, stream: TextIO):
        super().__init__()
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)
        self._dropped = 0
        self._thread = threading.Thread(
            target=self._write_on, args=(_writer(stream),), name="log", daemon=True
        )
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all is written, but not for ever."""
        done = self._lines.all_tasks_done
        with done:
            done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_S)

    def close(self) -> None:
        """Can be called again, and is: by each logger that has this handler."""
        self.flush()
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(None)
            self._thread.join(FLUSH_S)
        super().close()

    def _write_on(self, write: Callable[[str], None]) -> None:
        while (line := self._lines.get()) is not None:
            # nobody reads it, or it is closed: no reason to stop
            with contextlib.suppress(OSError, ValueError):
                write(line + "\n")
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    record = logging.makeLogRecord(
                        {
                            "levelname": "WARNING",
                            "msg": f"{dropped} lines were dropped from this log",
                        }
                    )
                    write(self.format(record) + "\n")
            self._lines.task_done()
        self._lines.task_done()


def _writer(stream: TextIO) -> Callable[[str], None]:
    """A function that writes to a stream; if it is a file, past Python's buffer, whose lock must
    not be held at exit."""
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return lambda text: stream.write(text)

    def write(text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(number, data) :]

    return write


def extra(**fields: Any) -> dict[str, Any]:
    """Further fields of a line: `logger.info("replaced", extra=logs.extra(worker=2))`."""
    return {"fields": fields}


class JsonLines(logging.Formatter):
    """A JSON object a line, pure ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        data = _fields(record)
        if record.exc_info:
            data["exception"] = self.formatException(record.exc_info)
        # JSON leaves DEL as it is; a terminal need not.
        return json.dumps(data, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


class TextLines(logging.Formatter):
    """`2026-11-21T06:17:02.120Z info POST /parse 200 request_id=… status=200`; a traceback below,
    indented."""

    def format(self, record: logging.LogRecord) -> str:
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
    """What both forms show of an event, in order."""
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
    """A field's value in a text line; in quotes if it could be taken for something else."""
    text = visible(value if isinstance(value, str) else json.dumps(value, default=str))
    plain = text and not set(text) & set(' "=')
    return text if plain else '"' + text.replace('"', '\\"') + '"'


def visible(text: str) -> str:
    """The text with every control character, line end and other invisible character spelled out."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
