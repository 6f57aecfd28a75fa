"""Export to one ONNX file, from a photo's pixels to its maps: for browsers, phones and C++.

It contains the rules of `preprocess.py` and of `postprocess/centres.py` in ONNX's operators, with
these differences: borders between classes and people are found at the network's resolution and
enlarged to the photo's, all patches of parts are joined at once, and small photos are enlarged in
fractions rather than in OpenCV's fixed point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.errors import ModelError, OptionError
from humanparse.export.agreement import Agreement
from humanparse.export.graph import Written, read_model, the_onnx_package
from humanparse.export.single_graph.builder import Builder, Value
from humanparse.export.single_graph.people import GraphMaps, find_people, paint
from humanparse.image import read_image
from humanparse.labels import LabelSet
from humanparse.parser import HumanParser
from humanparse.pipeline import MIN_SCORE
from humanparse.postprocess import CentreSettings
from humanparse.preprocess import Preprocess
from humanparse.system.files import whole_file

if TYPE_CHECKING:
    import onnx

PHOTO = "photo"
# Key of the metadata: name, classes and licence. It is not a ModelCard, since HumanParser cannot
# open such a file.
FACTS_KEY = "humanparse_whole"
OUTPUTS = ("labels", "people", "scores")
# The share of a photo's labels that must be the same as HumanParser's.
MIN_AGREEMENT = 0.9


def write_single_graph(model: Path, out: Path, photos: Sequence[Path] = ()) -> Written:
    """Write a model with the head "centres" as one graph, from pixels to maps.

        photo    uint8 (1, H, W, 3) RGB, upright, of any size
        labels   uint8 (1, H, W), the class of each pixel
        people   uint8 (1, H, W), 0 nobody, 1..n the person, from left to right
        scores   float32 (n,) of person 1..n

    Args:
        model: The .onnx file of the model.
        out: The .onnx file to write; it appears whole or not at all.
        photos: Photos on which the graph is compared with HumanParser.

    Raises:
        OptionError: If the model has another head.
        ModelError: If fewer than MIN_AGREEMENT of a photo's labels agree.
    """
    network, card = read_model(model)
    if card.head != "centres" or card.preprocess.filter != "area" or card.preprocess.fit_hw:
        raise OptionError(
            f"{card.name} has the head {card.head!r}, whose post-processing is not available in "
            "ONNX's operators; use --to triton, which has all of it, or run the model file itself "
            "with ONNX Runtime"
        )
    onnx = the_onnx_package()
    parser = HumanParser(model, engine="onnxruntime")
    made = _around(network, card.preprocess, card.labels, CentreSettings(**card.settings))
    facts = {"name": card.name, "classes": list(card.labels.names), "license": card.license}
    onnx.helper.set_model_props(made, {FACTS_KEY: json.dumps(facts)})
    onnx.checker.check_model(made)
    with whole_file(out) as part:
        onnx.save(made, part)
        agreement = _agree(parser, part, photos)
    return Written((out,), agreement)


def _agree(parser: HumanParser, whole: Path, photos: Sequence[Path]) -> tuple[Agreement, ...]:
    """Compare the graph with HumanParser, photo by photo. Raises ModelError if they disagree."""
    run = runner(whole)
    run(np.random.default_rng(0).integers(0, 256, (97, 130, 3), np.uint8))
    found = []
    for photo in photos:
        pixels = read_image(photo).pixels
        wanted, (labels, people, _) = parser.parse(pixels), run(pixels)
        labels_agree = float((wanted.label_map == labels).mean())
        people_agree = float((wanted.person_map == people).mean())
        if labels_agree < MIN_AGREEMENT:
            raise ModelError(
                f"only {labels_agree:.1%} of the labels of {photo.name} are the same as "
                "HumanParser's; nothing was written"
            )
        found.append(Agreement(photo.name, 0.0, labels_agree, people_agree))
    return tuple(found)


def runner(file: Path) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a function that runs such a file in ONNX Runtime.

    The function takes uint8 (H, W, 3) and returns labels (H, W), people (H, W) and scores (n,).
    """
    engine = OnnxRuntimeEngine(file)

    def run(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = engine.run(pixels[None])
        return found["labels"][0], found["people"][0], found["scores"]

    return run


def _around(
    network: onnx.ModelProto, rule: Preprocess, labels: LabelSet, settings: CentreSettings
) -> onnx.ModelProto:
    """The network with its pre- and post-processing around it."""
    onnx = the_onnx_package()
    inner = onnx.compose.add_prefix(network, "network/").graph
    op = Builder("whole")
    photo_hw = op.cut(op.Shape(Value(op, PHOTO)), [1], [3], [0])
    resized_hw, pixels = _prepare(op, photo_hw, rule)
    op.nodes.append(onnx.helper.make_node("Identity", [pixels.name], [inner.input[0].name]))
    before = len(op.nodes)
    outputs = {one.name.removeprefix("network/"): Value(op, one.name) for one in inner.output}
    people = find_people(op, outputs, resized_hw, labels, settings, MIN_SCORE)
    maps: GraphMaps = paint(op, people, len(labels), resized_hw, photo_hw)
    for name, value in zip(OUTPUTS, (maps.labels, maps.people, maps.scores), strict=True):
        op.nodes.append(onnx.helper.make_node("Identity", [value.name], [name]))
    kinds, sizes = onnx.TensorProto, (1, "height", "width")
    declare = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [*op.nodes[:before], *inner.node, *op.nodes[before:]],
        "photo_to_maps",
        [declare(PHOTO, kinds.UINT8, (*sizes, 3))],
        [
            *(declare(name, kinds.UINT8, sizes) for name in OUTPUTS[:2]),
            declare(OUTPUTS[2], kinds.FLOAT, ("number",)),
        ],
        [*inner.initializer, *(tensor for _, tensor in op.constants.values())],
    )
    return onnx.helper.make_model(
        graph, opset_imports=network.opset_import, ir_version=network.ir_version
    )


