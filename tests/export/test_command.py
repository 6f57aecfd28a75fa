"""`humanparse export` as a user sees it."""

import shutil
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from humanparse.cli import app
from humanparse.cli.errors import BAD_USAGE, NO_MODEL
from humanparse.export.graph import Written
from humanparse.export.targets import TARGETS
from humanparse.vocabulary import EXPORT_TARGETS
from humanparse.weights.catalog import model_file

pytest.importorskip("onnx", reason="exporting needs the package onnx")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["export", *arguments])


def test_the_registry_has_a_row_for_each_target_of_the_vocabulary():
    assert tuple(TARGETS) == EXPORT_TARGETS


def test_it_lists_what_it_wrote_and_how_well_it_agrees(run, tmp_path):
    result = run("--to", "onnx", "-o", "photo-to-maps.onnx")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("photo-to-maps.onnx  11.0") and len(lines) == 3
    assert all("of the labels" in line and "of the people equal" in line for line in lines[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["photo-to-maps.onnx"]


def test_triton_gets_a_folder_of_models(run, tmp_path):
    result = run("humanparse-small", "--to", "triton", "-o", "repository")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "repository").iterdir()) == [
        "humanparse-small",
        "humanparse-small-network",
        "humanparse-small-postprocess",
        "humanparse-small-preprocess",
    ]
    assert run("--to", "triton", "-o", "repository").exit_code == BAD_USAGE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "coreml", "-o", "x"), "triton, tensorrt, openvino, onnx, web"),
        (("--to", "triton", "-o", "x", "--photo", "640x480"), "--photo is for tensorrt"),
        (("--to", "tensorrt", "-o", "x", "--photo", "big"), "1920x1080"),
        (("--to", "onnx", "-o", "x.onnx", "--fp16"), "--fp16 is for openvino"),
        (("--to", "triton", "-o", "x", "--check", "a.jpg"), "--check is not for triton"),
        (("--to", "onnx", "-o", "no/x.onnx"), "make it first"),
        (("--to", "onnx", "-o", "x.onnx", "--check", "no.jpg"), "there is no photo no.jpg"),
        (("--to", "onnx", "-o", "."), "is a folder"),
        (("--to", "triton", "-o", "x", "--overwrite"), "--overwrite is for openvino and onnx"),
    ],
)
def test_bad_usage_is_reported_in_one_line(run, arguments, says, tmp_path):
    result = run(*arguments)
    assert (
        result.exit_code == BAD_USAGE and says in result.stderr and result.stderr.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mine(tmp_path):
    """The user's own model."""
    shutil.copy(model_file(None), tmp_path / "mine.onnx")
    return tmp_path / "mine.onnx"


@pytest.mark.parametrize("spelling", ["mine.onnx", "./mine.onnx", "link.onnx"])
def test_the_model_itself_is_never_written_over(run, mine, tmp_path, spelling):
    (tmp_path / "link.onnx").symlink_to(mine)
    before = mine.read_bytes()
    for more in ((), ("--overwrite",)):
        result = run("mine.onnx", "--to", "onnx", "-o", spelling, *more)
        assert result.exit_code == BAD_USAGE and "choose another name" in result.stderr
    assert mine.read_bytes() == before


@pytest.mark.parametrize(
    ("to", "out", "there"),
    [("onnx", "x.onnx", "x.onnx"), ("openvino", "x.xml", "x.bin")],
)
def test_existing_files_are_replaced_only_with_overwrite(
    run, tmp_path, monkeypatch, to, out, there
):
    fake = replace(TARGETS[to], write=lambda request: Written(()))
    monkeypatch.setitem(TARGETS, to, fake)
    (tmp_path / there).write_text("precious")
    result = run("--to", to, "-o", out)
    assert result.exit_code == BAD_USAGE and f"{there} already exists" in result.stderr
    assert (tmp_path / there).read_text() == "precious"
    assert run("--to", to, "-o", out, "--overwrite").exit_code == 0


def test_an_unknown_model_is_reported(run):
    result = run("nothing", "--to", "triton", "-o", "x")
    assert result.exit_code == NO_MODEL and "there is no model 'nothing'" in result.stderr
