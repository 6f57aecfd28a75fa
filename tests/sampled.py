"""A whole map sampled at a photo's pixels, for tests that look at mask logits in full size."""

from __future__ import annotations

import numpy as np

from humanparse.masks import Box
from humanparse.postprocess.resample import Sampler
from humanparse.preprocess import Geometry


def sample_map(
    output: np.ndarray, stride: int, geometry: Geometry, box_xyxy: Box, step: int = 1
) -> np.ndarray:
    """Return every `step`-th pixel of a box of the photo, float32, down and across.

    output: float32 (h, w), a whole map at `stride`, padding included. box_xyxy: photo pixels.
    """
    return Sampler.of(geometry, stride, output.shape).within(box_xyxy, step)(output)
