"""Which engine runs a model, in which precision, and what it keeps for the next start."""

import importlib.util

import numpy as np
import pytest

from humanparse import HumanParser
from humanparse.bench import PHOTO
from humanparse.engines import RUNTIMES, bytes_of, choose_engine, is_int8, open_engine
from humanparse.errors import BrokenModel, OptionError
from humanparse.system.packaged import packaged
from humanparse.vocabulary import ENGINES, PRECISIONS, RUN_ON
from humanparse.weights.catalog import model_file

openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def test_the_registry_has_a_row_for_each_word_of_the_vocabulary():
    assert tuple(RUNTIMES) == ENGINES
    assert {one for row in RUNTIMES.values() for one in row.precisions} == set(PRECISIONS)
    assert {one for row in RUNTIMES.values() for one in row.devices} == set(RUN_ON)


def test_what_no_engine_can_do_names_what_it_can(tmp_path):
    with pytest.raises(OptionError, match="OpenVINO does not run on cuda; leave device at cpu"):
        open_engine("openvino", tmp_path / "x.onnx", precision="bf16", device="cuda")


def test_auto_takes_onnx_runtime_for_a_float_model():
    assert choose_engine(model_file(None)) == "onnxruntime"
    assert type(HumanParser(engine="auto").engine).__name__ == "OnnxRuntimeEngine"


def test_auto_takes_openvino_for_bf16(tmp_path):
    assert choose_engine(tmp_path / "any.onnx", "bf16") == "openvino"


def test_auto_leaves_a_missing_file_to_the_engine(tmp_path):
    with pytest.raises(BrokenModel):
        open_engine("auto", tmp_path / "none.onnx")


def test_the_int8_model_in_the_package_is_of_the_same_network_as_the_fp32_one():
    full, eight = (
        HumanParser(model, engine="onnxruntime").parse(packaged(PHOTO))
        for model in (None, "humanparse-int8")
    )
    assert is_int8(model_file("humanparse-int8")) and not is_int8(model_file(None))
    assert (full.label_map == eight.label_map).mean() > 0.93
    assert eight.model == "humanparse-int8"


def test_the_size_of_an_xml_model_is_that_of_its_weights_too(tmp_path):
    for name, size in (("model.xml", 10), ("model.bin", 200), ("model.onnx", 3)):
        (tmp_path / name).write_bytes(bytes(size))
    assert (bytes_of(tmp_path / "model.xml"), bytes_of(tmp_path / "model.onnx")) == (210, 3)
    with pytest.raises(FileNotFoundError):
        bytes_of(tmp_path / "none.onnx")


def test_an_unknown_precision_is_refused():
    with pytest.raises(OptionError, match=r"int3.*fp32, bf16"):
        open_engine("onnxruntime", model_file(None), precision="int3")


def test_onnx_runtime_does_not_promise_bf16():
    with pytest.raises(OptionError, match="choose the engine openvino"):
        HumanParser(engine="onnxruntime", precision="bf16")


@openvino
def test_bf16_runs_where_the_processor_has_it_and_is_refused_elsewhere():
    from humanparse.engines.openvino import core

    pixels = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    if "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(OptionError, match="does not compute in bf16"):
            open_engine("openvino", model_file(None), precision="bf16")
        return
    full, half = (
        open_engine("openvino", model_file(None), precision=one).run(pixels)["classes"]
        for one in ("fp32", "bf16")
    )
    assert 0 < np.abs(full - half).mean() < 0.2


@openvino
def test_a_compiled_model_is_kept_and_gives_the_same(tmp_path):
    pixels = np.ones((1, 3, 64, 96), np.float32)
    outputs = [
        open_engine("openvino", model_file(None), cache=tmp_path / "compiled").run(pixels)[
            "classes"
        ]
        for _ in range(2)
    ]
    assert len(list((tmp_path / "compiled").rglob("*.blob"))) == 1
    assert np.array_equal(*outputs)


@openvino
def test_a_compiled_model_with_flipped_bits_is_not_used(tmp_path):
    """OpenVINO itself accepts any weights that it finds in the file."""
    pixels, cache = np.ones((1, 3, 64, 96), np.float32), tmp_path / "compiled"
    right = open_engine("openvino", model_file(None), cache=cache).run(pixels)["classes"]
    (blob,) = cache.rglob("*.blob")
    blob.chmod(0o600)
    whole = blob.read_bytes()
    start = len(whole) // 2  # among the weights, which are nearly all of it
    end = start + 100_000
    flipped = bytes(byte ^ 0x55 for byte in whole[start:end])
    blob.write_bytes(whole[:start] + flipped + whole[end:])
    again = open_engine("openvino", model_file(None), cache=cache).run(pixels)["classes"]
    assert np.array_equal(again, right)
    (blob,) = cache.rglob("*.blob")
    assert blob.read_bytes()[start:end] == whole[start:end]


@openvino
def test_a_damaged_or_impossible_cache_is_ignored(tmp_path):
    cache = tmp_path / "compiled"
    open_engine("openvino", model_file(None), cache=cache)
    for blob in cache.rglob("*.blob"):
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:1000])
    for folder in (cache, model_file(None) / "below-a-file"):
        engine = open_engine("openvino", model_file(None), cache=folder)
        assert engine.run(np.ones((1, 3, 64, 96), np.float32))["classes"].shape == (1, 20, 16, 24)
