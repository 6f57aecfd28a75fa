"""Checkpoints: all that a run needs to continue, or that its result needs to be used.

Each file appears whole or not at all, and holds:

    step, model, optimiser   the state of the run
    average                  the averaged weights: these are measured and shipped
    fresh                    the names of the parameters that started from random values
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
    """Exponential moving average of the weights: these are evaluated and shipped.

    Attributes:
        decay: The share of the average that a step keeps; less in the first steps.
        state: The averaged tensors by name.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model's weights.

        Args:
            model: The network after the step.
            step: The number of the step, from 1.
        """
        decay = min(self.decay, step / (step + 10))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read.

    Attributes:
        state: What the file holds.
        recipe: What it was trained with.
        labels: Its classes.
    """

    state: dict[str, Any]
    recipe: Recipe
    labels: LabelSet

    @property
    def average(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return self.state["average"]


def save(path: Path, recipe: Recipe, labels: LabelSet, **state: Any) -> None:
    """Write a checkpoint; if the process is killed meanwhile, the old one stays whole.

    Args:
        path: The file to write.
        recipe: The recipe of the run.
        labels: The classes.
        **state: What else the file is to hold, see above.
    """
    texts = {"recipe": recipe.to_json(), "labels": json.dumps([labels.name, labels.names])}
    with whole_file(path) as part:
        torch.save(state | texts, part)


def read(path: Path) -> Saved:
    """Read a checkpoint that `save` wrote.

    Raises:
        BrokenModel: If it is another kind of file, or damaged.
        OSError: If it cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # PyTorch raises errors of many kinds for damaged archives
        raise BrokenModel(
            f"{path} is not a readable checkpoint ({type(error).__name__})"
        ) from error
    if not is_ours(state):
        raise BrokenModel(f"{path} is not a checkpoint of `humanparse train`")
    recipe = recipe_from_json(state["recipe"]) if "recipe" in state else Recipe()
    return Saved(state, recipe, _labels(state))


def is_ours(state: object) -> bool:
    """Return whether a PyTorch file's content is a checkpoint of `humanparse train`."""
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
