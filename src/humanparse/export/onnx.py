"""Write a PyTorch network as an ONNX file that runs at any size and carries its card.

The file is kept only if it agrees with PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.errors import ModelError, OptionError
from humanparse.export.agreement import difference
from humanparse.export.graph import INPUT, fold, merge_pads
from humanparse.system.files import whole_file

OPSET = 17
TRACED_HW = (256, 192)
PRECISIONS = ("fp32", "fp16")
# Tensors of fewer values stay in fp32: they take little space, and norms are sensitive.
MIN_FP16_VALUES = 1024


def write_onnx(
    network: nn.Module,
    out: str | Path,
    card: ModelCard,
    outputs: tuple[str, ...],
    *,
    check_sizes_hw: tuple[tuple[int, int], ...],
    tolerance: float,
    units: Mapping[str, float] | None = None,
    share: float = 1.0,
    precision: str = "fp32",
) -> float:
    """Write a network as an ONNX file, and return how far it differs from PyTorch.

    Args:
        network: Takes pixels, float32 (B, 3, H, W), and returns a dict of tensors.
        out: The .onnx file to write; it appears whole or not at all.
        card: What the file says about itself.
        outputs: Names of the outputs to keep; the size of those with four axes follows the input.
        check_sizes_hw: Input sizes (height, width) at which to compare; none may be TRACED_HW.
        tolerance: The largest accepted difference.
        units: What counts as a difference of one, by output name.
        share: The share of the values that must agree, see `agreement.difference`.
        precision: "fp32", or "fp16" to store the weights in half the space, rounded; the
            arithmetic stays fp32. With "fp16" the weights of `network` are rounded in place.

    Returns:
        The largest difference at any of the sizes, as `agreement.difference` measures it.

    Raises:
        OptionError: For an unknown precision.
        ModelError: If the file differs by more than `tolerance`; `out` is then left as it was.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}"
        )
    if precision == "fp16":
        _round_weights(network)
    wrapped = _Outputs(network, outputs).eval()
    with whole_file(Path(out)) as part:
        _trace(wrapped, part, outputs)
        model = onnx.load(part)
        if any(node.op_type == "Pad" for node in model.graph.node):
            fold(model, part)
            merge_pads(model, onnx.load(part))
        onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
        if precision == "fp16":
            _store_as_fp16(model.graph)
        onnx.save(model, part)
        del model
        found = _difference_from_torch(wrapped, part, check_sizes_hw, units, share)
        if not found <= tolerance:  # so that NaN counts as a difference too
            raise ModelError(
                f"the exported model differs from PyTorch by {found:.2g}, more than {tolerance}; "
                f"{out} was not written"
            )
    return found


class _Outputs(nn.Module):
    """Returns the wanted outputs as a tuple, as tracing needs them."""

    def __init__(self, network: nn.Module, outputs: tuple[str, ...]):
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        found = self.network(pixels)
        return tuple(found[name] for name in self.outputs)


def _difference_from_torch(
    network: _Outputs,
    file: Path,
    sizes_hw: tuple[tuple[int, int], ...],
    units: Mapping[str, float] | None,
    share: float,
) -> float:
    """The largest difference on random pictures of these sizes, see `agreement.difference`."""
    engine = OnnxRuntimeEngine(file)
    generator = torch.Generator().manual_seed(0)
    differences = []
    for height, width in sizes_hw:
        pixels = torch.rand(1, 3, height, width, generator=generator) * 2 - 1
        with torch.inference_mode():
            values = [value.numpy() for value in network(pixels)]
        expected = dict(zip(network.outputs, values, strict=True))
        actual = engine.run(pixels.numpy())
        differences.append(difference(expected, actual, units=units, share=share))
    return float(np.max(differences))  # unlike Python's max, this keeps NaN


def _trace(network: _Outputs, file: Path, outputs: tuple[str, ...]) -> None:
    example = torch.zeros(1, 3, *TRACED_HW)
    with torch.inference_mode():
        maps = [
            name for name, value in zip(outputs, network(example), strict=True) if value.ndim == 4
        ]
    dynamic = {INPUT: {2: "height", 3: "width"}} | {
        name: {2: f"{name}_rows", 3: f"{name}_columns"} for name in maps
    }
    with warnings.catch_warnings():
        # The newer exporter needs another package and takes three times as long for the same graph.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # Whether a size was fixed by tracing is checked afterwards.
        tracer_warning = torch.jit.TracerWarning  # type: ignore[attr-defined]  # public, undeclared
        warnings.filterwarnings("ignore", category=tracer_warning)
        # The network is in eval mode.
        warnings.filterwarnings("ignore", "It is recommended that constant folding be turned off")
        torch.onnx.export(
            network,
            (example,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes=dynamic,
            # leaves BatchNorm to the engines, and the weights as they are
            training=torch.onnx.TrainingMode.PRESERVE,
        )


def _round_weights(network: nn.Module) -> None:
    """Round all large weights to the nearest fp16 value, in place; storing them loses no more."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.numel() >= MIN_FP16_VALUES:
                weight.copy_(weight.half().float())


def _store_as_fp16(graph: onnx.GraphProto) -> None:
    """Replace every large tensor that fp16 holds exactly by an fp16 tensor and a cast.

    Engines undo the cast while they load the file.
    """
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < MIN_FP16_VALUES:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_fp16"))
            casts.append(
                onnx.helper.make_node("Cast", [f"{name}_fp16"], [name], to=onnx.TensorProto.FLOAT)
            )
    for cast in reversed(casts):
        graph.node.insert(0, cast)
