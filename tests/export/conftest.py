"""Photos, and a small M2FP file, made once for all tests of this folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import humanparse
from humanparse.card import ModelCard
from humanparse.image import read_image
from humanparse.labels import CIHP
from humanparse.preprocess import Preprocess

DEMO = Path(humanparse.__file__).parent / "cli/demo"
PHOTOS = (DEMO / "astronaut.jpg", DEMO / "hopper.jpg")


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """512×512, one person."""
    return read_image(PHOTOS[0]).pixels


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """512 wide, 600 high, one person."""
    return read_image(PHOTOS[1]).pixels


@pytest.fixture(scope="session")
def crowd(astronaut, hopper) -> np.ndarray:
    """1350 wide, 600 high: both people, and the first again, mirrored."""
    first, second = (cv2.resize(one, (450, 600)) for one in (astronaut, hopper))
    return np.concatenate([first, second, first[:, ::-1]], axis=1)


@pytest.fixture(scope="session")
def m2fp(tmp_path_factory):
    """A small M2FP with random weights: another head, deformable attention, GridSample."""
    pytest.importorskip("torch")
    from official import smallest_network

    from humanparse.export.onnx import write_onnx

    out = tmp_path_factory.mktemp("m2fp") / "m2fp.onnx"
    rule = Preprocess(
        (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), short_side=96, filter="pil-bilinear"
    )
    card = ModelCard("m2fp-tiny", CIHP, "queries", rule, "Apache-2.0")
    write_onnx(
        smallest_network(),
        out,
        card,
        ("pred_logits", "pred_masks"),
        check_sizes_hw=((64, 96),),
        tolerance=1,
        share=0.99,
    )
    return out
