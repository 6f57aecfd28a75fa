"""Which photos a command line means, and where their results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from humanparse.cli.photos import InputPhoto, find, tell_apart
from humanparse.errors import OptionError


def targets(found) -> list[str]:
    return [(photo.folder / photo.name).as_posix() for photo in found.photos]


def test_folders_are_searched_in_order_and_hidden_files_left_out(photo, here):
    for path in (
        "p/b.jpg",
        "p/a.JPEG",
        "p/sub/c.tif",
        "p/.hidden.jpg",
        "p/.git/d.jpg",
        "p/a.overlay.png",
    ):
        photo(path)
    (here / "p/notes.txt").write_text("no picture")
    assert targets(find(["p"], None)) == ["p/a", "p/b", "p/sub/c"]


def test_a_named_file_is_taken_whatever_its_ending(here):
    (here / "upload.tmp").write_bytes(b"")
    assert targets(find(["upload.tmp"], None)) == ["upload"]


def test_a_photo_named_twice_is_parsed_once(photo):
    photo("p/a.jpg")
    assert targets(find(["p/a.jpg", "p", "p/*.jpg"], Path("out"))) == ["out/a"]


def test_a_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(photo):
    photo("a[1].jpg")
    photo("a1.jpg")
    assert targets(find(["a[1].jpg"], None)) == ["a[1]"]


def test_patterns_leave_out_other_files_and_our_own(photo, here):
    photo("p/a.jpg")
    photo("p/a.overlay.png")
    (here / "p/notes.txt").write_text("no picture")
    assert targets(find(["p/*"], None)) == ["p/a"]


def test_what_exists_is_no_pattern(photo):
    photo("photos [2024]/a/x.jpg")
    photo("photos [2024]/y.jpg")
    assert targets(find(["photos [2024]"], Path("out"))) == ["out/y", "out/a/x"]
    assert targets(find(["photos [2024]/**/*.jpg"], Path("out"))) == ["out/a/x", "out/y"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes, and links need rights")
@pytest.mark.parametrize("source", ["p", "p/*"])
def test_pipes_and_linked_folders_are_left_out_and_that_is_said(photo, here, source):
    photo("p/a.jpg")
    photo("elsewhere/b.jpg")
    os.mkfifo(here / "p/pipe.jpg")
    (here / "p/link").symlink_to(here / "elsewhere")
    found = find([source], None)
    assert targets(found) == ["p/a"]
    assert "left out: 1 pipe, socket or device (p/pipe.jpg)" in found.notes
    if source == "p":
        assert "left out: 1 linked folder, which is searched if you name it (p/link)" in found.notes
    assert targets(find(["p/link"], None)) == ["p/link/b"]


def test_a_folder_of_our_own_files_alone_has_nothing_to_parse(photo):
    photo("p/a.overlay.png")
    for source in ("p", "p/*"):
        with pytest.raises(OptionError, match=r"humanparse wrote itself \(p/a.overlay.png\)"):
            find([source], None)


@pytest.mark.parametrize("pattern", ["p/**.jpg", "**x**", "p/**.jpg/["])
def test_two_asterisks_within_a_name_are_wrong_usage(photo, pattern):
    with pytest.raises(OptionError, match=r"is not a pattern: \*\* stands for whole folders"):
        find([pattern], None)


def test_same_names_from_two_folders_go_into_sub_folders(photo):
    photo("p/a/x.jpg")
    photo("p/b/x.jpg")
    photo("p/b/y.jpg")
    found = find(["p/a/x.jpg", "p/b/x.jpg", "p/b/y.jpg"], Path("out"))
    assert targets(found) == ["out/a/x", "out/b/x", "out/y"]
    assert len(found.notes) == 1


def test_two_folders_with_two_endings_each_all_stay_apart(photo):
    paths = ["a/x.jpg", "a/x.png", "b/x.jpg", "b/x.png"]
    for path in paths:
        photo(path)
    assert targets(find(paths, Path("out"))) == [
        "out/a/x.jpg",
        "out/a/x.png",
        "out/b/x.jpg",
        "out/b/x.png",
    ]


def test_names_do_not_depend_on_the_order_of_the_sources(photo):
    paths = ["a/x.jpg", "a/x.png", "b/x.jpg"]
    for path in paths:
        photo(path)
    there, back = find(paths, Path("out")), find(paths[::-1], Path("out"))
    assert targets(there) == targets(back)[::-1]


def test_names_that_still_meet_are_refused():
    photos = [
        InputPhoto(Path("x.jpg"), Path("out"), "x"),
        InputPhoto(Path("x.png"), Path("out"), "x"),
        InputPhoto(Path("x.jpg.gif"), Path("out"), "x.jpg"),
    ]
    with pytest.raises(OptionError, match=r"x\.jpg and x\.jpg\.gif would write the same files"):
        tell_apart(photos)


@pytest.mark.skipif(os.name == "nt", reason="a backslash parts folders there")
def test_a_backslash_in_a_file_name_does_not_reach_the_results(photo):
    photo("a\\b.jpg")
    assert targets(find(["a\\b.jpg"], None)) == ["a_b"]


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="needs a folder that may not be read"
)
def test_a_folder_that_may_not_be_read_is_reported(photo, here):
    photo("p/a.jpg")
    (here / "p/closed").mkdir(mode=0)
    found = find(["p"], None)
    assert targets(found) == ["p/a"]
    assert [folder for folder, _ in found.unreadable] == [os.path.join("p", "closed")]
