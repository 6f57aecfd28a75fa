"""The single-person head: queries vote, the photo lies in the middle of the input."""

import numpy as np
import pytest

from humanparse.labels import CIHP
from humanparse.postprocess.semantic import SemanticSettings, parse_semantic
from humanparse.preprocess import Preprocess

FIT = Preprocess(mean=(0, 0, 0), std=(1, 1, 1), fit_hw=(160, 160), filter="pil-bilinear")


def outputs(*queries: tuple[int, tuple[int, int, int, int]]) -> dict[str, np.ndarray]:
    """queries: (class of 20, block of cells top, bottom, left, right) in an input of 160 × 160."""
    logits = np.full((1, len(queries), 21), -20.0, np.float32)
    masks = np.full((1, len(queries), 40, 40), -10.0, np.float32)
    for query, (class_id, (top, bottom, left, right)) in enumerate(queries):
        logits[0, query, class_id] = 0
        masks[0, query, top:bottom, left:right] = 10
    return {"pred_logits": logits, "pred_masks": masks}


BACKGROUND = (0, (0, 40, 0, 40))


@pytest.mark.parametrize(
    ("photo", "resized", "corner"),
    [
        ((160, 160), (160, 160), (0, 0)),
        ((100, 60), (100, 60), (30, 50)),  # never enlarged
        ((320, 200), (160, 100), (0, 30)),
        ((200, 321), (99, 160), (30, 0)),  # cut off, not rounded
        ((5000, 2), (160, 1), (0, 79)),
    ],
)
def test_a_photo_is_laid_in_the_middle_and_never_enlarged(photo, resized, corner):
    geometry = FIT.geometry(photo)
    assert (geometry.resized_hw, geometry.corner_yx, geometry.input_hw) == (
        resized,
        corner,
        (160, 160),
    )


def test_around_the_photo_is_grey_and_beyond_that_zero():
    rule = Preprocess(mean=(28, 0, 0), std=(1, 1, 1), fit_hw=(150, 150))
    pixels, geometry = rule(np.full((100, 50, 3), 255, np.uint8))
    assert pixels.shape == (1, 3, 160, 160) and geometry.corner_yx == (25, 50)
    assert (pixels[0, 0, 25:125, 50:100] == 227).all() and (pixels[0, 0, :25, :150] == 100).all()
    assert (pixels[0, :, 150:] == 0).all()


def test_the_class_with_most_votes_wins_where_the_photo_is():
    # columns 40 to 120 of the input
    geometry = FIT.geometry((160, 80))
    maps = parse_semantic(
        outputs(BACKGROUND, (5, (10, 20, 15, 25)), (5, (10, 20, 15, 25))),
        geometry,
        SemanticSettings(),
        CIHP,
    )
    assert maps.label_map.shape == (160, 80)
    assert (
        (maps.label_map[42:78, 22:58] == 5).all()
        and not maps.label_map[:38].any()
        and not maps.label_map[:, :18].any()
    )
    assert ((maps.person_map == 1) == (maps.label_map > 0)).all()
    assert maps.person_scores == pytest.approx([2 / 3], abs=0.05) and list(maps.part_scores) == [
        (1, 5)
    ]


def test_larger_photos_get_their_own_size_back():
    upper_half = (9, (0, 20, 0, 40))
    maps = parse_semantic(
        outputs(BACKGROUND, upper_half, upper_half),
        FIT.geometry((640, 640)),
        SemanticSettings(),
        CIHP,
    )
    assert (maps.label_map[:310] == 9).all() and not maps.label_map[330:].any()


def test_only_background_is_nobody():
    maps = parse_semantic(outputs(BACKGROUND), FIT.geometry((50, 50)), SemanticSettings(), CIHP)
    assert not maps.label_map.any() and not maps.person_map.any() and maps.person_scores == []
