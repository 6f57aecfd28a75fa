"""search.py: what is a photo in a folder, and what a user is told about the rest."""

from __future__ import annotations

import pytest

from humanparse import search
from humanparse.formats import FORMATS
from humanparse.search import LINKED, OWN, SPECIAL, LeftOut, is_own, pattern_in, photos_below


def test_every_format_s_file_is_known_as_our_own():
    for one in FORMATS.values():
        assert is_own(f"photo{one.suffix}") and is_own(f"PHOTO{one.suffix.upper()}")
    assert not is_own("overlay.png") and not is_own("photo.jpg")


def test_what_is_left_out_is_counted_and_the_first_named():
    left_out = LeftOut()
    assert (left_out.notes(), str(left_out)) == ([], "")
    left_out.add(OWN, "a.overlay.png")
    left_out.add(LINKED, "b")
    left_out.add(LINKED, "c")
    left_out.add(SPECIAL, "pipe")
    assert left_out.notes() == [
        "left out: 1 pipe, socket or device (pipe)",
        "left out: 2 linked folders, which are searched if you name them (b and others)",
    ]
    assert str(left_out).startswith("left out: 1 file that humanparse wrote itself (a.overlay.png)")


def test_a_folder_of_very_many_files_is_read_as_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "SORTED_NAMES", 2)
    for name in "abcde":
        (tmp_path / f"{name}.jpg").touch()
    found = list(photos_below(str(tmp_path), LeftOut()))
    assert sorted(found) == [str(tmp_path / f"{name}.jpg") for name in "abcde"]


def test_links_that_lead_to_each_other_are_not_folders(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    links = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert list(photos_below(str(tmp_path), LeftOut())) == links


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("photos/**/*.jpg", ("photos", "**/*.jpg")),
        ("*.jpg", ("", "*.jpg")),
        ("a [1]/*.jpg", ("a [1]", "*.jpg")),
        ("a [1]/x?/b[2].jpg", ("a [1]", "x?/b[2].jpg")),
        ("a [1]", None),
        ("a [1]/gone.jpg", None),
        ("gone.jpg", None),
    ],
)
def test_a_pattern_begins_where_no_such_folder_is(tmp_path, monkeypatch, source, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a [1]").mkdir()
    assert pattern_in(source) == parts
