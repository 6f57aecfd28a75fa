"""Checkpoint → ONNX file of the embedded model, with its card inside; checked against PyTorch before it is kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.labels import CIHP
from humanparse.model.centre_parser import CentreParser
from humanparse.preprocess import Preprocess
from humanparse.training.loop import trained_model
from humanparse.weights.catalog import METADATA_KEY, ModelCard

OPSET = 17
OUTPUTS = ("classes", "person", "centre", "offset")
CHECK_SIZES = ((160, 224), (320, 320), (480, 640), (96, 512))  # none of them is the size that was traced
TOLERANCE = 2e-3

CARD = ModelCard(
    name="humanparse-small",
    labels=CIHP,
    head="centres",
    preprocess=Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3, area_px=480 * 640, max_long_side=1280, multiple=16),
    license="Apache-2.0",
)


def export(checkpoint: Path, out: Path, card: ModelCard = CARD) -> float:
    """Write the averaged weights of a checkpoint as ONNX. Returns the largest difference from PyTorch, in logits or
    units of 64 pixels; raises ValueError and writes nothing if it exceeds TOLERANCE at any of CHECK_SIZES."""
    network = _Outputs(trained_model(checkpoint)).eval()
    beside = out.with_suffix(".part")
    dynamic = {name: {2: "height", 3: "width"} for name in ("pixels", *OUTPUTS)}
    torch.onnx.export(
        network, (torch.zeros(1, 3, 256, 192),), str(beside), dynamo=False, opset_version=OPSET,
        input_names=["pixels"], output_names=list(OUTPUTS), dynamic_axes=dynamic,
    )
    model = onnx.load(beside)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, beside)
    difference = largest_difference(network, beside)
    if difference > TOLERANCE:
        beside.unlink()
        raise ValueError(f"the exported model differs from PyTorch by {difference:.2g}, more than {TOLERANCE}")
    os.replace(beside, out)
    return difference


def largest_difference(network: nn.Module, file: Path) -> float:
    """The largest absolute difference between PyTorch's and ONNX Runtime's outputs on random pictures of CHECK_SIZES."""
    engine = OnnxRuntimeEngine(file)
    worst = 0.0
    for height, width in CHECK_SIZES:
        pixels = torch.rand(1, 3, height, width) * 2 - 1
        with torch.inference_mode():
            wanted = network(pixels)
        got = engine.run(pixels.numpy())
        for name, value in zip(OUTPUTS, wanted, strict=True):
            unit = 64 if name == "offset" else 1
            worst = max(worst, float(np.abs(value.numpy() - got[name]).max()) / unit)
    return worst


class _Outputs(nn.Module):
    """The four maps as a tuple, which is what ONNX export wants; training's extra output is left behind."""

    def __init__(self, model: CentreParser):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(pixels)
        return tuple(outputs[name] for name in OUTPUTS)
