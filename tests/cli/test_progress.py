"""What the user reads while photos are parsed."""

from __future__ import annotations

import io
from types import SimpleNamespace

from humanparse.cli import progress
from humanparse.cli.progress import Report
from humanparse.errors import BrokenImage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report_on(stdout, stderr, monkeypatch, total=2, quiet=False):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setattr("sys.stderr", stderr)
    with Report(total, quiet=quiet) as report:
        report.finished(2, "a.jpg  2 people  → a.json")
        report.could_not("b.jpg", BrokenImage("it breaks off"))


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
    assert stderr.getvalue() == "b.jpg: it breaks off\n"


def test_a_message_does_not_repeat_the_name(capsys):
    Report(1).could_not("photos/b.jpg", BrokenImage("b.jpg breaks off after 9 bytes"))
    assert capsys.readouterr().err == "photos/b.jpg: breaks off after 9 bytes\n"


def test_a_quiet_terminal_shows_the_error_only(monkeypatch):
    stdout, stderr = Terminal(), Terminal()
    report_on(stdout, stderr, monkeypatch, quiet=True)
    assert (stdout.getvalue(), stderr.getvalue()) == ("", "b.jpg: it breaks off\n")


def long_run(stderr, monkeypatch, photos=3) -> Report:
    """A long run, of which 10 photos were done before and each new one takes 20 seconds."""
    now = [0.0]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Report(before=10, long=True) as report:
        report.total = 20
        for _ in range(photos):
            now[0] += 20
            report.finished(1)
        report.count_failure()
    return report


def test_a_long_run_in_a_log_file_gets_a_line_every_minute(monkeypatch):
    stderr = io.StringIO()
    report = long_run(stderr, monkeypatch, photos=4)
    assert stderr.getvalue() == "14 of 20 photos, 0 failed, 0.1 photos/s, 2 min 00 s left\n"
    assert (report.parsed, report.failed, report.people, report.done) == (4, 1, 4, 5)


def test_a_long_run_on_a_terminal_shows_the_rate_in_the_bar(monkeypatch):
    stderr = Terminal()
    assert long_run(stderr, monkeypatch).ended.is_set()
    assert "photos/s" in stderr.getvalue() and "photos, " not in stderr.getvalue()
