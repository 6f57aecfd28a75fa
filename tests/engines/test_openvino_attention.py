"""M2FP's deformable attention, rewritten for OpenVINO, gives what the file gives."""

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("torch")

from official import smallest_network

from humanparse.card import ModelCard
from humanparse.engines import open_engine
from humanparse.engines.openvino import core
from humanparse.engines.openvino_attention import fuse
from humanparse.export.m2fp import MULTI_PERSON, OUTPUTS, SHARE, TOLERANCE
from humanparse.export.onnx import write_onnx
from humanparse.labels import CIHP
from humanparse.weights.catalog import model_file

LAYERS = 2  # of the tiny network's pixel decoder
FULL = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def tiny(request, tmp_path_factory):
    file, card = (
        tmp_path_factory.mktemp("tiny") / "model.onnx",
        ModelCard("tiny", CIHP, "queries", MULTI_PERSON, "none"),
    )
    checks = {"check_sizes_hw": ((64, 96),), "tolerance": TOLERANCE, "share": SHARE}
    write_onnx(smallest_network(), file, card, OUTPUTS, precision=request.param, **checks)
    return file


def kinds(network) -> list[str]:
    return [node.get_type_name() for node in network.get_ordered_ops()]


def test_the_fused_attention_gives_the_same_at_any_size(tiny):
    plain = core().compile_model(core().read_model(tiny), "CPU", FULL)
    fused = open_engine("openvino", tiny)
    for size_hw in ((160, 96), (32, 416)):
        pixels = np.random.default_rng(0).normal(size=(1, 3, *size_hw)).astype(np.float32)
        found = fused.run(pixels)
        for wanted, name in zip(plain([pixels]).values(), found, strict=True):
            # rounding may open a cell of the attention masks to a query in one and not in the other
            close = np.quantile(np.abs(wanted - found[name]), 0.9)
            assert close < 1e-4 * max(1, np.abs(wanted).max()), size_hw


def test_every_layer_is_fused_and_nothing_of_it_is_left(tiny):
    network = core().read_model(tiny)
    assert kinds(network).count("GridSample") == 3 * LAYERS
    assert fuse(network) == LAYERS
    assert "GridSample" not in kinds(network) and kinds(network).count("TensorIterator") == LAYERS


@pytest.mark.parametrize("tiny", ["fp32"], indirect=True)
def test_the_rewritten_network_is_what_is_cached(tiny, tmp_path):
    pixels = np.ones((1, 3, 64, 96), np.float32)
    outputs = [
        open_engine("openvino", tiny, cache=tmp_path).run(pixels)["pred_masks"] for _ in range(2)
    ]
    assert len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(*outputs)


def test_other_networks_are_left_as_they_are():
    network = core().read_model(model_file(None))
    before = kinds(network)
    assert fuse(network) == 0 and kinds(network) == before
