"""M2FP as a task of the loop: what it starts as, what a scene asks of it, and what a miss costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

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
    """recipe.people says whether people are told apart (whole people are then one class more) or
    there is one a photo."""

    def __init__(self, recipe: Recipe, labels: LabelSet):
        self.card = m2fp_card(recipe, labels)
        self.network = m2fp_network(recipe, labels)
        self.encode = _Encode(len(labels), recipe.people == "apart")
        self.points, self.seed, self.freeze_norm = recipe.points, recipe.seed, recipe.freeze_norm

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        self.network.to(device=device, memory_format=memory_format)

    def losses(self, batch: dict[str, Tensor], step: int, autocast: AutoCast) -> dict[str, Tensor]:
        """Each loss of a batch by name, weighted. autocast: the precision that the network, not the
        losses, computes in.

        The points are the same whenever the step is taken again.
        """
        with autocast():
            outputs = self.network(batch["pixels"])
        return losses(
            outputs, batch, torch.Generator().manual_seed(self.seed * 1_000_003 + step), self.points
        )

    def groups(self, weight_decay: float) -> list[dict]:
        """Parameter groups: the backbone learns at its own rate; norms, embeddings and biases do
        not decay."""
        groups = {}
        for name, parameter, module in _parameters(self.network):
            part = "backbone" if name.startswith("backbone.") else "rest"
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
        """All stages are alike: what they may ask of the backbone is refused in recipes for
        M2FP."""
        return False

    def follow(self, average: dict[str, Tensor]) -> None:
        """Nothing is learnt from the averaged weights."""

    def train_mode(self) -> None:
        """Training, but with the backbone's BatchNorm left as it is if the recipe says so: few
        photos tell it too little."""
        self.network.train()
        if self.freeze_norm:
            for module in self.network.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval().requires_grad_(False)


class _Encode:
    """What the network sees of a scene, and what it should find. Runs in the worker processes."""

    def __init__(self, num_parts: int, whole_people: bool):
        self.num_parts, self.whole_people = num_parts, whole_people

    def __call__(self, scene: Scene, index: int) -> dict[str, np.ndarray]:
        pixels = (scene.pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
        return {"pixels": pixels.transpose(2, 0, 1)} | segments(
            scene, self.num_parts, self.whole_people
        )


def m2fp_network(recipe: Recipe, labels: LabelSet) -> M2FP:
    return BUILDERS[recipe.model](len(labels) + (1 if recipe.people == "apart" else 0))


def m2fp_card(recipe: Recipe, labels: LabelSet) -> ModelCard:
    """What the finished file says of itself. Photos are brought to the size of the last stage's
    largest scenes."""
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


def _parameters(network: nn.Module):
    """(name, parameter, the module that holds it), each parameter once."""
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            yield name, parameter, module
