"""Which design learns most in the same time? Heads and backbones of the embedded model.

    python benchmarks/designs.py DATA [--minutes 8] [--design NAME ...] [--out runs/designs]
        [--together] [--init MODEL] [--guesses FOLDER] [--workers 2] [--share 1] [--markdown]

All designs are trained and measured in the same way. Each learns from the same scenes of DATA
(docs/training.md) for a number of minutes of wall-clock time, with a schedule that ends then, and
is measured on held-out photos and composites, and for its time on one photo, in turn with the
others. With --together they learn side by side from the very same scenes: for a GPU, on which
making scenes takes longer than learning from them. That was tried on a CPU only.

    centres-bodypix       the embedded model as it is: centre heads on BodyPix's MobileNetV1-0.75,
                          with BodyPix as the teacher
    centres-lean          the same with separable convolutions in the pyramid and before the heads
                          (three quarters of the processor time), and a wider and deeper context
    centres-mobilenetv2   the same heads on MobileNetV2-1.0 with ImageNet's weights (a .tflite file
                          below DATA/teachers; ai-edge-litert)
    queries-bodypix       M2FP's pixel and transformer decoder, small, with 50 queries, on
                          BodyPix's backbone
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.export import m2fp as m2fp_onnx
from humanparse.export.onnx import write_onnx
from humanparse.model.bodypix import MobileNetV1, load_bodypix
from humanparse.model.centre_parser import (
    CentreParser,
    Context,
    Deep,
    Pyramid,
    conv_bn,
    separable,
)
from humanparse.model.m2fp import M2FP
from humanparse.model.pixel_decoder import PixelDecoder
from humanparse.model.transformer_decoder import TransformerDecoder
from humanparse.parser import HumanParser
from humanparse.preprocess import Preprocess
from humanparse.training import loop
from humanparse.training import validate as held
from humanparse.training.data import Data, open_data
from humanparse.training.embedded import EmbeddedTask, init_from_bodypix, spare_bf16
from humanparse.training.export import CHECK_SIZES_HW, OUTPUTS
from humanparse.training.export import TOLERANCE as CENTRES_TOLERANCE
from humanparse.training.init import exported_tensors
from humanparse.training.log import TrainingLog
from humanparse.training.m2fp.task import M2FPTask
from humanparse.training.photos import TEACHER_FILE, load_photos
from humanparse.training.recipe import Recipe, Stage

MOBILENET_V2 = "teachers/tf2_mobilenet_v2_1.0_224_ptq.tflite"
# The blocks of MobileNetV2 (arXiv 1801.04381): expansion, channels, how many, stride of the first.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
SIZES = ((320, 16), (384, 12), (512, 6))
TOGETHER_SIZES = ((512, 40), (384, 72), (640, 26), (384, 72), (448, 52))  # for a GPU
TOGETHER_WARMUP = 150  # steps
PROBE_STEPS = 12  # the second half of them is timed, to choose the number of steps
COMPOSITES = 50
ROUNDS = 15  # photos parsed to measure the time


@dataclass(frozen=True)
class Design:
    """How a design is made, and the learning rates of its backbone and of the rest."""

    task: Callable[[Recipe, Data], loop.Task]
    backbone_lr: float
    lr: float


def centres_bodypix(recipe: Recipe, data: Data) -> EmbeddedTask:
    return EmbeddedTask(recipe, data.labels, data.class_weights, data.teacher)


def centres_mobilenet_v2(recipe: Recipe, data: Data) -> EmbeddedTask:
    task = OnMobileNetV2(recipe, data.labels, data.class_weights, None)
    task.network.backbone = Lifted(mobilenet_v2(data.teacher.parents[1] / MOBILENET_V2))
    return task


def queries_bodypix(recipe: Recipe, data: Data) -> M2FPTask:
    task = M2FPTask(replace(recipe, model="m2fp-tiny", points=3136), data.labels)
    backbone = ForQueries(load_bodypix(data.teacher, centred=True).backbone)
    task.network = M2FP(
        backbone,
        PixelDecoder((96, 192, 384, 384), dim=96, num_layers=2, num_heads=4, ffn_dim=256),
        TransformerDecoder(
            len(data.labels) + 1, dim=96, num_queries=50, num_layers=3, num_heads=4, ffn_dim=256
        ),
    )
    small = Preprocess(
        m2fp_onnx.MEAN, m2fp_onnx.STD, area_px=480 * 640, max_long_side=1280, multiple=32
    )
    task.card = replace(task.card, preprocess=small)
    return task


def centres_lean(recipe: Recipe, data: Data) -> EmbeddedTask:
    task = centres_bodypix(recipe, data)
    network = CentreParser(
        num_classes=len(data.labels),
        backbone=MobileNetV1(centred=True),
        context=Context(384, 224, dilations=(1, 2, 4, 2), deep=Deep(384, 512, 224, blocks=8)),
        pyramid=Pyramid(context_dim=224, dim8=112, dim4=64),
        centre_dim=64,
        wears_dim=128,
    )
    network.pyramid.smooth8, network.pyramid.smooth4 = separable(112, 5, 1), separable(64, 3, 1)
    network.class_features = separable(64, 3, 1)
    network.centre_features = nn.Sequential(separable(112, 5, 1, 64), separable(64, 5, 1))
    task.network = init_from_bodypix(task.teacher, network)
    return task


DESIGNS = {
    "centres-bodypix": Design(centres_bodypix, 3e-4, 2e-3),
    "centres-lean": Design(centres_lean, 3e-4, 2e-3),
    "centres-mobilenetv2": Design(centres_mobilenet_v2, 3e-4, 2e-3),
    "queries-bodypix": Design(queries_bodypix, 3e-4, 1e-3),
}


class OnMobileNetV2(EmbeddedTask):
    """Its layers between MobileNetV2 and the other parts are new, and learn as fast as those."""

    def groups(self, weight_decay: float) -> list[dict]:
        new = [
            one for name, one in self.network.backbone.named_parameters() if name.startswith("lift")
        ]
        known = {id(one) for one in new}
        groups = super().groups(weight_decay)
        for group in groups:
            group["params"] = [one for one in group["params"] if id(one) not in known]
        return [*groups, {"params": new, "part": "rest", "weight_decay": 0.0}]


class InvertedResidual(nn.Module):
    """Widen, filter, narrow; batch norm is folded in."""

    def __init__(self, in_dim: int, out_dim: int, expansion: int, stride: int):
        super().__init__()
        dim = in_dim * expansion
        self.widen = nn.Conv2d(in_dim, dim, 1) if expansion > 1 else None
        self.look = nn.Conv2d(dim, dim, 3, stride, 0, groups=dim)
        self.narrow = nn.Conv2d(dim, out_dim, 1)
        self.residual = stride == 1 and in_dim == out_dim

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.widen(x)) if self.widen is not None else x
        y = self.narrow(F.relu6(self.look(pad(y, self.look.stride[0]))))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 up to stride 32.

    It returns the last features at strides 4, 8, 16 and 32 (24, 32, 96 and 320 channels).
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 0)
        self.blocks, in_dim = nn.ModuleList(), 32
        for expansion, dim, count, stride in BLOCKS:
            for number in range(count):
                self.blocks.append(
                    InvertedResidual(in_dim, dim, expansion, stride if number == 0 else 1)
                )
                in_dim = dim

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        x, stride, features = F.relu6(self.stem(pad(pixels, 2))), 2, {}
        for block in self.blocks:
            if block.look.stride[0] == 2:
                features[stride] = x
                stride *= 2
            x = block(x)
        return features | {stride: x}


def pad(x: Tensor, stride: int) -> Tensor:
    """Pad as TensorFlow's "same" does for a kernel of 3 on an even size."""
    return F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))


