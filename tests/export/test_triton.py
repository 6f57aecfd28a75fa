"""Triton reads the model repository, and its Python models do what HumanParser does."""

import importlib.metadata
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import humanparse
from humanparse import HumanParser
from humanparse.errors import OptionError
from humanparse.export import graph
from humanparse.export.triton import write_triton
from humanparse.weights.catalog import model_file

onnx = pytest.importorskip("onnx", reason="exporting needs the package onnx")

NAME = "humanparse-small"
DEMO = Path(humanparse.__file__).parent / "cli/demo"
PHOTOS = (DEMO / "astronaut.jpg", DEMO / "hopper.jpg")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "repository"
    write_triton(model_file(None), folder)
    return folder


# What Triton provides to Python models, as far as ours use it


class Tensor:
    def __init__(self, name, values):
        assert values.dtype in (np.uint8, np.uint16, np.int32, np.float32, np.object_)
        self._name, self._values = name, values

    def name(self):
        return self._name

    def as_numpy(self):
        return self._values


class TritonError:
    def __init__(self, message):
        self._message = message

    def message(self):
        return self._message


class InferenceResponse:
    def __init__(self, output_tensors=(), error=None):
        self.outputs, self.error = {one.name(): one.as_numpy() for one in output_tensors}, error


@pytest.fixture
def python_model(repository, monkeypatch):
    """Load model.py of one of the repository's models as Triton does.

    The result is a function that runs one request.
    """
    backend = types.ModuleType("triton_python_backend_utils")
    backend.Tensor, backend.TritonError, backend.InferenceResponse = (
        Tensor,
        TritonError,
        InferenceResponse,
    )
    backend.get_input_tensor_by_name = lambda request, name: Tensor(name, request[name])
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)

    def load(name):
        spec = importlib.util.spec_from_file_location("model", repository / name / "1/model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        model.initialize(
            {"model_repository": str(repository / name), "model_version": "1", "model_name": name}
        )
        return lambda request: model.execute([request])[0]

    return load


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem)
def test_the_three_steps_give_what_humanparser_gives(repository, python_model, photo):
    made = python_model(f"{NAME}-preprocess")({"image": np.array([photo.read_bytes()], np.object_)})
    assert made.error is None
    network = onnxruntime.InferenceSession(
        repository / f"{NAME}-network/1/model.onnx", providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in network.get_outputs()]
    outputs = dict(zip(names, network.run(names, {"pixels": made.outputs["pixels"]}), strict=True))
    found = python_model(f"{NAME}-postprocess")(
        {"photo_hw": made.outputs["photo_hw"], **outputs}
    ).outputs
    wanted = HumanParser(engine="onnxruntime").parse(photo)
    assert found["labels"].dtype == np.uint8 and (found["labels"][0] == wanted.label_map).all()
    assert found["people"].dtype == np.uint16 and (found["people"][0] == wanted.person_map).all()
    people = json.loads(found["result"][0])["people"]
    assert [one["score"] for one in people] == [one.score for one in wanted.people]


def test_a_file_that_is_not_a_picture_gives_an_error_message(python_model):
    answer = python_model(f"{NAME}-preprocess")({"image": np.array([b"hello"], np.object_)})
    assert "expected a picture" in answer.error.message()


def test_the_network_takes_several_photos_at_a_time(repository):
    network = onnxruntime.InferenceSession(
        repository / f"{NAME}-network/1/model.onnx", providers=["CPUExecutionProvider"]
    )
    three = np.random.default_rng(1).normal(size=(3, 3, 96, 160)).astype(np.float32)
    for name, value in zip(
        [one.name for one in network.get_outputs()],
        network.run(None, {"pixels": three}),
        strict=True,
    ):
        assert value.shape[0] == 3
        assert value[2:] == pytest.approx(network.run([name], {"pixels": three[2:]})[0], abs=1e-3)


# config.pbtxt, by Triton's own schema


@pytest.fixture(scope="module")
def parse_config():
    """A function from a config.pbtxt to Triton's ModelConfig; tritonclient has the schema."""
    try:
        schema = importlib.metadata.distribution("tritonclient").locate_file(
            "tritonclient/grpc/model_config_pb2.py"
        )
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tritonclient is not installed")
    # By its path, since the package around it needs gRPC.
    spec = importlib.util.spec_from_file_location("model_config_pb2", schema)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from google.protobuf import text_format

    return lambda file: text_format.Parse(file.read_text(), module.ModelConfig())


