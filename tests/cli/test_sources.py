"""Which photos a command line means, and where their results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from humanparse.cli.sources import Photo, find, tell_apart
from humanparse.errors import OptionError

OWN = (".overlay.png", ".json")


def targets(found) -> list[str]:
    return [(photo.folder / photo.name).as_posix() for photo in found.photos]


def test_folders_are_searched_in_order_and_hidden_files_left_out(photo, here):
    for path in ("p/b.jpg", "p/a.JPEG", "p/sub/c.tif", "p/.hidden.jpg", "p/.git/d.jpg", "p/a.overlay.png"):
        photo(path)
    (here / "p/notes.txt").write_text("no picture")
    assert targets(find(["p"], None, OWN)) == ["p/a", "p/b", "p/sub/c"]


def test_a_named_file_is_taken_whatever_its_ending(here):
    (here / "upload.tmp").write_bytes(b"")
    assert targets(find(["upload.tmp"], None, OWN)) == ["upload"]


def test_a_photo_named_twice_is_parsed_once(photo):
    photo("p/a.jpg")
    assert targets(find(["p/a.jpg", "p", "p/*.jpg"], Path("out"), OWN)) == ["out/a"]


def test_a_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(photo):
    photo("a[1].jpg")
    photo("a1.jpg")
    assert targets(find(["a[1].jpg"], None, OWN)) == ["a[1]"]


def test_patterns_leave_out_other_files_and_our_own(photo, here):
    photo("p/a.jpg")
    photo("p/a.overlay.png")
    (here / "p/notes.txt").write_text("no picture")
    assert targets(find(["p/*"], None, OWN)) == ["p/a"]


def test_a_pattern_without_sense_is_bad_usage(photo):
    with pytest.raises(OptionError, match="not a pattern"):
        find(["p/**.jpg/[", "**x**"], None, OWN)


def test_same_names_from_two_folders_go_into_sub_folders(photo):
    photo("p/a/x.jpg")
    photo("p/b/x.jpg")
    photo("p/b/y.jpg")
    found = find(["p/a/x.jpg", "p/b/x.jpg", "p/b/y.jpg"], Path("out"), OWN)
    assert targets(found) == ["out/a/x", "out/b/x", "out/y"]
    assert len(found.notes) == 1


def test_two_folders_with_two_endings_each_all_stay_apart(photo):
    paths = ["a/x.jpg", "a/x.png", "b/x.jpg", "b/x.png"]
    for path in paths:
        photo(path)
    assert targets(find(paths, Path("out"), OWN)) == ["out/a/x.jpg", "out/a/x.png", "out/b/x.jpg", "out/b/x.png"]


def test_names_do_not_depend_on_the_order_of_the_sources(photo):
    paths = ["a/x.jpg", "a/x.png", "b/x.jpg"]
    for path in paths:
        photo(path)
    there, back = find(paths, Path("out"), OWN), find(paths[::-1], Path("out"), OWN)
    assert targets(there) == targets(back)[::-1]


def test_names_that_still_meet_are_refused():
    photos = [Photo(Path("x.jpg"), Path("out"), "x"), Photo(Path("x.png"), Path("out"), "x"),
              Photo(Path("x.jpg.gif"), Path("out"), "x.jpg")]
    with pytest.raises(OptionError, match=r"x\.jpg and x\.jpg\.gif would write the same files"):
        tell_apart(photos)


@pytest.mark.skipif(os.name == "nt", reason="a backslash parts folders there")
def test_a_backslash_in_a_file_name_does_not_reach_the_results(photo):
    photo("a\\b.jpg")
    assert targets(find(["a\\b.jpg"], None, OWN)) == ["a_b"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that may not be read")
def test_a_folder_that_may_not_be_read_is_reported(photo, here):
    photo("p/a.jpg")
    (here / "p/closed").mkdir(mode=0)
    found = find(["p"], None, OWN)
    assert targets(found) == ["p/a"]
    assert [folder for folder, _ in found.unreadable] == [os.path.join("p", "closed")]
