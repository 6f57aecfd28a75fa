"""Archives from strangers: pictures come out under our numbers, and nothing else happens."""

import io
import json
import os
import struct
import zipfile
from random import Random

import pytest

from humanparse.service.child import archive
from humanparse.service.child.archive import ENTRIES, unzip
from humanparse.service.problems import Problem


def zipped(*entries, method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name or ZipInfo, bytes) pairs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in entries:
            made.writestr(name, data)
    return file.getvalue()


@pytest.fixture
def unpack(tmp_path):
    """unpack(zip's bytes, **limits) → (reply, {file name: bytes}, entries)."""

    def unpack(data, **limits):
        (tmp_path / "upload.zip").write_bytes(data)
        to = tmp_path / "inside" / "to"
        to.mkdir(parents=True)
        head = {
            "do": "unzip",
            "path": str(tmp_path / "upload.zip"),
            "to": str(to),
            "max_images": 10,
            "max_image_mb": 1.0,
            "max_mb": 2.0,
        } | limits
        reply = unzip(head)
        files = {path.name: path.read_bytes() for path in to.iterdir()}
        return reply, files, json.loads(files.pop(ENTRIES))

    return unpack


def refused(unpack, data, **limits) -> Problem:
    with pytest.raises(Problem) as caught:
        unpack(data, **limits)
    return caught.value


def test_pictures_come_out_in_order_from_all_folders(unpack):
    reply, files, entries = unpack(
        zipped(("b.jpg", b"B"), ("deep/er/a.png", b"A"), ("stored.jpg", b""))
    )
    assert files == {"0000.bin": b"B", "0001.bin": b"A", "0002.bin": b""}
    sizes = {"b.jpg": 1, "deep/er/a.png": 1, "stored.jpg": 0}
    assert entries == [{"source": name, "size": size} for name, size in sizes.items()]
    assert reply == {"images": 3, "skipped": []}


def test_litter_folders_and_links_are_left_out(unpack):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    reply, files, _ = unpack(
        zipped(
            ("folder/", b""),
            ("__MACOSX/._a.jpg", b"x"),
            (".DS_Store", b"x"),
            ("a/.hidden/b.jpg", b"x"),
            ("Thumbs.db", b"x"),
            (link, b"/etc/passwd"),
            ("a.jpg", b"A"),
        )
    )
    assert files == {"0000.bin": b"A"}
    assert reply["skipped"] == [
        "__MACOSX/._a.jpg",
        ".DS_Store",
        "a/.hidden/b.jpg",
        "Thumbs.db",
        "link.jpg",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.jpg",
        "/etc/evil.jpg",
        "C:\\evil.jpg",
        "..\\..\\evil.jpg",
        "a/../../../evil.jpg",
        "evil.jpg\n\x1b[31m",
        "0000.bin",
        "entries.json",
        "x" * 5000 + ".jpg",
    ],
)
def test_names_lead_nowhere(unpack, tmp_path, name):
    _, files, entries = unpack(zipped((name, b"A"), (name + "2", b"B")))
    assert files == {"0000.bin": b"A", "0001.bin": b"B"}
    everything = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert everything == {
        "upload.zip",
        *(f"inside/to/{file}" for file in ("0000.bin", "0001.bin", ENTRIES)),
    }
    source = entries[0]["source"]
    assert len(source) <= 200 and source.isprintable() and "\\" not in source
    assert not source.startswith("/") and ".." not in source.split("/")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_of_the_same_name_are_all_there(unpack):
    _, files, _ = unpack(zipped(("a.jpg", b"1"), ("a.jpg", b"2")))
    assert files == {"0000.bin": b"1", "0001.bin": b"2"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"\xff\xd8\xff\xe0 a picture",
        zipped(("a", b"A" * 100))[:-30],
        b"PK\x05\x06" + b"\xff" * 18,
        os.urandom(1000),
    ],
    ids=["empty", "two bytes", "picture", "cut short", "nonsense at the end", "noise"],
)
def test_anything_but_a_zip_is_refused(unpack, data):
    assert refused(unpack, data).code == "bad_request"


def test_an_archive_without_files_is_refused(unpack):
    assert "no files" in refused(unpack, zipped(("folder/", b""))).detail


def test_too_many_files_are_refused_before_any_is_unpacked(unpack, tmp_path):
    problem = refused(unpack, zipped(*((f"{n}.jpg", b"x") for n in range(11))))
    assert problem.code == "body_too_large" and "11 files" in problem.detail
    assert not list((tmp_path / "inside" / "to").iterdir())


