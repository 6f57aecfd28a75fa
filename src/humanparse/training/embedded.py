"""The embedded model as a task of the training loop: its network, its targets and its losses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.card import ModelCard
from humanparse.errors import OptionError
from humanparse.labels import CIHP, LabelSet
from humanparse.model.bodypix import BodyPix, load_bodypix
from humanparse.model.centre_parser import STRIDE, CentreParser, centre_parser
from humanparse.preprocess import Preprocess
from humanparse.training.losses import losses
from humanparse.training.recipe import Recipe, Stage
from humanparse.training.scenes import Scene
from humanparse.training.targets import targets
from humanparse.training.workers import Encoded

AutoCast = Callable[[], AbstractContextManager]
CARD = ModelCard(
    name="humanparse-small",
    labels=CIHP,
    head="centres",
    preprocess=Preprocess(
        mean=(127.5,) * 3, std=(127.5,) * 3, area_px=480 * 640, max_long_side=1280, multiple=32
    ),
    license="Apache-2.0",
)


class EmbeddedTask:
    """The embedded model, with its teacher and the averaged weights that it also learns from.

    Args:
        recipe: The recipe of the run.
        labels: The classes.
        class_weights: How much a pixel of each class counts.
        teacher: The weights file of BodyPix. With None nothing is learnt from it, and the recipe's
            `init` should name weights to start from.

    Raises:
        OptionError: If a stage wants BodyPix's backbone and there is no teacher.
    """

    def __init__(
        self,
        recipe: Recipe,
        labels: LabelSet,
        class_weights: tuple[float, ...],
        teacher: Path | None,
    ):
        self.card = embedded_card(recipe, labels)
        self.network = centre_parser(len(labels))
        self.class_weights = class_weights
        self.teacher_every, self.mirror_every = recipe.teacher_every, recipe.mirror_every
        self.sides = torch.tensor(labels.mirrored)
        self.average: CentreParser | None = None
        self.encode = partial(encode, labels)
        self.teacher: BodyPix | None = None
        blending = [
            number
            for number, stage in enumerate(recipe.stages, start=1)
            if stage.backbone_share < 1
        ]
        if blending and not teacher:
            raise OptionError(
                f"stage {blending[0]} begins with BodyPix's weights (backbone_share), "
                "but the data has no teachers/; add it, or remove backbone_share from the stages"
            )
        if teacher:
            self.teacher = load_bodypix(teacher, centred=True).eval().requires_grad_(False)
            init_from_bodypix(self.teacher, self.network)

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the network and the teacher to a device."""
        # torch's types lack memory_format
        self.network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
        if device.type == "cpu":
            spare_bf16(self.network)
        if self.teacher:
            self.teacher.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]

    def losses(self, batch: dict[str, Tensor], step: int, autocast: AutoCast) -> dict[str, Tensor]:
        """Return each loss of a batch by name, weighted.

        Args:
            batch: The tensors of the step's scenes.
            step: The number of the step, from 1.
            autocast: Sets the precision in which the networks compute; the losses stay fp32.
        """
        known: dict[str, Tensor] = {}
        student: dict[str, Tensor] = {}
        with autocast():
            outputs = self.network(batch["pixels"])
            features = outputs.pop("features16")
            if self.teacher and step % self.teacher_every == 0:
                with torch.no_grad():
                    known = self.teacher(batch["pixels"])
                student = self.network.teacher_maps(features)
            twin = (
                self.mirrored(batch)
                if self.mirror_every and step % self.mirror_every == 0
                else None
            )
        return losses(outputs, batch, known, student, self.class_weights, twin)

    @torch.no_grad()
    def mirrored(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the averaged weights' class maps for the mirrored scenes, mirrored back.

        Returns:
            "classes" and "wears", for the pixels of the scenes as they are.
        """
        if self.average is None:
            raise RuntimeError("the averaged weights are not followed: mirror_every is 0")
        outputs = self.average(batch["pixels"].flip(3))
        return {name: outputs[name].flip(3)[:, self.sides] for name in ("classes", "wears")}

    def follow(self, average: dict[str, Tensor]) -> None:
        """Use the averaged weights for the mirrored scenes; the loop updates them in place."""
        if self.mirror_every:
            self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
            self.average.load_state_dict(average, assign=True)

    def groups(self, weight_decay: float, fresh: Collection[str] = ()) -> list[dict[str, Any]]:
        """Return the parameter groups.

        The pretrained parts learn slowly and without decay, since their folded scales are large.
        """
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            part = "fresh" if name in fresh else "rest"
            if name.startswith(("backbone.", "teacher_heads.")):
                part = "backbone"
            decays = part != "backbone" and parameter.ndim > 1
            groups.setdefault((part, decays), []).append(parameter)
        return [
            {"params": some, "part": part, "weight_decay": weight_decay if decays else 0.0}
            for (part, decays), some in groups.items()
        ]

    def train_mode(self) -> None:
        """Put the network into training mode."""
        self.network.train()

    def enter(self, stage: Stage, anew: bool) -> bool:
        """Prepare the backbone for a stage.

        Args:
            stage: The stage.
            anew: Whether the stage begins now, rather than continues after an interruption.

        Returns:
            Whether weights were changed, so that their average has to start over.
        """
        changed = anew and stage.backbone_share < 1
        if changed:
            assert self.teacher is not None  # without it, __init__ has refused the recipe
            init_from_bodypix(self.teacher, self.network, stage.backbone_share)
        convolutions = (
            one for one in self.network.backbone.modules() if isinstance(one, nn.Conv2d)
        )
        for index, convolution in enumerate(convolutions):
            convolution.requires_grad_(index >= stage.frozen)
        return changed


def encode(labels: LabelSet, scene: Scene, index: int) -> Encoded:
    """Return what the network sees of a scene, and its targets. Runs in the worker processes.

    Args:
        labels: The classes.
        scene: The scene.
        index: Its number; it decides which pixel of each cell speaks for the cell.
    """
    pixels = (scene.pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
    seen: dict[str, np.ndarray | np.float32] = {
        "pixels": pixels,
        "teacher_trust": np.float32(scene.teacher_trust),
    }
    return seen | targets(scene, STRIDE, 1 + index % 2, labels)


def embedded_card(recipe: Recipe, labels: LabelSet) -> ModelCard:
    """Return what the finished file says about itself."""
    return replace(CARD, name=recipe.name, labels=labels, license=recipe.license)


def spare_bf16(network: nn.Module) -> None:
    """Keep depthwise convolutions with a stride or a large kernel in fp32 under autocast.

    On CPUs their backward pass takes two to six times as long in bf16 (docs/lab-book.md).
    """
    for conv in network.modules():
        if (
            isinstance(conv, nn.Conv2d)
            and conv.groups > 1
            and (conv.stride[0] > 1 or conv.kernel_size[0] > 3)
        ):
            conv.forward = partial(_in_fp32, conv)  # type: ignore[method-assign]  # on purpose


def _in_fp32(conv: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        y = F.conv2d(
            x.float(), conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
    return y.to(x.dtype)


@torch.no_grad()
def init_from_bodypix(teacher: BodyPix, model: CentreParser, share: float = 0.0) -> CentreParser:
    """Give a model BodyPix's backbone and heads, and return it.

    Args:
        teacher: BodyPix.
        model: The model to change.
        share: The share of its own weights that the model keeps there, as in arXiv 2109.01903.
    """
    for own, theirs in ((model.backbone, teacher.backbone), (model.teacher_heads, teacher.heads)):
        given = theirs.state_dict()
        for name, weight in own.state_dict().items():
            weight.lerp_(given[name], 1 - share)
    return model
