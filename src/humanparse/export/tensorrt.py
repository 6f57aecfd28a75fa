"""Export for TensorRT: ONNX files that its parser reads, and the commands that build engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.errors import OptionError
from humanparse.export.agreement import TOLERANCE, Agreement, compare, network_inputs
from humanparse.export.graph import (
    INPUT,
    Written,
    fix_size,
    fold,
    read_model,
    set_card,
    the_onnx_package,
)
from humanparse.preprocess import Preprocess
from humanparse.system.files import whole_folder

if TYPE_CHECKING:
    import onnx

ANY_SIZE = "model.onnx"
PHOTO_HW = (480, 640)
WIDEST = 2.0  # photos up to 2:1 and 1:2 fit into the engine for any size
# Operators that our networks may use and that the ONNX parser of TensorRT 8.6 has (GridSample came
# in 8.5, LayerNormalization in 8.6).
SUPPORTED = frozenset(
    (
        "Add",
        "And",
        "ArgMax",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "Cos",
        "DequantizeLinear",
        "Div",
        "Einsum",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "Gemm",
        "GlobalAveragePool",
        "Greater",
        "GridSample",
        "Identity",
        "If",
        "InstanceNormalization",
        "LayerNormalization",
        "Less",
        "Loop",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "Or",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "ScatterND",
        "Shape",
        "Sigmoid",
        "Sin",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
    )
)


def write_tensorrt(
    model: Path, folder: Path, photos: Sequence[Path] = (), *, photo_hw: tuple[int, int] = PHOTO_HW
) -> Written:
    """Write ONNX files for TensorRT, and a README with the trtexec commands, into a new folder.

    The folder holds the model for any size, the model for photos of one size, and the README. It
    appears whole or not at all.

    Args:
        model: The .onnx file of the model.
        folder: The folder to write; it must not exist yet, or be empty.
        photos: Photos on which the file of one size must agree with the model, besides noise.
        photo_hw: Height and width in pixels of the photos, for example those of a camera, that the
            file of one size is made for.

    Raises:
        OptionError: If the folder is not empty.
        ModelError: If the outputs differ.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} already exists and is not empty; give a new folder")
    network, card = read_model(model)
    onnx = the_onnx_package()
    input_hw = card.preprocess.geometry(photo_hw).input_hw
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as made:
        files = made / ANY_SIZE, made / "model-{}x{}.onnx".format(*input_hw), made / "README.md"
        onnx.save(network, files[0])
        fix_size(network, input_hw)
        fold(network, files[1])
        folded = onnx.load(files[1])
        set_card(folded, card)
        onnx.checker.check_model(folded)
        onnx.save(folded, files[1])
        inputs = network_inputs(photos, card)
        agreement = _compare(model, files[1], inputs, input_hw)
        strange = sorted((operators(onnx.load(files[0])) | operators(folded)) - SUPPORTED)
        readme = _readme(card.name, card.preprocess, photo_hw, input_hw, strange)
        files[2].write_text(readme, "utf-8")
    notes = (f"not known to be in TensorRT's ONNX parser: {', '.join(strange)}",) if strange else ()
    return Written(tuple(folder / file.name for file in files), agreement, notes)


def _compare(
    model: Path, fixed: Path, inputs: Sequence[tuple[str, np.ndarray]], input_hw: tuple[int, int]
) -> tuple[Agreement, ...]:
    """Compare the file of one size with the model, on each picture cropped or padded to it."""

    def fitted(pixels: np.ndarray) -> np.ndarray:
        out = np.zeros((1, 3, *input_hw), np.float32)
        height, width = (
            min(one, other) for one, other in zip(pixels.shape[2:], input_hw, strict=True)
        )
        out[..., :height, :width] = pixels[..., :height, :width]
        return out

    named = [(name, fitted(pixels)) for name, pixels in inputs]
    return compare(OnnxRuntimeEngine(model).run, OnnxRuntimeEngine(fixed).run, named, TOLERANCE)


def operators(model: onnx.ModelProto) -> set[str]:
    """Return the names of a graph's operators, including those inside branches and loops."""
    found: set[str] = set()

    def walk(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            found.add(
                node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            )
            for attribute in node.attribute:
                for inner in (
                    *attribute.graphs,
                    *([attribute.g] if attribute.HasField("g") else []),
                ):
                    walk(inner)

    walk(model.graph)
    return found


def profile(rule: Preprocess) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return the input sizes (height, width) for TensorRT's optimisation profile.

    Returns:
        The smallest size, the usual one (of 4:3 photos) and the largest, for photos from 1:2 to
            2:1.
    """
    if rule.fit_hw:
        size = rule.padded(rule.fit_hw)
        return size, size, size
    short, long = 1000, round(1000 * WIDEST)
    sizes = [
        rule.geometry(photo_hw).input_hw
        for photo_hw in ((short, long), (long, short), (short, short))
    ]
    rows, columns = zip(*sizes, strict=True)
    return (min(rows), min(columns)), rule.geometry(PHOTO_HW).input_hw, (max(rows), max(columns))


def _shape(input_hw: tuple[int, int]) -> str:
    return "{}:1x3x{}x{}".format(INPUT, *input_hw)


def _readme(
    name: str,
    rule: Preprocess,
    photo_hw: tuple[int, int],
    input_hw: tuple[int, int],
    strange: list[str],
) -> str:
    least, usual, largest = (_shape(size) for size in profile(rule))
    fixed = "model-{}x{}".format(*input_hw)
    trouble = (
        f"Not known to be in TensorRT's ONNX parser: {', '.join(strange)}; "
        "trtexec will tell whether your version has them."
        if strange
        else "All operators of both files are in the ONNX parser of TensorRT 8.6 and later."
    )
    corner = "middle" if rule.fit_hw else "top left corner"
    return f"""# {name} for TensorRT

For photos of {photo_hw[1]}x{photo_hw[0]} and others of that aspect ratio, whose input is always
{input_hw[1]}x{input_hw[0]}:

    trtexec --onnx={fixed}.onnx --saveEngine={fixed}.plan --fp16

For photos of any size up to {WIDEST:g}:1 and 1:{WIDEST:g}:

    trtexec --onnx={ANY_SIZE} --saveEngine=model.plan --fp16 \\
        --minShapes={least} --optShapes={usual} --maxShapes={largest}

Without `--fp16` both compute in fp32. An engine runs only on the kind of GPU and with the version
of TensorRT that it was built with.

The input `{INPUT}` is float32, 1x3xHxW, RGB, (value - {list(rule.mean)}) /
{list(rule.std)}, with the photo in the {corner} and zeros up to multiples of
{rule.multiple}. `humanparse.preprocess` computes it and `humanparse.postprocess` reads the outputs;
in Python, `HumanParser(engine=...)` does both around any object with `metadata` and `run(pixels)`.

## What was checked, and what was not

ONNX's checker accepted {fixed}.onnx, and in ONNX Runtime its outputs agree with the model's.
{trouble}
Whether TensorRT builds the engines, how fast they are and how fp16 changes the results was not
checked: that takes an NVIDIA GPU.
"""