def test_a_huge_list_of_entries_is_refused_before_it_is_read(unpack, monkeypatch):
    monkeypatch.setattr(archive, "DIRECTORY_FREE", 10_000)
    problem = refused(
        unpack, zipped(*((f"{n:04d}" * 20, b"") for n in range(200)), method=zipfile.ZIP_STORED)
    )
    assert problem.code == "body_too_large" and "lists far more" in problem.detail


def test_a_bomb_is_refused_while_it_unpacks_and_whatever_its_header_says(unpack):
    bomb = bytearray(zipped(("a.jpg", bytes(1_900_000))))
    assert "200 times" in refused(unpack, bytes(bomb), max_image_mb=10.0).detail


def test_sizes_in_headers_are_not_believed(unpack, tmp_path):
    data = bytearray(zipped(("a.jpg", os.urandom(500_000))))
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 10)  # "unpacks to 10 bytes"
    _, files, entries = unpack(bytes(data))
    assert not files and entries[0]["problem"]["code"] == "broken_image"


def test_all_entries_together_are_bounded_those_that_fail_included(unpack):
    half = os.urandom(900_000)
    assert refused(unpack, zipped(*((f"{n}.jpg", half) for n in range(3)))).code == "body_too_large"


def test_all_entries_together_are_bounded_also_if_each_is_too_large(tmp_path, unpack):
    big = os.urandom(300_000)
    data = zipped(*((f"{n}.jpg", big) for n in range(10)))
    problem = refused(unpack, data, max_image_mb=0.25, max_mb=1.0)
    assert problem.code == "body_too_large" and "unpacks to more" in problem.detail


def test_one_entry_that_is_too_large_fails_alone(unpack):
    _, files, entries = unpack(
        zipped(("big.jpg", os.urandom(300_000)), ("a.jpg", b"A")), max_image_mb=0.25
    )
    assert files == {"0001.bin": b"A"}
    assert entries[0]["problem"]["code"] == "image_too_large" and entries[1]["size"] == 1


def test_a_damaged_entry_fails_alone(unpack):
    data = bytearray(zipped(("a.jpg", b"A" * 50), ("b.jpg", b"B" * 50), method=zipfile.ZIP_STORED))
    data[data.index(b"A" * 50)] = 0
    _, files, entries = unpack(bytes(data))
    assert files == {"0001.bin": b"B" * 50}
    assert entries[0]["problem"] == {
        "code": "broken_image",
        "detail": "the file is damaged in the archive",
    }


def test_an_encrypted_entry_fails_alone(unpack):
    data = bytearray(zipped(("a.jpg", b"A"), ("b.jpg", b"B")))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    _, files, entries = unpack(bytes(data))
    assert list(files) == ["0001.bin"] and "encrypted" in entries[0]["problem"]["detail"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_methods_without_a_memory_limit_are_refused(unpack, method):
    _, files, entries = unpack(zipped(("a.jpg", b"A" * 1000), method=method))
    assert not files and "not supported" in entries[0]["problem"]["detail"]


def test_entries_that_share_bytes_are_refused(unpack):
    data = bytearray(
        zipped(("a.jpg", b"A" * 1000), ("b.jpg", b"B" * 1000), method=zipfile.ZIP_STORED)
    )
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into("<I", data, second + 42, 0)  # b.jpg "lies where a.jpg lies"
    assert "overlap" in refused(unpack, bytes(data)).detail


def test_a_zip64_archive_is_read(unpack):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made, made.open("a.jpg", "w", force_zip64=True) as entry:
        entry.write(b"A")
    assert unpack(file.getvalue())[1] == {"0000.bin": b"A"}


def test_random_damage_never_raises_anything_but_a_problem(tmp_path):
    good = zipped(("a.jpg", b"A" * 300), ("b.jpg", os.urandom(300)))
    random = Random(7)
    to = tmp_path / "to"
    for attempt in range(300):
        data = bytearray(good)
        for _ in range(random.randint(1, 8)):
            data[random.randrange(len(data))] = random.randrange(256)
        (tmp_path / "upload.zip").write_bytes(data)
        to = tmp_path / str(attempt)
        to.mkdir()
        try:
            unzip(
                {
                    "path": str(tmp_path / "upload.zip"),
                    "to": str(to),
                    "max_images": 10,
                    "max_image_mb": 1,
                    "max_mb": 1,
                }
            )
        except Problem as problem:
            assert problem.code in ("bad_request", "body_too_large")


def test_a_full_disk_is_a_problem_of_its_own(unpack, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device", "/secret")

    monkeypatch.setattr(archive.os, "fsync", full)
    problem = refused(unpack, zipped(("a.jpg", b"A")))
    assert problem.code == "storage_full" and "secret" not in problem.detail
