"""`humanparse parse`, without weights."""

from __future__ import annotations

import io
import json
import os
import threading

import pytest
from PIL import Image

from humanparse.cli import parse
from humanparse.cli.errors import BAD_USAGE
from humanparse.errors import BrokenModel, UnknownModel
from humanparse.system import parallel

FOUR = ["colormap.png", "json", "labels.png", "overlay.png"]


def four(*names):
    return sorted(f"{name}.{ending}" for name in names for ending in FOUR)


def test_coarse_classes(run, parser, here):
    Image.new("RGB", (60, 40)).save(here / "a.png")
    assert run("parse", "a.png", "--format", "json", "--classes", "coarse").exit_code == 0
    found = json.loads((here / "a.json").read_text())
    assert found["label_set"] == "cihp-coarse" and found["people"][0]["parts"][0]["label"] == "Head"
    refused = run("parse", "a.png", "--classes", "few")
    assert refused.exit_code == BAD_USAGE and "choose one of all, coarse" in refused.stderr


def test_one_photo_gives_four_files_beside_it(run, photo, written):
    photo("trip/street.jpg")
    result = run("parse", "trip/street.jpg")
    assert result.exit_code == 0, result.stderr
    assert written() == sorted(["trip/street.jpg", *four("trip/street")])


def test_one_line_a_photo_goes_to_stdout_and_the_summary_to_stderr(run, photo):
    photo("street.jpg")
    result = run("parse", "street.jpg")
    assert result.stdout == "street.jpg  1 person  → street.overlay.png and 3 more\n"
    assert result.stderr.startswith("1 parsed, 0 skipped, 0 failed in ")


def test_written_pictures_have_the_size_of_the_photo(run, photo, here):
    photo("street.jpg", size=(30, 20))
    run("parse", "street.jpg", "--format", "labels")
    with Image.open(here / "street.labels.png") as labels:
        assert labels.size == (30, 20)


