"""From what the user names to pictures: folders, patterns, lists, tar files, Parquet; here and
where fsspec reads."""

from __future__ import annotations

import http.server
import io
import os
import tarfile
import threading
import tracemalloc
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from humanparse.batch import storage
from humanparse.batch.slices import Slice
from humanparse.batch.sources import Sources, expand_braces
from humanparse.errors import BrokenImage, ImageTooLarge, OptionError


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, data: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or path.name.encode())


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_parquet(path: Path, rows_a_group: int = 1000, **columns) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, row_group_size=rows_a_group)


def read(*names, known=(), **options) -> dict[str, bytes | str]:
    """What is in the sources, by key; of what cannot be read, the reason. Each slice travels as
    JSON, as to a worker."""
    found = {}
    for one in Sources([str(name) for name in names], **options).slices():
        with closing(Slice.from_json(one.to_json()).items(set(known).__contains__)) as items:
            for item in items:
                assert item.key not in found
                try:
                    found[item.key] = item.load()
                except (BrokenImage, ImageTooLarge, OSError) as error:
                    found[item.key] = str(error)
    return found


def test_a_folder_gives_its_pictures_and_tar_files_and_leaves_out_hidden_and_other_files(here):
    for name in (
        "x.jpg",
        "a/y.PNG",
        "a/b/z.webp",
        "notes.txt",
        ".hidden.jpg",
        ".git/x.jpg",
        "a/x.json",
    ):
        write(here / "photos" / name)
    write_tar(here / "photos/t.tar", {"1.jpg": b"one"})
    assert read("photos") == {
        "x.jpg": b"x.jpg",
        "t.tar/1.jpg": b"one",
        "a/y.PNG": b"y.PNG",
        "a/b/z.webp": b"z.webp",
    }


def test_the_output_is_no_source(here):
    write(here / "photos/x.jpg")
    write(here / "photos/out/x.jpg.overlay.png")
    assert list(read("photos", leave_out="photos/out")) == ["x.jpg"]
    assert list(read("photos/**/*", leave_out="photos/out")) == ["x.jpg"]


def test_a_folder_that_cannot_be_read_is_one_failure(here, monkeypatch):
    write(here / "photos/a/x.jpg")
    write(here / "photos/b/y.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert read("photos") == {
        "b/y.jpg": b"y.jpg",
        "a": "the folder cannot be read: Permission denied",
    }


def test_a_pattern_keeps_the_folders_below_its_fixed_part(here):
    for name in ("a/x.jpg", "a/b/x.jpg", "a/b/notes.txt", "c/x.png"):
        write(here / "photos" / name)
    assert sorted(read("photos/**/*.jpg")) == ["a/b/x.jpg", "a/x.jpg"]
    assert sorted(read("photos/*/*")) == ["a/x.jpg", "c/x.png"]


def test_several_sources_share_the_keys_of_what_is_common_to_them(here):
    write(here / "p/a/x.jpg")
    write(here / "p/b/x.jpg")
    assert sorted(read("p/a", "p/b")) == ["a/x.jpg", "b/x.jpg"]
    assert sorted(read("p/{a,b}/x.jpg")) == ["a/x.jpg", "b/x.jpg"]


