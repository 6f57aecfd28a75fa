"""Write a training checkpoint as an ONNX file with its card, checked against PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from humanparse.card import ModelCard
from humanparse.export import m2fp as m2fp_onnx
from humanparse.export.onnx import write_onnx
from humanparse.labels import LabelSet
from humanparse.model.centre_parser import OFFSET_UNIT_PX, centre_parser
from humanparse.training import checkpoint as checkpoints
from humanparse.training.embedded import embedded_card
from humanparse.training.m2fp.task import m2fp_card, m2fp_network
from humanparse.training.recipe import Recipe

OUTPUTS = ("classes", "person", "centre", "offset", "wears")
CHECK_SIZES_HW = ((160, 224), (320, 320), (480, 640), (96, 512))
TOLERANCE = 2e-3


def export_checkpoint(checkpoint: Path, out: Path, card: ModelCard | None = None) -> float:
    """Write the averaged weights of a checkpoint as an ONNX file.

    Args:
        checkpoint: A checkpoint of `humanparse train`.
        out: The .onnx file to write; it appears whole or not at all.
        card: What the file says about itself; None takes the recipe's card.

    Returns:
        The largest difference from PyTorch, as `agreement.difference` measures it.

    Raises:
        ModelError: If the difference is larger than the tolerance at any size.
        BrokenModel: If the file is not a checkpoint of `humanparse train`.
    """
    saved = checkpoints.read(checkpoint)
    network = trained_model(checkpoint, saved)
    card = card or card_of(saved.recipe, saved.labels)
    if saved.recipe.model == "centre-parser":
        return write_embedded(network, out, card)
    with _without_folding_warnings():
        return write_onnx(
            network,
            out,
            card,
            m2fp_onnx.OUTPUTS,
            check_sizes_hw=m2fp_onnx.CHECK_SIZES_HW,
            tolerance=m2fp_onnx.TOLERANCE,
            share=m2fp_onnx.SHARE,
        )


def write_embedded(network: nn.Module, out: Path, card: ModelCard) -> float:
    """Write a network of the embedded kind as an ONNX file.

    Args:
        network: The network, for inference.
        out: The .onnx file to write; it appears whole or not at all.
        card: What the file says about itself.

    Returns:
        The largest difference from PyTorch, as `agreement.difference` measures it.

    Raises:
        ModelError: If the difference is larger than the tolerance at any size.
    """
    with _without_folding_warnings():
        return write_onnx(
            network,
            out,
            card,
            OUTPUTS,
            check_sizes_hw=CHECK_SIZES_HW,
            tolerance=TOLERANCE,
            units={"offset": OFFSET_UNIT_PX},
        )


@contextmanager
def _without_folding_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Whatever is not folded is computed in every run.
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        yield


def trained_model(checkpoint: Path, saved: checkpoints.Saved | None = None) -> nn.Module:
    """Return the averaged model of a checkpoint, ready for inference.

    Args:
        checkpoint: A checkpoint of `humanparse train`.
        saved: Its content, if it was read already.
    """
    saved = saved or checkpoints.read(checkpoint)
    network = network_of(saved.recipe, saved.labels)
    network.load_state_dict(saved.average)
    return network.eval()


def network_of(recipe: Recipe, labels: LabelSet) -> nn.Module:
    """Return the recipe's network, untrained."""
    return (
        centre_parser(len(labels))
        if recipe.model == "centre-parser"
        else m2fp_network(recipe, labels)
    )


def card_of(recipe: Recipe, labels: LabelSet) -> ModelCard:
    """Return what a model trained by that recipe says about itself."""
    return (
        embedded_card(recipe, labels)
        if recipe.model == "centre-parser"
        else m2fp_card(recipe, labels)
    )
