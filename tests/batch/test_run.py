"""`humanparse batch` from the command line, with the tiny model."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import tarfile
from pathlib import Path

import pytest
from batch_helpers import failures_in, picture_bytes, rows_in, visible_files, write_photos
from typer.testing import CliRunner

from humanparse.batch.run import LOCK, Output
from humanparse.batch.work import Outcome, hashed_path, result_path
from humanparse.cli import app
from humanparse.masks import Mask

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install '.[batch]'")


@pytest.fixture
def run(tiny_model, tmp_path, monkeypatch):
    """`run("photos", "-o", "out")` in an empty folder; the result has exit_code, stdout and
    stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda *words, model=tiny_model: CliRunner().invoke(
        app, ["batch", *map(str, words), "-m", str(model)]
    )


def test_a_row_for_every_photo_with_its_people_parts_and_masks(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 5)
    result = run("photos", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "5 parsed with 5 people, 0 failed" in result.stderr
    rows = {row["key"]: row for row in rows_in(tmp_path / "out")}
    assert sorted(rows) == keys
    row = rows[keys[4]]
    assert (row["width"], row["height"], row["model"], row["label_set"]) == (12, 12, "tiny", "cihp")
    assert row["uri"] == str(tmp_path / "photos" / keys[4])
    (person,) = row["people"]
    assert (person["id"], person["box"], person["area"]) == (1, [0, 0, 12, 12], 144)
    (part,) = person["parts"]
    assert (part["label"], part["class_id"]) == ("Face", 13)
    assert Mask.from_rle(part["mask"]).area == part["area"] == 72
    assert row["loose_parts"] == []


def test_parts_hold_so_many_rows_at_most_and_say_what_they_are(run, tmp_path):
    from pyarrow import parquet

    write_photos(tmp_path / "photos", 25)
    assert run("photos", "-o", "out", "--rows", 10).exit_code == 0
    assert visible_files(tmp_path / "out") == [f"part-00000{number}.parquet" for number in range(3)]
    files = [parquet.ParquetFile(path) for path in sorted((tmp_path / "out").glob("part-*"))]
    assert [file.metadata.num_rows for file in files] == [10, 10, 5]
    metadata = files[0].schema_arrow.metadata
    assert metadata[b"humanparse.labels"].startswith(b"Background,Hat,Hair")
    assert json.loads(metadata[b"humanparse.run"])["model"] == "tiny"
    for file in files:
        file.close()


def test_a_second_run_has_nothing_left_to_do_and_takes_new_photos(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 6)
    run("photos", "-o", "out")
    assert "0 parsed" in run("photos", "-o", "out").stderr
    (tmp_path / "photos/new.png").write_bytes(picture_bytes(7))
    assert "1 parsed" in run("photos", "-o", "out").stderr
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == sorted([*keys, "new.png"])


def test_limit_ends_early_and_the_next_run_goes_on(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 10)
    assert "4 parsed" in run("photos", "-o", "out", "--limit", 4).stderr
    assert len(rows_in(tmp_path / "out")) == 4
    assert "6 parsed" in run("photos", "-o", "out").stderr
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys


def test_a_dead_url_is_named_once_with_the_reason(run, tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:1/x.jpg\n")
    result = run("urls.txt", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "http://127.0.0.1:1/x.jpg: Connection refused"


def test_failures_are_listed_with_reasons_and_tried_again_when_asked(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 4)
    (tmp_path / "photos" / keys[1]).write_bytes(b"no picture")
    result = run("photos", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{keys[1]}: starts with 'no picture'; expected a picture")
    (line,) = (tmp_path / "out/_failures.jsonl").read_text("utf-8").splitlines()
    assert (
        json.loads(line)["key"] == keys[1] and "expected a picture" in json.loads(line)["message"]
    )
    (tmp_path / "photos" / keys[1]).write_bytes(picture_bytes(1))
    again = run("photos", "-o", "out")
    # not tried again unasked
    assert (again.exit_code, failures_in(tmp_path / "out")) == (1, {keys[1]: "not_an_image"})
    assert run("photos", "-o", "out", "--retry-failed").exit_code == 0
    assert failures_in(tmp_path / "out") == {}
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys


def test_other_formats_lie_in_a_tree_like_that_of_the_photos(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 3)
    assert run("photos", "-o", "out", "--format", "json,overlay").exit_code == 0
    assert visible_files(tmp_path / "out") == sorted(
        f"{key}{ending}" for key in keys for ending in (".json", ".overlay.png")
    )
    assert (
        json.loads((tmp_path / "out" / f"{keys[0]}.json").read_text())["people"][0]["parts"][0][
            "label"
        ]
        == "Face"
    )


def test_coco_files_name_photos_by_their_keys(run, tmp_path):
    for folder in "ab":
        (tmp_path / "photos" / folder).mkdir(parents=True)
        (tmp_path / "photos" / folder / "x.png").write_bytes(picture_bytes(0))
    assert run("photos", "-o", "out", "--format", "coco").exit_code == 0
    for folder in "ab":
        coco = json.loads((tmp_path / f"out/{folder}/x.png.coco.json").read_text())
        assert [image["file_name"] for image in coco["images"]] == [f"{folder}/x.png"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("elsewhere", "-o", "out"), "sources"),
        (("photos", "-o", "out", "--min-score", "0.5"), "options"),
        (("photos", "-o", "out", "--format", "json"), "formats"),
    ],
)
def test_the_folder_of_another_run_is_refused(run, tmp_path, words, what):
    write_photos(tmp_path / "photos", 1)
    write_photos(tmp_path / "elsewhere", 1)
    run("photos", "-o", "out")
    result = run(*words)
    assert result.exit_code == 2
    assert f"holds the output of another run: its {what} was" in result.stderr
    assert "repeat the first command, or choose another folder with -o" in result.stderr
    assert len(rows_in(tmp_path / "out")) == 1


def test_another_model_is_refused_even_under_the_same_name(run, tmp_path, tiny_model):
    write_photos(tmp_path / "photos", 1)
    run("photos", "-o", "out")
    # an unknown field of protobuf's
    (tmp_path / "other.onnx").write_bytes(tiny_model.read_bytes() + b"\xb2\x06\x01x")
    result = run("photos", "-o", "out", model=tmp_path / "other.onnx")
    assert result.exit_code == 2 and "model sha256" in result.stderr


def test_parquet_files_of_others_are_refused(run, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    write_photos(tmp_path / "photos", 1)
    (tmp_path / "out").mkdir()
    parquet.write_table(pa.table({"key": ["x"]}), tmp_path / "out/part-000000.parquet")
    result = run("photos", "-o", "out")
    assert result.exit_code == 2 and "was not written by this command" in result.stderr


def test_a_damaged_manifest_is_refused(run, tmp_path):
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/_manifest.sqlite").write_bytes(b"no database" * 1000)
    result = run("photos", "-o", "out")
    assert result.exit_code == 2 and "is not a manifest that can be read" in result.stderr


def test_a_part_that_is_gone_is_made_again(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 20)
    run("photos", "-o", "out", "--rows", 8)
    (tmp_path / "out/part-000001.parquet").unlink()
    result = run("photos", "-o", "out", "--rows", 8)
    assert (
        "part-000001.parquet is no longer there; its 8 pictures are parsed again" in result.stderr
    )
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys


def test_two_runs_cannot_write_to_one_folder(run, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", 1)
    monkeypatch.setattr("humanparse.batch.run.LOCK_S", 0.1)
    with Output(tmp_path / "out", ("json",), {}, {}):
        assert (tmp_path / "out" / LOCK).exists()
        result = run("photos", "-o", "out")
    assert result.exit_code == 2 and "another run is writing to" in result.stderr


def test_a_full_disk_ends_the_run_with_one_line_and_it_goes_on_later(run, tmp_path, monkeypatch):
    keys = write_photos(tmp_path / "photos", 5)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("humanparse.batch.parts.write", full)
        result = run("photos", "-o", "out", "--rows", 3)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith(
        "out: No space left on device; the same command continues from here"
    )
    assert run("photos", "-o", "out", "--rows", 3).exit_code == 0
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys


def test_ctrl_c_keeps_what_is_done_and_ends_with_130(run, tmp_path, monkeypatch):
    keys = write_photos(tmp_path / "photos", 9)
    seen = []

    def press_ctrl_c(report, outcome):
        seen.append(outcome.key)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("humanparse.cli.batch.tell", press_ctrl_c)
        result = run("photos", "-o", "out", "-j", 1)
    assert result.exit_code == 130 and result.stderr.endswith("the same command continues\n")
    assert len(rows_in(tmp_path / "out")) == 4
    run("photos", "-o", "out")
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys


def test_a_wrong_column_is_refused_and_then_the_right_one_works(run, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": [1], "b": [picture_bytes(0)]}), tmp_path / "t.parquet")
    result = run("t.parquet", "-o", "out")
    assert result.exit_code == 2 and "choose one with --column" in result.stderr
    assert run("t.parquet", "-o", "out", "--column", "b").exit_code == 0
    assert [row["key"] for row in rows_in(tmp_path / "out")] == ["t.parquet/0"]


def test_the_manual_explains_every_column():
    from humanparse.batch.parts import schema

    manual = (Path(__file__).parents[2] / "docs/batch.md").read_text("utf-8")
    table = manual[manual.index("| Column |") : manual.index("A part is a struct")]
    assert (
        re.findall(
            r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
        )
        == schema().names
    )


def test_tar_files_without_a_picture_are_nothing_to_parse(run, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w"):
        pass
    result = run("s.tar", "-o", "out")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "no pictures in" in result.stderr
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        info = tarfile.TarInfo("x.png")
        info.size = len(picture_bytes(0))
        tar.addfile(info, io.BytesIO(picture_bytes(0)))
    assert run("s.tar", "-o", "out2").exit_code == 0


def test_what_is_left_out_is_said(run, tmp_path):
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "photos/link").symlink_to(tmp_path)
    assert "left out: 1 linked folder" in run("photos", "-o", "out").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "-o", "out"), "there is no file or folder"),
        (("empty", "-o", "out"), "nothing to parse: no pictures in"),
        (("photos", "-o", "photos"), "folder or file of the output"),
        (("photos", "-o", "out", "--format", "parquet,json"), "not both"),
        (("photos", "-o", "out", "--format", "gif"), "there is no format 'gif'"),
        (("photos", "-o", "out", "--palette", "pink"), "there is no palette 'pink'"),
        (("photos", "-o", "out", "--address", "auto"), "add --ray"),
        (("photos", "-o", "photos/000/000000.png"), "cannot write to the folder"),
    ],
)
def test_bad_usage_ends_with_2_and_one_line(run, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    write_photos(tmp_path / "photos", 2)
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_output_may_lie_inside_the_source(run, tmp_path):
    write_photos(tmp_path / "photos", 2)
    run("photos", "-o", "photos/out", "--format", "overlay")
    assert "0 parsed" in run("photos", "-o", "photos/out", "--format", "overlay").stderr


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/x.jpg", "a/x.jpg"),
        ("Grüße/ä b.jpg", "Grüße/ä b.jpg"),
        ("shard-0.tar/7.png", "shard-0.tar/7.png"),
    ],
)
def test_ordinary_keys_are_paths_as_they_are(key, path):
    assert result_path(key) == path


