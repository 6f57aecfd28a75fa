"""A network → an ONNX file that runs at any size, carries its card, and is kept only if it agrees
with PyTorch."""

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
from humanparse.system.files import whole_file

OPSET = 17
TRACED_HW = (256, 192)
PRECISIONS = ("fp32", "fp16")
SMALL = 1024  # tensors of fewer values stay in fp32: they weigh nothing, and norms are sensitive


def export(
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
    """Write the network as ONNX. Returns the difference from PyTorch, as `difference` measures it.

    network: takes pixels (B, 3, H, W) and gives a dict; `outputs` are the names to keep. Those with
    four axes follow the size.
    check_sizes_hw: where to compare; none may be TRACED_HW. units: what counts as a difference of
    one, by output name.
    share: of the values that must agree, for networks that take decisions inside.
    precision: "fp16" stores the weights in half the space, rounded; the arithmetic stays fp32.
    Changes the network so. Raises ModelError, and leaves `out` as it was, if the file differs by
    more than `tolerance` anywhere.
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
        onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
        if precision == "fp16":
            _store_as_fp16(model.graph)
        onnx.save(model, part)
        del model
        found = difference(wrapped, part, outputs, check_sizes_hw, units or {}, share)
        if not found <= tolerance:  # so that "not a number" is a difference as well
            raise ModelError(
                f"the exported model differs from PyTorch by {found:.2g}, over {tolerance}; {out} was not written"
            )
    return found


def difference(
    network: nn.Module,
    file: Path,
    outputs: tuple[str, ...],
    sizes_hw: tuple[tuple[int, int], ...],
    units: Mapping[str, float],
    share: float = 1.0,
) -> float:
    """How far PyTorch's and ONNX Runtime's outputs lie apart on random pictures of these sizes: the
    largest difference among the `share` of values that agree best, in the worst output.

    In units of the output, or tenths of its largest value where that is more: rounding grows with
    it.
    """
    engine = OnnxRuntimeEngine(file)
    generator = torch.Generator().manual_seed(0)
    differences = []
    for height, width in sizes_hw:
        pixels = torch.rand(1, 3, height, width, generator=generator) * 2 - 1
        with torch.inference_mode():
            wanted = network(pixels)
        got = engine.run(pixels.numpy())
        for name, value in zip(outputs, wanted, strict=True):
            unit = units.get(name, 1.0) * max(
                1.0, float(value.abs().max()) / units.get(name, 1.0) / 10
            )
            differences.append(float(np.quantile(np.abs(value.numpy() - got[name]), share)) / unit)
    return float(np.max(differences))  # unlike Python's max, keeps "not a number"


class _Outputs(nn.Module):
    """The wanted outputs as a tuple, which is what tracing wants."""

    def __init__(self, network: nn.Module, outputs: tuple[str, ...]):
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        found = self.network(pixels)
        return tuple(found[name] for name in self.outputs)


def _trace(network: _Outputs, file: Path, outputs: tuple[str, ...]) -> None:
    example = torch.zeros(1, 3, *TRACED_HW)
    with torch.inference_mode():
        maps = [
            name for name, value in zip(outputs, network(example), strict=True) if value.ndim == 4
        ]
    dynamic = {"pixels": {2: "height", 3: "width"}} | {
        name: {2: f"{name}_rows", 3: f"{name}_columns"} for name in maps
    }
    with warnings.catch_warnings():
        # The newer exporter needs one more package and three times as long for the same graph.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # whether a size was baked in is checked, not guessed
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        # the network is in eval mode
        warnings.filterwarnings("ignore", "It is recommended that constant folding be turned off")
        torch.onnx.export(
            network,
            (example,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=list(outputs),
            dynamic_axes=dynamic,
            # leaves BatchNorm to the engines, and the weights as they are
            training=torch.onnx.TrainingMode.PRESERVE,
        )


def _round_weights(network: nn.Module) -> None:
    """Round all large weights to the nearest fp16 value, where they are, so that storing them so
    loses nothing more."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.numel() >= SMALL:
                weight.copy_(weight.half().float())


def _store_as_fp16(graph: onnx.GraphProto) -> None:
    """Turn every large tensor that fp16 holds exactly into an fp16 tensor and a cast, which engines
    undo while loading."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
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
