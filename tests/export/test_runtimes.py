"""What is written for TensorRT and OpenVINO computes what the model computes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import humanparse
from humanparse import HumanParser
from humanparse.engines import choose_engine
from humanparse.engines.onnxruntime import OnnxRuntimeEngine
from humanparse.errors import BrokenModel, MissingExtra, ModelError, OptionError
from humanparse.export import tensorrt
from humanparse.export.openvino import write_openvino
from humanparse.export.tensorrt import write_tensorrt
from humanparse.weights.catalog import model_file

onnx = pytest.importorskip("onnx", reason="exporting needs the package onnx")

DEMO = Path(humanparse.__file__).parent / "cli/demo"
PHOTOS = (DEMO / "astronaut.jpg", DEMO / "hopper.jpg")


# TensorRT


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorrt") / "engines"
    written = write_tensorrt(model_file(None), folder, PHOTOS, photo_hw=(1080, 1920))
    assert [one.picture for one in written.agreement] == [
        "noise",
        "astronaut.jpg",
        "hopper.jpg",
    ] and written.notes == ()
    assert all(one.difference < 1e-4 for one in written.agreement)
    return folder


def test_one_file_is_for_photos_of_one_size_and_nothing_in_it_is_dynamic(engines):
    fixed = onnx.load(engines / "model-416x768.onnx")
    values = [*fixed.graph.input, *fixed.graph.output]
    assert all(
        axis.HasField("dim_value") for one in values for axis in one.type.tensor_type.shape.dim
    )
    assert {"Shape", "ConstantOfShape", "NonZero"}.isdisjoint(tensorrt.operators(fixed))
    assert HumanParser(engines / "model-416x768.onnx").preprocess.geometry(
        (1080, 1920)
    ).input_hw == (416, 768)


def test_photos_of_that_size_parse_alike(engines, astronaut):
    import cv2

    photo = cv2.resize(astronaut, (1920, 1080))
    fixed, any_size = (
        HumanParser(file, engine="onnxruntime").parse(photo)
        for file in (engines / "model-416x768.onnx", None)
    )
    assert (fixed.label_map == any_size.label_map).mean() > 0.999


def test_the_lines_name_files_that_are_there_and_shapes_that_photos_have(engines):
    text = (engines / "README.md").read_text()
    named = set(re.findall(r"--onnx=(\S+)", text))
    assert named == {"model.onnx", "model-416x768.onnx"} <= {one.name for one in engines.iterdir()}
    least, usual, largest = (
        tuple(map(int, re.search(rf"--{end}Shapes=pixels:1x3x(\d+)x(\d+)", text).groups()))
        for end in ("min", "opt", "max")
    )
    assert usual == (480, 640)
    rule = HumanParser().preprocess
    for photo_hw in [(480, 640), (600, 512), (1000, 2000), (2000, 1000), (33, 50), (3000, 4000)]:
        sides = rule.geometry(photo_hw).input_hw
        assert all(
            low <= side <= high for low, side, high in zip(least, sides, largest, strict=True)
        )


def test_m2fp_uses_no_operator_that_tensorrt_lacks(m2fp, tmp_path):
    written = write_tensorrt(m2fp, tmp_path / "out", photo_hw=(96, 128))
    assert written.notes == () and "GridSample" in tensorrt.operators(
        onnx.load(tmp_path / "out/model.onnx")
    )


def test_operators_that_tensorrt_lacks_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt, "SUPPORTED", tensorrt.SUPPORTED - {"Conv"})
    written = write_tensorrt(model_file(None), tmp_path / "out")
    assert written.notes == ("not known to be in TensorRT's ONNX parser: Conv",)
    assert "Conv" in (tmp_path / "out/README.md").read_text()


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    right, runs = OnnxRuntimeEngine.run, []

    def drifting(self, pixels):
        runs.append(self)
        return {name: value + len(runs) for name, value in right(self, pixels).items()}

    monkeypatch.setattr(OnnxRuntimeEngine, "run", drifting)
    with pytest.raises(ModelError, match="nothing was written"):
        write_tensorrt(model_file(None), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(OptionError, match="not empty"):
        write_tensorrt(model_file(None), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"hello")
    with pytest.raises(BrokenModel):
        write_tensorrt(tmp_path / "x.onnx", tmp_path / "out")


# OpenVINO


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The embedded model as small.xml and small.bin."""
    pytest.importorskip("openvino")
    out = tmp_path_factory.mktemp("openvino") / "small.xml"
    written = write_openvino(model_file(None), out, PHOTOS[:1])
    assert written.files == (out, out.with_suffix(".bin")) and all(
        one.difference < 1e-4 for one in written.agreement
    )
    return out


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUMANPARSE_HOME", str(tmp_path_factory.mktemp("home")))
        return HumanParser(engine="openvino")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_HOME", str(tmp_path / "home"))


def test_humanparser_opens_the_xml_with_its_card_and_finds_the_same(small, original):
    assert choose_engine(small) == "openvino"
    parser = HumanParser(small)
    assert parser.card == original.card
    assert (parser.parse(PHOTOS[0]).label_map == original.parse(PHOTOS[0]).label_map).all()


def test_fp16_is_half_as_large_and_much_the_same(small, original, tmp_path):
    out = tmp_path / "half.xml"
    write_openvino(model_file(None), out, fp16=True)
    assert (tmp_path / "half.bin").stat().st_size < 0.55 * small.with_suffix(".bin").stat().st_size
    found, wanted = HumanParser(out).parse(PHOTOS[0]), original.parse(PHOTOS[0])
    assert (found.label_map == wanted.label_map).mean() > 0.99 and len(found.people) == len(
        wanted.people
    )


def test_the_xml_of_other_weights_is_another_file(small, tmp_path):
    """The service caches responses by the hash of the model's file."""
    changed = onnx.load(model_file(None))
    weights = max(changed.graph.initializer, key=lambda one: len(one.raw_data))
    weights.raw_data = (onnx.numpy_helper.to_array(weights) * 1.01).astype(np.float32).tobytes()
    onnx.save(changed, tmp_path / "changed.onnx")
    write_openvino(tmp_path / "changed.onnx", tmp_path / "small.xml")
    assert (tmp_path / "small.xml").read_bytes() != small.read_bytes()


def test_m2fp_goes_the_same_way(m2fp, tmp_path):
    pytest.importorskip("openvino")
    written = write_openvino(m2fp, tmp_path / "m2fp.xml", PHOTOS[:1])
    assert (
        len(written.agreement) == 2
        and HumanParser(written.files[0]).card == HumanParser(m2fp, engine="onnxruntime").card
    )


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"\.xml"):
        write_openvino(model_file(None), tmp_path / "small.onnx")


def test_onnxruntime_says_that_an_xml_is_not_for_it(small):
    with pytest.raises(BrokenModel, match="not an ONNX model"):
        HumanParser(small, engine="onnxruntime")


def test_without_the_package_onnx_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'onnx>="):
        write_tensorrt(model_file(None), tmp_path / "out")
