"""Two bilinear steps in one, the same as PyTorch's one after the other."""

import numpy as np
import pytest
from sampled import sample_map

from humanparse.postprocess import resample
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
    output = (
        np.random.default_rng(0)
        .normal(size=[side // 4 for side in geometry.input_hw])
        .astype(np.float32)
    )
    wanted = step_by_step(output, geometry)
    height, width = photo_hw
    assert np.allclose(sample_map(output, 4, geometry, (0, 0, width, height)), wanted, atol=1e-5)
    box = width // 3, height // 4, width, height - height // 5
    assert np.allclose(
        sample_map(output, 4, geometry, box), wanted[box[1] : box[3], box[0] :], atol=1e-5
    )
    assert np.allclose(
        sample_map(output, 4, geometry, box, step=3),
        wanted[box[1] : box[3] : 3, box[0] :: 3],
        atol=1e-5,
    )


def test_long_sides_whose_weights_are_not_kept_give_the_same(monkeypatch):
    geometry = RULE.geometry((301, 407))
    output = (
        np.random.default_rng(1)
        .normal(size=[side // 4 for side in geometry.input_hw])
        .astype(np.float32)
    )
    kept = sample_map(output, 4, geometry, (10, 20, 400, 290), step=2)
    monkeypatch.setattr(resample, "WHOLE", 0)
    assert np.array_equal(sample_map(output, 4, geometry, (10, 20, 400, 290), step=2), kept)


def test_a_window_gives_any_of_its_rows_and_columns():
    geometry = RULE.geometry((301, 407))
    output = (
        np.random.default_rng(2)
        .normal(size=[side // 4 for side in geometry.input_hw])
        .astype(np.float32)
    )
    window = resample.Sampler.of(geometry, 4, output.shape).within((10, 20, 400, 290))
    assert window.size_hw == (270, 390)
    assert np.allclose(
        window(output, np.s_[17:200], np.s_[3:4]), window(output)[17:200, 3:4], atol=1e-6
    )


def test_blocks_stay_below_what_wakes_the_threads_of_a_matrix_product():
    for photo_hw in ((96, 128), (301, 407), (3000, 4000)):
        geometry = RULE.geometry(photo_hw)
        window = resample.Sampler.of(geometry, 4, [side // 4 for side in geometry.input_hw]).within(
            (0, 0, *photo_hw[::-1])
        )
        whole = slice(0, None)
        for row in window.down.blocks(whole):
            for column in window.across.blocks(whole):
                assert row.weights.size * column.weights.shape[1] <= resample.ONE_THREAD
                assert row.weights.shape[0] * column.weights.size <= resample.ONE_THREAD


def test_maps_of_fewer_cells_than_a_pixel_can_see_are_sampled_too():
    geometry = Geometry((9, 12), (4, 8), (4, 8))
    output = np.array([[1.0, 3.0]], np.float32)
    sampled = sample_map(output, 4, geometry, (0, 0, 12, 9))
    assert np.allclose(sampled, sampled[0]) and sampled[0, [0, -1]] == pytest.approx([1, 3])
    assert (np.diff(sampled[0]) >= 0).all()