def test_a_list_names_files_from_its_own_folder(here, monkeypatch):
    write(here / "data/photos/x.jpg")
    write(here / "elsewhere/no ending")
    write_tar(here / "data/t.tar", {"1.jpg": b"one"})
    write(
        here / "data/list.txt",
        f"photos/x.jpg\n\nt.tar\r\n{here}/elsewhere/no ending\nphotos/gone.jpg\n".encode(),
    )
    monkeypatch.chdir("/")
    found = read(here / "data/list.txt")
    gone = found.pop("photos/gone.jpg")
    assert "No such file" in gone
    assert found == {
        "photos/x.jpg": b"x.jpg",
        "t.tar/1.jpg": b"one",
        f"{here}/elsewhere/no ending": b"no ending",
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_that_windows_wrote_names_the_same_files(here, encoding):
    write(here / "照.jpg")
    write(here / "list.txt", "照.jpg\r\n".encode(encoding))
    assert list(read("list.txt")) == ["照.jpg"]


def test_a_list_that_cannot_be_read_is_an_error_at_once(here):
    os.mkfifo(here / "list.txt")
    with pytest.raises(
        OptionError, match=r"list\.txt cannot be read: this is not an ordinary file"
    ):
        Sources(["list.txt"])


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_tar_file_gives_its_pictures_in_order(here, ending):
    members = {"b/1.jpg": b"one", "b/1.json": b"{}", "a/2.png": b"two", "._2.png": b"a Mac's"}
    write_tar(here / f"s.{ending}", members, "w:gz" if ending.endswith("gz") else "w")
    assert list(read(f"s.{ending}").items()) == [
        (f"s.{ending}/b/1.jpg", b"one"),
        (f"s.{ending}/a/2.png", b"two"),
    ]
    assert list(read(f"s.{ending}", known=[f"s.{ending}/b/1.jpg"])) == [f"s.{ending}/a/2.png"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_file_that_breaks_off_gives_what_is_whole_and_the_reason(here, mode):
    name = "s.tar" if mode == "w" else "s.tar.gz"
    write_tar(here / name, {f"{number}.jpg": os.urandom(5000) for number in range(9)}, mode)
    whole = (here / name).read_bytes()
    (here / name).write_bytes(whole[: len(whole) // 2])
    found = read(name)
    assert 2 <= len(found) <= 6 and len(found[f"{name}/0.jpg"]) == 5000
    assert found[name].startswith("the tar file breaks off: ")


def test_what_is_no_tar_file_is_one_failure(here):
    write(here / "s.tar", b"not a tar file" * 100)
    assert list(read("s.tar")) == ["s.tar"]


def test_parquet_rows_are_bytes_or_where_pictures_lie(here):
    pytest.importorskip("pyarrow")
    write(here / "data/photos/x.jpg")
    write_parquet(here / "data/a.parquet", 2, id=[1, 2, 3], image=[b"one", None, b"three"])
    write_parquet(here / "data/b.parquet", url=["photos/x.jpg", "photos/gone.jpg"])
    write_parquet(
        here / "data/c.parquet",
        image=[{"bytes": b"four", "path": None}, {"bytes": None, "path": "photos/x.jpg"}],
    )
    found = read("data/*.parquet")
    assert "No such file" in found.pop("b.parquet/1")
    assert found == {
        "a.parquet/0": b"one",
        "a.parquet/1": "the row holds neither a picture nor where one lies",
        "a.parquet/2": b"three",
        "b.parquet/0": b"x.jpg",
        "c.parquet/0": b"four",
        "c.parquet/1": b"x.jpg",
    }
    assert [one.size for one in Sources(["data/a.parquet"]).slices()] == [2, 1]


def test_the_column_is_named_or_found_and_a_wrong_one_is_an_error_at_once(here):
    pytest.importorskip("pyarrow")
    write_parquet(here / "a.parquet", picture=[b"one"], n=[1])
    assert read("a.parquet", column="picture") == {"a.parquet/0": b"one"}
    with pytest.raises(OptionError, match="but picture, n; choose one with --column"):
        read("a.parquet")
    with pytest.raises(OptionError, match="has no column 'img' but picture, n"):
        read("a.parquet", column="img")


def test_a_damaged_parquet_file_among_others_is_one_failure(here):
    pytest.importorskip("pyarrow")
    write_parquet(here / "a.parquet", image=[b"one"])
    write(here / "b.parquet", b"PAR1 and no more")
    write_parquet(here / "c.parquet", other=[b"one"])
    found = read("*.parquet")
    assert found["a.parquet/0"] == b"one"
    assert (
        "cannot be read" in found["b.parquet"] and "has none of the columns" in found["c.parquet"]
    )


def test_a_row_that_cannot_be_read_fails_alone(here):
    pa = pytest.importorskip("pyarrow")
    names = pa.array([b"x.jpg", b"\xff\xfe.jpg", b"x.jpg"]).view(pa.string())
    write_parquet(here / "t.parquet", image=names)
    write(here / "x.jpg")
    found = read("t.parquet")
    assert found["t.parquet/0"] == found["t.parquet/2"] == b"x.jpg"
    assert "the row cannot be read" in found["t.parquet/1"]


@pytest.fixture
def web():
    """A server that answers with the number in the path: its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path[1:4]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_url_that_is_not_there_says_why(here, web):
    pytest.importorskip("aiohttp")
    urls = [f"{web}/404.jpg", f"{web}/503.jpg", "http://127.0.0.1:1/x.jpg", f"{web}/404.tar"]
    write(here / "list.txt", "\n".join(urls).encode())
    tar, listed = Sources(["list.txt"]).slices()
    reasons = []
    for item in (*listed.items(lambda key: False), *tar.items(lambda key: False)):
        with pytest.raises(OSError) as caught:
            item.load()
        reasons.append(storage.why(caught.value))
    missing, busy = "Not Found (404)", "Service Unavailable (503)"
    assert reasons == [missing, busy, "Connection refused", missing]
    with pytest.raises(OptionError, match=r"404\.txt cannot be read: Not Found \(404\)"):
        Sources([f"{web}/404.txt"])


def test_everything_is_read_elsewhere_as_well(here):
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("pyarrow")
    write(here / "list.txt", b"photos/x.jpg\n")
    write_tar(here / "s.tar", {"1.jpg": b"one"})
    write_parquet(here / "t.parquet", image=[b"two"])
    far = f"/{uuid.uuid4().hex}"
    system = fsspec.filesystem("memory")
    for name, path in (("list.txt", "list.txt"), ("s.tar", "s.tar"), ("t.parquet", "t.parquet")):
        system.pipe(f"{far}/{path}", (here / name).read_bytes())
    system.pipe(f"{far}/photos/x.jpg", b"x")
    system.pipe(f"{far}/photos/a/y.png", b"y")
    system.pipe(f"{far}/photos/.hidden/z.png", b"z")
    at = f"memory:/{far}"
    assert read(f"{at}/photos") == {"x.jpg": b"x", "a/y.png": b"y"}
    assert read(f"{at}/photos/*.jpg") == {"x.jpg": b"x"}
    assert read(f"{at}/list.txt") == {"photos/x.jpg": b"x"}
    assert read(f"{at}/s.tar") == {"s.tar/1.jpg": b"one"}
    assert read(f"{at}/t.parquet") == {"t.parquet/0": b"two"}
    with pytest.raises(OptionError, match="there is no file or folder"):
        read(f"{at}/nothing")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("s-{008..010}.tar", ["s-008.tar", "s-009.tar", "s-010.tar"]),
        ("{a,b}/{1..2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("{x}.jpg", ["{x}.jpg"]),
        ("plain.jpg", ["plain.jpg"]),
        ("{3..1}", []),
    ],
)
def test_braces_are_expanded_as_in_webdataset(text, names):
    assert expand_braces(text) == names


@pytest.mark.parametrize("text", ["{0..9999999999}", "{0..9999}{0..9999}"])
def test_braces_that_stand_for_too_much_are_refused(text):
    with pytest.raises(OptionError, match="the limit is 1000000"):
        expand_braces(text)


def test_files_above_the_limit_are_not_read_whole(here, monkeypatch):
    monkeypatch.setattr(storage, "MAX_BYTES", 10)
    write(here / "x.jpg", b"0123456789a")
    write_tar(here / "s.tar", {"1.jpg": b"0123456789a", "2.jpg": b"0123456789"})
    found = read("x.jpg", "s.tar")
    assert (
        "the limit for the file of one picture" in found["x.jpg"]
        and "the limit" in found["s.tar/1.jpg"]
    )
    assert found["s.tar/2.jpg"] == b"0123456789"


def test_a_member_above_the_limit_takes_no_memory(here):
    with tarfile.open(here / "s.tar", "w") as tar:
        info = tarfile.TarInfo("large.jpg")
        info.size = storage.MAX_BYTES + 1
        with open(here / "large.jpg", "wb") as file:
            file.truncate(info.size)
        with open(here / "large.jpg", "rb") as file:
            tar.addfile(info, file)
    (one,) = Sources(["s.tar"]).slices()
    tracemalloc.start()
    try:
        (item,) = one.items(lambda key: False)
        with pytest.raises(ImageTooLarge, match="more than 100 MB"):
            item.load()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_patterns_do_not_follow_links_or_enter_hidden_folders(here):
    write(here / "photos/a/x.jpg")
    write(here / "photos/.hidden/y.jpg")
    (here / "photos/a/back").symlink_to(here / "photos")
    assert list(read("photos/**/*.jpg")) == list(read("photos/**")) == ["a/x.jpg"]
    assert list(read("photos/a/*/a/*.jpg")) == ["back/a/x.jpg"]  # the user asks for it


def test_names_that_are_no_utf_8_have_keys_that_are(here):
    os.makedirs(b"photos")
    with open(b"photos/\xff.jpg", "wb") as file:
        file.write(b"x")
    assert read("photos") == {"\\xff.jpg": b"x"}


def test_a_long_list_is_never_in_memory(here):
    with open(here / "list.txt", "w") as file:
        file.writelines(f"photos/{number:09}.jpg\n" for number in range(50_000))
    found = Sources(["list.txt"])
    tracemalloc.start()
    try:
        assert sum(one.size for one in found.slices()) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # the names alone would be 3 MB
    finally:
        tracemalloc.stop()


def test_members_of_a_tar_file_are_not_remembered(here):
    write_tar(here / "s.tar", {f"{number}.jpg": b"" for number in range(10_000)})
    (one,) = Sources(["s.tar"]).slices()
    tracemalloc.start()
    try:
        assert sum(1 for _ in one.items(lambda key: False)) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_pictures_are_counted_where_that_is_cheap(here):
    pytest.importorskip("pyarrow")
    write(here / "p/x.jpg")
    write_tar(here / "p/s.tar", {"1.jpg": b"", "2.jpg": b""})
    write_parquet(here / "t.parquet", image=[b"1"] * 7)
    assert sum(Sources(["p", "t.parquet"]).counts()) == 10
    write_tar(here / "p/s.tar.gz", {"1.jpg": b""}, "w:gz")
    assert None in list(Sources(["p"]).counts())


def test_what_exists_is_no_pattern(here):
    for name in ("photos [2024]/x.jpg", "photos [2024]/a/y.jpg", "{a,b}/x.jpg", "a[1].jpg"):
        write(here / name)
    write(here / "a1.jpg")
    assert sorted(read("photos [2024]")) == ["a/y.jpg", "x.jpg"]
    assert list(read("photos [2024]/x.jpg")) == list(read("{a,b}")) == ["x.jpg"]
    assert sorted(read("photos [2024]/**/*.jpg")) == ["a/y.jpg", "x.jpg"]
    assert list(read("a[1].jpg")) == ["a[1].jpg"]


def test_own_results_are_no_photos_wherever_they_lie(here):
    for name in ("street.jpg", "street.overlay.png", "a/x.LABELS.png", "a/x.png"):
        write(here / "photos" / name)
    write_tar(here / "s.tar", {"street.jpg": b"one", "street.colormap.png": b"ours"})
    write(here / "list.txt", b"photos/street.overlay.png\n")
    assert sorted(read("photos")) == sorted(read("photos/**/*")) == ["a/x.png", "street.jpg"]
    assert list(read("s.tar")) == ["s.tar/street.jpg"]
    assert list(read("list.txt")) == ["photos/street.overlay.png"]  # whoever names it, wants it


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
def test_pipes_are_left_out_and_a_named_one_is_a_failure(here):
    write(here / "photos/x.jpg")
    os.mkfifo(here / "photos/pipe.jpg")
    assert list(read("photos")) == list(read("photos/*")) == ["x.jpg"]
    assert "not an ordinary file but a pipe" in read("photos/pipe.jpg")["pipe.jpg"]
    found = Sources(["photos"])
    list(found.slices())
    pipe = here / "photos/pipe.jpg"
    assert found.left_out.notes() == [f"left out: 1 pipe, socket or device ({pipe})"]


def test_linked_folders_are_left_out_and_that_is_said_unless_they_are_named(here):
    write(here / "elsewhere/x.jpg")
    write(here / "photos/y.jpg")
    (here / "photos/link").symlink_to(here / "elsewhere")
    found = Sources(["photos"])
    assert sum(one.size for one in found.slices()) == 1
    (note,) = found.left_out.notes()
    assert "left out: 1 linked folder, which is searched if you name it" in note
    assert sorted(read("photos", "photos/link")) == ["link/x.jpg", "y.jpg"]


def test_a_link_that_leads_nowhere_is_a_failure(here):
    (here / "photos").mkdir()
    (here / "photos/x.jpg").symlink_to(here / "gone.jpg")
    assert "No such file" in read("photos")["x.jpg"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "no pictures in .*empty"),
        ("empty/*.jpg", "no pictures match .*empty"),
        ("list.txt", "no pictures in .*list.txt"),
        ("ours", "1 file that humanparse wrote itself"),
    ],
)
def test_sources_with_nothing_in_them_are_errors(here, source, message):
    (here / "empty").mkdir()
    (here / "list.txt").write_text("\n")
    write(here / "ours/x.overlay.png")
    write(here / "x.jpg")
    with pytest.raises(OptionError, match=message):
        Sources([source])
    if "*" not in source:  # a pattern without match is a mistake in any company
        assert list(read(source, "x.jpg")) == ["x.jpg"]


def test_nothing_and_what_is_not_there_are_errors(here):
    with pytest.raises(OptionError, match="nothing to parse"):
        Sources([])
    with pytest.raises(OptionError, match="there is no file or folder"):
        Sources(["nowhere.jpg"])
