"""`humanparse export`: a model for Triton, TensorRT or OpenVINO, as one ONNX graph or as a site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from humanparse.cli.options import BUILT_IN
from humanparse.errors import OptionError
from humanparse.system.files import check_target
from humanparse.system.packaged import packaged
from humanparse.vocabulary import EXPORT_TARGETS


def export(
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write to this path: a folder for triton, tensorrt and web, an .xml file for "
            "openvino, an .onnx file for onnx.",
        ),
    ],
    to: Annotated[
        str, typer.Option(metavar="|".join(EXPORT_TARGETS), help="Export the model in this form.")
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A name from `humanparse models list`, or a model file.",
            show_default=f"{BUILT_IN}; with --to web its int8 form",
        ),
    ] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            "--check",
            metavar="PHOTO",
            help="Compare the exported model with the original on this photo. The option may be "
            "repeated.",
            show_default="the two photos of humanparse demo",
        ),
    ] = None,
    photo: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="With --to tensorrt: the size of the photos, in pixels, for the engine that takes "
            "one size only.",
            show_default="640x480",
        ),
    ] = None,
    fp16: Annotated[
        bool,
        typer.Option("--fp16", help="With --to openvino: round the weights to half the space."),
    ] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(
            "--runtime",
            metavar="FILE",
            help="With --to web: the .tgz file that npm pack wrote, for machines without npm.",
            show_default="fetched by npm",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="With --to openvino or onnx: replace the file if it exists. The model itself is "
            "never replaced.",
        ),
    ] = False,
) -> None:
    """Export a model for another server or runtime.

    As far as that is possible on this machine, the exported model is checked against the original.

    \b
    --to triton    a model repository that turns photos into maps and JSON
    --to tensorrt  ONNX files, and the commands for trtexec
    --to openvino  an .xml and a .bin file
    --to onnx      one file from the pixels of a photo to its maps, for browsers,
                   phones and C++
    --to web       a folder of static files: the page, with the model in the
                   visitor's browser

    Exporting needs the package onnx: pip install 'onnx>=1.21'. openvino also needs OpenVINO: pip
    install 'openvino>=2025.0'. web needs npm instead, which comes with Node.js.

    \b
    Examples:
      humanparse export --to triton -o repository/
      humanparse export --to tensorrt -o engines/ --photo 1920x1080
      humanparse export --to openvino -o small.xml --fp16
      humanparse export --to onnx -o photo-to-maps.onnx
      humanparse export --to web -o site/
    """
    if to not in EXPORT_TARGETS:
        raise OptionError(f"there is no target {to!r}; choose one of {', '.join(EXPORT_TARGETS)}")
    from humanparse.export.targets import TARGETS, ExportRequest

    target = TARGETS[to]
    if photo and not target.fixes_photo_size:
        raise OptionError("--photo is for tensorrt only; the others take photos of any size")
    if fp16 and not target.halves_weights:
        raise OptionError(
            "--fp16 is for openvino only; trtexec has its own --fp16, "
            "and the others keep the weights of the model"
        )
    if overwrite and not target.suffixes:
        raise OptionError(
            "--overwrite is for openvino and onnx only; "
            f"for {to}, delete the folder that is in the way yourself"
        )
    if check and not target.compares_photos:
        raise OptionError(f"--check is not for {to}, which is not run here; leave it out")
    if runtime and not target.takes_runtime:
        raise OptionError("--runtime is for web only; the others take nothing from npm")
    if runtime and not runtime.is_file():
        raise OptionError(f"there is no file {runtime}; --runtime takes what npm pack has written")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {out.parent}; make it first")
    if target.suffixes and out.is_dir():
        raise OptionError(f"{out} is a folder; give a file that ends in {target.suffixes[0]}")
    if missing := [path for path in check or () if not path.is_file()]:
        raise OptionError(f"there is no photo {missing[0]}; --check takes photos to compare with")
    photo_hw = _size(photo)
    from humanparse.weights.catalog import model_file

    file = model_file(model or target.default_model)
    photos = tuple(check or sorted(packaged("cli/demo").glob("*.jpg")))
    for path in target.files(out):
        check_target(path, (file, file.with_suffix(".bin"), *photos), overwrite=overwrite)
    written = target.write(ExportRequest(file, out, photos, photo_hw, fp16, runtime))
    for path in written.files:
        typer.echo(f"{path}  {_size_of(path)}")
    for one in written.agreement:
        if one.labels is None:
            typer.echo(f"{one.picture}: differs by at most {one.difference:.1e}")
        else:
            typer.echo(
                f"{one.picture}: {one.labels:.2%} of the labels and {one.people:.2%} "
                "of the people equal"
            )
    for note in written.notes:
        typer.echo(f"note: {note}")


def _size(text: str | None) -> tuple[int, int]:
    """Return (height, width) of "640x480", or raise OptionError."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text or "640x480")
    if not found:
        raise OptionError(
            f"--photo is {text!r}; give width and height in pixels, such as 1920x1080"
        )
    return int(found[2]), int(found[1])


def _size_of(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
