"""The log has one line per event, and nothing that a client sends can make it two."""

import io
import json
import logging
import os

import pytest
from raw_http import loggers_restored

from humanparse.service import logs
from humanparse.service.settings import Settings

NASTY = "a\nb\r\x1b[31m\x7f\x85\u2028\u202e\x00\udcff"


class Log:
    """A log in memory."""

    def __init__(self, settings: Settings):
        self._stream = io.StringIO()
        self._handler = logs.configure(settings, self._stream)

    def getvalue(self) -> str:
        self._handler.flush()
        return self._stream.getvalue()


@pytest.fixture
def log():
    """A function that configures the log."""
    with loggers_restored():
        yield lambda **options: Log(Settings(**options))


def test_a_line_is_json_with_time_level_message_and_fields(log):
    stream = log()
    logging.getLogger("humanparse.anything").warning(
        "worker %d replaced", 2, extra=logs.extra(reason="memory", rss_mb=1.5)
    )
    line = json.loads(stream.getvalue())
    assert list(line) == ["time", "level", "message", "reason", "rss_mb"]
    assert (line["level"], line["message"], line["rss_mb"]) == ("warning", "worker 2 replaced", 1.5)
    assert line["time"].endswith("Z") and len(line["time"]) == len("2026-11-21T06:17:02.120Z")


def test_lines_of_a_request_carry_its_id(log):
    stream = log()
    token = logs.request_id.set("abc")
    logging.getLogger("humanparse").info("hello")
    logs.request_id.reset(token)
    logging.getLogger("humanparse").info("hello")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["request_id"] == "abc" and "request_id" not in second


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nothing_ends_a_line_or_controls_a_terminal(log, log_format):
    stream = log(log_format=log_format)
    logging.getLogger("humanparse").info(
        "got %s", NASTY, extra=logs.extra(path=NASTY, deep={"x": [NASTY]})
    )
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert text[:-1].isascii() or log_format == "text"


def test_text_is_for_people(log):
    stream = log(log_format="text")
    logging.getLogger("humanparse").info(
        "GET /parse 200", extra=logs.extra(status=200, name='a "b"=c', nothing=None)
    )
    assert (
        stream.getvalue().partition(" ")[2] == 'info GET /parse 200 status=200 name="a \\"b\\"=c"\n'
    )


def test_a_traceback_stays_in_its_json_line(log):
    stream = log()
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logging.getLogger("humanparse").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: bad\nthing" in json.loads(line)["exception"]


def test_a_traceback_in_text_is_indented(log):
    stream = log(log_format="text")
    try:
        raise ValueError("bad\n2026-11-21 a line made up")
    except ValueError:
        logging.getLogger("humanparse").exception("failed")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("failed")
    assert others and all(line.startswith("    ") for line in others)


def test_the_level_is_the_settings(log):
    stream = log(log_level="warning")
    logging.getLogger("humanparse.x").info("no")
    logging.getLogger("humanparse.x").warning("yes")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_libraries_warnings_have_our_format_and_lower_levels_are_left_out(log):
    stream = log()
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").warning("careful")
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == [
        "warning",
        "error",
    ]


def test_configuring_twice_writes_once_and_leaves_the_root_logger_alone(log):
    before = logging.getLogger().handlers[:]
    first, second = log(), log()
    logging.getLogger("humanparse").info("once")
    assert first.getvalue() == "" and second.getvalue().count("once") == 1
    assert logging.getLogger().handlers == before


def test_the_reader_of_the_log_may_stall(monkeypatch):
    monkeypatch.setattr(logs, "MAX_LINES", 100)
    reading, writing = os.pipe()
    with loggers_restored(), open(writing, "w") as stream, open(reading) as reader:
        handler = logs.configure(Settings(), stream)
        for _ in range(1000):
            # more than a pipe holds, so this would block for ever
            logging.getLogger("humanparse").info("x" * 1000)
        written = dropped = 0
        while written + dropped < 1000:
            message = json.loads(reader.readline())["message"]
            if "dropped" in message:
                dropped += int(message.split()[0])
            else:
                written += 1
        handler.close()
    assert written >= 100 and dropped > 0


def test_a_log_without_a_reader_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with loggers_restored(), open(writing, "w") as stream:
        handler = logs.configure(Settings(), stream)
        logging.getLogger("humanparse").info("hello")
        handler.close()
