"""Standard output and error that take every text, and are there even where they were closed.

Windows gives redirected output the code page of the region, old locales are ISO-8859-1, and file
names come from anywhere. A character that a stream lacks is written in others, so that no line of
a long run can end it.
"""

from __future__ import annotations

import codecs
import os
import sys

HANDLER = "humanparse"
STAND_INS = {"→": "->", "…": "...", "×": "x", "–": "-", "—": "-", "·": "."}  # for our own signs


def prepare() -> None:
    """Make stdout and stderr of this process safe to write to. The entry points call this first.

    Closed descriptors are opened to nowhere: a result's file would get their number, and with it
    what a library says on stderr.
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
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 — it stays open
            setattr(sys, name, nowhere)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written instead of one character: a sign like it, or its number, as in \\u7167.

    A byte of a file's name that could not be decoded stays that byte.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), end
    return STAND_INS.get(character) or character.encode("unicode_escape").decode(), end