@pytest.mark.parametrize(
    "key",
    [
        "/etc/x.jpg",
        "../x.jpg",
        "a/../../x.jpg",
        "s3://b/x.jpg",
        "a//x.jpg",
        "x\0.jpg",
        "..",
        "a:b/c",
        ".x",
    ],
)
def test_odd_keys_become_paths_below_the_output_that_no_other_key_has(key):
    path = result_path(key)
    assert not path.startswith("/") and ".." not in Path(path).parts and "\0" not in path
    assert re.search(r"-[0-9a-f]{8}$", path)


@pytest.mark.parametrize(
    "key",
    [
        "照" * 150 + ".jpg",  # 454 bytes
        "照" * 82 + "/x.jpg",
        "x.jpg.json/y.jpg",  # a folder where the result of x.jpg lies
        "x.coco",  # whose .json is the .coco.json of x
        "_unfinished/x.jpg",
        "_manifest.sqlite/x.jpg",
        "_LOCK/x.jpg",
    ],
)
def test_keys_whose_files_a_file_system_or_others_would_not_take_get_names_of_their_own(key):
    path = result_path(key)
    assert re.search(r"-[0-9a-f]{8}$", path)
    assert all(len(f"{part}.outlines.png".encode()) <= 255 for part in path.split("/"))
    assert not path.lower().startswith(("_unfinished/", "_manifest.sqlite/", "_lock/"))


