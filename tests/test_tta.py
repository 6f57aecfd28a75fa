"""Averaging over views.

Mirrored photos give mirrored results; offsets, sides and sizes are brought back correctly.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import humanparse.cli
from humanparse import HumanParser
from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines import FakeEngine
from humanparse.errors import OptionError
from humanparse.labels import CIHP, LIP
from humanparse.postprocess.probability import sigmoid, softmax
from humanparse.postprocess.semantic import class_votes
from humanparse.preprocess import Geometry, Preprocess
from humanparse.tta import Seen, View, average, views

DEMO = Path(humanparse.cli.__file__).parent / "demo"
PREPROCESS = Preprocess((127.5,) * 3, (127.5,) * 3, area_px=160 * 240, multiple=16)
LEFT, RIGHT = CIHP.index("Left-arm"), CIHP.index("Right-arm")


def exchanged(label_map: np.ndarray) -> np.ndarray:
    """The label map of the mirror image."""
    table = np.arange(256)
    for left, right in CIHP.left_right_pairs:
        table[left], table[right] = right, left
    return table[label_map[:, ::-1]]


def outputs(rng, geometry: Geometry) -> dict[str, np.ndarray]:
    """Random outputs of the centre head, padding included."""
    h, w = (side // 4 for side in geometry.input_hw)
    channels = {"classes": 20, "person": 1, "centre": 1, "offset": 2}
    return {
        name: rng.normal(0, 3, (1, count, h, w)).astype(np.float32)
        for name, count in channels.items()
    }


def test_views_are_every_scale_mirrored_and_not():
    assert views(False, (1.0,), "centres", PREPROCESS) == ()
    assert views(True, (1.0,), "centres", PREPROCESS) == (View(1.0, False), View(1.0, True))
    assert views(False, [0.5], "centres", PREPROCESS) == (View(0.5),)
    assert len(views(True, (0.75, 1, 1.25), "semantic", PREPROCESS)) == 6


def test_a_views_photo_fills_whole_cells_at_its_scale():
    for scale in (0.5, 1.0, 1.3):
        geometry = View(scale).geometry((333, 501), PREPROCESS)
        assert all(side % 4 == 0 for side in geometry.resized_hw) and all(
            side % 16 == 0 for side in geometry.input_hw
        )
        plain = PREPROCESS.geometry((333, 501)).resized_hw
        assert geometry.resized_hw == pytest.approx([side * scale for side in plain], abs=2)
        assert View(scale, mirrored=True).geometry((333, 501), PREPROCESS) == geometry


def test_one_view_of_scale_1_is_what_the_network_said():
    rng = np.random.default_rng(0)
    geometry = View().geometry((160, 240), PREPROCESS)
    said = outputs(rng, geometry)
    means = average([Seen(View(), said, geometry)], geometry, "centres", CIHP)
    rows, columns = geometry.cells(4)
    said = {name: value[..., :rows, :columns] for name, value in said.items()}
    assert (means["offset"] == said["offset"]).all()
    for name in ("person", "centre"):
        assert sigmoid(means[name]) == pytest.approx(sigmoid(said[name]), abs=1e-5)
    assert softmax(means["classes"], axis=1) == pytest.approx(
        softmax(said["classes"], axis=1), abs=1e-4
    )


def test_a_mirrored_view_comes_back_with_sides_exchanged_and_offsets_turned_round():
    geometry = View().geometry((160, 240), PREPROCESS)
    rng = np.random.default_rng(1)
    plain = outputs(rng, geometry)
    # There is no padding, so the mirrored outputs are easy to write down.
    assert geometry.input_hw == geometry.resized_hw
    mirrored = {name: value[..., ::-1].copy() for name, value in plain.items()}
    for left, right in CIHP.left_right_pairs:
        mirrored["classes"][:, [left, right]] = mirrored["classes"][:, [right, left]]
    mirrored["offset"][:, 0] *= -1
    one, other = (
        average([Seen(View(mirrored=mirror), said, geometry)], geometry, "centres", CIHP)
        for mirror, said in ((False, plain), (True, mirrored))
    )
    for name in one:
        assert one[name] == pytest.approx(other[name], abs=1e-4), name


def test_offsets_of_a_larger_view_are_shortened_to_the_common_size():
    grid, double = (View(scale).geometry((160, 240), PREPROCESS) for scale in (1.0, 2.0))
    said = outputs(np.random.default_rng(0), double)
    said["offset"][:, 0], said["offset"][:, 1] = 40, -8
    means = average([Seen(View(2.0), said, double)], grid, "centres", CIHP)
    assert means["offset"].shape[2:] == grid.cells(4)
    assert means["offset"][0, 0] == pytest.approx(20) and means["offset"][0, 1] == pytest.approx(-4)


def test_probabilities_are_averaged_not_logits():
    geometry = View().geometry((160, 240), PREPROCESS)
    sure, unsure = (outputs(np.random.default_rng(0), geometry) for _ in range(2))
    sure["person"][:], unsure["person"][:] = 10, 0
    means = average(
        [Seen(View(), one, geometry) for one in (sure, unsure)], geometry, "centres", CIHP
    )
    assert sigmoid(means["person"]) == pytest.approx(0.75, abs=1e-3)


def test_what_whole_people_wear_is_averaged_with_its_sides_exchanged():
    grid, rng = View().geometry((160, 240), PREPROCESS), np.random.default_rng(4)
    said = outputs(rng, grid)
    said["wears"] = rng.normal(size=said["classes"].shape).astype(np.float32)
    seen = [Seen(View(), said, grid), Seen(View(mirrored=True), said, grid)]
    means = average(seen, grid, "centres", CIHP)["wears"][0]
    rows, columns = grid.cells(4)
    straight = said["wears"][0, :, :rows, :columns]
    mirrored, coat = straight[:, :, ::-1], CIHP.index("Coat")
    assert means[coat] == pytest.approx((straight[coat] + mirrored[coat]) / 2)
    assert means[LEFT] == pytest.approx((straight[LEFT] + mirrored[RIGHT]) / 2)


def test_the_semantic_heads_votes_are_averaged_the_right_way_round():
    fixed = Preprocess((0,) * 3, (1,) * 3, fit_hw=(32, 48), filter="pil-bilinear")
    # The margin is odd: the photo is one pixel off the middle.
    geometry = View(mirrored=True).geometry((20, 33), fixed)
    rng = np.random.default_rng(0)
    sizes = {"pred_logits": (1, 7, 21), "pred_masks": (1, 7, 8, 16)}
    said = {name: rng.normal(0, 3, size).astype(np.float32) for name, size in sizes.items()}
    votes = class_votes(said, geometry)
    means = average([Seen(View(mirrored=True), said, geometry)], geometry, "semantic", LIP)
    assert means["votes"].shape == (20, 20, 33)
    assert (means["votes"][5] == votes[5, :, ::-1]).all()
    assert (means["votes"][LEFT] == votes[RIGHT, :, ::-1]).all()


def semantic_parser(answer, **options) -> HumanParser:
    card = ModelCard(
        "single", LIP, "semantic", Preprocess((127.5,) * 3, (127.5,) * 3, fit_hw=(64, 64)), "MIT"
    )
    return HumanParser(engine=FakeEngine(answer, {METADATA_KEY: card.to_json()}), **options)


def bright_is_left_arm(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Two queries: bright pixels are a left arm, mirrored or not; the rest is background."""
    mask = np.where(pixels[:, :1, 2::4, 2::4] > 0.5, 9, -9).astype(np.float32)
    logits = np.full((1, 2, 21), -9, np.float32)
    logits[0, 0, LEFT], logits[0, 1, 0] = 9, 9
    return {"pred_logits": logits, "pred_masks": np.concatenate([mask, -mask], axis=1)}


