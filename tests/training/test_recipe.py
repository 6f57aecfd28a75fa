"""Recipes: every key is known and checked, and errors suggest what was meant."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from humanparse.errors import OptionError
from humanparse.training.recipe import (
    Recipe,
    Stage,
    change,
    differences,
    read_recipe,
    recipe_file,
    recipe_from_json,
    shipped_recipes,
)

STAGE = "[[stage]]\nsteps = 10\nsizes = [[64, 2], [96, 1]]\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_shipped_recipe_can_be_read_by_its_name():
    assert "humanparse-small" in shipped_recipes()
    for name in shipped_recipes():
        assert read_recipe(name).steps > 0


def test_the_embedded_models_recipe_is_what_the_loop_does_by_itself():
    assert (
        differences(
            replace(read_recipe("humanparse-small"), name="my-model", license="unknown"), Recipe()
        )
        == []
    )


def test_stages_follow_each_other_with_their_own_sizes_and_rates(tmp_path):
    recipe = read_recipe(written(tmp_path, STAGE + "lr = 1\n" + STAGE.replace("10", "5")))
    assert recipe.stages == (Stage(10, ((64, 2), (96, 1)), lr=1.0), Stage(5, ((64, 2), (96, 1))))
    assert recipe.steps == 15 and recipe.stages[0].max_scenes == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wokers = 2", "there is no key 'wokers'; did you mean workers?"),
        ("[[stages]]\nsteps = 1", "write each stage as a table that begins with [[stage]]"),
        ("[stage]\nsteps = 1", "in double brackets"),
        ("[[stage]]\nsteps = 1\nsize = [[64, 1]]", "stage 1 has no sizes"),
        (STAGE + "learning_rate = 1", "stage 1: there is no key 'learning_rate'; the keys are"),
        ("workers = 2.5", "workers is 2.5; expected a whole number"),
        ("bf16 = 1", "bf16 is 1; expected true or false"),
        ("workers = true", "workers is True; expected a whole number"),
        ("name = 3", "name is 3; expected a text in quotes"),
        ("ema = 1.5", "ema is 1.5; give 0 to 1"),
        ("clip_norm = nan", "clip_norm is nan"),
        (
            "model = 'resnet'",
            "model is 'resnet'; choose one of centre-parser, m2fp-tiny, m2fp-r50, m2fp-r101",
        ),
        ("people = 'one'", "is for M2FP"),
        ("[[stage]]\nsteps = 1\nsizes = [64, 2]", "expected pairs of side and scenes per step"),
        (
            "[[stage]]\nsteps = 1\nsizes = [[70, 2]]",
            "side is 70; centre-parser needs multiples of 32",
        ),
        (
            "model = 'm2fp-r50'\n[[stage]]\nsteps = 1\nsizes = [[48, 2]]",
            "m2fp-r50 needs multiples of 32",
        ),
        ("[[stage]]\nsteps = 0\nsizes = [[64, 2]]", "steps is 0; give at least 1"),
        ("[[stage]]\nsteps = 1\nsizes = [[64, 2]]\nlr = -1", "lr is -1.0; give 0 or more"),
        (
            "model = 'm2fp-r50'\n[[stage]]\nsteps = 1\nsizes = [[64, 2]]\nfrozen = 7",
            "stage 1: frozen is for the centre parser",
        ),
        (
            "[[stage]]\nsteps = 1\nsizes = [[64, 2]]\nbackbone_share = 1.5",
            "stage 1: backbone_share is 1.5; give 0 to 1",
        ),
        ("stage = []", "a recipe needs a [[stage]]"),
        ("workers = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        read_recipe(written(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_recipe_that_windows_wrote_is_the_same(tmp_path, encoding):
    plain = read_recipe("own-photos")
    text = recipe_file("own-photos").read_text(encoding="utf-8").replace("\n", "\r\n")
    (tmp_path / "mine.toml").write_bytes(text.encode(encoding))
    assert read_recipe(tmp_path / "mine.toml") == plain


def test_shipped_recipes_are_plain_ascii_so_that_any_shell_may_copy_them():
    assert all(recipe_file(name).read_bytes().isascii() for name in shipped_recipes())


def test_a_missing_recipe_names_those_there_are(tmp_path):
    with pytest.raises(OptionError, match="own-photos"):
        read_recipe(tmp_path / "none.toml")


def test_a_change_on_the_command_line_has_the_keys_type():
    assert change("workers=8") == ("workers", 8)
    assert change("ema = 1") == ("ema", 1.0)
    assert change("also=my photos") == ("also", "my photos") and change('name="a"') == ("name", "a")
    for text, message in {
        "workers": "write key=value",
        "worker=2": "did you mean workers",
        "workers=two": "cannot be read",
        "stage=1": "stage cannot be changed on the command line",
        "steps=200": "steps cannot be changed .* copy the recipe and edit its stages",
        "sizes=[[320, 4]]": "sizes cannot be changed .* copy the recipe",
        "bf16=0": "expected true or false",
    }.items():
        with pytest.raises(OptionError, match=message):
            change(text)


def test_a_recipe_comes_back_from_a_checkpoint_as_it_was():
    recipe = read_recipe("own-photos", {"workers": 7})
    assert recipe_from_json(recipe.to_json()) == recipe


def test_what_changes_the_weights_is_told_from_what_does_not():
    recipe = Recipe()
    assert differences(recipe, replace(recipe, workers=9, device="cpu", data="elsewhere")) == []
    assert differences(recipe, replace(recipe, seed=2, ema=0.5)) == ["ema", "seed"]


def test_every_key_is_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs/training.md").read_text("utf-8")
    for kind in (Recipe, Stage):
        for one in fields(kind):
            assert f"`{one.name}`" in text or one.name == "stages", one.name
    for name in shipped_recipes():
        assert f"`{name}`" in text