def test_names_of_any_length_and_folders_named_like_results_are_all_done(run, tmp_path):
    names = ["a.jpg", "照" * 82 + ".jpg", "照" * 82 + ".png", "z.jpg"]
    names += ["a.jpg.json/b.jpg", "a.jpg.labels.png/c.jpg"]
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(picture_bytes(0))
            tar.addfile(info, io.BytesIO(picture_bytes(0)))
    result = run("s.tar", "-o", "out", "--format", "json,outlines,labels")
    assert result.exit_code == 0, result.stderr
    assert len(visible_files(tmp_path / "out")) == 3 * len(names)
    assert "0 parsed" in run("s.tar", "-o", "out", "--format", "json,outlines,labels").stderr


def test_a_picture_whose_files_cannot_take_their_names_fails_alone(run, tmp_path):
    keys = write_photos(tmp_path / "photos", 3)
    (tmp_path / "out" / f"{keys[1]}.labels.png").mkdir(parents=True)
    result = run("photos", "-o", "out", "--format", "json,labels")
    assert result.exit_code == 1
    assert f"{keys[1]}: Is a directory" in result.stderr
    assert "2 parsed with 2 people, 1 failed" in result.stderr
    assert failures_in(tmp_path / "out") == {keys[1]: "cannot_write"}
    done = [f"{keys[number]}{ending}" for number in (0, 2) for ending in (".json", ".labels.png")]
    assert visible_files(tmp_path / "out") == done  # and no half of the other's
    (tmp_path / "out" / f"{keys[1]}.labels.png").rmdir()
    assert run("photos", "-o", "out", "--format", "json,labels", "--retry-failed").exit_code == 0


