"""What is summed up about a person, and the layers that read it."""

import base64

import numpy as np
import pytest

from humanparse.errors import BrokenModel
from humanparse.postprocess.outfit import BANDS, PER_CLASS, OutfitReader, summaries


def reader(classes: int, hidden: int = 3) -> OutfitReader:
    rng = np.random.default_rng(0)
    size = PER_CLASS * classes
    shapes = ((size,), (size,), (size, hidden), (hidden,), (hidden, classes), (classes,))
    middle, scale, first, bias, second, last = (
        rng.normal(size=shape).astype(np.float16).astype(np.float32) for shape in shapes
    )
    return OutfitReader(middle, scale, (first, bias), (second, last))


def test_a_person_s_maps_are_summed_up_as_a_whole_and_from_top_to_bottom():
    owner = np.full((10, 4), -1)
    owner[1:9, 1:3] = 1
    probability = np.zeros((2, 10, 4), np.float32)
    probability[1, 1:3, 1:3] = 0.5  # the top quarter of person 1
    probability[0, 9] = 1  # nobody's cells
    wears = np.stack([np.full((10, 4), 3.0), np.full((10, 4), -2.0)]).astype(np.float32)
    nobody, someone = summaries(probability, wears, owner, 2).reshape(2, PER_CLASS, 2)
    assert not nobody.any()
    mean, highest, *bands, evidence = someone[:, 1]
    assert (mean, highest, evidence) == (0.125, 0.5, -2.0)
    assert bands == [0.5, 0.0, 0.0, 0.0] and len(bands) == BANDS
    assert not someone[:-1, 0].any()


def test_a_person_of_one_row_has_no_lower_bands():
    owner = np.array([[0, 0, -1]])
    (found,) = summaries(np.ones((1, 1, 3), np.float32), np.zeros((1, 1, 3)), owner, 1)
    assert found.tolist() == [1, 1, 1, 0, 0, 0, 0]


def test_layers_read_what_they_read_after_a_journey_as_text():
    layers = reader(4)
    again = OutfitReader.from_text(layers.to_text(), 4)
    seen = np.random.default_rng(1).normal(size=(5, PER_CLASS * 4)).astype(np.float32)
    odds = layers(seen)
    assert odds.shape == (5, 4) and not odds[:, 0].any() and odds[:, 1:].any()
    assert np.allclose(again(seen), odds)
    assert OutfitReader.from_text(layers.to_text(), 4) is again


def test_what_lies_far_out_counts_as_if_it_were_nearer():
    layers = reader(2)
    seen = np.full((1, PER_CLASS * 2), 1e9, np.float32)
    assert np.allclose(layers(seen), layers(seen * 1e3)) and np.isfinite(layers(seen)).all()


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        reader(3).to_text()[:-4],
        base64.b64encode(np.full(90, np.nan, "<f2").tobytes()).decode(),
        "",
    ],
)
def test_damaged_layers_are_refused(text):
    with pytest.raises(BrokenModel, match="outfit reader"):
        OutfitReader.from_text(text, 3)
