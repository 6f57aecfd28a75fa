"""Tools that go with `humanparse train`.

They are export, validate, pictures, sheet, guess, outfits, compress and pseudo.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from humanparse.errors import HumanParseError, MissingExtra
from humanparse.system import streams
from humanparse.system.files import check_target

# Pictures side by side on a sheet; those of one person are narrow.
ACROSS = {"single": 4, "composite": 2}


def main(arguments: list[str] | None = None) -> None:
    """Run one of the tools.

    Args:
        arguments: The words of the command line; None takes those of the process.

    Raises:
        SystemExit: With a message for the user, for everything that they can put right.
    """
    streams.prepare()
    options = _options().parse_args(arguments)
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        raise SystemExit(str(MissingExtra(f"this needs {error.name}", "train"))) from error
    except (FileNotFoundError, HumanParseError) as error:
        raise SystemExit(f"{options.command}: {error}") from error


def _export(options: argparse.Namespace) -> None:
    from humanparse.training.export import export_checkpoint

    check_target(options.out, (options.checkpoint,), overwrite=True)
    difference = export_checkpoint(options.checkpoint, options.out)
    size_mb = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size_mb:.1f} MB, differs from PyTorch by at most {difference:.1g}")


def _validate(options: argparse.Namespace) -> None:
    from humanparse.parser import HumanParser
    from humanparse.training.photos import load_photos
    from humanparse.training.validate import false_alarms, report, validate
    from humanparse.training.yardstick import measure_lists, report_lists

    parser, photos = HumanParser(options.model), load_photos(options.data, validation=True)
    print(report(validate(parser, photos), parser.labels.names))
    print(
        f"somebody was found on {false_alarms(parser, photos)} of {len(photos.backgrounds)} "
        "photos without people"
    )
    if photos.everyday or photos.tagged:
        print(report_lists(measure_lists(parser, photos)))


def _guess(options: argparse.Namespace) -> None:
    from humanparse.training.guess import guess

    count = guess(options.data, options.out, options.model)
    print(
        f"{options.out}: class maps of {count} photos; "
        f"to train with them, add --set guesses={options.out}"
    )


def _outfits(options: argparse.Namespace) -> None:
    from humanparse.training.outfits import teach

    check_target(options.out, (options.data,), overwrite=True)
    cache = options.cache or options.out.with_name(options.out.stem + "-examples")
    count = teach(options.data, options.out, options.model, cache=cache, views=options.views)
    print(f"{options.out}: its outfit reader has learnt from {count} examples, kept in {cache}")


def _compress(options: argparse.Namespace) -> None:
    from humanparse.training.low_rank import compress

    check_target(options.out, (options.data,), overwrite=True)
    compress(options.data, options.out, options.model, steps=options.steps)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


def _pictures(options: argparse.Namespace) -> None:
    from humanparse.training.photos import load_photos
    from humanparse.training.validate import write_pictures

    for kind, count in write_pictures(
        load_photos(options.data, validation=True), options.out
    ).items():
        print(f"{options.out / kind}: {count} pictures")


def _sheet(options: argparse.Namespace) -> None:
    from humanparse.evaluation.sheet import draw_sheet
    from humanparse.parser import HumanParser
    from humanparse.system.files import whole_file
    from humanparse.training.photos import load_photos
    from humanparse.training.validate import good_and_bad

    kinds = good_and_bad(
        HumanParser(options.model), load_photos(options.data, validation=True), options.per_kind
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for kind, cases in kinds.items():
        file = options.out / f"{kind}.png"
        with whole_file(file) as part:
            draw_sheet(cases, photos=options.photos, across=ACROSS[kind]).save(part, format="PNG")
        print(f"{file}: {len(cases)} pictures, from the best to the worst")


def _pseudo(options: argparse.Namespace) -> None:
    from humanparse.training.pseudo import pseudo_label

    done = pseudo_label(options.photos, options.out, options.model, scales=options.scales)
    print(
        f"{options.out}: {done} photos labelled; to train with them, add --set also={options.out}"
    )


def _scales(text: str) -> tuple[float, ...]:
    return tuple(float(one) for one in text.split(","))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m humanparse.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    export = commands.add_parser(
        "export", help="write a checkpoint as an ONNX file, checked against PyTorch"
    )
    export.add_argument("checkpoint", type=Path)
    export.add_argument("out", type=Path)
    export.set_defaults(run=_export)

    validate = commands.add_parser(
        "validate", help="measure a model on the embedded model's held-out photos"
    )
    validate.add_argument("data", type=Path, help="folder with ccp/ and backgrounds/")
    validate.add_argument("--model", help="an .onnx file (default: the model inside the package)")
    validate.set_defaults(run=_validate)

    pictures = commands.add_parser(
        "pictures",
        help="write the held-out photos and composites as data sets for `humanparse eval`",
    )
    pictures.add_argument("data", type=Path, help="folder with ccp/ and backgrounds/")
    pictures.add_argument("out", type=Path, help="folder to write single/ and composite/ into")
    pictures.set_defaults(run=_pictures)

    sheet = commands.add_parser("sheet", help="draw good and bad cases among the held-out pictures")
    sheet.add_argument("data", type=Path, help="folder with ccp/ and backgrounds/")
    sheet.add_argument("out", type=Path, help="folder to write single.png and composite.png into")
    sheet.add_argument("--model", help="an .onnx file (default: the model inside the package)")
    sheet.add_argument("--per-kind", type=int, default=8, help="pictures of each kind (default: 8)")
    sheet.add_argument(
        "--photos",
        action="store_true",
        help="show the photos too; leave them out if they may not be published",
    )
    sheet.set_defaults(run=_sheet)

    guess = commands.add_parser(
        "guess",
        help="guess class maps from lists of what people wear, for training the embedded model",
    )
    guess.add_argument("data", type=Path, help="folder with coco/ or ccp/tags.tsv")
    guess.add_argument("out", type=Path, help="folder to write a PNG for each photo into")
    guess.add_argument(
        "--model", help="a model's name or .onnx file (default: the model inside the package)"
    )
    guess.set_defaults(run=_guess)

    outfits = commands.add_parser(
        "outfits",
        help="teach a model's outfit reader, which says what each person wears, from lists",
    )
    outfits.add_argument("data", type=Path, help="folder with ccp/, coco/ and backgrounds/")
    outfits.add_argument("out", type=Path, help="the .onnx file to write")
    outfits.add_argument(
        "--model", help="a model's name or .onnx file (default: the model inside the package)"
    )
    outfits.add_argument(
        "--cache", type=Path, help="folder that keeps what was seen (default: beside the file)"
    )
    outfits.add_argument("--views", type=int, default=4, help="looks at each photo (default: 4)")
    outfits.set_defaults(run=_outfits)

    compress = commands.add_parser(
        "compress", help="make a model of full rank cheaper: costly convolutions of low rank"
    )
    compress.add_argument("data", type=Path, help="folder with ccp/, coco/ and backgrounds/")
    compress.add_argument("out", type=Path, help="the .onnx file to write")
    compress.add_argument("model", help="an .onnx file of the embedded model at full rank")
    compress.add_argument(
        "--steps",
        type=int,
        default=500,
        help="steps in which it learns to give the same maps (default: 500)",
    )
    compress.set_defaults(run=_compress)

    pseudo = commands.add_parser(
        "pseudo", help="label photos with a model where it agrees with itself, for self-training"
    )
    pseudo.add_argument("photos", type=Path, help="folder of photos without labels")
    pseudo.add_argument("out", type=Path, help="folder to write images/, labels/ and persons/ into")
    pseudo.add_argument(
        "--model", help="a model's name or .onnx file (default: the model inside the package)"
    )
    pseudo.add_argument(
        "--scales",
        type=_scales,
        default="0.75,1,1.25",
        help="input sizes to average over (default: 0.75,1,1.25)",
    )
    pseudo.set_defaults(run=_pseudo)
    return parser


if __name__ == "__main__":
    main()
