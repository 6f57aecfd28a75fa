"""Any text reaches a stream of any encoding, and streams that were closed exist."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAY = """if True:
    import sys
    from humanparse.system import streams
    streams.prepare()
    print(sys.argv[1])
    print(sys.argv[1], file=sys.stderr)
"""


def said(text: str | bytes, encoding: str) -> tuple[bytes, bytes]:
    """What a process with streams of that encoding writes for the text: (stdout, stderr)."""
    surroundings = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
    words = [sys.executable, "-c", SAY, text]
    done = subprocess.run(words, env=surroundings, capture_output=True, check=True)
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("utf-8", "a → b × 照 ü…".encode()),
        ("cp1252", "a -> b × \\u7167 ü…".encode("cp1252")),
        ("cp437", "a -> b x \\u7167 ü...".encode("cp437")),
        ("ascii", b"a -> b x \\u7167 \\xfc..."),
    ],
)
def test_what_a_stream_lacks_is_written_in_other_characters(encoding, line):
    assert said("a → b × 照 ü…", encoding) == (line, line)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_name_that_is_not_text_keeps_its_bytes(encoding):
    assert said(b"\xff.jpg", encoding)[0] == b"\xff.jpg"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix closes the streams")
def test_closed_streams_lead_nowhere_and_their_numbers_stay_taken():
    code = """if True:
        import os, sys
        from humanparse.system import streams
        streams.prepare()
        print("to nobody")
        print("to nobody", file=sys.stderr)
        os._exit(0 if os.open(sys.executable, os.O_RDONLY) > 2 else 1)
    """
    closed = 'exec "$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closed, sys.executable, code], check=False)
    assert done.returncode == 0


def test_stderr_is_muted_for_a_while_also_for_libraries_in_c(capfd):
    from humanparse.system.streams import muted_stderr

    with muted_stderr():
        os.write(2, b"remark")
    os.write(2, b"line")
    assert capfd.readouterr().err == "line"
