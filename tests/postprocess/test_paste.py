"""Coarse scores become full-size maps, the same as if every map were sampled at every pixel."""

import cv2
import numpy as np
import pytest

from humanparse.postprocess import paste
from humanparse.postprocess.paste import paste_winners
from humanparse.preprocess import Geometry


def smooth_scores(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            cv2.GaussianBlur(rng.normal(size=(24, 32)).astype(np.float32), (0, 0), 2.5)
            for _ in range(count)
        ]
    )


def everything_at_once(scores, foreground, geometry, values) -> np.ndarray:
    """The exact answer, slowly: every map at every pixel in double precision, the first of the
    highest."""
    (height, width), (rows, columns) = geometry.photo_hw, foreground.shape

    def weights(pixels: int, scale: float, cells: int) -> np.ndarray:  # (pixels, cells)
        position = np.clip((np.arange(pixels) + 0.5) * scale - 0.5, 0, cells - 1)
        return np.maximum(0, 1 - abs(position[:, None] - np.arange(cells)))

    down, across = (scale / 4 for scale in geometry.scale_yx)
    down, across = weights(height, down, rows), weights(width, across, columns)
    full = np.stack([down @ score.astype(float) @ across.T for score in scores])
    return np.where(down @ foreground.astype(float) @ across.T > 0, values[full.argmax(0)], 0)


@pytest.mark.parametrize(
    "photo_hw", [(96, 128), (300, 400), (61, 83), (1, 128), (96, 3), (1100, 900)]
)
def test_winners_are_those_of_the_full_size_comparison(photo_hw):
    scores, foreground = smooth_scores(7, 1), smooth_scores(1, 2)[0]
    geometry = Geometry(photo_hw, (96, 128), (96, 128))
    values = np.array([3, 5, 7, 11, 13, 17, 19])
    out = np.zeros(photo_hw, np.uint8)
    paste_winners(scores, foreground, geometry, 4, out, values)
    wanted = everything_at_once(scores, foreground, geometry, values)
    assert (out == wanted).mean() > 0.9999  # single and double precision see a tie differently


def test_rough_maps_are_no_harder():
    """Noise: nearly every patch is a border, and maps win inside patches at whose corners they do
    not."""
    rng = np.random.default_rng(6)
    scores, foreground = (
        rng.normal(size=(12, 24, 32)).astype(np.float32),
        rng.normal(size=(24, 32)).astype(np.float32),
    )
    geometry, values = Geometry((480, 640), (93, 128), (96, 128)), np.arange(1, 13)
    out = np.zeros((480, 640), np.uint16)
    paste_winners(scores, foreground, geometry, 4, out, values)
    wanted = everything_at_once(scores, foreground, geometry, values)
    foreground_px = (out > 0) | (wanted > 0)
    assert (out == wanted)[foreground_px].mean() > 0.9999


def test_of_equal_maps_the_first_wins():
    same = np.repeat(smooth_scores(1, 7), 3, axis=0)
    out = np.zeros((96, 128), np.uint8)
    paste_winners(
        same,
        np.ones((24, 32), np.float32),
        Geometry((96, 128), (96, 128), (96, 128)),
        4,
        out,
        np.array([7, 8, 9]),
    )
    assert (out == 7).all()


def test_how_many_pixels_are_sampled_at_a_time_does_not_show(monkeypatch):
    scores, foreground = smooth_scores(5, 3), smooth_scores(1, 4)[0] + 0.1
    geometry = Geometry((200, 260), (96, 128), (96, 128))
    at_once, bit_by_bit = np.zeros((2, 200, 260), np.uint16)
    paste_winners(scores, foreground, geometry, 4, at_once, np.arange(1, 6))
    monkeypatch.setattr(paste, "SAMPLED_PX", 500)
    paste_winners(scores, foreground, geometry, 4, bit_by_bit, np.arange(1, 6))
    assert (at_once == bit_by_bit).all()


def test_values_lie_inside_the_boxes_that_are_returned():
    scores, foreground = smooth_scores(7, 8), smooth_scores(1, 9)[0] - 0.1
    out = np.zeros((300, 400), np.uint8)
    boxes = paste_winners(
        scores, foreground, Geometry((300, 400), (96, 128), (96, 128)), 4, out, np.arange(1, 8)
    )
    assert set(np.unique(out)) - {0} <= set(boxes)
    for value, (x0, y0, x1, y1) in boxes.items():
        outside = out == value
        outside[y0:y1, x0:x1] = False
        assert not outside.any()


def test_no_foreground_leaves_the_map_empty():
    out = np.zeros((96, 128), np.uint8)
    nowhere = np.full((24, 32), -1, np.float32)
    paste_winners(
        smooth_scores(3, 5),
        nowhere,
        Geometry((96, 128), (96, 128), (96, 128)),
        4,
        out,
        np.arange(1, 4),
    )
    assert not out.any()
