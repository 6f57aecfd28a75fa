"""`python -m humanparse.training train|export|validate|pictures`: the whole way from photos to the shipped model file."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from humanparse.errors import MissingExtra


def main(arguments: list[str] | None = None) -> None:
    options = _options().parse_args(arguments)
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        raise SystemExit(str(MissingExtra(f"this needs {error.name}", "train"))) from error
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"{options.command}: {error}") from error


def _train(options: argparse.Namespace) -> None:
    from humanparse.training.loop import Recipe, train

    given = {key: value for key in ("steps", "workers", "threads", "seed") if (value := getattr(options, key)) is not None}
    train(options.data, options.out, replace(Recipe(), **given), print=lambda line: print(line, flush=True))


def _export(options: argparse.Namespace) -> None:
    from humanparse.training.export import export

    difference = export(options.checkpoint, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, differs from PyTorch by at most {difference:.1g}")


def _validate(options: argparse.Namespace) -> None:
    from humanparse.parser import HumanParser
    from humanparse.training.photos import load_photos
    from humanparse.training.validate import false_alarms, report, validate

    parser, photos = HumanParser(options.model), load_photos(options.data, validation=True)
    print(report(validate(parser, photos), parser.labels.names))
    print(f"somebody was found on {false_alarms(parser, photos)} of {len(photos.backgrounds)} people-free photos")


def _pictures(options: argparse.Namespace) -> None:
    from humanparse.training.photos import load_photos
    from humanparse.training.validate import write_pictures

    for kind, count in write_pictures(load_photos(options.data, validation=True), options.out).items():
        print(f"{options.out / kind}: {count} pictures")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m humanparse.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train the embedded model; goes on where a broken-off run stopped")
    train.add_argument("data", type=Path, help="folder with ccp/, backgrounds/ and teachers/")
    train.add_argument("out", type=Path, help="folder for checkpoints")
    defaults = _recipe_defaults()
    meanings = {
        "steps": "optimiser steps", "workers": "processes that make scenes", "threads": "CPU threads",
        "seed": "of everything random",
    }
    for name, text in meanings.items():
        train.add_argument(f"--{name}", type=int, help=f"{text} (default: {defaults.get(name, 'the recipe')})")
    train.set_defaults(run=_train)

    export = commands.add_parser("export", help="checkpoint → ONNX file, checked against PyTorch")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("out", type=Path)
    export.set_defaults(run=_export)

    validate = commands.add_parser("validate", help="measure a model on the photos held out of training")
    validate.add_argument("data", type=Path, help="folder with ccp/ and backgrounds/")
    validate.add_argument("--model", help="an .onnx file (default: the model inside the package)")
    validate.set_defaults(run=_validate)

    pictures = commands.add_parser("pictures", help="write the held-out photos and composites as data sets for `humanparse eval`")
    pictures.add_argument("data", type=Path, help="folder with ccp/ and backgrounds/")
    pictures.add_argument("out", type=Path, help="folder to write single/ and composite/ into")
    pictures.set_defaults(run=_pictures)
    return parser


def _recipe_defaults() -> dict[str, object]:
    """The recipe's values for the help, where PyTorch is there to load it."""
    try:
        from humanparse.training.loop import Recipe
    except ModuleNotFoundError:
        return {}
    return {one.name: one.default for one in fields(Recipe)}


if __name__ == "__main__":
    main()