def mobilenet_v2(path: Path) -> MobileNetV2:
    """Return MobileNetV2 with the weights of a quantised .tflite file, as floats."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    details = {one["index"]: one for one in interpreter.get_tensor_details()}

    def real(index: int) -> np.ndarray:
        quantised, scales = interpreter.get_tensor(index), details[index]["quantization_parameters"]
        axis = [1] * quantised.ndim
        axis[scales["quantized_dimension"]] = -1
        return quantised.astype(np.float32) * scales["scales"].reshape(axis)

    network = MobileNetV2()
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    found = [
        op
        for op in interpreter._get_ops_details()
        if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    for conv, op in zip(convolutions, found, strict=False):  # after the last comes the classifier
        weight = real(op["inputs"][1])  # (out, h, w, in), depthwise (1, h, w, out)
        weight = weight.transpose(
            (3, 0, 1, 2) if op["op_name"] == "DEPTHWISE_CONV_2D" else (0, 3, 1, 2)
        )
        conv.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        conv.bias.data.copy_(torch.from_numpy(real(op["inputs"][2])))
    return network


class Lifted(nn.Module):
    """MobileNetV2's narrow features, widened to the channels that the centre parser takes."""

    def __init__(self, backbone: MobileNetV2):
        super().__init__()
        self.backbone = backbone
        self.lift4, self.lift8, self.lift16 = (
            conv_bn(24, 96, 1),
            conv_bn(32, 192, 1),
            conv_bn(96, 384, 1),
        )
        self.lift32 = conv_bn(320, 384, 1)

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        x = self.backbone(pixels)
        coarse = F.interpolate(
            self.lift32(x[32]), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return {4: self.lift4(x[4]), 8: self.lift8(x[8]), 16: self.lift16(x[16]) + coarse}


class ForQueries(nn.Module):
    """BodyPix's backbone with a fourth level at stride 32, for M2FP's normalisation of pixels."""

    def __init__(self, backbone: MobileNetV1):
        super().__init__()
        self.backbone = backbone
        self.halve, self.deep = nn.Conv2d(384, 384, 4, 2, 1, groups=384), separable(384, 5, 1)
        self.register_buffer("scale", torch.tensor(m2fp_onnx.STD).reshape(3, 1, 1) / 127.5)
        self.register_buffer("shift", torch.tensor(m2fp_onnx.MEAN).reshape(3, 1, 1) / 127.5 - 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        x = self.backbone(pixels * self.scale + self.shift)
        return x[4], x[8], x[16], self.deep(self.halve(x[16]))


def learn(
    name: str, minutes: float, data: Path, out: Path, teacher_masks: Path
) -> tuple[loop.Task, int]:
    """Train a design.

    Returns its task, whose network has the averaged weights, and the number of steps.
    """
    out.mkdir(parents=True, exist_ok=True)
    design = DESIGNS[name]

    def run(steps: int, seconds: float | None = None) -> loop._Run:
        stage = Stage(
            steps, SIZES, lr=design.lr, backbone_lr=design.backbone_lr, warmup_steps=min(50, steps)
        )
        recipe = Recipe(
            name=name,
            stages=(stage,),
            ema=0.99,
            teacher_every=3,
            seed=21,
            device="cpu",
            save_every=10**6,
        )
        torch.manual_seed(recipe.seed)
        opened = open_data(recipe, data, teacher_masks)
        task = design.task(recipe, opened)
        task.to(torch.device("cpu"), torch.channels_last)
        spare_bf16(task.network)
        task.train_mode()
        return loop._Run(recipe, task, opened, torch.device("cpu"), out)

    with loop._threads(2), loop.kept_memory():
        probe = run(PROBE_STEPS)
        step, times = probe._step, []

        def timed(*arguments):
            times.append(time.monotonic())
            return step(*arguments)

        probe._step = timed
        with TrainingLog(out, 0, print) as log:
            probe.go(0, log)
        half = times[len(times) // 2 :]
        steps = round(minutes * 60 / ((half[-1] - half[0]) / (len(half) - 1)))
        real = run(steps)
        with TrainingLog(out, 0, print) as log:
            real.go(0, log)
    real.task.network.load_state_dict(real.average.state)
    return real.task, steps


def learn_together(
    names: list[str], options: argparse.Namespace
) -> Iterator[tuple[str, loop.Task, int]]:
    """Train designs side by side on the same scenes, and yield each as `learn` returns it.

    The rate falls along a cosine of the time that has passed, so that it ends when the time does.
    """
    device = loop.choose_device("auto")
    sizes = tuple((side, max(2, round(count * options.share))) for side, count in TOGETHER_SIZES)
    recipe = Recipe(
        stages=(Stage(10**6, sizes, warmup_steps=1),),
        guesses=str(options.guesses or ""),
        workers=options.workers,
        seed=21,
        mirror_every=3,
        bf16=device.type == "cuda",
        save_every=10**6,
    )
    opened = open_data(recipe, options.data, options.out / "masks")
    runs = {}
    for name in names:
        out = options.out / name
        out.mkdir(parents=True, exist_ok=True)
        own = replace(recipe, name=name)
        torch.manual_seed(recipe.seed)
        task = DESIGNS[name].task(own, opened)
        if options.init:
            print(name, f"starts with {take(task.network, options.init)} tensors of the model")
        task.to(device, torch.channels_last)
        task.train_mode()
        runs[name] = loop._Run(own, task, opened, device, out)
    begun, step = time.monotonic(), 0
    for batch in runs[names[0]]._batches(0, print):
        part = (time.monotonic() - begun) / (60 * options.minutes)
        if part >= 1:
            break
        step += 1
        rate = min(1, step / TOGETHER_WARMUP) * (1 + math.cos(math.pi * part)) / 2
        for name, run in runs.items():
            design = DESIGNS[name]
            for group in run.optimiser.param_groups:
                group["lr"] = rate * (
                    design.backbone_lr if group["part"] == "backbone" else design.lr
                )
            costs = run._step(batch, step)
            if step % 20 == 0:
                print(f"{part:.0%} step {step} {name} {sum(costs.values()):.3f}", flush=True)
    for name, run in runs.items():
        run.task.network.load_state_dict(run.average.state)
        yield name, run.task, step


def take(network: nn.Module, model: Path) -> int:
    """Take over the tensors of a model file whose names and shapes are the network's."""
    own, given = network.state_dict(), exported_tensors(model)[0]
    fit = {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    network.load_state_dict(fit, strict=False)
    return len(fit)


def exported(task: loop.Task, file: Path) -> HumanParser:
    """Export the network and return a parser with it."""
    task.network.cpu().eval()
    for conv in task.network.modules():
        vars(conv).pop("forward", None)  # which spare_bf16 has set
    if isinstance(task, EmbeddedTask):
        write_onnx(
            task.network,
            file,
            task.card,
            OUTPUTS,
            check_sizes_hw=CHECK_SIZES_HW,
            tolerance=10 * CENTRES_TOLERANCE,
            units={"offset": 64},
        )
    else:
        write_onnx(
            task.network,
            file,
            task.card,
            m2fp_onnx.OUTPUTS,
            check_sizes_hw=m2fp_onnx.CHECK_SIZES_HW,
            tolerance=10 * m2fp_onnx.TOLERANCE,
            share=m2fp_onnx.SHARE,
        )
    return HumanParser(file)


def figures(parser: HumanParser, data: Path) -> dict[str, float]:
    photos, row = load_photos(data, validation=True), {}
    for kind, scenes in {
        "single": held.singles(photos),
        "composite": islice(held.composites(photos), COMPOSITES),
    }.items():
        score = held.Score(held.MeanIoU(len(parser.labels)))
        for scene in scenes:
            score.add(parser, scene)
        row |= {f"{kind} mIoU": score.classes.mean, f"{kind} PQ": score.people.pq}
    return row


def median_ms(parsers: dict[str, HumanParser], data: Path) -> dict[str, float]:
    """Return the time of the network alone on one composite, measured in turn."""
    scene = next(held.composites(load_photos(data, validation=True)))
    times = {name: [] for name in parsers}
    for name, parser in chain.from_iterable([parsers.items()] * ROUNDS):
        times[name].append(parser.parse(scene.pixels).timings_ms["network"])
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    options = _options()
    masks = options.out / "masks"
    rows, parsers = {}, {}
    names = options.design or list(DESIGNS)
    learnt = (
        learn_together(names, options)
        if options.together
        else (
            (name, *learn(name, options.minutes, options.data, options.out / name, masks))
            for name in names
        )
    )
    for name, task, steps in learnt:
        parsers[name] = exported(task, options.out / f"{name}.onnx")
        size = sum(one.numel() for one in task.network.parameters()) / 1e6
        rows[name] = {"M parameters": size, "steps": steps} | figures(parsers[name], options.data)
        print(name, rows[name], flush=True)
    for name, value in median_ms(parsers, options.data).items():
        rows[name]["network ms"] = value
    show = partial(print, sep=" | ") if options.markdown else partial(print, sep="\t")
    columns = list(next(iter(rows.values())))
    show("design", *columns)
    for name, row in rows.items():
        show(name, *(f"{row[column]:.3g}" for column in columns))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with ccp/, backgrounds/ and teachers/")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="of training for each design (default: 8)"
    )
    parser.add_argument(
        "--design",
        action="append",
        choices=DESIGNS,
        help="only this one; may be given several times",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/designs"),
        help="folder for models (default: runs/designs)",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="the designs learn side by side from the same scenes; for centre heads",
    )
    parser.add_argument(
        "--init", type=Path, help="with --together: an .onnx file whose fitting tensors are taken"
    )
    parser.add_argument(
        "--guesses", type=Path, help="with --together: class maps of the photos with lists"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="with --together: makers of scenes (default: 2)"
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="with --together: batches are this share of those for a large GPU (default: 1)",
    )
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if not (options.data / TEACHER_FILE).is_file():
        parser.error(f"there is no {options.data / TEACHER_FILE}")
    return options


if __name__ == "__main__":
    main()
