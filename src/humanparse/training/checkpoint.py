"""Checkpoints: all that a run needs to go on, or to be used. Each file appears whole or not at all.

step, model, optimiser   where the run stands
average                  the averaged weights: what is measured and shipped
recipe, labels           as JSON: what it was trained with, and its classes
best                     the best figure so far
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from humanparse.errors import BrokenModel
from humanparse.labels import CIHP, LabelSet, label_set
from humanparse.system.files import whole_file
from humanparse.training.recipe import Recipe, recipe_from_json


class Average:
    """Exponential moving average of the weights: what is evaluated and shipped."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, step / (step + 10))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read. `state` holds what the file holds."""

    state: dict[str, Any]
    recipe: Recipe
    labels: LabelSet

    @property
    def average(self) -> dict[str, Tensor]:
        return self.state["average"]


def save(path: Path, recipe: Recipe, labels: LabelSet, **state: Any) -> None:
    """Write a checkpoint; a kill in the middle leaves the old one whole."""
    told = {"recipe": recipe.to_json(), "labels": json.dumps([labels.name, labels.names])}
    with whole_file(path) as part:
        torch.save(state | told, part)


def read(path: Path) -> Saved:
    """Read a checkpoint that `save` wrote. Raises BrokenModel for another file, OSError for
    none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # PyTorch raises errors of many kinds for damaged archives
        raise BrokenModel(
            f"{path} is not a checkpoint that can be read ({type(error).__name__})"
        ) from error
    if not is_ours(state):
        raise BrokenModel(f"{path} is not a checkpoint of `humanparse train`")
    recipe = recipe_from_json(state["recipe"]) if "recipe" in state else Recipe()
    return Saved(state, recipe, _labels(state))


def is_ours(state: object) -> bool:
    """Whether a PyTorch file's content is a checkpoint of `humanparse train`."""
    return isinstance(state, dict) and isinstance(state.get("average"), dict)


def _labels(state: dict) -> LabelSet:
    if "labels" not in state:
        return CIHP
    name, names = json.loads(state["labels"])
    try:
        known = label_set(name)
    except ValueError:
        known = None
    return known if known and list(known.names) == names else LabelSet(name, tuple(names))