def test_the_semantic_head_parses_with_flip():
    photo = np.zeros((48, 40, 3), np.uint8)
    photo[8:24, 4:16] = 255
    alone, both = (
        semantic_parser(bright_is_left_arm, flip=flip).parse(photo) for flip in (False, True)
    )
    assert set(np.unique(alone.label_map)) == {0, LEFT}
    # The mirrored view also has a left arm, which is a right arm of the photo: the two tie, at the
    # same place.
    assert set(np.unique(both.label_map)) <= {0, LEFT, RIGHT}
    assert ((both.label_map > 0) == (alone.label_map > 0)).mean() > 0.99


def test_impossible_averages_are_refused():
    for scales in ((), (0,), (1, 9), (float("nan"),)):
        with pytest.raises(OptionError, match="scales are"):
            views(False, scales, "centres", PREPROCESS)
    with pytest.raises(OptionError, match="cannot be used with this model: it finds its queries"):
        views(True, (1.0,), "queries", PREPROCESS)
    with pytest.raises(OptionError, match="input is always 64x64 pixels; leave scales alone"):
        semantic_parser(bright_is_left_arm, scales=(1, 2))


# With the model inside the package.


@pytest.fixture(scope="module")
def flipping() -> HumanParser:
    return HumanParser(flip=True)


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_with_flip_a_mirrored_photo_gives_the_mirrored_result(flipping, name):
    pixels = np.asarray(Image.open(DEMO / f"{name}.jpg").convert("RGB"))
    pixels = pixels[:, : pixels.shape[1] - 7]  # a width that is not a whole number of cells
    straight, mirrored = flipping.parse(pixels), flipping.parse(pixels[:, ::-1].copy())
    # All but the pixels on the border of two classes, where interpolation rounds to the left.
    assert (straight.label_map == exchanged(mirrored.label_map)).mean() > 0.999
    assert (straight.person_map == mirrored.person_map[:, ::-1]).mean() > 0.999
    assert [one.score for one in straight.people] == pytest.approx(
        [one.score for one in mirrored.people], abs=1e-3
    )


