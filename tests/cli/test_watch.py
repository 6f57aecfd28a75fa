"""`humanparse parse --watch`, with a pause in which the test moves files about."""

from __future__ import annotations

import os

import pytest

from humanparse.cli import watch
from humanparse.cli.errors import BAD_USAGE, INTERRUPTED


@pytest.fixture
def watched(run, parser, here, monkeypatch):
    """`watched(step, step, …)` watches the folder `in`, and takes a step in each pause; after the
    last one Ctrl-C."""

    def watched(*steps):
        todo = iter(steps)

        def pause():
            step = next(todo, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        monkeypatch.setattr(watch, "pause", pause)
        return run("parse", "in", "-o", "out", "--format", "json", "--watch")

    (here / "in").mkdir()
    return watched


def nothing():
    pass


def test_photos_are_parsed_as_they_arrive_and_once(watched, photo, parser, written):
    result = watched(
        lambda: photo("in/a.png"), nothing, lambda: photo("in/b/c.png"), nothing, nothing
    )
    assert result.exit_code == INTERRUPTED, result.stderr
    assert parser.seen == ["a", "c"] and written("out") == ["a.json", "b/c.json"]
    assert "interrupted after 2 photos; the same command continues" in result.stderr


def test_a_photo_is_not_read_before_it_lies_still(watched, photo, parser, here):
    """It grows between two searches, and is empty at first."""
    file, grown = here / "in/a.png", []

    def begin():
        file.write_bytes(b"")

    def grow():
        grown.append(parser.seen.copy())
        with file.open("ab") as opened:
            opened.write(b"x" * 9)

    def finish():
        grown.append(parser.seen.copy())
        photo("in/a.png")

    watched(begin, nothing, grow, grow, finish, nothing)
    assert grown == [[], [], []] and parser.seen == ["a"]


def test_what_is_broken_is_tried_again_when_it_changes_and_not_before(
    watched, photo, parser, here, written
):
    file = here / "in/a.png"
    file.write_bytes(b"no picture")

    def mend():
        assert parser.seen == ["a"]
        photo("in/a.png")
        os.utime(file, ns=(1, 1))

    result = watched(nothing, nothing, nothing, mend, nothing, nothing)
    assert "not a picture" in result.stderr and parser.seen == ["a", "a"]
    assert written("out") == ["a.json"]


def test_a_watch_goes_on_where_it_ended(watched, photo, parser):
    photo("in/a.png")
    watched(nothing)
    watched(nothing, lambda: photo("in/b.png"), nothing)
    assert parser.seen == ["a", "b"]


@pytest.mark.parametrize("sources", [(), ("in.png",), ("-",), ("photos/*.jpg",)])
def test_only_folders_are_watched(run, photo, sources):
    photo("in.png")
    result = run("parse", *sources, "--watch")
    assert result.exit_code == BAD_USAGE and "--watch watches folders" in result.stderr
