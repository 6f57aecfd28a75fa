"""`humanparse train` as a user types it."""

import re
import shutil
from pathlib import Path

import pytest
from stick_people import write_folder
from typer.testing import CliRunner

pytest.importorskip("torch")

from humanparse.cli import app
from humanparse.training.__main__ import main
from humanparse.training.recipe import read_recipe, shipped_recipes

TINY = """
model = "centre-parser"
name = "tiny"
init = "humanparse-small"
device = "cpu"
bf16 = false
workers = 0
threads = 1
log_every = 1
[[stage]]
steps = 2
sizes = [[64, 1]]
"""


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_recipe_can_be_printed_edited_and_read_again(run, tmp_path):
    for name in shipped_recipes():
        printed = run(name, "--print")
        assert printed.exit_code == 0 and "[[stage]]" in printed.stdout
        (tmp_path / "mine.toml").write_text(printed.stdout, encoding="utf-8")
        assert read_recipe(tmp_path / "mine.toml") == read_recipe(name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the command said of a run, and the folder with its recipe, its photos and the run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY)
    write_folder(folder / "photos", 2)
    return CliRunner().invoke(app, ["train", *options(folder)]), folder


def options(folder: Path) -> list[str]:
    recipe, photos, out = (str(folder / name) for name in ("tiny.toml", "photos", "run"))
    return [recipe, "--data", photos, "--out", out, "--set", "seed=3"]


def test_own_photos_become_a_model_that_the_run_names(run, trained):
    done, folder = trained
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("starts from humanparse-small:")
    assert "these start from random values: class_head.bias, class_head.weight" in lines[0]
    assert lines[1].startswith("step 1/2 ") and lines[-1].startswith(
        f"{folder / 'run/model.onnx'}: 10.8 MB"
    )
    assert (folder / "run/curves.png").is_file()

    again = run(*options(folder))
    assert again.exit_code == 2 and "add --resume to continue it" in again.stderr
    assert run(*options(folder), "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "Background\nFace\nClothes\nRight-leg\nLeft-leg\n",
            "class 3 'Left-leg' and the data's is 'Right-leg'",
        ),
        ("Background\nFace\nClothes\nLeft-leg\nRight-leg\nHat\n", "5 classes and the data's 6"),
    ],
)
def test_a_run_does_not_go_on_with_other_classes(run, trained, tmp_path, names, message):
    shutil.copytree(trained[1], tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "run/last.pt").read_bytes()
    (tmp_path / "photos/labels.txt").write_text(names)
    result = run(*options(tmp_path), "--resume", "--set", "device=cpu")
    assert (
        result.exit_code == 2
        and f"holds a run with other classes: it has {message}" in result.stderr
    )
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_the_manual_explains_every_option(run):
    manual = (Path(__file__).parents[2] / "docs/cli.md").read_text("utf-8")
    options = re.findall(r"--[a-z][a-z-]+", run("--help").stdout)
    assert (
        "--resume" in options
        and [option for option in options if f"`{option}" not in manual and option != "--help"]
        == []
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-recipe",), "there is no recipe 'no-such-recipe'"),
        (("own-photos",), "no photos to train on; give --data DIR"),
        (("own-photos", "--data", "nowhere"), "there is no folder 'nowhere'"),
        (("own-photos", "--data", ".", "--set", "worker=1"), "did you mean workers?"),
    ],
)
def test_bad_usage_says_what_to_do(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_a_folder_without_photos_is_bad_usage(run, tmp_path):
    result = run("own-photos", "--data", tmp_path, "--out", tmp_path / "run")
    assert result.exit_code == 2 and "does not look like a data set" in result.stderr


def test_the_smaller_tools_say_in_one_line_what_is_wrong(tmp_path):
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for arguments, message in {
        (
            "export",
            f"{tmp_path}/junk.pt",
            f"{tmp_path}/out.onnx",
        ): "is not a readable checkpoint",
        ("validate", str(tmp_path)): "no .jpg files in",
        ("pseudo", str(tmp_path), str(tmp_path / "out")): "there are no photos in",
    }.items():
        with pytest.raises(SystemExit, match=message):
            main(list(arguments))


def test_a_damaged_photo_is_named_in_one_line_before_the_first_step(run, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    folder = write_folder(tmp_path / "photos", 3)
    (folder / "images/01.png").write_bytes((folder / "images/01.png").read_bytes()[:2000])
    result = run(tmp_path / "tiny.toml", "--data", folder, "--out", tmp_path / "run")
    assert result.exit_code == 2 and result.stdout == ""
    assert (
        "1 of 3 photos cannot be learnt from" in result.stderr
        and len(result.stderr.splitlines()) == 1
    )
