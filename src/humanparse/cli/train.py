"""`humanparse train`: train the embedded model or M2FP by a recipe, also on your own photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from humanparse.cli import errors
from humanparse.errors import MissingExtra, OptionError
from humanparse.system.text import read_text


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A .toml file, or one of the recipes in the package: humanparse-small, "
            "own-photos, m2fp-r50 or m2fp-r101-finetune.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Train on the labelled photos in this folder.",
            show_default="as the recipe says",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Write the checkpoints, the log, the curves and the finished model to this "
            "folder.",
            show_default="as the recipe says, or runs/NAME with the name of the recipe",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Start from the weights in this file: a model like the built-in one, the best.pt "
            "of another run, or an official M2FP checkpoint.",
            show_default="as the recipe says",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key of the recipe. The option may be repeated.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    show: Annotated[
        bool,
        typer.Option("--print", help="Print the recipe, as a template for your own, and exit."),
    ] = False,
) -> None:
    """Train a model by a recipe.

    The result is an .onnx file that all other commands accept. You may stop the training at any
    moment: with --resume it continues as if it had not been stopped. docs/training.md describes the
    keys of recipes. Training needs PyTorch: pip install 'torch>=2.10' 'onnx>=1.21'
    'safetensors>=0.4' 'scipy>=1.13'.

    \b
    Examples:
      humanparse train own-photos --data my-photos/
      humanparse train own-photos --print > mine.toml
      humanparse train mine.toml --data my-photos/ --out runs/mine --resume
      humanparse train m2fp-r101-finetune --data my-photos/ --init pytorch_model.pt --set workers=4
      humanparse parse street.jpg --model runs/mine/model.onnx
    """
    from humanparse.training.recipe import change, read_recipe, recipe_file

    if show:
        typer.echo(read_text(recipe_file(recipe)), nl=False)
        return
    wanted = dict(change(text) for text in changes or ())
    wanted |= {
        key: str(value)
        for key, value in {"data": data, "out": out, "init": init}.items()
        if value is not None
    }
    chosen = read_recipe(recipe, wanted)
    if not chosen.data:
        raise OptionError("no photos to train on; give --data DIR, or set data in the recipe")
    folder = Path(chosen.data)
    if not folder.is_dir():
        raise OptionError(f"there is no folder {str(folder)!r}; --data takes the labelled photos")
    try:
        from humanparse.training.loop import train as run
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"training needs PyTorch, ONNX and SciPy ({error.name} is missing)", "train"
        ) from error
    target = Path(chosen.out or Path("runs", chosen.name))
    try:
        done = run(chosen, folder, target, resume=resume, log=typer.echo)
    except FileNotFoundError as error:
        raise OptionError(str(error)) from error
    except KeyboardInterrupt:
        typer.echo(
            f"interrupted; --resume continues from the last checkpoint in {target}", err=True
        )
        raise typer.Exit(errors.INTERRUPTED) from None
    typer.echo(
        f"{done.model}: {done.model.stat().st_size / 1e6:.1f} MB, "
        f"exported from {done.weights.name} and checked"
    )
