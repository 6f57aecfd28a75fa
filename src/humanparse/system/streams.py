"""Standard output and error that accept any text, and exist even where they were closed.

Windows gives redirected output the code page of the region, old locales are ISO-8859-1, and file
names come from anywhere. A character that a stream lacks is replaced by others, so that no line of
output can end a long run.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HANDLER = "humanparse"
STAND_INS = {"→": "->", "…": "...", "×": "x", "–": "-", "—": "-", "·": "."}  # for our own signs


def prepare() -> None:
    """Make stdout and stderr of this process safe to write to. The entry points call this first.

    Closed descriptors are opened on the null device: otherwise the file of a result would get their
    number, and with it whatever a library writes to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    codecs.register_error(HANDLER, _stand_in)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            null = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 — it stays open
            setattr(sys, name, null)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Discard what this process writes to stderr while the block runs.

    For libraries in C that print remarks there which no setting of theirs switches off. Whatever
    other threads print at the same time is lost as well, so the block should be short.
    """
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(null)
        os.close(kept)


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written instead of one character: a similar one, or its number, as in \\u7167.

    A byte of a file name that could not be decoded is written as it is.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), end
    return STAND_INS.get(character) or character.encode("unicode_escape").decode(), end