def test_triton_reads_every_configuration(repository, parse_config):
    configs = {file.parent.name: parse_config(file) for file in repository.glob("*/config.pbtxt")}
    assert len(configs) == 4 and all(config.name == name for name, config in configs.items())
    network = configs[f"{NAME}-network"]
    assert (
        network.max_batch_size == 8
        and network.dynamic_batching.max_queue_delay_microseconds == 2000
    )
    assert list(network.input[0].dims) == [3, -1, -1]
    assert list(network.model_warmup[0].inputs["pixels"].dims) == [3, 480, 640]
    assert all(config.version_policy.latest.num_versions == 1 for config in configs.values())


def test_the_ensemble_joins_tensors_that_fit_each_other(repository, parse_config):
    """Compare name, type and sizes at both ends of every connection.

    Where a model counts batches, its sizes lack the first axis.
    """
    configs = {file.parent.name: parse_config(file) for file in repository.glob("*/config.pbtxt")}

    def tensors(values, batch):
        return {one.name: (one.data_type, [-1] * batch + list(one.dims)) for one in values}

    ensemble = configs[NAME]
    known = tensors(ensemble.input, 0)
    for step in ensemble.ensemble_scheduling.step:
        model = configs[step.model_name]
        batch = model.max_batch_size > 0
        takes, gives = tensors(model.input, batch), tensors(model.output, batch)
        assert set(step.input_map) == set(takes) and set(step.output_map) == set(gives)
        for name, source in step.input_map.items():
            assert fits(takes[name], known[source])
        known |= {target: gives[name] for name, target in step.output_map.items()}
    assert all(fits(tensor, known[name]) for name, tensor in tensors(ensemble.output, 0).items())


def fits(one, other):
    return (
        one[0] == other[0]
        and len(one[1]) == len(other[1])
        and all(a == b or -1 in (a, b) for a, b in zip(one[1], other[1], strict=True))
    )


def test_the_configuration_names_what_the_model_has(repository, parse_config):
    network = parse_config(repository / f"{NAME}-network/config.pbtxt")
    model = onnx.load(repository / f"{NAME}-network/1/model.onnx")
    assert [one.name for one in network.input] == [one.name for one in model.graph.input]
    assert [one.name for one in network.output] == [one.name for one in model.graph.output]


def test_a_graph_with_a_batch_of_one_inside_is_not_batched(tmp_path, monkeypatch, parse_config):
    monkeypatch.setattr("humanparse.export.triton.takes_batches", lambda model, folder: False)
    written = write_triton(model_file(None), tmp_path)
    config = parse_config(tmp_path / f"{NAME}-network/config.pbtxt")
    assert config.max_batch_size == 0 and list(config.input[0].dims) == [1, 3, -1, -1]
    assert list(config.model_warmup[0].inputs["pixels"].dims) == [
        1,
        3,
        480,
        640,
    ] and not config.HasField("dynamic_batching")
    assert "one photo at a time" in written.notes[0]


def test_whether_a_graph_takes_batches_is_tried(tmp_path):
    """Flattened to one row, two pictures become one."""
    tensor = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Reshape", ["pixels", "row"], ["out"])],
            "flat",
            [tensor("pixels", 1, ("batch", 3, "h", "w"))],
            [tensor("out", 1, ("batch", "n"))],
            [onnx.numpy_helper.from_array(np.array([1, -1]), "row")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert not graph.takes_batches(made, tmp_path)


def test_m2fp_has_a_repository_too(m2fp, tmp_path, parse_config):
    write_triton(m2fp, tmp_path)
    configs = [parse_config(file) for file in tmp_path.glob("*/config.pbtxt")]
    assert len(configs) == 4
    ensemble = next(config for config in configs if config.platform == "ensemble")
    assert set(ensemble.ensemble_scheduling.step[1].output_map) == {"pred_logits", "pred_masks"}


def test_models_that_are_there_stay_as_they_are(repository):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    with pytest.raises(OptionError, match="already exists"):
        write_triton(model_file(None), repository)
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before
