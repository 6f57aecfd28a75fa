"""What the user reads while photos are parsed."""

from __future__ import annotations

import io
from pathlib import Path

from humanparse.cli.report import Report
from humanparse.errors import BrokenImage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report_on(stdout, stderr, monkeypatch, total=2, quiet=False):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setattr("sys.stderr", stderr)
    with Report(total, quiet=quiet) as report:
        report.finished("a.jpg", 2, [Path("a.json")])
        report.could_not("b.jpg", BrokenImage("it breaks off"))
    report.summary()


def test_a_terminal_shows_a_bar_over_many_photos(monkeypatch):
    stdout, stderr = io.StringIO(), Terminal()
    report_on(stdout, stderr, monkeypatch)
    assert "2/2" in stderr.getvalue()
    # a bar on stderr leaves a redirected stdout alone
    assert stdout.getvalue() == "a.jpg  2 people  → a.json\n"
    assert "b.jpg: it breaks off" in stderr.getvalue()


def test_one_photo_needs_no_bar(monkeypatch):
    stdout, stderr = io.StringIO(), Terminal()
    report_on(stdout, stderr, monkeypatch, total=1)
    assert "1/1" not in stderr.getvalue()


def test_a_log_file_gets_lines_and_no_bar(monkeypatch):
    stdout, stderr = io.StringIO(), io.StringIO()
    report_on(stdout, stderr, monkeypatch)
    assert stderr.getvalue() == "b.jpg: it breaks off\n1 parsed, 0 skipped, 1 failed in 0.0 s\n"


def test_a_message_does_not_repeat_the_name(capsys):
    Report(1).could_not("photos/b.jpg", BrokenImage("b.jpg breaks off after 9 bytes"))
    assert capsys.readouterr().err == "photos/b.jpg: breaks off after 9 bytes\n"


def test_a_quiet_terminal_shows_the_error_only(monkeypatch):
    stdout, stderr = Terminal(), Terminal()
    report_on(stdout, stderr, monkeypatch, quiet=True)
    assert (stdout.getvalue(), stderr.getvalue()) == ("", "b.jpg: it breaks off\n")
