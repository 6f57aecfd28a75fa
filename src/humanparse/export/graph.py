"""What the exports share: reading a model file and changing its ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.errors import BrokenModel, MissingExtra
from humanparse.export.agreement import NOISE_HW, TOLERANCE, Agreement, difference

if TYPE_CHECKING:
    import onnx

Lengths = tuple[int, int, int, int]  # top, left, bottom, right
INPUT = "pixels"  # the name of every model file's input: float32 (1, 3, H, W)


@dataclass(frozen=True)
class Written:
    """What an export has written.

    Attributes:
        files: The files.
        agreement: How well they agree with the model that they were made from.
        notes: What the user should know, one line each.
    """

    files: tuple[Path, ...]
    agreement: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = ()


def read_model(file: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Return the graph and the card of a model file.

    Args:
        file: An .onnx file written by humanparse.

    Raises:
        BrokenModel: If it is not an ONNX model, or carries no card.
        MissingExtra: Without the package onnx.
    """
    onnx = the_onnx_package()
    try:
        model = onnx.load(file)
    except Exception as error:  # protobuf raises a class of its own
        raise BrokenModel(
            f"{file} is not a readable ONNX model; give an .onnx file written by humanparse"
        ) from error
    card = ModelCard.from_metadata({one.key: one.value for one in model.metadata_props}, str(file))
    return model, card


def the_onnx_package() -> ModuleType:
    """Return the module onnx, which reads and changes graphs. Raises MissingExtra without it."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("exporting needs the package onnx", "export") from error
    return onnx


def set_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Store the card in the model's metadata, in place of whatever was there."""
    the_onnx_package().helper.set_model_props(model, {METADATA_KEY: card.to_json()})


def fix_size(model: onnx.ModelProto, input_hw: tuple[int, int]) -> None:
    """Fix the input size, in place; output shapes are inferred later by constant folding.

    Args:
        model: A graph with one input of any height and width.
        input_hw: Height and width of the input in pixels.
    """
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    for axis, size in zip(sizes, (1, 3, *input_hw), strict=True):
        axis.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def open_batch(model: onnx.ModelProto) -> None:
    """Let the first axis of the input and of every output have any length, under one name."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for output in model.graph.output:
        for axis, name in zip(
            output.type.tensor_type.shape.dim[2:], ("rows", "columns"), strict=False
        ):
            if axis.dim_param:
                axis.dim_param = f"{output.name}_{name}"


def takes_batches(model: onnx.ModelProto, folder: Path) -> bool:
    """Return whether a graph gives the same for two pictures at once as for each alone.

    This is tried rather than inferred: an exporter may have fixed a batch of one somewhere inside
    the graph.

    Args:
        model: A graph that `open_batch` has changed.
        folder: Where a temporary file, `batch.onnx`, may be written; it is left there.
    """
    file = folder / "batch.onnx"
    the_onnx_package().save(model, file)
    pair = np.random.default_rng(0).normal(size=(2, 3, *NOISE_HW)).astype(np.float32)
    try:
        run = OnnxRuntimeEngine(file).run
        together, apart = run(pair), [run(pair[index : index + 1]) for index in (0, 1)]
    except Exception:  # whatever ONNX Runtime objects to, the graph takes no batches
        return False
    return all(
        value.shape[0] == 2
        and difference({name: value[i : i + 1]}, {name: apart[i][name]}) <= TOLERANCE
        for name, value in together.items()
        for i in (0, 1)
    )


def fold(model: Path | onnx.ModelProto, out: Path) -> None:
    """Write the graph with all constants computed and BatchNorm folded into the convolutions.

    Only ONNX's own operators are used, so every runtime can read the result.

    Args:
        model: An .onnx file, or a graph in memory.
        out: The .onnx file to write.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # higher levels use operators that only ONNX Runtime has
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def merge_pads(model: onnx.ModelProto, folded: onnx.ModelProto) -> None:
    """Let convolutions pad by themselves where a node does so before them, in place.

    ONNX Runtime does not do it where the lengths are computed in the graph. Its convolutions then
    lose the layout in which they are fastest, and quantised ones stay in float.

    Args:
        model: The graph.
        folded: What `fold` makes of it, where the lengths are constants. May be the graph itself.
    """
    constants = {one.name: one for one in folded.graph.initializer}
    computed = {node.output[0]: node for node in folded.graph.node}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for pad in [node for node in model.graph.node if node.op_type == "Pad"]:
        known = computed.get(pad.output[0], pad)
        lengths, convolutions = _zeros_around(known, constants), users.get(pad.output[0], [])
        if lengths is None or any(node.op_type != "Conv" for node in convolutions):
            continue
        for convolution in convolutions:
            convolution.input[0] = pad.input[0]
            _pad_more(convolution, lengths)
        model.graph.node.remove(pad)


def _zeros_around(pad: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Lengths | None:
    """How many zeros a Pad adds above, left, below and right; None if it does anything else."""
    onnx = the_onnx_package()
    given = [constants.get(name) for name in pad.input[1:] if name]
    mode = next((one.s for one in pad.attribute if one.name == "mode"), b"constant")
    if mode != b"constant" or not given or any(one is None for one in given):
        return None
    lengths, *filling = (onnx.numpy_helper.to_array(one).ravel().tolist() for one in given)
    if len(lengths) != 8 or min(lengths) < 0 or any(lengths[axis] for axis in (0, 1, 4, 5)):
        return None
    return None if any(map(any, filling)) else (*lengths[2:4], *lengths[6:8])


def _pad_more(convolution: onnx.NodeProto, lengths: Lengths) -> None:
    onnx = the_onnx_package()
    old = next((one for one in convolution.attribute if one.name == "pads"), None)
    before = list(old.ints) if old else [0] * 4
    if old:
        convolution.attribute.remove(old)
    total = [a + b for a, b in zip(before, lengths, strict=True)]
    convolution.attribute.append(onnx.helper.make_attribute("pads", total))