def test_a_folder_keeps_its_sub_folders_below_the_output_folder(run, photo, written):
    photo("photos/a/x.jpg")
    photo("photos/b/x.JPG")
    photo("photos/top.png")
    result = run("parse", "photos", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert written("out") == four("a/x", "b/x", "top")


@pytest.mark.parametrize(
    "sources",
    [
        ("photos",),
        ("photos/**/*.jpg",),
        ("photos/a/x.jpg", "photos/b/x.jpg"),
    ],
)
def test_coco_files_tell_photos_of_one_name_apart(run, photo, here, sources):
    photo("photos/a/x.jpg")
    photo("photos/b/x.jpg")
    run("parse", *sources, "-o", "out", "--format", "coco,labelme")
    for folder in "ab":
        coco = json.loads((here / f"out/{folder}/x.coco.json").read_text())
        assert [image["file_name"] for image in coco["images"]] == [f"{folder}/x.jpg"]
        labelme = json.loads((here / f"out/{folder}/x.labelme.json").read_text())
        assert labelme["imagePath"] == "x.jpg"


def test_a_second_run_over_a_folder_leaves_our_own_pictures_out(run, photo, parser, written):
    photo("photos/x.jpg")
    run("parse", "photos", "--format", "all")
    first = written()
    result = run("parse", "photos", "--format", "all")
    assert result.exit_code == 0, result.stderr
    assert parser.seen == ["x", "x"]
    assert written() == first


def test_a_pattern_that_the_shell_left_alone_is_searched(run, photo, written):
    photo("photos/a/x.jpg")
    photo("photos/b/c/x.jpg")
    photo("photos/b/y.png")
    result = run("parse", "photos/**/*.jpg", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert written("out") == four("a/x", "b/c/x")


def test_a_picture_on_stdin_is_written_into_the_current_folder(run, written):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    result = run("parse", "-", stdin=picture.getvalue())
    assert result.exit_code == 0, result.stderr
    assert written() == four("stdin")
    assert result.stdout.startswith("stdin  1 person")


def test_a_bad_file_in_the_middle_is_one_line_and_the_others_are_done(run, photo, here, written):
    photo("a.jpg")
    photo("c.jpg")
    (here / "b.jpg").write_bytes(b"not a picture")
    result = run("parse", ".", "-o", "out")
    assert result.exit_code == 1
    assert written("out") == four("a", "c")
    failed, summary = result.stderr.splitlines()
    assert failed == "b.jpg: this is not a picture; give a JPEG or PNG"
    assert summary.startswith("2 parsed, 0 skipped, 1 failed")


def test_an_unforeseen_error_in_one_photo_does_not_stop_the_others(run, photo, parser, monkeypatch):
    photo("a.jpg")
    photo("b.jpg")
    real = parser.parse

    def stumble(image, *, name):
        if name == "a":
            raise RuntimeError("two\nlines")
        return real(image, name=name)

    monkeypatch.setattr(parser, "parse", stumble)
    result = run("parse", "a.jpg", "b.jpg")
    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[0] == "a.jpg: unexpected RuntimeError: two\\nlines; "
        "`humanparse --debug` shows where it happened"
    )
    assert "b.jpg  1 person" in result.stdout


def test_debug_shows_the_traceback_of_a_failed_photo(run, here):
    (here / "b.jpg").write_bytes(b"not a picture")
    assert "Traceback" in run("--debug", "parse", "b.jpg").stderr
    assert "Traceback" not in run("parse", "b.jpg").stderr


def test_a_folder_that_cannot_be_written_fails_its_photo(run, photo, here):
    photo("photos/a/x.jpg")
    (here / "out").mkdir()
    (here / "out/a").write_text("a file where the folder should be")
    result = run("parse", "photos", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{os.path.join('photos', 'a', 'x.jpg')}: ")


def test_too_long_a_name_for_a_result_fails_its_photo_alone(run, photo, here):
    photo("photos/a.jpg")
    (here / "photos" / ("x" * 250 + ".jpg")).write_bytes((here / "photos/a.jpg").read_bytes())
    for _ in range(2):
        result = run("parse", "photos", "-o", "out", "--skip-existing")
        assert result.exit_code == 1 and "File name too long" in result.stderr.splitlines()[0]
        assert (here / "out/a.json").exists()


def test_skip_existing_parses_only_what_is_missing(run, photo, parser, here):
    for name in ("a", "b", "c"):
        photo(f"photos/{name}.jpg")
    run("parse", "photos", "-o", "out")
    (here / "out/b.json").unlink()
    parser.seen.clear()
    result = run("parse", "photos", "-o", "out", "--skip-existing")
    assert parser.seen == ["b"]
    assert result.stderr.startswith("1 parsed, 2 skipped, 0 failed")


def test_skip_existing_loads_no_model_when_all_is_done(run, photo, parser):
    photo("a.jpg")
    run("parse", "a.jpg")
    parser.loaded.clear()
    result = run("parse", "a.jpg", "--skip-existing")
    assert result.exit_code == 0
    assert parser.loaded == []


def test_without_skip_existing_results_are_written_anew(run, photo, parser):
    photo("a.jpg")
    run("parse", "a.jpg")
    run("parse", "a.jpg")
    assert parser.seen == ["a", "a"]


def test_photos_that_differ_in_their_ending_only_keep_it_in_the_name(run, photo, written):
    photo("photos/x.jpg")
    photo("photos/x.png")
    photo("photos/y.jpg")
    result = run("parse", "photos", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert written("out") == four("x.jpg", "x.png", "y")
    assert "share their name" in result.stderr.splitlines()[0]


def test_jobs_of_two_write_the_same_files_as_one(run, photo, here, written):
    for number in range(7):
        photo(f"photos/{number}.jpg", size=(20 + number, 20))
    one = run("parse", "photos", "-o", "one", "--format", "labels,colormap,overlay")
    two = run("parse", "photos", "-o", "two", "--format", "labels,colormap,overlay", "--jobs", "2")
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert sorted(two.stdout.replace("two", "one").splitlines()) == sorted(one.stdout.splitlines())
    assert written("one") == written("two")
    assert all(
        (here / "one" / name).read_bytes() == (here / "two" / name).read_bytes()
        for name in written("one")
    )


def test_jobs_of_two_run_two_photos_at_a_time(run, photo, parser, monkeypatch):
    photo("a.jpg")
    photo("b.jpg")
    together, real = threading.Barrier(2, timeout=20), parser.parse

    def meet(image, *, name):
        together.wait()  # breaks if the other photo does not come meanwhile
        return real(image, name=name)

    monkeypatch.setattr(parser, "parse", meet)
    assert run("parse", "a.jpg", "b.jpg", "--jobs", "2").exit_code == 0


@pytest.mark.parametrize(
    ("model", "photos", "threads"),
    [
        ((), 1, None),  # one photo has all cores
        ((), 2, 3),  # as many jobs as photos, which share the engine
        (("--jobs", "4"), 5, 1),
        (("--model", "large.onnx"), 2, None),  # one at a time
        (("--model", "nowhere.onnx"), 2, None),
    ],
)
def test_jobs_and_threads_share_the_cores(
    run, photo, parser, here, monkeypatch, model, photos, threads
):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 4)
    with open(here / "large.onnx", "wb") as file:
        file.truncate(parallel.SMALL_MODEL_BYTES)
    names = [photo(f"{number}.jpg").name for number in range(photos)]
    run("parse", *names, *model)
    assert parser.loaded[0][1]["threads"] == threads


def test_quiet_says_nothing_but_errors(run, photo, here):
    photo("a.jpg")
    (here / "b.jpg").write_bytes(b"not a picture")
    result = run("parse", "a.jpg", "b.jpg", "--quiet")
    assert result.stdout == ""
    assert result.stderr == "b.jpg: this is not a picture; give a JPEG or PNG\n"


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(run, photo, parser, monkeypatch):
    photo("a.jpg")
    photo("b.jpg")
    real = parser.parse

    def press_ctrl_c(image, *, name):
        if name == "b":
            raise KeyboardInterrupt
        return real(image, name=name)

    monkeypatch.setattr(parser, "parse", press_ctrl_c)
    result = run("parse", "a.jpg", "b.jpg", "--jobs", "1")
    assert result.exit_code == 130
    assert (
        result.stderr
        == "interrupted after 1 of 2 photos; the same command with --skip-existing continues\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to parse"),
        (("nowhere.jpg",), "there is no file or folder 'nowhere.jpg'"),
        (("x" * 300 + ".jpg",), "there is no file or folder 'xxx"),
        (("*.jpeg",), "no pictures match '*.jpeg'"),
        (("empty",), "no pictures in empty"),
        (("a.jpg", "--format", "gif"), "there is no format 'gif'; choose from overlay"),
        (
            ("a.jpg", "--palette", "pink"),
            "there is no palette 'pink'; choose one of clear, classic",
        ),
        (("a.jpg", "-o", "a.jpg"), "cannot make the output folder 'a.jpg'"),
    ],
)
def test_bad_usage_ends_with_2_and_one_line(run, photo, here, parser, arguments, message):
    photo("a.jpg")
    (here / "empty").mkdir()
    result = run("parse", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert parser.seen == []


@pytest.mark.parametrize(
    "option", ["--jobs=0", "--threads=0", "--min-score=2", "--max-megapixels=0", "--unknown"]
)
def test_impossible_values_end_with_2(run, photo, option):
    photo("a.jpg")
    assert run("parse", "a.jpg", option).exit_code == 2


def test_an_unknown_model_ends_with_3(run, photo, monkeypatch):
    photo("a.jpg")

    def load_parser(model=None, **options):
        raise UnknownModel(f"there is no model {model!r}")

    monkeypatch.setattr(parse, "load_parser", load_parser)
    result = run("parse", "a.jpg", "--model", "m3fp")
    assert result.exit_code == 3
    assert result.stderr == "humanparse: there is no model 'm3fp'\n"


def test_a_model_that_turns_out_broken_stops_the_run_with_3(run, photo, parser, monkeypatch):
    def broken(image, *, name):
        raise BrokenModel("the model gives no output 'classes'")

    photo("a.jpg")
    photo("b.jpg")
    monkeypatch.setattr(parser, "parse", broken)
    result = run("parse", "a.jpg", "b.jpg")
    assert result.exit_code == 3
    assert result.stderr == "humanparse: the model gives no output 'classes'\n"


def test_an_unforeseen_error_while_loading_ends_with_70_and_one_line(run, photo, monkeypatch):
    def load_parser(model=None, **options):
        raise RuntimeError("out of luck")

    photo("a.jpg")
    monkeypatch.setattr(parse, "load_parser", load_parser)
    result = run("parse", "a.jpg")
    assert result.exit_code == 70
    assert len(result.stderr.splitlines()) == 1


def test_options_reach_the_parser(run, photo, parser):
    photo("a.jpg")
    sizes = [
        "--short-side",
        "320",
        "--max-side",
        "512",
        "--engine",
        "openvino",
        "--precision",
        "bf16",
        "--device",
        "cpu",
    ]
    run(
        "parse",
        "a.jpg",
        "--model",
        "m",
        "--min-score",
        "0.5",
        "--threads",
        "3",
        "--max-megapixels",
        "7",
        *sizes,
    )
    options = {
        "threads": 3,
        "min_score": 0.5,
        "max_megapixels": 7.0,
        "short_side": 320,
        "max_side": 512,
    }
    options |= {"engine": "openvino", "precision": "bf16", "device": "cpu"}
    assert parser.loaded == [("m", options)]


def test_the_palette_changes_the_colour_map(run, photo, here):
    photo("a.jpg")
    run("parse", "a.jpg", "-o", "clear", "--format", "colormap")
    run("parse", "a.jpg", "-o", "classic", "--format", "colormap", "--palette", "classic")
    assert (here / "clear/a.colormap.png").read_bytes() != (
        here / "classic/a.colormap.png"
    ).read_bytes()


def test_formats_may_be_repeated_or_have_commas_between(run, photo, written):
    photo("a.jpg")
    run("parse", "a.jpg", "-o", "out", "--format", "json, labels", "--format", "labels")
    assert written("out") == ["a.json", "a.labels.png"]


def test_no_result_may_overwrite_a_photo(run, photo):
    photo("a.jpg")
    photo("a.overlay.png")
    result = run("parse", "a.jpg", "a.overlay.png")
    assert result.exit_code == 2
    assert "would overwrite the photo a.overlay.png" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_no_result_overwrites_a_photo_by_way_of_a_link(run, photo, here):
    photo("photos/a.jpg")
    photo("photos/a.overlay.png")
    (here / "link").symlink_to("photos")
    result = run("parse", "photos/a.jpg", "link/a.overlay.png")
    assert result.exit_code == 2 and "would overwrite the photo" in result.stderr


def test_a_file_name_with_a_line_break_stays_on_one_line(run, photo):
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    photo("a\n[red]b.jpg")
    result = run("parse", "a\n[red]b.jpg")
    assert result.exit_code == 0
    assert result.stdout == "a\\n[red]b.jpg  1 person  → a\\n[red]b.overlay.png and 3 more\n"