def _prepare(op: Builder, photo_hw: Value, rule: Preprocess) -> tuple[Value, Value]:
    """As Preprocess.__call__: the resized photo's size and the network's input.

    int64 (2,) and float32 (1, 3, H', W').
    """
    resized_hw = _resized(op, photo_hw, rule)
    shrunk_hw = op.Min(resized_hw, photo_hw)
    # (1, H, W, 3)
    whole = op.cast(Value(op, PHOTO), np.float32)
    tall = _mean_along(op, whole, 1, _item(op, photo_hw, 0), _item(op, shrunk_hw, 0))
    # The sums along the columns were exact; those along the rows are of fractions, for which
    # float32 would not be exact enough.
    small = _mean_along(
        op, op.cast(tall, np.float64), 2, _item(op, photo_hw, 1), _item(op, shrunk_hw, 1)
    )
    # (1, 3, h, w)
    small = op.Transpose(op.cast(op.Round(small), np.float32), perm=[0, 3, 1, 2])
    resized = _enlarged(op, small, shrunk_hw, resized_hw)
    mean, std = (
        np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (rule.mean, rule.std)
    )
    rest = op.Mod(op.Sub(rule.multiple, op.Mod(resized_hw, rule.multiple)), rule.multiple)
    return resized_hw, op.Pad((resized - mean) / std, op.Concat([0] * 6, rest, axis=0))


def _resized(op: Builder, photo_hw: Value, rule: Preprocess) -> Value:
    """As Preprocess.geometry: int64 (2,). In float64 as there, so that both round alike."""
    sides = op.cast(photo_hw, np.float64)
    height, width = _item(op, sides, 0), _item(op, sides, 1)
    if rule.area_px:
        scale = op.Sqrt(op.Div(np.float64(rule.area_px), height * width))
    else:
        scale = op.Div(np.float64(rule.short_side), op.Min(height, width))
    shrink = op.Min(
        np.array([1.0]), op.Div(np.float64(rule.max_long_side), op.Max(height, width) * scale)
    )
    return op.Max(op.cast(sides * scale * shrink + np.float64(0.5), np.int64), [1])


def _mean_along(op: Builder, values: Value, axis: int, length: Value, wanted: Value) -> Value:
    """Shrink one axis to `wanted` cells, each the mean of the pixels and fractions that it covers.

    This uses running sums, so the work depends on the size of the photo alone, not on how much it
    shrinks. length, wanted: int64 (1,).
    """
    step = op.cast(length, np.float64) / op.cast(wanted, np.float64)
    # (wanted + 1,)
    edges = op.range(wanted + 1, np.float64) * step
    first = op.Min(op.cast(edges, np.int64), length - 1)
    part = edges - op.cast(first, np.float64)
    sums = op.Gather(op.CumSum(values, axis, exclusive=1), first, axis=axis)
    shape = [-1 if one == axis else 1 for one in range(4)]
    like = np.float32 if axis == 1 else np.float64
    cut = op.Gather(values, first, axis=axis) * op.cast(op.Reshape(part, shape), like)

    def steps(at_edges: Value) -> Value:
        ends = op.cut(at_edges, [1], [np.iinfo(np.int64).max], [axis])
        return ends - op.cut(at_edges, [0], [-1], [axis])

    return (steps(sums) + steps(cut)) / op.cast(step, like)


def _enlarged(op: Builder, pixels: Value, from_hw: Value, to_hw: Value) -> Value:
    """Enlarge 8-bit pixels exactly as cv2.resize with INTER_LINEAR does.

    That has weights of 11 bits, and rounds down twice. pixels: float32 (1, 3, h, w), whole numbers;
    from_hw, to_hw: int64 (2,). If both sizes are equal, the pixels stay as they are.
    """
    left, right, near, far = _between(op, _item(op, from_hw, 1), _item(op, to_hw, 1))
    # below 2^19: exact
    rows = op.Gather(pixels, left, axis=3) * near + op.Gather(pixels, right, axis=3) * far
    rows = op.cast(op.Floor(rows * np.float32(1 / 16)), np.float64)
    above, below, near, far = _between(op, _item(op, from_hw, 0), _item(op, to_hw, 0))
    high, low = (
        op.Floor(
            op.Gather(rows, index, axis=2)
            * op.Reshape(op.cast(weight, np.float64) * np.float64(2**-16), [-1, 1])
        )
        for index, weight in ((above, near), (below, far))
    )  # up to 1020 together
    return op.cast(op.Floor((high + low + np.float64(2)) * np.float64(1 / 4)), np.float32)


def _between(op: Builder, length: Value, wanted: Value) -> tuple[Value, Value, Value, Value]:
    """For each of `wanted` places along an axis the two nearest cells, int64, and their weights,
    float32, which add up to 2048."""
    step = op.cast(length, np.float64) / op.cast(wanted, np.float64)
    place = op.cast(
        (op.range(wanted, np.float64) + np.float64(0.5)) * step - np.float64(0.5), np.float32
    )
    first = op.Floor(place)
    far = place - first
    lower, upper = (
        op.Max(op.Min(op.cast(first + shift, np.int64), length - 1), [0]) for shift in (0.0, 1.0)
    )
    near, far = (op.Round(share * 2048.0) for share in (op.Sub(1.0, far), far))
    return lower, upper, near, far


def _item(op: Builder, values: Value, index: int) -> Value:
    """values[index], as (1,)."""
    return op.cut(values, [index], [index + 1], [0])
