"""Two bilinear steps in one, the same as PyTorch's one after the other."""

import numpy as np
import pytest

from humanparse.postprocess.resample import sample_twice
from humanparse.preprocess import Geometry, Preprocess

RULE = Preprocess((0,) * 3, (1,) * 3, short_side=96, max_long_side=200)


def step_by_step(output: np.ndarray, geometry: Geometry) -> np.ndarray:
    torch = pytest.importorskip("torch")

    def resize(x, size):
        return torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)

    whole = resize(torch.from_numpy(output)[None, None], geometry.input_hw)
    height, width = geometry.resized_hw
    return resize(whole[:, :, :height, :width], geometry.photo_hw)[0, 0].numpy()


@pytest.mark.parametrize("photo_hw", [(96, 128), (40, 51), (301, 407), (33, 700), (1, 1)])
def test_the_values_are_those_of_two_steps(photo_hw):
    geometry = RULE.geometry(photo_hw)
    output = np.random.default_rng(0).normal(size=[side // 4 for side in geometry.input_hw]).astype(np.float32)
    wanted = step_by_step(output, geometry)
    height, width = photo_hw
    assert np.allclose(sample_twice(output, 4, geometry, (0, 0, width, height)), wanted, atol=1e-5)
    box = width // 3, height // 4, width, height - height // 5
    assert np.allclose(sample_twice(output, 4, geometry, box), wanted[box[1] : box[3], box[0] :], atol=1e-5)
    assert np.allclose(sample_twice(output, 4, geometry, box, step=3), wanted[box[1] : box[3] : 3, box[0] :: 3], atol=1e-5)
