"""text.py: what users write is read, whatever their editor put around it."""

from __future__ import annotations

import io

import pytest

from humanparse.errors import OptionError
from humanparse.system import text
from humanparse.system.text import lines_of, read_text

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]  # Python writes a mark for the last three


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_text_is_read_with_and_without_a_mark(tmp_path, encoding):
    (tmp_path / "x.txt").write_bytes("Grüße\r\n照片\n".encode(encoding))
    assert read_text(tmp_path / "x.txt") == "Grüße\r\n照片\n"


@pytest.mark.parametrize("data", [b"\xff\xfea\0", b"\xfe\xff\0a"])
def test_both_orders_of_utf_16_are_read(tmp_path, data):
    (tmp_path / "x.txt").write_bytes(data)
    assert read_text(tmp_path / "x.txt") == "a"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Grüße".encode("cp1252"), r"x.txt is not UTF-8 text \(byte 2 is 0xfc\); save it as UTF-8"),
        (
            "a\n".encode("utf-16-le"),
            "holds zero bytes, as UTF-16 and the output of find -print0 do",
        ),
        (b"\xff\xfea", "is not UTF-8 text"),
    ],
)
def test_other_encodings_are_refused_with_what_to_do(tmp_path, data, message):
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(OptionError, match=message):
        read_text(tmp_path / "x.txt")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 16])
def test_lines_are_the_same_however_they_are_cut(monkeypatch, encoding, chunk_bytes):
    monkeypatch.setattr(text, "_CHUNK_BYTES", chunk_bytes)
    file = io.BytesIO("Grüße\r\n\n照片\nlast".encode(encoding))
    assert list(lines_of(file, "x.txt")) == ["Grüße", "", "照片", "last"]


def test_bytes_of_names_that_are_not_text_are_kept():
    assert list(lines_of(io.BytesIO(b"\xff.jpg\n"), "x.txt")) == ["\udcff.jpg"]


def test_a_list_in_utf_16_without_a_mark_is_refused():
    with pytest.raises(OptionError, match=r"x\.txt is not UTF-8 text"):
        list(lines_of(io.BytesIO("a.jpg\n".encode("utf-16-le")), "x.txt"))


def test_an_empty_file_has_no_lines():
    assert list(lines_of(io.BytesIO(b""), "x.txt")) == []
