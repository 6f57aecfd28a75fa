"""A GPU is asked for by name, and never silently replaced by the processor."""

import onnxruntime
import pytest

from humanparse import HumanParser
from humanparse.engines import open_engine
from humanparse.errors import OptionError
from humanparse.weights.catalog import model_file

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Session:
    """A stand-in for ONNX Runtime's session; `starts`: whether the GPU can be started."""

    starts = True

    def __init__(self, path, options, providers):
        self.asked = providers

    def get_providers(self):
        return self.asked if self.starts else [CPU]

    def get_inputs(self):
        return [type("Value", (), {"name": "pixels"})]

    def get_outputs(self):
        return []

    def get_modelmeta(self):
        return type("Meta", (), {"custom_metadata_map": {}})


@pytest.fixture
def gpu_build(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)


def test_cuda_runs_on_the_gpu_and_leaves_the_rest_to_the_cpu(gpu_build):
    assert open_engine("auto", model_file(None), device="cuda").session.asked == [CUDA, CPU]


def test_the_cpu_is_used_even_where_there_is_a_gpu(gpu_build):
    assert open_engine("onnxruntime", model_file(None)).session.asked == [CPU]


def test_a_gpu_that_does_not_start_is_reported(gpu_build, monkeypatch):
    monkeypatch.setattr(Session, "starts", False)
    with pytest.raises(OptionError, match=r"cannot be started.*device cpu"):
        open_engine("onnxruntime", model_file(None), device="cuda")


def test_an_onnx_runtime_without_cuda_says_what_to_install(monkeypatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU]
    )
    with pytest.raises(OptionError, match=r"only AzureExecutionProvider.*onnxruntime-gpu"):
        HumanParser(device="cuda")


@pytest.mark.parametrize(
    "wanted, message",
    [
        ({"device": "tpu"}, "no device 'tpu'.*cpu, cuda"),
        ({"engine": "openvino", "device": "cuda"}, "choose the engine onnxruntime"),
        ({"device": "cuda", "precision": "bf16"}, "leave precision at fp32"),
    ],
)
def test_impossible_combinations_are_refused(wanted, message):
    with pytest.raises(OptionError, match=message):
        HumanParser(**wanted)
