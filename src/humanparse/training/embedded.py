"""The embedded model as a task of the loop: what it starts as, what a scene asks of it, and what a
miss costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

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
from humanparse.training.scenes import Scene, mirrored_classes
from humanparse.training.targets import targets

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
    """teacher: the weights file of BodyPix, or None: then nothing is learnt from it, and `init`
    should give a start.

    Raises OptionError if a stage wants BodyPix's backbone and there is no teacher.
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
        self.sides = torch.from_numpy(mirrored_classes(labels)[: len(labels)]).long()
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
                f"stage {blending[0]} begins with weights of BodyPix's (backbone_share), and the data has no teachers/; add it, "
                "or write stages without"
            )
        if teacher:
            self.teacher = load_bodypix(teacher, centred=True).eval().requires_grad_(False)
            init_from_bodypix(self.teacher, self.network)

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        self.network.to(device=device, memory_format=memory_format)
        if device.type == "cpu":
            spare_bf16(self.network)
        if self.teacher:
            self.teacher.to(device=device, memory_format=memory_format)

    def losses(self, batch: dict[str, Tensor], step: int, autocast: AutoCast) -> dict[str, Tensor]:
        """Each loss of a batch by name, weighted. autocast: the precision that the networks, not
        the losses, compute in."""
        known = student = {}
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
        """Class maps of the averaged weights for the mirrored scenes, laid back over the scenes:
        "classes" and "wears"."""
        outputs = self.average(batch["pixels"].flip(3))
        return {name: outputs[name].flip(3)[:, self.sides] for name in ("classes", "wears")}

    def follow(self, average: dict[str, Tensor]) -> None:
        """Take the averaged weights, which the loop keeps up to date in place, for what the
        mirrored scenes are asked of."""
        if self.mirror_every:
            self.average = centre_parser(len(self.card.labels)).requires_grad_(False).eval()
            self.average.load_state_dict(average, assign=True)

    def groups(self, weight_decay: float) -> list[dict]:
        """Parameter groups: the pretrained parts learn slowly and without decay (their folded
        scales are large)."""
        model = self.network
        old = [*model.backbone.parameters(), *model.teacher_heads.parameters()]
        known = {id(p) for p in old}
        new = [p for p in model.parameters() if id(p) not in known]
        return [
            {"params": old, "part": "backbone", "weight_decay": 0.0},
            {
                "params": [p for p in new if p.ndim > 1],
                "part": "rest",
                "weight_decay": weight_decay,
            },
            {"params": [p for p in new if p.ndim <= 1], "part": "rest", "weight_decay": 0.0},
        ]

    def train_mode(self) -> None:
        self.network.train()

    def enter(self, stage: Stage, anew: bool) -> bool:
        """What a stage asks of the backbone. anew: it begins here, rather than goes on after a
        kill.

        Returns whether weights were changed, so that their average begins anew too.
        """
        changed = anew and stage.backbone_share < 1
        if changed:
            init_from_bodypix(self.teacher, self.network, stage.backbone_share)
        convolutions = (
            one for one in self.network.backbone.modules() if isinstance(one, nn.Conv2d)
        )
        for index, convolution in enumerate(convolutions):
            convolution.requires_grad_(index >= stage.frozen)
        return changed


def encode(labels: LabelSet, scene: Scene, index: int) -> dict[str, np.ndarray]:
    """What the network sees of scene number `index`, and what it should say. Runs in the worker
    processes."""
    pixels = (scene.pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
    asked = targets(scene, STRIDE, 1 + index % 2, labels)
    return {"pixels": pixels, "teacher_trust": np.float32(scene.teacher_trust)} | asked


def embedded_card(recipe: Recipe, labels: LabelSet) -> ModelCard:
    """What the finished file says of itself."""
    return replace(CARD, name=recipe.name, labels=labels, license=recipe.license)


def spare_bf16(network: nn.Module) -> None:
    """Keep depthwise convolutions with a stride or a large kernel in fp32 under autocast: on CPUs,
    their way back takes two to six times as long in bf16 (docs/lab-book.md)."""
    for conv in network.modules():
        if (
            isinstance(conv, nn.Conv2d)
            and conv.groups > 1
            and (conv.stride[0] > 1 or conv.kernel_size[0] > 3)
        ):
            conv.forward = partial(_in_fp32, conv)


def _in_fp32(conv: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        y = F.conv2d(
            x.float(), conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
    return y.to(x.dtype)


@torch.no_grad()
def init_from_bodypix(teacher: BodyPix, model: CentreParser, share: float = 0.0) -> CentreParser:
    """Give the model BodyPix's backbone and heads, but for `share` of its own weights there, as in
    arXiv 2109.01903."""
    for own, theirs in ((model.backbone, teacher.backbone), (model.teacher_heads, teacher.heads)):
        given = theirs.state_dict()
        for name, weight in own.state_dict().items():
            weight.lerp_(given[name], 1 - share)
    return model
