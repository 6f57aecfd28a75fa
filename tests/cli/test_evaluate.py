"""`humanparse eval`, without weights: the fake parser finds one person, all face, in the upper half
of every photo."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from humanparse.labels import CIHP, LIP

FACE, COAT = CIHP.index("Face"), CIHP.index("Coat")
WORK = "humanparse-eval.jsonl"


@pytest.fixture
def dataset(here, photo):
    """Three photos of 24×16 with one person in the upper half: all face, half coat, and nobody at
    all."""
    for folder in ("labels", "persons"):
        (here / "photos" / folder).mkdir(parents=True)
    for number, name in enumerate("abc"):
        photo(f"photos/images/{name}.jpg")
        labels, people = np.zeros((16, 24), np.uint8), np.zeros((16, 24), np.uint8)
        if number < 2:
            labels[:8], people[:8] = FACE, 1
        if number == 1:
            labels[:8, :12] = COAT
        Image.fromarray(labels).save(here / f"photos/labels/{name}.png")
        Image.fromarray(people).save(here / f"photos/persons/{name}.png")
    return here / "photos"


def figures(here, name="figures.json") -> dict:
    return json.loads((here / name).read_text())


def test_the_tables_go_to_stdout_and_the_figures_into_a_file(run, dataset, here, parser):
    result = run("eval", "photos", "--json", "figures.json")
    assert result.exit_code == 0, result.stderr
    assert "3 images of photos (plain), standard matching" in result.stdout
    assert all(words in result.stdout for words in ("fake", "person PQ", "Left-arm, Right-arm"))
    assert parser.seen == ["a", "b", "c"]
    found = figures(here)
    assert (found["images"], found["dataset"], found["format"], found["model"]) == (
        3,
        "photos",
        "plain",
        "fake",
    )
    assert (found["matching"], found["flip"], found["scales"]) == ("standard", False, [1.0])
    # 192 true face and background pixels of a, 96 face and 96 coat of b (all found as face), none
    # of c.
    face = found["classes"][FACE]
    assert face["iou"] == pytest.approx((192 + 96) / (3 * 192)) and face["pixels"] == 192 + 96
    assert found["classes"][COAT]["iou"] == 0
    assert found["people"]["pq"] == {
        "pq": pytest.approx(2 / 2.5),
        "found": 2,
        "missed": 0,
        "false": 1,
    }
    assert not (here / WORK).exists()


def test_coarse_classes_are_merged_on_both_sides(run, dataset, here, parser):
    """Face and hat are both Head: what was told apart there is not any more."""
    hat = CIHP.index("Hat")
    labels = np.asarray(Image.open(here / "photos/labels/b.png")).copy()
    labels[labels == COAT] = hat
    Image.fromarray(labels).save(here / "photos/labels/b.png")
    words = ("--classes", "coarse", "--sheet", "worst.png")
    assert run("eval", "photos", "--json", "figures.json", *words).exit_code == 0
    found = figures(here)
    assert found["label_set"] == "cihp-coarse"
    [head] = [one for one in found["classes"] if one["name"] == "Head"]
    assert head["iou"] == pytest.approx(2 / 3) and head["ap_r"] == pytest.approx(1, abs=0.4)
    assert found["swaps"]["rate"] is None and found["people"]["pq"]["found"] == 2
    run("parse", "photos/images", "-o", "saved", "--format", "json", "--classes", "coarse")
    words = ("--classes", "coarse", "--predictions", "saved", "--json", "again.json")
    unclear = run("eval", "photos", *words)
    assert unclear.exit_code == 2 and "add a labels.txt" in unclear.stderr
    (here / "photos/labels.txt").write_text("\n".join(CIHP.names))
    assert run("eval", "photos", *words).exit_code == 0
    assert figures(here, "again.json")["pixels"] == found["pixels"]
    refused = run("eval", "photos", "--classes", "few")
    assert refused.exit_code == 2 and "choose one of all, coarse" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--sheet", "photos/images/a.jpg"),
        ("--sheet", "photos/labels/b.png"),
        ("--json", "photos/labels.txt"),
        ("--predictions", "saved", "--json", "saved/a.json"),
        ("--model", "m.onnx", "--json", "m.onnx"),
    ],
)
def test_nothing_that_is_measured_is_written_over(run, dataset, here, words):
    (here / "photos/labels.txt").write_text("\n".join(CIHP.names))
    (here / "m.onnx").write_bytes(b"a model")
    run("parse", "photos/images", "-o", "saved", "--format", "json")
    before = (here / words[-1]).read_bytes()
    result = run("eval", "photos", *words)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "is read by this command" in result.stderr
    assert (here / words[-1]).read_bytes() == before


def test_a_report_of_an_earlier_run_is_written_over(run, dataset, here):
    words = ("--json", "photos/figures.json", "--sheet", "photos/worst.png")
    for _ in range(2):
        assert run("eval", "photos", *words).exit_code == 0


def test_the_reference_matching_is_an_option(run, dataset, here):
    assert run("eval", "photos", "--matching", "reference", "--json", "figures.json").exit_code == 0
    assert figures(here)["matching"] == "reference"
    # All 20 classes count, absent ones as 0.
    ious = [one["iou"] for one in figures(here)["classes"]]
    assert (
        figures(here)["pixels"]["mean_iou"] == pytest.approx(sum(ious) / 20) and ious.count(0) == 18
    )


def test_a_broken_off_run_goes_on_and_ends_with_the_same_figures(
    run, dataset, here, parser, monkeypatch
):
    run("eval", "photos", "--json", "whole.json")
    parser.seen.clear()
    real = parser.parse

    def press_ctrl_c(image, *, name):
        if name == "c":
            raise KeyboardInterrupt
        return real(image, name=name)

    monkeypatch.setattr(parser, "parse", press_ctrl_c)
    result = run("eval", "photos")
    assert (result.exit_code, result.stderr) == (
        130,
        "interrupted after 2 of 3 photos; add --resume to continue\n",
    )
    monkeypatch.setattr(parser, "parse", real)
    parser.seen.clear()
    with open(here / WORK, "a") as file:
        # as a kill in the middle of a line leaves it
        file.write('{"name": "c", "classes": 20, "conf')
    again = run("eval", "photos", "--resume", "--json", "figures.json")
    assert again.exit_code == 0, again.stderr
    assert again.stderr == "2 of 3 photos were measured before\n"
    assert parser.seen == ["c"]
    assert (here / "figures.json").read_text() == (here / "whole.json").read_text()
    assert not (here / WORK).exists()


def test_a_named_work_file_stays_and_answers_at_once(run, dataset, here, parser):
    run("eval", "photos", "--work", "mine.jsonl", "--json", "one.json")
    parser.seen.clear()
    assert (
        run("eval", "photos", "--work", "mine.jsonl", "--resume", "--json", "two.json").exit_code
        == 0
    )
    assert parser.seen == [] and figures(here, "one.json") == figures(here, "two.json")
    forgotten = run("eval", "photos", "--work", "mine.jsonl")
    assert forgotten.exit_code == 2 and "already exists: add --resume" in forgotten.stderr


def test_a_run_of_other_options_cannot_be_gone_on_with(run, dataset):
    run("eval", "photos", "--work", "mine.jsonl")
    result = run("eval", "photos", "--work", "mine.jsonl", "--resume", "--flip")
    assert (
        result.exit_code == 2
        and "belongs to another run: its flip is False but now it is True" in result.stderr
    )


def test_a_photo_that_cannot_be_read_stops_the_run_and_the_others_are_kept(run, dataset, parser):
    whole = (dataset / "images/b.jpg").read_bytes()
    (dataset / "images/b.jpg").write_bytes(b"not a picture")
    result = run("eval", "photos")
    assert result.exit_code == 1 and "not a picture" in result.stderr
    (dataset / "images/b.jpg").write_bytes(whole)
    parser.seen.clear()
    assert run("eval", "photos", "--resume").exit_code == 0
    assert parser.seen == ["b", "c"]


def test_saved_results_are_measured_without_a_model(run, dataset, here, parser):
    run("eval", "photos", "--json", "model.json")
    run("parse", "photos/images", "-o", "results", "--format", "json")
    parser.seen.clear()
    parser.loaded.clear()
    result = run("eval", "photos", "--predictions", "results", "--json", "saved.json")
    assert result.exit_code == 0, result.stderr
    assert parser.seen == parser.loaded == []
    model, saved = figures(here, "model.json"), figures(here, "saved.json")
    for name in ("pixels", "people", "swaps", "classes"):
        assert model[name] == saved[name]
    assert saved["predictions"] == "results"


def test_missing_and_damaged_results_are_named(run, dataset, here):
    run("parse", "photos/images", "-o", "results", "--format", "json")
    (here / "results/b.json").write_text("{}")
    result = run("eval", "photos", "--predictions", "results")
    assert result.exit_code == 2 and "b.json: the data's schema is None" in result.stderr
    (here / "results/b.json").unlink()
    result = run("eval", "photos", "--predictions", "results", "--resume")
    assert result.exit_code == 2 and "results has no b.json; write it with" in result.stderr


def test_the_sheet_shows_the_worst_first(run, dataset, here, parser):
    result = run("eval", "photos", "--sheet", "worst.png", "--rows", "2")
    assert result.exit_code == 0, result.stderr
    assert parser.seen == ["a", "b", "c", "c", "b"]  # parsed once more: no result was kept
    with Image.open(here / "worst.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 900


def test_options_reach_the_parser(run, dataset, parser):
    options = [
        "--flip",
        "--scales",
        "0.75,1",
        "--min-score",
        "0.1",
        "--threads",
        "2",
        "--short-side",
        "320",
    ]
    options += [
        "--max-side",
        "640",
        "--engine",
        "openvino",
        "--precision",
        "bf16",
        "--device",
        "cpu",
    ]
    assert run("eval", "photos", "--model", "m", *options).exit_code == 0
    assert parser.loaded == [
        (
            "m",
            {
                "engine": "openvino",
                "precision": "bf16",
                "device": "cpu",
                "threads": 2,
                "min_score": 0.1,
                "short_side": 320,
                "max_side": 640,
                "flip": True,
                "scales": (0.75, 1.0),
            },
        )
    ]


def test_only_the_first_photos_if_there_is_a_limit(run, dataset, parser):
    result = run("eval", "photos", "--limit", "1", "--quiet")
    assert result.exit_code == 0 and parser.seen == ["a"] and "1 image of photos" in result.stdout


def test_the_models_classes_must_be_those_of_the_data_set(run, dataset, here):
    (dataset / "labels.txt").write_text("\n".join(LIP.names))
    result = run("eval", "photos")
    assert (
        result.exit_code == 2
        and "class 10 'Jumpsuits' and the model's is 'Torso-skin'" in result.stderr
    )
    assert not (here / WORK).exists()


def test_photos_of_other_kinds_are_measured_and_what_is_left_out_is_said(
    run, dataset, here, parser
):
    Image.open(dataset / "images/a.jpg").save(dataset / "images/a.tif")
    (dataset / "images/a.jpg").unlink()
    (dataset / "images/c.jpg").rename(dataset / "images/c.svg")
    result = run("eval", "photos", "--json", "figures.json")
    assert parser.seen == ["a", "b"] and figures(here)["images"] == 2
    assert "left out of photos/images: 1 file (c.svg)" in result.stderr
    assert "left out of photos/labels: 1 label (c) without a photo" in result.stderr
    assert run("eval", "photos", "--quiet").stderr == ""


def test_labels_of_nothing_but_background_and_unknown_are_wondered_at(run, dataset):
    for name in "abc":
        Image.fromarray(np.full((16, 24), 255, np.uint8)).save(dataset / f"labels/{name}.png")
    result = run("eval", "photos")
    assert result.exit_code == 0 and "hold no class but the background" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "there is no folder 'nowhere'"),
        (("photos", "--format", "voc"), "there is no data set format 'voc'"),
        (("photos", "--matching", "loose"), "there is no matching 'loose'"),
        (("photos", "--scales", "1,x"), "--scales is '1,x'; give numbers"),
        (("photos", "--json", "no/where.json"), "there is no folder 'no' for where.json"),
        (
            ("photos", "--sheet", "worst.svg"),
            "--sheet is 'worst.svg'; give a name that ends in .png or .jpg",
        ),
        (("photos", "--predictions", "photos"), "photos has no a.json"),
        (("photos", "--predictions", "photos", "--flip"), "leave out --model, --flip and --scales"),
    ],
)
def test_bad_usage_ends_with_2_and_one_line_before_anything_is_parsed(
    run, dataset, parser, arguments, message
):
    result = run("eval", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert parser.seen == []
