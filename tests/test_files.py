"""files.py: a file or folder appears whole, or stays as it was."""

import os
import time

import pytest

from humanparse.errors import OptionError
from humanparse.system import files
from humanparse.system.files import (
    check_free,
    check_target,
    growing_file,
    remove_leftovers,
    scratch_folder,
    whole_file,
    whole_folder,
    write_private,
)


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with whole_file(target) as part:
        part.write_text("new")
        assert target.read_text() == "old" and part.parent == tmp_path
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(target) as part:
        part.write_text("half of i")
        raise OSError("the disk is full")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_collide(tmp_path):
    with whole_file(tmp_path / "x") as first, whole_file(tmp_path / "x") as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
    assert (tmp_path / "x").read_text() == "first"  # the last to end


@pytest.mark.parametrize("empty_before", [True, False])
def test_a_folder_takes_its_name_when_it_is_whole(tmp_path, empty_before):
    target = tmp_path / "x"
    if empty_before:
        target.mkdir()
    with whole_folder(target) as part:
        (part / "a").write_text("new")
        assert part.parent == tmp_path and not (target / "a").exists()
    assert (target / "a").read_text() == "new" and list(tmp_path.iterdir()) == [target]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert target.stat().st_mode == plain.stat().st_mode


def test_a_folder_whose_block_fails_does_not_appear(tmp_path):
    with pytest.raises(OSError, match="full"), whole_folder(tmp_path / "x") as part:
        (part / "a").write_text("half of i")
        raise OSError("the disk is full")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_replaces_neither_a_file_nor_a_full_folder(tmp_path):
    (tmp_path / "full").mkdir()
    for precious in (tmp_path / "file", tmp_path / "full/a"):
        precious.write_text("precious")
        target = tmp_path / precious.relative_to(tmp_path).parts[0]
        with pytest.raises(OSError), whole_folder(target) as part:
            (part / "a").write_text("new")
        assert precious.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_of_nested_folders_the_outermost_appears_last_or_none_does(tmp_path):
    with whole_folder(tmp_path / "last"), whole_folder(tmp_path / "first"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "last"]
    (tmp_path / "c").write_text("in the way")
    with (
        pytest.raises(OSError),
        whole_folder(tmp_path / "a"),
        whole_folder(tmp_path / "b"),
        whole_folder(tmp_path / "c"),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "first", "last"]


def test_a_scratch_folder_goes_with_all_that_is_in_it(tmp_path):
    with scratch_folder(tmp_path) as work:
        (work / "a").write_text("kept")
        (work / "b").mkdir()
        (work / "a").rename(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("durable", [True, False])
def test_private_files_are_whole_and_for_their_owner_alone(tmp_path, durable):
    write_private(tmp_path / "a", b"old", durable=durable)
    write_private(tmp_path / "a", b"new", durable=durable)
    assert (tmp_path / "a").read_bytes() == b"new" and [
        path.name for path in tmp_path.iterdir()
    ] == ["a"]
    if os.name == "posix":
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_what_killed_writers_left_is_removed_and_what_is_being_written_is_not(tmp_path):
    (tmp_path / "sub").mkdir()
    others = [tmp_path / name for name in ("x.part", ".hidden", "y.txt", "sub/.a.part")]
    with whole_file(tmp_path / "x") as left, whole_file(tmp_path / "y") as writing:
        for path in (left, writing, *others):
            path.write_text("half")
        for path in (left, *others):
            os.utime(path, (time.time() - 7200,) * 2)
        remove_leftovers(tmp_path)
        assert not left.exists() and writing.exists()
        assert all(path.exists() for path in others)
        left.write_text("for the block to end well")
    remove_leftovers(tmp_path / "nowhere")


def test_folders_that_killed_writers_left_are_removed_too(tmp_path):
    with scratch_folder(tmp_path) as left, scratch_folder(tmp_path) as writing:
        (left / "a").write_text("half")
        os.utime(left, (time.time() - 7200,) * 2)
        remove_leftovers(tmp_path)
        assert not left.exists() and writing.exists()


def test_a_target_may_be_new_or_replaced_on_request_but_never_an_input(tmp_path):
    source, link, other = tmp_path / "source", tmp_path / "link", tmp_path / "other"
    source.write_text("precious")
    os.link(source, link)
    check_target(other, [source])
    other.write_text("old")
    check_target(other, [source], overwrite=True)
    with pytest.raises(OptionError, match="already exists; choose another name, or add"):
        check_target(other, [source])
    for target in (source, link, tmp_path / "x/../source"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(OptionError, match="is read by this command"):
            check_target(target, [source], overwrite=True)


def test_what_grows_is_kept_although_it_ended_early(tmp_path):
    target = tmp_path / "x.jsonl"
    target.write_text("old")
    with pytest.raises(OSError, match="full"), growing_file(target) as part:
        part.write_text("a row")
        assert part.suffix == ".jsonl" and target.read_text() == "old"
        raise OSError("the disk is full")
    assert target.read_text() == "a row" and list(tmp_path.iterdir()) == [target]
    with growing_file(tmp_path / "never"):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_grows_replaces_an_older_one(tmp_path):
    for name in ("first", "second"):
        with growing_file(tmp_path / "labels") as folder:
            folder.mkdir()
            (folder / name).touch()
    assert [one.name for one in (tmp_path / "labels").iterdir()] == ["second"]


def test_a_disk_that_is_nearly_full_is_an_error(tmp_path, monkeypatch):
    check_free(tmp_path)
    monkeypatch.setattr(files, "LEFT_FREE", 1 << 62)
    with pytest.raises(OSError, match="the disk is full"):
        check_free(tmp_path)
