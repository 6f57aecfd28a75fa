"""PyTorch, ONNX Runtime and OpenVINO agree on a picture, at sizes that were not traced."""

import importlib.util

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from official import tiny_network

from humanparse.engines import open_engine
from humanparse.export.onnx import TRACED_HW
from humanparse.vocabulary import ENGINES

SIZES_HW = ((64, 64), (96, 160), (224, 64), (32, 320), (288, 192))


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def file(tiny_m2fp):
    return tiny_m2fp[1]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, file):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return open_engine(request.param, file, threads=1)


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=str)
def test_engines_and_torch_agree_within_1e_3(network, engine, size_hw):
    assert size_hw != TRACED_HW
    pixels = torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        wanted = network(pixels)
    got = engine.run(pixels.numpy())
    for name, value in wanted.items():
        assert value.abs().max() > 0.5
        assert np.abs(got[name] - value.numpy()).max() < 1e-3


def test_engines_read_the_same_card(engine, file):
    assert dict(engine.metadata) == dict(open_engine("onnxruntime", file).metadata)
