"""A model of the hub → its .onnx file on this machine: downloaded (weights/store.py), then
converted, once."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from humanparse.errors import MissingExtra, ModelError
from humanparse.weights import store
from humanparse.weights.hub import HubModel


def fetch(
    model: HubModel,
    *,
    accept_licence: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """The converted file; what is missing is fetched and converted first. Costs nothing if all is
    here.

    say: see `store.pull`, which also says what is raised; MissingExtra without PyTorch.
    """
    if file := store.converted(model):
        return file
    store.pull(model, accept_licence=accept_licence, say=say)
    return convert_pulled(model, say)


def convert_pulled(model: HubModel, say: Callable[[str], None]) -> Path:
    """Convert what `store.pull` has fetched. Returns the .onnx file."""
    say(f"converting {model.name}; this takes a minute or two")
    return store.adopt(model, convert, say)


def convert(checkpoint: Path, out: Path) -> None:
    """Write the .onnx of a checkpoint, with the classes of the configuration.json beside it."""
    try:
        from humanparse.export.m2fp import convert_checkpoint
    except ModuleNotFoundError as error:
        if str(error.name).startswith("humanparse"):
            raise ModelError(
                f"this version of humanparse cannot convert {checkpoint}; update humanparse"
            ) from error
        raise MissingExtra(
            f"converting {checkpoint} needs PyTorch once ({error.name} is missing)", "torch"
        ) from error
    convert_checkpoint(checkpoint, out, labels=None, precision="fp32")


def can_convert() -> bool:
    """Whether PyTorch is installed; it is not imported."""
    return find_spec("torch") is not None
