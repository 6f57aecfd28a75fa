"""Coarse scores become full-size maps, tile by tile, the same as if done at once."""

import cv2
import numpy as np
import pytest

from humanparse import preprocess
from humanparse.postprocess.paste import paste_winners
from humanparse.preprocess import Geometry


def smooth_scores(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([cv2.GaussianBlur(rng.normal(size=(24, 32)).astype(np.float32), (0, 0), 2.5) for _ in range(count)])


def everything_at_once(scores, foreground, geometry, values):
    height, width = geometry.photo_hw
    whole = (0, 0, width, height)
    full = np.stack([geometry.sample(score, 4, whole) for score in scores])
    return np.where(geometry.sample(foreground, 4, whole) > 0, values[full.argmax(0)], 0)


@pytest.mark.parametrize("photo_hw", [(96, 128), (300, 400), (61, 83)])
def test_winners_are_those_of_the_full_size_comparison(photo_hw):
    scores, foreground = smooth_scores(7, 1), smooth_scores(1, 2)[0]
    geometry = Geometry(photo_hw, (96, 128), (96, 128))
    values = np.array([3, 5, 7, 11, 13, 17, 19])
    out = np.zeros(photo_hw, np.uint8)
    paste_winners(scores, foreground, geometry, 4, out, values)
    wanted = everything_at_once(scores, foreground, geometry, values)
    assert len(np.unique(wanted)) > 5
    assert (out == wanted).mean() > 0.999  # a map that wins at no cell nearby is not asked
    assert ((out > 0) == (wanted > 0)).all()


def test_tiles_leave_no_seams(monkeypatch):
    scores, foreground = smooth_scores(5, 3), smooth_scores(1, 4)[0] + 0.1
    geometry = Geometry((200, 260), (96, 128), (96, 128))
    whole, tiled = np.zeros((2, 200, 260), np.uint16)
    paste_winners(scores, foreground, geometry, 4, whole, np.arange(1, 6))
    monkeypatch.setattr(preprocess, "TILE_PX", 70)
    paste_winners(scores, foreground, geometry, 4, tiled, np.arange(1, 6))
    assert (whole == tiled).mean() > 0.9995


def test_no_foreground_leaves_the_map_empty():
    out = np.zeros((96, 128), np.uint8)
    nowhere = np.full((24, 32), -1, np.float32)
    paste_winners(smooth_scores(3, 5), nowhere, Geometry((96, 128), (96, 128), (96, 128)), 4, out, np.arange(1, 4))
    assert not out.any()
