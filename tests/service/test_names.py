"""Names of clients' files are harmless, and each picture has its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from humanparse.service.names import MAX_NAME, clean_name, tell_apart


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("me.jpg", "me.jpg"),
        ("a/b\\c.jpg", "a/b/c.jpg"),
        ("dir/", "dir"),
        ("", ""),
        ("..", ""),
        ("/", ""),
        ("a\r\nb\0.jpg", "a__b_.jpg"),
        ("写真.jpg", "写真.jpg"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("../../a.jpg", "a.jpg"),
        ("C:\\fotos\\a.jpg", "fotos/a.jpg"),
        ("/tmp//./a.jpg", "tmp/a.jpg"),
        ("x" * 300 + "/a.jpg", "…" + "x" * (MAX_NAME - 7) + "/a.jpg"),
    ],
)
def test_names_are_shown_with_their_folders_but_without_what_could_upset_anyone(name, shown):
    assert clean_name(name) == shown and len(shown) <= MAX_NAME
    assert clean_name(shown) == shown


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (["x.jpg", "x.jpg"], ["x.jpg", "x-2.jpg"]),
        (["x.jpg", "x.jpg", "x-2.jpg", "x.jpg"], ["x.jpg", "x-3.jpg", "x-2.jpg", "x-4.jpg"]),
        (["a/x.jpg", "b/x.jpg", "a/x.jpg"], ["a/x.jpg", "b/x.jpg", "a/x-2.jpg"]),
        (["x", "x", ".x", ".x"], ["x", "x-2", ".x", ".x-2"]),
        (["", ""], ["", ""]),
    ],
)
def test_the_second_picture_of_a_name_gets_a_number_that_is_free(names, apart):
    assert tell_apart(names) == apart


@given(some.lists(some.text("ax-2./", max_size=5).map(clean_name)))
def test_no_two_names_are_the_same_and_those_that_were_alone_stay(names):
    apart = [name for name in tell_apart(names) if name]
    assert len(set(apart)) == len(apart) == len([name for name in names if name])
    assert set(names) <= {"", *apart}