def test_the_averaged_outputs_are_each_others_mirror_images_to_the_bit(flipping):
    pixels = np.asarray(Image.open(DEMO / "astronaut.jpg").convert("RGB"))[:, :-5]
    both = []
    for photo in (pixels, np.ascontiguousarray(pixels[:, ::-1])):
        seen = [
            Seen(view, flipping.engine.run(inputs), geometry)
            for view in views(True, (1.0,), "centres", flipping.preprocess)
            for inputs, geometry in [view(photo, flipping.preprocess)]
        ]
        both.append(average(seen, seen[0].geometry, "centres", CIHP))
    one, other = both
    for left, right in CIHP.left_right_pairs:
        assert (one["classes"][:, left] == other["classes"][:, right, :, ::-1]).all()
    assert (one["person"] == other["person"][..., ::-1]).all() and (
        one["centre"] == other["centre"][..., ::-1]
    ).all()
    assert (one["offset"][:, 0] == -other["offset"][:, 0, :, ::-1]).all()


def test_scales_and_flip_find_the_same_person_and_count_the_time_of_all_views():
    parser = HumanParser(flip=True, scales=(0.75, 1))
    result, plain = (
        parser.parse(DEMO / "astronaut.jpg"),
        HumanParser().parse(DEMO / "astronaut.jpg"),
    )
    assert len(result.people) == 1 and (result.person_map == plain.person_map).mean() > 0.97
    assert set(result.timings_ms) == {"read", "preprocess", "network", "postprocess"}
    assert result.timings_ms["network"] > plain.timings_ms["network"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 300), (300, 2), (37, 41)])
def test_photos_of_any_size_can_be_averaged(flipping, height, width):
    result = HumanParser(engine=flipping.engine, flip=True, scales=(0.25, 1)).parse(
        np.zeros((height, width, 3), np.uint8)
    )
    assert result.size_hw == (height, width)
