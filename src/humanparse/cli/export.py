"""`humanparse export`: a model, as Triton, TensorRT, OpenVINO or a program without Python takes
it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

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
            help="A folder for triton and tensorrt, an .xml file, or an .onnx file.",
        ),
    ],
    to: Annotated[str, typer.Option(metavar="|".join(EXPORT_TARGETS), help="What to write.")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Name of a model, or a model file.",
            show_default="the built-in one",
        ),
    ] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            "--check",
            metavar="PHOTO",
            help="A photo on which the result is compared with the model; several times for several.",
            show_default="the two of humanparse demo",
        ),
    ] = None,
    photo: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="For tensorrt: the photos for which the engine of one size is.",
            show_default="640x480",
        ),
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="For openvino: weights in half the space, rounded.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="For openvino and onnx: write over a file of that name; never over the model itself.",
        ),
    ] = False,
) -> None:
    """Hand a model over to another server or runtime, and check that it gives the same there as far
    as can be checked here.

    triton: a model repository that takes photos and gives maps and JSON. tensorrt: ONNX files and
    the lines of trtexec.
    openvino: .xml and .bin. onnx: one file from the photo's pixels to its maps, for browsers,
    phones and C++. Needs the package onnx: pip install 'onnx>=1.21'; for openvino: pip install
    'openvino>=2025.0'.

    \b
    Examples:
      humanparse export --to triton -o repository/
      humanparse export --to tensorrt -o engines/ --photo 1920x1080
      humanparse export --to openvino -o small.xml --fp16
      humanparse export --to onnx -o photo-to-maps.onnx
    """
    if to not in EXPORT_TARGETS:
        raise OptionError(f"there is no target {to!r}; choose one of {', '.join(EXPORT_TARGETS)}")
    from humanparse.export.targets import TARGETS, ExportRequest

    target = TARGETS[to]
    if photo and not target.fixes_photo_size:
        raise OptionError("--photo is for tensorrt: the others take photos of any size")
    if fp16 and not target.halves_weights:
        raise OptionError(
            "--fp16 is for openvino; trtexec has a --fp16 of its own, and the others keep the model's weights"
        )
    if overwrite and not target.suffixes:
        raise OptionError(
            "--overwrite is for openvino and onnx; "
            f"remove the folder that is in the way of {to} yourself"
        )
    if check and not target.compares_photos:
        raise OptionError("--check does nothing for triton: what it runs is the model itself")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {out.parent}; make it first")
    if target.suffixes and out.is_dir():
        raise OptionError(f"{out} is a folder; give a file that ends in {target.suffixes[0]}")
    if missing := [path for path in check or () if not path.is_file()]:
        raise OptionError(f"there is no photo {missing[0]}; --check takes photos to compare with")
    photo_hw = _size(photo)
    from humanparse.weights.catalog import model_file

    file = model_file(model)
    photos = tuple(check or sorted(packaged("cli/demo").glob("*.jpg")))
    for path in target.files(out):
        check_target(path, (file, file.with_suffix(".bin"), *photos), overwrite=overwrite)
    written = target.write(ExportRequest(file, out, photos, photo_hw, fp16))
    for path in written.files:
        typer.echo(f"{path}  {_size_of(path)}")
    for one in written.agreement:
        if one.labels is None:
            typer.echo(f"{one.picture}: differs by at most {one.difference:.1e}")
        else:
            typer.echo(
                f"{one.picture}: {one.labels:.2%} of the labels and {one.people:.2%} of the people equal"
            )
    for note in written.notes:
        typer.echo(f"note: {note}")


def _size(text: str | None) -> tuple[int, int]:
    """ "640x480" → (480, 640). Raises OptionError."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text or "640x480")
    if not found:
        raise OptionError(
            f"--photo is {text!r}; give width and height in pixels, such as 1920x1080"
        )
    return int(found[2]), int(found[1])


def _size_of(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
