"""Checkpoint → ONNX file with its card inside, checked against PyTorch before it is kept."""

from __future__ import annotations

import warnings
from pathlib import Path

from torch import nn

from humanparse.card import ModelCard
from humanparse.export import m2fp as m2fp_onnx
from humanparse.export.onnx import export as export_onnx
from humanparse.labels import LabelSet
from humanparse.model.centre_parser import centre_parser
from humanparse.training import checkpoint as checkpoints
from humanparse.training.embedded import embedded_card
from humanparse.training.m2fp.task import m2fp_card, m2fp_network
from humanparse.training.recipe import Recipe

OUTPUTS = ("classes", "person", "centre", "offset", "wears")
CHECK_SIZES_HW = ((160, 224), (320, 320), (480, 640), (96, 512))
TOLERANCE = 2e-3


def export(checkpoint: Path, out: Path, card: ModelCard | None = None) -> float:
    """Write the averaged weights of a checkpoint as ONNX. Returns the largest difference from
    PyTorch, as `export.difference` of humanparse.export.onnx measures it.

    card: what the file says of itself; None takes the recipe's. Raises ModelError and keeps nothing
    if the difference is over the tolerance at any size, BrokenModel for a file that is no
    checkpoint of ours.
    """
    saved = checkpoints.read(checkpoint)
    network = trained_model(checkpoint, saved)
    card = card or card_of(saved.recipe, saved.labels)
    with warnings.catch_warnings():
        # what is not folded is computed each time
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        if saved.recipe.model == "centre-parser":
            return export_onnx(
                network,
                out,
                card,
                OUTPUTS,
                check_sizes_hw=CHECK_SIZES_HW,
                tolerance=TOLERANCE,
                units={"offset": 64},
            )
        return export_onnx(
            network,
            out,
            card,
            m2fp_onnx.OUTPUTS,
            check_sizes_hw=m2fp_onnx.CHECK_SIZES_HW,
            tolerance=m2fp_onnx.TOLERANCE,
            share=m2fp_onnx.SHARE,
        )


def trained_model(checkpoint: Path, saved: checkpoints.Saved | None = None) -> nn.Module:
    """The averaged model of a checkpoint that `train` wrote, ready for inference."""
    saved = saved or checkpoints.read(checkpoint)
    network = network_of(saved.recipe, saved.labels)
    network.load_state_dict(saved.average)
    return network.eval()


def network_of(recipe: Recipe, labels: LabelSet) -> nn.Module:
    """The recipe's network, untrained."""
    return (
        centre_parser(len(labels))
        if recipe.model == "centre-parser"
        else m2fp_network(recipe, labels)
    )


def card_of(recipe: Recipe, labels: LabelSet) -> ModelCard:
    """What a model of that recipe says of itself."""
    return (
        embedded_card(recipe, labels)
        if recipe.model == "centre-parser"
        else m2fp_card(recipe, labels)
    )
