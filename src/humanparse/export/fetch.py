"""Turn a model of the hub into an .onnx file on this machine: download it, then convert it once."""

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
    """Return the converted file of a model; fetch and convert whatever is missing first.

    If the file is already here, this costs nothing.

    Args:
        model: The model of the hub.
        accept_licence: Whether the user accepts the licence of its weights.
        say: Called with a line for the user when something takes longer.

    Raises:
        MissingExtra: Without PyTorch, if the model has yet to be converted.
        HumanParseError: As `store.pull` raises it.
    """
    if file := store.converted(model):
        return file
    store.pull(model, accept_licence=accept_licence, say=say)
    return convert_pulled(model, say)


def convert_pulled(model: HubModel, say: Callable[[str], None]) -> Path:
    """Convert what `store.pull` has fetched, and return the .onnx file.

    Args:
        model: The model of the hub.
        say: Called with a line for the user.

    Raises:
        MissingExtra: Without PyTorch.
        ModelError: If the checkpoint cannot be converted.
    """
    say(f"converting {model.name}; this takes a minute or two")
    return store.adopt(model, convert, say)


def convert(checkpoint: Path, out: Path) -> None:
    """Write the .onnx file of a checkpoint, with the classes of the configuration.json next to it.

    Raises:
        MissingExtra: Without PyTorch.
        ModelError: If the checkpoint cannot be converted.
    """
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
    """Return whether PyTorch is installed, without importing it."""
    return find_spec("torch") is not None
