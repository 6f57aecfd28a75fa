"""Other hardware is asked for by name, and never silently replaced by the processor.

No such hardware is here: ONNX Runtime's session and OpenVINO's list of devices are stand-ins.
"""

import dataclasses
import importlib.util

import numpy as np
import onnxruntime
import pytest

from humanparse import HumanParser
from humanparse.engines import RUNTIMES, accelerators, open_engine
from humanparse.errors import OptionError
from humanparse.vocabulary import ACCELERATORS
from humanparse.weights.catalog import model_file

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
WITH_ORT = [name for name, row in accelerators.TABLE.items() if row.engine == "onnxruntime"]
openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


class Session:
    """A stand-in for ONNX Runtime's session; `starts`: whether the accelerator can be started."""

    starts = True

    def __init__(self, path, options, providers):
        self.asked, self.options = providers, options

    def get_providers(self):
        names = [one if isinstance(one, str) else one[0] for one in self.asked]
        return names if self.starts else [CPU]

    def get_inputs(self):
        return [type("Value", (), {"name": "pixels"})]

    def get_outputs(self):
        return []

    def get_modelmeta(self):
        return type("Meta", (), {"custom_metadata_map": {}})


@pytest.fixture
def every_build(monkeypatch):
    """ONNX Runtime as if it were built for all of its accelerators."""
    providers = [accelerators.TABLE[name].provider for name in WITH_ORT]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)


def test_the_table_has_a_row_for_each_word_of_the_vocabulary():
    assert tuple(accelerators.TABLE) == ACCELERATORS
    assert {row.engine for row in accelerators.TABLE.values()} <= set(RUNTIMES)


@pytest.mark.parametrize("device", WITH_ORT)
def test_a_device_is_asked_for_first_and_leaves_the_rest_to_the_cpu(every_build, device):
    (provider, _), *rest = open_engine("auto", model_file(None), device=device).session.asked
    assert provider == accelerators.TABLE[device].provider and rest[-1] == CPU
    assert rest[:-1] == ([CUDA] if device == "tensorrt" else [])


def test_xnnpack_brings_threads_of_its_own(every_build):
    session = open_engine("onnxruntime", model_file(None), 3, device="xnnpack").session
    assert session.asked[0][1] == {"intra_op_num_threads": "3"}
    assert session.options.intra_op_num_threads == 1


def test_the_cpu_is_used_even_where_there_is_a_gpu(every_build):
    assert open_engine("onnxruntime", model_file(None)).session.asked == [CPU]


@pytest.mark.parametrize("device", WITH_ORT)
def test_what_does_not_start_is_reported(every_build, monkeypatch, device):
    monkeypatch.setattr(Session, "starts", False)
    title = accelerators.TABLE[device].title
    with pytest.raises(OptionError, match=f"{title} cannot be started.*device cpu"):
        open_engine("onnxruntime", model_file(None), device=device)


@pytest.mark.parametrize("device", WITH_ORT)
def test_an_onnx_runtime_without_it_says_what_to_install(monkeypatch, device):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU]
    )
    row = accelerators.TABLE[device]
    with pytest.raises(OptionError, match="only AzureExecutionProvider") as refused:
        HumanParser(device=device)
    assert row.install in str(refused.value) and row.hardware in str(refused.value)


@openvino
@pytest.mark.parametrize("device", ["intel-gpu", "intel-npu"])
def test_openvino_says_which_devices_it_finds_and_what_to_install(device):
    with pytest.raises(OptionError, match=r"only CPU.*driver; or choose the device cpu"):
        open_engine("auto", model_file(None), device=device)


@openvino
def test_a_device_that_needs_fixed_sizes_gets_a_network_for_each(monkeypatch):
    """The processor stands in for the NPU."""
    row = dataclasses.replace(accelerators.TABLE["intel-npu"], provider="CPU")
    monkeypatch.setitem(accelerators.TABLE, "intel-npu", row)
    fixed = open_engine("openvino", model_file(None), device="intel-npu")
    usual = open_engine("openvino", model_file(None))
    for size in ((64, 96), (96, 64), (64, 96)):
        pixels = np.full((1, 3, *size), 0.5, np.float32)
        mine, wanted = (engine.run(pixels)["classes"] for engine in (fixed, usual))
        assert np.abs(mine - wanted).max() < 0.05
    assert fixed._compiled_for.cache_info().misses == 2


@pytest.mark.parametrize(
    "wanted, message",
    [
        ({"device": "tpu"}, "no device 'tpu'.*cpu, cuda"),
        ({"engine": "openvino", "device": "cuda"}, "choose the engine onnxruntime"),
        ({"device": "cuda", "precision": "bf16"}, "leave precision at fp32"),
        ({"device": "intel-gpu", "precision": "bf16"}, "does not compute in bf16"),
    ],
)
def test_impossible_combinations_are_refused(wanted, message):
    if wanted["device"].startswith("intel"):
        pytest.importorskip("openvino")
    with pytest.raises(OptionError, match=message):
        HumanParser(**wanted)
