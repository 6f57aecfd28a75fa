"""A recipe: everything that decides the weights, in one TOML file of plain arguments.

Each key of the file is a field below; `[[stage]]` tables are the stages, in their order.
docs/training.md explains every key. Missing keys get their default; unknown keys are rejected with
a suggestion.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from humanparse.errors import OptionError
from humanparse.system.packaged import packaged
from humanparse.system.text import read_text
from humanparse.vocabulary import AUTO, DEVICES

MODELS = ("centre-parser", "m2fp-tiny", "m2fp-r50", "m2fp-r101")
PEOPLE = ("apart", "one")
MULTIPLE = (
    32  # a scene's side is a multiple of this, in pixels: the stride of the coarsest features
)
# Keys that may change when a run continues: they decide where and how it computes and what it
# reports, never what it learns.
FREE = (
    "data",
    "out",
    "device",
    "bf16",
    "channels_last",
    "workers",
    "threads",
    "log_every",
    "save_every",
    "validate_every",
    "validate_pictures",
)


@dataclass(frozen=True)
class Stage:
    """A number of steps with their own sizes and learning rate.

    Attributes:
        steps: The number of steps.
        sizes: Pairs of the scenes' side in pixels and their number per step, taken in turn. Small
            scenes show many people per second; large ones show whole people as large as they are in
            photos, without which large people are found in several parts.
        lr: The highest learning rate.
        backbone_lr: The same for the backbone.
        fresh_lr_factor: Layers that start from random values, because the weights that the run
            starts from are for other classes, learn at `lr` times this.
        warmup_steps: Steps in which the rate rises from zero.
        backbone_share: When the stage begins, the backbone keeps this share of what was learnt; the
            rest are BodyPix's own weights, which know more kinds of photos than we train on.
        frozen: How many of the backbone's first convolutions are not trained; those at strides 2
            and 4 cost most.
    """

    steps: int
    sizes: tuple[tuple[int, int], ...]
    lr: float = 2e-3
    backbone_lr: float = 3e-4
    fresh_lr_factor: float = 1.0
    warmup_steps: int = 100
    backbone_share: float = 1.0
    frozen: int = 0

    @property
    def max_scenes(self) -> int:
        """The largest number of scenes in one step."""
        return max(batch for _, batch in self.sizes)


@dataclass(frozen=True)
class Recipe:
    """All settings of a training; docs/training.md explains each.

    The defaults are those of the embedded model.
    """

    model: str = "centre-parser"
    name: str = "my-model"
    license: str = "unknown"
    stages: tuple[Stage, ...] = (
        Stage(3700, ((320, 16), (448, 8), (640, 4))),
        Stage(
            6600,
            ((320, 16), (384, 12), (512, 6), (384, 12), (640, 4)),
            lr=1.5e-3,
            backbone_lr=6e-4,
            warmup_steps=200,
        ),
        Stage(
            9000,
            ((384, 12), (512, 7), (320, 16), (512, 7), (640, 4)),
            lr=6e-4,
            backbone_lr=1e-4,
            warmup_steps=300,
            backbone_share=0.6,
            frozen=27,
        ),
        Stage(
            1200,
            ((384, 12), (512, 7), (320, 16), (512, 7), (640, 4)),
            lr=8e-4,
            backbone_lr=1e-4,
            warmup_steps=200,
            frozen=11,
        ),
        Stage(
            2100,
            ((384, 12), (512, 7), (320, 16), (512, 7), (640, 4)),
            lr=7e-4,
            backbone_lr=1e-4,
            warmup_steps=100,
            frozen=11,
        ),
    )
    data: str = ""
    format: str = ""
    also: str = ""
    also_share: float = 0.2
    guesses: str = ""
    out: str = ""
    init: str = ""
    people: str = "apart"
    compose: float = 0.3
    holdout: int = 10
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    ema: float = 0.998
    freeze_norm: bool = False
    teacher_every: int = 3
    mirror_every: int = 0
    points: int = 12544
    seed: int = 1
    device: str = AUTO
    bf16: bool = True
    channels_last: bool = True
    workers: int = 2
    threads: int = 2
    log_every: int = 20
    save_every: int = 100
    validate_every: int = 0
    validate_pictures: int = 24

    def __post_init__(self) -> None:
        _check(self)

    @property
    def steps(self) -> int:
        """The number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def to_json(self) -> str:
        """Return the recipe as JSON, for `recipe_from_json`."""
        return json.dumps(asdict(self))


