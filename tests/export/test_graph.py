"""Changes of a graph that leave its results as they are."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from humanparse.engines import open_engine  # noqa: E402
from humanparse.export.graph import merge_pads, read_model  # noqa: E402
from humanparse.weights.catalog import model_file  # noqa: E402


def padded_convolution(filling: float) -> "onnx.ModelProto":
    """One row above and two columns to the right, then a convolution that pads by one itself."""
    make, float_ = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    constants = {
        "lengths": np.array([0, 0, 1, 0, 0, 0, 0, 2]),
        "filling": np.float32(filling),
        "weights": weights,
    }
    graph = make.make_graph(
        [
            make.make_node("Pad", ["pixels", "lengths", "filling"], ["padded"]),
            make.make_node("Conv", ["padded", "weights"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2]),
        ],
        "padded",
        [make.make_tensor_value_info("pixels", float_, [1, 3, "h", "w"])],
        [make.make_tensor_value_info("y", float_, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("filling, left", [(0.0, ["Conv"]), (0.5, ["Pad", "Conv"])])
def test_convolutions_pad_by_themselves_if_the_filling_is_zero(tmp_path, filling, left):
    model, file = padded_convolution(filling), tmp_path / "model.onnx"
    pixels = np.random.default_rng(1).normal(size=(1, 3, 9, 8)).astype(np.float32)
    results = []
    for _ in range(2):
        onnx.save(model, file)
        results.append(open_engine("onnxruntime", file).run(pixels)["y"])
        merge_pads(model, model)
    assert [node.op_type for node in model.graph.node] == left
    assert results[0].shape == results[1].shape == (1, 2, 5, 5)
    assert np.abs(results[0] - results[1]).max() < 1e-5


@pytest.mark.parametrize("name", ["humanparse-small", "humanparse-int8"])
def test_the_models_of_the_package_pad_within_their_convolutions(name):
    model, _ = read_model(model_file(name))
    assert "Pad" not in {node.op_type for node in model.graph.node}


def test_lengths_that_the_graph_computes_are_taken_from_the_folded_one():
    model, folded = padded_convolution(0.0), padded_convolution(0.0)
    nodes = model.graph.node
    nodes[0].input[1] = "computed"  # the folded graph has it under another name
    nodes.insert(0, onnx.helper.make_node("Cast", ["lengths"], ["computed"], to=7))
    merge_pads(model, model)
    assert "Pad" in {node.op_type for node in nodes}
    merge_pads(model, folded)
    assert "Pad" not in {node.op_type for node in nodes}
