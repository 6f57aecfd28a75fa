"""`humanparse convert`: an M2FP checkpoint of PyTorch becomes an .onnx file that needs no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from humanparse.errors import MissingExtra, OptionError


def convert(
    checkpoint: Annotated[Path, typer.Argument(
        metavar="CHECKPOINT", help="pytorch_model.pt of ModelScope, a .pth of detectron2, or .safetensors.",
    )],
    out: Annotated[Path, typer.Option(
        "--out", "-o", metavar="FILE", help="The .onnx file to write; or a .safetensors file, for the tensors alone.",
    )],
    labels: Annotated[str | None, typer.Option(
        metavar="NAME", help="cihp, lip, pascal-person-part or mhp-v2.", show_default="those of configuration.json beside it",
    )] = None,
    precision: Annotated[str, typer.Option(metavar="fp32|fp16", help="How weights are stored; fp16 halves the file.")] = "fp32",
    license: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the weights.")] = "CC-BY-NC-4.0",
) -> None:
    """Convert an M2FP checkpoint to an .onnx file, and check that both give the same.

    The file is kept only if ONNX Runtime agrees with PyTorch on it at sizes that were not traced.
    Needs PyTorch: pip install 'humanparse[torch]'. The official checkpoints may not be used commercially.

    \b
    Examples:
      humanparse convert pytorch_model.pt -o m2fp-r101-cihp.onnx
      humanparse convert pytorch_model.pt -o small.onnx --labels cihp --precision fp16
      humanparse parse street.jpg --model m2fp-r101-cihp.onnx
    """
    if not checkpoint.is_file():
        raise OptionError(f"there is no file {checkpoint}; give a checkpoint such as pytorch_model.pt")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {out.parent}; make it first")
    try:
        from humanparse.convert.checkpoint import save_safetensors
        from humanparse.convert.onnx import convert_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtra(f"converting needs PyTorch, ONNX and safetensors once ({error.name} is missing)", "torch") from error
    if out.suffix == ".safetensors":
        save_safetensors(checkpoint, out, license)
        typer.echo(f"{out}: tensors only, {out.stat().st_size / 1e6:.0f} MB, {license}")
        return
    made = convert_checkpoint(checkpoint, out, labels=labels, precision=precision, license=license)
    mb = out.stat().st_size / 1e6
    typer.echo(f"{out}: {made.card.name}, {len(made.card.labels)} classes, {mb:.0f} MB, {made.card.license}")
    typer.echo(f"difference from PyTorch: {made.difference:.1e}")
