"""M2FP as a task of the training loop: its network, its targets and its losses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from humanparse.card import ModelCard
from humanparse.export.m2fp import MEAN, STD
from humanparse.labels import LabelSet
from humanparse.model.m2fp import M2FP, m2fp_r50, m2fp_r101, m2fp_tiny
from humanparse.preprocess import Preprocess
from humanparse.training.m2fp.losses import losses
from humanparse.training.m2fp.segments import segments
from humanparse.training.recipe import Recipe, Stage
from humanparse.training.scenes import Scene

AutoCast = Callable[[], AbstractContextManager]
BUILDERS = {"m2fp-tiny": m2fp_tiny, "m2fp-r50": m2fp_r50, "m2fp-r101": m2fp_r101}
UNDECAYED = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)


class M2FPTask:
    """M2FP with its losses.

    The recipe's `people` says whether people are told apart, with the whole person as another
    class, or there is one person per photo.

    Args:
        recipe: The recipe of the run.
        labels: The classes.
    """

    def __init__(self, recipe: Recipe, labels: LabelSet):
        self.card = m2fp_card(recipe, labels)
        self.network = m2fp_network(recipe, labels)
        self.encode = _Encode(len(labels), recipe.people == "apart")
        self.points, self.seed, self.freeze_norm = recipe.points, recipe.seed, recipe.freeze_norm

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the network to a device."""
        # torch's types lack memory_format
        self.network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]

    def losses(self, batch: dict[str, Tensor], step: int, autocast: AutoCast) -> dict[str, Tensor]:
        """Return each loss of a batch by name, weighted.

        The points are the same whenever the step is repeated.

        Args:
            batch: The tensors of the step's scenes.
            step: The number of the step, from 1.
            autocast: Sets the precision in which the network computes; the losses stay fp32.
        """
        with autocast():
            outputs = self.network(batch["pixels"])
        return losses(
            outputs, batch, torch.Generator().manual_seed(self.seed * 1_000_003 + step), self.points
        )

    def groups(self, weight_decay: float, fresh: Collection[str] = ()) -> list[dict[str, Any]]:
        """Return the parameter groups.

        The backbone learns at its own rate; norms, embeddings and biases do not decay.
        """
        groups: dict[tuple[str, float], dict[str, Any]] = {}
        for name, parameter, module in _parameters(self.network):
            part = "fresh" if name in fresh else "rest"
            if name.startswith("backbone."):
                part = "backbone"
            decay = (
                0.0
                if isinstance(module, UNDECAYED) or parameter.ndim <= 1 or "level_embed" in name
                else weight_decay
            )
            group = groups.setdefault(
                (part, decay), {"params": [], "part": part, "weight_decay": decay}
            )
            group["params"].append(parameter)
        return list(groups.values())

    def enter(self, stage: Stage, anew: bool) -> bool:
        """Return False: recipes for M2FP cannot ask a stage to change weights."""
        return False

    def follow(self, average: dict[str, Tensor]) -> None:
        """Do nothing: nothing is learnt from the averaged weights."""

    def train_mode(self) -> None:
        """Put the network into training mode.

        If the recipe says so, the backbone's BatchNorm stays as it is, since few photos per step
        tell it too little.
        """
        self.network.train()
        if self.freeze_norm:
            for module in self.network.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval().requires_grad_(False)


class _Encode:
    """Encodes what the network sees of a scene and its targets, in the worker processes."""

    def __init__(self, num_parts: int, whole_people: bool):
        self.num_parts, self.whole_people = num_parts, whole_people
        self.mean, self.std = (np.array(values, np.float32) for values in (MEAN, STD))

    def __call__(self, scene: Scene, index: int) -> dict[str, np.ndarray]:
        pixels = (scene.pixels.astype(np.float32) - self.mean) / self.std
        return {"pixels": pixels.transpose(2, 0, 1)} | segments(
            scene, self.num_parts, self.whole_people
        )


def m2fp_network(recipe: Recipe, labels: LabelSet) -> M2FP:
    """Return the recipe's network, untrained."""
    return BUILDERS[recipe.model](len(labels) + (1 if recipe.people == "apart" else 0))


def m2fp_card(recipe: Recipe, labels: LabelSet) -> ModelCard:
    """Return what the finished file says about itself.

    Photos are resized to the size of the last stage's largest scenes.
    """
    side = max(side for side, _ in recipe.stages[-1].sizes)
    if recipe.people == "one":
        preprocess = Preprocess(MEAN, STD, fit_hw=(side, side), filter="pil-bilinear")
    else:
        preprocess = Preprocess(
            MEAN,
            STD,
            short_side=side,
            max_long_side=round(side * 1333 / 640),
            filter="pil-bilinear",
        )
    head = "semantic" if recipe.people == "one" else "queries"
    return ModelCard(
        name=recipe.name, labels=labels, head=head, preprocess=preprocess, license=recipe.license
    )


def _parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """(name, parameter, the module that holds it), each parameter once."""
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            yield name, parameter, module
