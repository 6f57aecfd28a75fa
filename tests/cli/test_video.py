"""`humanparse video`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from coloured_clips import ColourParser, frame, walk, write_clip

from humanparse.cli import parse
from humanparse.cli.errors import BAD_USAGE, INTERRUPTED, NO_MODEL, SOME_FAILED
from humanparse.video import encode, open_clip, readers


@pytest.fixture
def colours(run, monkeypatch):
    """The parser that the command gets, and files by OpenCV alone."""
    found = ColourParser()
    monkeypatch.setattr(parse, "load_parser", lambda *_, **__: found)
    for module in (readers, encode):
        monkeypatch.setattr(module, "pyav", lambda: None)
    monkeypatch.setattr(encode.shutil, "which", lambda _: None)
    return found


@pytest.fixture
def street(here):
    return write_clip(here / "street.mp4", walk(10))


def test_a_clip_gets_an_overlay_and_its_tracks_beside_it(run, colours, street, written):
    result = run("video", "street.mp4")
    assert result.exit_code == 0, result.stderr
    assert written() == ["street.mp4", "street.overlay.webm", "street.tracks.json"]
    assert result.stdout.splitlines() == ["street.overlay.webm", "street.tracks.json"]
    assert "10 frames with 1 person" in result.stderr and "frames/s" in result.stderr
    again = run("video", "street.mp4")
    assert again.exit_code == BAD_USAGE and "already exists" in again.stderr
    assert run("video", "street.mp4", "--overwrite", "--quiet").exit_code == 0


def test_formats_folder_step_and_limit(run, colours, street, here):
    result = run("video", "street.mp4", "-o", "out", "-f", "jsonl,mot", "--every", 2, "--limit", 5)
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in (here / "out/street.jsonl").read_text().splitlines()]
    assert [row["parsed"] for row in rows] == [True, False, True, False, True]


def test_edits_go_into_the_named_file(run, colours, street, here):
    result = run("video", "street.mp4", "--fill", "face=lime", "-o", "hidden.webm")
    assert result.exit_code == 0, result.stderr
    image = list(open_clip(here / "hidden.webm"))[3].image
    assert image[12:20, 9:13].mean((0, 1)).tolist() == pytest.approx([0, 255, 0], abs=40)
    assert (here / "hidden.tracks.json").exists()


def test_raw_frames_come_from_stdin(run, colours, here):
    data = b"".join(one.tobytes() for one in walk(3))
    result = run("video", "-", "--size", "64x48", "--rate", 5, "-f", "jsonl", stdin=data)
    assert result.exit_code == 0, result.stderr
    assert len((here / "stdin.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["nix.mp4"], BAD_USAGE, "no file or folder"),
        (["street.mp4", "-f", "gif"], BAD_USAGE, "no format 'gif'"),
        (["street.mp4", "-f", "edited"], BAD_USAGE, "needs an edit"),
        (["street.mp4", "--blur", "face", "-f", "jsonl"], BAD_USAGE, "add --format edited"),
        (["street.mp4", "--blur", "fase"], BAD_USAGE, "did you mean 'face'?"),
        (["street.mp4", "-f", "overlay,colormap", "-o", "x.webm"], BAD_USAGE, "one format"),
        (["street.mp4", "-o", "x.mp4"], NO_MODEL, "MP4 with H.264 needs PyAV"),
        (["street.mp4", "--size", "64"], BAD_USAGE, "give width and height"),
        (["street.mp4", "--every", "99"], BAD_USAGE, "the limit is 30"),
        (["notes.mp4"], SOME_FAILED, "not a clip of a type"),
    ],
)
def test_mistakes_are_one_line(run, colours, street, here, options, code, words):
    (here / "notes.mp4").write_text("notes")
    result = run("video", *options)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr and len(result.stderr.splitlines()) == 1


def test_of_a_clip_that_breaks_off_the_results_are_kept(run, colours, here):
    whole = write_clip(here / "whole.webm", [frame([4 + n % 30]) for n in range(60)]).read_bytes()
    (here / "cut.webm").write_bytes(whole[: len(whole) * 2 // 3])
    result = run("video", "cut.webm")
    assert result.exit_code == SOME_FAILED and "cut: the clip breaks off after" in result.stderr
    assert json.loads((here / "cut.tracks.json").read_text())["frames"] > 10
    assert len(list(open_clip(here / "cut.overlay.webm"))) > 10


def test_an_interrupted_run_is_kept_and_resumed(run, colours, street, here, monkeypatch):
    class Interrupted(ColourParser):
        def parse_many(self, images, *, jobs=None):
            for parsing in super().parse_many(images):
                if self.seen == 6:
                    raise KeyboardInterrupt
                yield parsing

    monkeypatch.setattr(parse, "load_parser", lambda *_, **__: Interrupted())
    result = run("video", "street.mp4", "--resume")
    assert result.exit_code == INTERRUPTED and "results so far are kept" in result.stderr
    assert len(list(open_clip(here / "street.overlay.webm"))) == 6
    assert (here / "street.resume.jsonl").exists()
    monkeypatch.setattr(parse, "load_parser", lambda *_, **__: colours)
    result = run("video", "street.mp4", "--resume")
    assert result.exit_code == 0, result.stderr
    assert colours.seen == 4 and len(list(open_clip(here / "street.overlay.webm"))) == 10
    assert not (here / "street.resume.jsonl").exists()
    assert "done already" in run("video", "street.mp4", "--resume").stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_sigterm_ends_the_files_properly_although_the_source_goes_on(here):
    command = [sys.executable, "-m", "humanparse", "video", "-", "--size", "64x48", "--quiet"]
    with subprocess.Popen(
        [*command, "-f", "overlay,jsonl"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here
    ) as process:
        for image in walk(30):  # more than a pipe holds: when all are written, many are parsed
            process.stdin.write(image.tobytes())
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
        assert code == INTERRUPTED, process.stderr.read()
    rows = (here / "stdin.jsonl").read_text().splitlines()
    assert len(list(open_clip(here / "stdin.overlay.webm"))) == len(rows) >= 1
    assert sorted(one.name for one in here.iterdir()) == ["stdin.jsonl", "stdin.overlay.webm"]
