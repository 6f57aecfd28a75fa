"""ONNX Runtime runs a file and says clearly when it cannot."""

import numpy as np
import pytest

from humanparse.engines import FakeEngine, open_engine
from humanparse.errors import BrokenModel, OptionError
from humanparse.weights.catalog import model_file


def test_outputs_come_by_name_at_stride_four():
    engine = open_engine("onnxruntime", model_file(None))
    outputs = engine.run(np.zeros((1, 3, 64, 96), np.float32))
    assert {name: value.shape for name, value in outputs.items()} == {
        "classes": (1, 20, 16, 24),
        "person": (1, 1, 16, 24),
        "centre": (1, 1, 16, 24),
        "offset": (1, 2, 16, 24),
        "wears": (1, 20, 16, 24),
    }


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12" + bytes(200)])
def test_a_file_that_is_not_a_model_is_refused(tmp_path, content):
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(BrokenModel, match="not an ONNX model"):
        open_engine("onnxruntime", file)


def test_a_model_that_breaks_off_is_refused(tmp_path):
    file = tmp_path / "model.onnx"
    whole = model_file(None).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenModel):
        open_engine("onnxruntime", file)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("place", ["../outside.bin", "{folder}/outside.bin"])
def test_weights_outside_the_models_folder_are_never_read(tmp_path, engine, place):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip(engine)
    (tmp_path / "outside.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    weights = onnx.TensorProto(
        name="w",
        data_type=onnx.TensorProto.FLOAT,
        dims=[4],
        data_location=onnx.TensorProto.EXTERNAL,
    )
    weights.external_data.add(key="location", value=place.format(folder=tmp_path))
    pixels, total = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in ("x", "y")
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])], "sum", [pixels], [total], [weights]
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    file = tmp_path / "model" / "model.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(BrokenModel):
        open_engine(engine, file)


def test_an_unknown_engine_is_refused():
    with pytest.raises(OptionError, match=r"abacus.*onnxruntime"):
        open_engine("abacus", model_file(None))


def test_the_fake_engine_returns_what_its_function_says_and_remembers_what_it_saw():
    fake = FakeEngine(lambda pixels: {"sum": pixels.sum()}, {})
    assert fake.run(np.ones((1, 3, 2, 2)))["sum"] == 12
    assert fake.seen[0].shape == (1, 3, 2, 2)