def read_recipe(recipe: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        recipe: The name of a recipe in the package, or a .toml file.
        changes: Values that replace the file's.

    Raises:
        OptionError: If the file cannot be read, or for an unknown key or an impossible value.
    """
    path = recipe_file(recipe)
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path} cannot be read as TOML: {error}") from error
    return replace(recipe_from(content, str(path)), **(changes or {}))


def recipe_file(recipe: str | Path) -> Path:
    """Return the file of a recipe.

    Args:
        recipe: A path, or the name of a recipe in the package; a file of that name wins.

    Raises:
        OptionError: If there is no such recipe.
    """
    path, shipped = Path(recipe), packaged("training/recipes") / f"{recipe}.toml"
    if path.is_file():
        return path
    if shipped.is_file():
        return shipped
    names = ", ".join(shipped_recipes())
    raise OptionError(f"there is no recipe {str(recipe)!r}; give a .toml file, or one of {names}")


def shipped_recipes() -> list[str]:
    """Return the names of the recipes in the package."""
    return sorted(path.stem for path in packaged("training/recipes").glob("*.toml"))


def recipe_from(content: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe with the keys and values of a file.

    Args:
        content: The keys and values.
        where: The file's name, for errors.

    Raises:
        OptionError: For an unknown key or an impossible value.
    """
    content = dict(content)
    stages = content.pop("stage", None)
    if "stages" in content:
        raise OptionError(f"{where}: write each stage as a table that begins with [[stage]]")
    values = _typed(content, Recipe, where)
    if stages is not None:
        if not isinstance(stages, list):
            raise OptionError(
                f"{where}: write each stage as a table that begins with [[stage]], "
                "in double brackets"
            )
        values["stages"] = tuple(
            _stage(one, f"{where}, stage {number}") for number, one in enumerate(stages, start=1)
        )
    return Recipe(**values)


def recipe_from_json(text: str) -> Recipe:
    """Return the recipe that `to_json` wrote."""
    data = json.loads(text)
    data["stages"] = tuple(
        Stage(**one | {"sizes": tuple(map(tuple, one["sizes"]))}) for one in data["stages"]
    )
    return Recipe(**data)


def change(text: str) -> tuple[str, Any]:
    """Return the key and value of `key=value`.

    Args:
        text: The value is written as in TOML; texts may go without quotes.

    Raises:
        OptionError: For an unknown key, or a value of another type.
    """
    key, separator, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not separator:
        raise OptionError(f"{text!r} is not a change of a recipe; write key=value, as in workers=8")
    if key in ("stage", "stages", *(field.name for field in fields(Stage))):
        raise OptionError(
            f"{key} cannot be changed on the command line, since stages differ in it; "
            "copy the recipe and edit its stages (--print shows it)"
        )
    _known(key, Recipe, "the command line")
    if get_type_hints(Recipe)[key] is str:
        return key, value.strip("\"'")
    try:
        content = tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError as error:
        raise OptionError(
            f"{key}={value} cannot be read ({error}); write the value as in a recipe"
        ) from error
    return key, _typed(content, Recipe, "the command line")[key]


def differences(one: Recipe, other: Recipe) -> list[str]:
    """Return the names of the keys in which two recipes differ, except those in FREE."""
    return [
        field.name
        for field in fields(Recipe)
        if field.name not in FREE and getattr(one, field.name) != getattr(other, field.name)
    ]


def _stage(content: Any, where: str) -> Stage:
    if not isinstance(content, Mapping):
        raise OptionError(f"{where}: write it as a table that begins with [[stage]]")
    for key in ("steps", "sizes"):
        if key not in content:
            raise OptionError(f"{where} has no {key}")
    return Stage(**_typed(content, Stage, where))


def _typed(content: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    """The values, each of its field's type. Raises OptionError."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in content.items():
        _known(key, kind, where)
        wanted = hints[key]
        if key == "sizes":
            values[key] = _sizes(value, where)
        elif wanted is float and type(value) in (int, float):
            values[key] = float(value)
        elif type(value) is wanted:
            values[key] = value
        else:
            raise OptionError(f"{where}: {key} is {value!r}; expected {_words(wanted)}")
    return values


def _known(key: str, kind: type, where: str) -> None:
    """Raise OptionError, with the nearest field, for a key that is not a field."""
    names = [field.name for field in fields(kind)]
    if key in names:
        return
    names = ["stage" if name == "stages" else name for name in names]
    nearest = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"the keys are {', '.join(names)}"
    raise OptionError(f"{where}: there is no key {key!r}; {hint}")


def _sizes(value: Any, where: str) -> tuple[tuple[int, int], ...]:
    good = (
        isinstance(value, list)
        and value
        and all(
            isinstance(one, list)
            and len(one) == 2
            and all(type(number) is int and number > 0 for number in one)
            for one in value
        )
    )
    if not good:
        raise OptionError(
            f"{where}: sizes is {value!r}; expected pairs of side and scenes per step, "
            "as in [[320, 16], [640, 4]]"
        )
    return tuple((side, count) for side, count in value)


def _words(kind: type) -> str:
    return {
        int: "a whole number",
        float: "a number",
        str: "a text in quotes",
        bool: "true or false",
    }[kind]


def _check(recipe: Recipe) -> None:
    """Raise OptionError for an impossible value."""
    for key, choices in {"model": MODELS, "people": PEOPLE, "device": (AUTO, *DEVICES)}.items():
        if getattr(recipe, key) not in choices:
            raise OptionError(
                f"{key} is {getattr(recipe, key)!r}; choose one of {', '.join(choices)}"
            )
    if recipe.people == "one" and recipe.model == "centre-parser":
        raise OptionError('people = "one" is for M2FP: the centre parser always tells people apart')
    if not recipe.stages:
        raise OptionError("a recipe needs a [[stage]]")
    for number, stage in enumerate(recipe.stages, start=1):
        if wrong := [side for side, _ in stage.sizes if side % MULTIPLE]:
            raise OptionError(
                f"stage {number}: a scene's side is {wrong[0]}; "
                f"{recipe.model} needs multiples of {MULTIPLE}"
            )
        for key, usual in (("frozen", 0), ("backbone_share", 1)):
            if getattr(stage, key) != usual and recipe.model != "centre-parser":
                raise OptionError(
                    f"stage {number}: {key} is for the centre parser; "
                    f"leave it out for {recipe.model}"
                )
        if not 0 <= stage.backbone_share <= 1:
            raise OptionError(
                f"stage {number}: backbone_share is {stage.backbone_share}; give 0 to 1"
            )
        for key in ("lr", "backbone_lr", "fresh_lr_factor"):
            if not getattr(stage, key) >= 0:
                raise OptionError(f"stage {number}: {key} is {getattr(stage, key)}; give 0 or more")
        for key, lowest in (("steps", 1), ("warmup_steps", 0), ("frozen", 0)):
            if getattr(stage, key) < lowest:
                raise OptionError(
                    f"stage {number}: {key} is {getattr(stage, key)}; give at least {lowest}"
                )
    ranges: dict[str, tuple[float, float | None]] = {
        "also_share": (0, 1),
        "compose": (0, 1),
        "ema": (0, 1),
        "weight_decay": (0, None),
        "clip_norm": (1e-6, None),
        "holdout": (0, None),
        "points": (1, None),
        "teacher_every": (1, None),
        "mirror_every": (0, None),
        "workers": (0, None),
        "threads": (1, None),
        "log_every": (1, None),
        "save_every": (1, None),
        "validate_every": (0, None),
        "validate_pictures": (1, None),
        "seed": (0, None),
    }
    for key, (least, largest) in ranges.items():
        value = getattr(recipe, key)
        if not (value >= least and (largest is None or value <= largest)):
            up_to = f" to {largest}" if largest is not None else " or more"
            raise OptionError(f"{key} is {value}; give {least}{up_to}")
