"""What all ways out share: reading a model file, its sizes and its batch opened or fixed, and
whether two files agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.errors import BrokenModel, MissingExtra, ModelError
from humanparse.image import read_image

if TYPE_CHECKING:
    import onnx

INPUT = "pixels"  # what every file of ours calls it: float32 (1, 3, H, W)
TRIAL_HW = (192, 256)  # of the noise that files are tried with
# largest difference between two files, in tenths of an output's largest value
TOLERANCE = 1e-3

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Agreement:
    """How far two ways of computing the same lie apart on one picture.

    difference: of the network's outputs, see `difference`. labels, people: share of the photo's
    pixels where both maps are equal, None if no maps were made.
    """

    picture: str
    difference: float = 0.0
    labels: float | None = None
    people: float | None = None


@dataclass(frozen=True)
class Written:
    """What an export left behind: its files, how well they agree with the model they were made
    from, and what to know."""

    files: tuple[Path, ...]
    agreement: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = field(default=())


def load(file: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """The graph and the card of a model file. Raises BrokenModel, or MissingExtra without the
    package onnx."""
    onnx = the_onnx_package()
    try:
        model = onnx.load(file)
    except Exception as error:  # protobuf raises a class of its own
        raise BrokenModel(
            f"{file} is not an ONNX model that can be read; give an .onnx file of humanparse"
        ) from error
    card = ModelCard.from_metadata({one.key: one.value for one in model.metadata_props}, str(file))
    return model, card


def the_onnx_package():
    """The module onnx, to read and change graphs. Raises MissingExtra."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("exporting needs the package onnx", "export") from error
    return onnx


def set_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Let the file carry its card."""
    the_onnx_package().helper.set_model_props(model, {METADATA_KEY: card.to_json()})


def fix_size(model: onnx.ModelProto, input_hw: tuple[int, int]) -> None:
    """Give the input one size for ever; what the outputs' sizes are then, is found when the graph
    is folded."""
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
    """Whether a graph whose batch was opened gives for two pictures at once what it gives for each.

    Tried, not guessed: an exporter may have written a batch of one into the middle of the graph.
    """
    onnx = the_onnx_package()
    file = folder / "batch.onnx"
    onnx.save(model, file)
    pair = np.random.default_rng(0).normal(size=(2, 3, *TRIAL_HW)).astype(np.float32)
    try:
        run = OnnxRuntimeEngine(file).run
        together, apart = run(pair), [run(pair[index : index + 1]) for index in (0, 1)]
    except Exception:  # whatever ONNX Runtime objects to, it is a no
        return False
    return all(
        value.shape[0] == 2
        and difference({name: value[i : i + 1]}, {name: apart[i][name]}) <= TOLERANCE
        for name, value in together.items()
        for i in (0, 1)
    )


def fold(model: onnx.ModelProto, out: Path) -> None:
    """Write the graph with everything computed that does not depend on the picture, in ONNX's own
    operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def difference(wanted: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> float:
    """The largest difference in any output, in tenths of that output's largest value: rounding
    grows with it.

    Infinite if an output is missing, of another shape or not a number.
    """
    worst = 0.0
    for name, value in wanted.items():
        if name not in got or got[name].shape != value.shape or not np.isfinite(got[name]).all():
            return float("inf")
        unit = max(1.0, float(np.abs(value).max(initial=0)) / 10)
        worst = max(worst, float(np.abs(value - got[name]).max(initial=0)) / unit)
    return worst


def compare(
    wanted: Run, got: Run, inputs: Iterable[tuple[str, np.ndarray]], tolerance: float
) -> tuple[Agreement, ...]:
    """Run both on each named input. Raises ModelError if they differ by more than `tolerance`
    anywhere."""
    found = tuple(
        Agreement(name, difference(wanted(pixels), got(pixels))) for name, pixels in inputs
    )
    if bad := [one for one in found if not one.difference <= tolerance]:
        raise ModelError(
            f"the exported model differs by {bad[0].difference:.2g} on {bad[0].picture}, over {tolerance:g}; "
            "nothing was written"
        )
    return found


def inputs_of(photos: Sequence[Path], card: ModelCard) -> list[tuple[str, np.ndarray]]:
    """Each photo as the network wants it, and a picture of noise: (name, float32 (1, 3, H, W))."""
    noise = np.random.default_rng(0).integers(0, 256, (*TRIAL_HW, 3), np.uint8)
    named = [("noise", noise), *((photo.name, read_image(photo).pixels) for photo in photos)]
    return [(name, card.preprocess(pixels)[0]) for name, pixels in named]
