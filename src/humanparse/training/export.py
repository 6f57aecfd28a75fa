"""Checkpoint → ONNX file of the embedded model, with its card inside; checked against PyTorch before it is kept."""

from __future__ import annotations

from pathlib import Path

from humanparse.convert.export import export as export_onnx
from humanparse.labels import CIHP
from humanparse.preprocess import Preprocess
from humanparse.training.loop import trained_model
from humanparse.weights.catalog import ModelCard

OUTPUTS = ("classes", "person", "centre", "offset")
CHECK_SIZES_HW = ((160, 224), (320, 320), (480, 640), (96, 512))
TOLERANCE = 2e-3

CARD = ModelCard(
    name="humanparse-small",
    labels=CIHP,
    head="centres",
    preprocess=Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3, area_px=480 * 640, max_long_side=1280, multiple=16),
    license="Apache-2.0",
)


def export(checkpoint: Path, out: Path, card: ModelCard = CARD) -> float:
    """Write the averaged weights of a checkpoint as ONNX. Returns the largest difference from PyTorch, in logits or
    units of 64 pixels; raises ModelError and keeps nothing if it exceeds TOLERANCE at any of CHECK_SIZES_HW."""
    return export_onnx(
        trained_model(checkpoint), out, card, OUTPUTS,
        check_sizes_hw=CHECK_SIZES_HW, tolerance=TOLERANCE, units={"offset": 64},
    )