def test_capitals_are_told_apart_unless_the_file_system_does_not(tmp_path, monkeypatch):
    keys = ["a/X.jpg", "a/x.jpg", "A/x.jpg", "a/y.jpg", "Straße.jpg", "STRASSE.jpg"]

    def write(folder: Path, wanted: list[str]) -> list[str]:
        with Output(folder, ("json",), {"sources": ["here"]}, {}) as output:
            for key in wanted:
                output.add(Outcome(key, (key.encode(),)))
            output.finish()
        return visible_files(folder)

    assert write(tmp_path / "one", keys) == sorted(f"{key}.json" for key in keys)
    monkeypatch.setattr("humanparse.batch.run._ignores_case", lambda file: True)
    write(tmp_path / "other", keys[:1])
    found = write(tmp_path / "other", keys)  # a second run remembers the names of the first
    taken = [hashed_path(key) for key in ("a/x.jpg", "A/x.jpg", "STRASSE.jpg")]
    free = ["a/X.jpg", "a/y.jpg", "Straße.jpg"]
    assert found == sorted(f"{path}.json" for path in (*free, *taken))
    assert len({name.casefold() for name in found}) == len(keys)


def test_whether_a_file_system_ignores_case_is_found_out_by_the_lock(tmp_path):
    from humanparse.batch.run import _ignores_case

    (tmp_path / LOCK).touch()
    assert _ignores_case(tmp_path / LOCK) == (tmp_path / LOCK.upper()).exists()
    if not _ignores_case(tmp_path / LOCK):
        os.link(tmp_path / LOCK, tmp_path / LOCK.upper())  # as such a file system shows it
        assert _ignores_case(tmp_path / LOCK)


def test_a_full_disk_is_no_fault_of_a_picture(run, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", 3)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        result = run("photos", "-o", "out", "--format", "json")
    assert result.exit_code == 1
    assert "No space left on device; the same command continues" in result.stderr
    assert run("photos", "-o", "out", "--format", "json").exit_code == 0


@pytest.mark.slow
def test_many_photos_are_counted_exactly_in_little_memory(tiny_model, tmp_path):
    """800 here; benchmarks/batch.py does the same with 20 000 and more."""
    keys = write_photos(tmp_path / "photos", 800)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        small, large = pool.apply(_peaks_mb, (tmp_path, tiny_model))
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys
    assert large - small < 28  # 46 kB a photo


def _peaks_mb(folder: Path, model: Path) -> tuple[float, float]:
    """Peak memory of the process after 200 photos, and after all."""
    import resource

    def peak(*more: str) -> float:
        words = [
            "batch",
            str(folder / "photos"),
            "-o",
            str(folder / "out"),
            "-m",
            str(model),
            "--rows",
            "100",
            "-q",
            *more,
        ]
        assert CliRunner().invoke(app, words).exit_code == 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    return peak("--limit", "200"), peak()
