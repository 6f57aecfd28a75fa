"""A model of a few kilobytes that finds the same person in every photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.labels import CIHP
from humanparse.preprocess import Preprocess


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """Finds one person over the whole photo, whose face is its upper half."""
    onnx = pytest.importorskip(
        "onnx", reason="the tiny model is built with onnx: pip install '.[torch]'"
    )
    from onnx import TensorProto, helper, numpy_helper

    masks, logits = np.full((1, 2, 8, 8), -9, np.float32), np.full((1, 2, 22), -9, np.float32)
    masks[0, 0], masks[0, 1, :4] = 9, 9
    logits[0, 0, len(CIHP)], logits[0, 1, CIHP.index("Face")] = 9, 9
    values = {"pred_logits": logits, "pred_masks": masks}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in values.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
        for name, value in values.items()
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, None, None])
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", [pixels], outputs),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    card = ModelCard(
        "tiny", CIHP, "queries", Preprocess((0, 0, 0), (1, 1, 1), short_side=32), "Apache-2.0"
    )
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(model, path)
    return path
