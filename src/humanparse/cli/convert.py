"""`humanparse convert`: an M2FP checkpoint of PyTorch → an .onnx file; a model → int8."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from humanparse.errors import MissingExtra, OptionError
from humanparse.system.files import check_target

INT8 = "int8"


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A pytorch_model.pt of ModelScope, a .pth file of detectron2 or a .safetensors "
            "file; for int8 also an .onnx file.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write this .onnx file, or a .safetensors file with only the tensors.",
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The classes of the checkpoint: cihp, lip, pascal-person-part or mhp-v2.",
            show_default="as configuration.json beside the checkpoint says",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|int8",
            help="Store the weights in this precision. fp16 halves the file; int8 also makes "
            "OpenVINO faster, and needs --calibrate.",
        ),
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --precision int8: calibrate the model on 32 photos from this folder, "
            "which should be like those that it will parse.",
        ),
    ] = None,
    license: Annotated[
        str, typer.Option(metavar="TEXT", help="Record this licence of the weights in the file.")
    ] = "CC-BY-NC-4.0",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the file if it exists. The checkpoint itself is never replaced.",
        ),
    ] = False,
) -> None:
    """Convert an M2FP checkpoint to an .onnx file.

    The file is kept only if ONNX Runtime gives the same results with it as PyTorch with the
    checkpoint, also at sizes that were not traced. The official checkpoints may not be used
    commercially. Converting needs PyTorch: pip install 'torch>=2.10' 'onnx>=1.21'
    'safetensors>=0.4'.

    int8 needs NNCF: pip install 'nncf>=3.0' 'onnx>=1.21'. Compare its results with those of fp32
    before you rely on them.

    \b
    Examples:
      humanparse convert pytorch_model.pt -o m2fp-r101-cihp.onnx
      humanparse convert pytorch_model.pt -o small.onnx --labels cihp --precision fp16
      humanparse convert m2fp-r101-cihp.onnx -o m2fp-int8.onnx --precision int8 --calibrate photos/
      humanparse parse street.jpg --model m2fp-r101-cihp.onnx
    """
    if not checkpoint.is_file():
        raise OptionError(
            f"there is no file {checkpoint}; give a checkpoint such as pytorch_model.pt"
        )
    if not out.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {out.parent}; make it first")
    if (precision == INT8) != (calibrate is not None):
        raise OptionError(
            f"--precision {INT8} and --calibrate FOLDER need each other; give both or neither"
        )
    check_target(out, (checkpoint,), overwrite=overwrite)
    if calibrate is not None:
        to_int8(checkpoint, out, calibrate, labels, license)
        return
    if checkpoint.suffix == ".onnx":
        raise OptionError(
            f"{checkpoint} has already been converted; "
            f"--precision {INT8} --calibrate FOLDER makes a faster file of it"
        )
    from_checkpoint(checkpoint, out, labels, precision, license)


def to_int8(source: Path, out: Path, photos: Path, labels: str | None, license: str) -> None:
    """Write an int8 file of an .onnx file that humanparse wrote, or of a checkpoint.

    Args:
        source: The .onnx file or checkpoint.
        out: The file to write.
        photos: Folder of the photos for the calibration.
        labels: Name of the checkpoint's label set.
        license: Licence of the checkpoint's weights.

    Raises:
        OptionError: The options do not fit together.
        ModelError: The model cannot be converted.
        MissingExtra: A package is missing.
    """
    from humanparse.export.quantise import choose_photos, quantise

    choose_photos(photos)  # before anything that takes minutes
    log = partial(typer.echo, err=True)
    with tempfile.TemporaryDirectory() as folder:
        model = source
        if source.suffix == ".onnx":
            if labels:
                raise OptionError(f"{source} carries its own classes; --labels is for checkpoints")
        else:
            model = Path(folder, "model.onnx")
            from_checkpoint(source, model, labels, "fp32", license)
        card = quantise(model, out, photos, log=log)
    typer.echo(f"{out}: {card.name}, int8, {out.stat().st_size / 1e6:.1f} MB, {card.license}")


def from_checkpoint(
    checkpoint: Path, out: Path, labels: str | None, precision: str, license: str
) -> None:
    """Write a float file of a checkpoint, or only its tensors.

    Args:
        checkpoint: The checkpoint.
        out: The file to write; .safetensors for the tensors.
        labels: Name of the checkpoint's label set; None to read it from its configuration.
        precision: "fp32" or "fp16".
        license: Licence of the weights.

    Raises:
        ModelError: The checkpoint cannot be converted.
        MissingExtra: A package is missing.
    """
    try:
        from humanparse.export.checkpoint import save_safetensors
        from humanparse.export.m2fp import convert_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"converting needs PyTorch, ONNX and safetensors once ({error.name} is missing)",
            "torch",
        ) from error
    if out.suffix == ".safetensors":
        save_safetensors(checkpoint, out, license)
        typer.echo(f"{out}: tensors only, {out.stat().st_size / 1e6:.0f} MB, {license}")
        return
    made = convert_checkpoint(checkpoint, out, labels=labels, precision=precision, license=license)
    mb = out.stat().st_size / 1e6
    typer.echo(
        f"{out}: {made.card.name}, {len(made.card.labels)} classes, {mb:.0f} MB, "
        f"{made.card.license}"
    )
    typer.echo(f"difference from PyTorch: {made.difference:.1e}")
