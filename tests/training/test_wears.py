"""Lists of what people wear: read, mirrored, and applied to label maps as sets of classes."""

import json

import numpy as np
import pytest

from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.training import wears as W

ARM, OTHER_ARM, COAT, SCARF = map(CIHP.index, ("Left-arm", "Right-arm", "Coat", "Scarf"))


def test_a_list_is_read_with_its_unsure_classes_its_main_garment_and_its_left(tmp_path):
    file = tmp_path / "wears.json"
    lines = {"wears": ["Coat", "Left-arm"], "unsure": ["Scarf"], "main": "Coat", "left_at": "right"}
    file.write_text(json.dumps({"street": {"2": lines, "3": {"wears": ["Coat"]}}}))
    read = W.read_wears(file, CIHP)["street"]
    assert read[2] == W.Wears(frozenset({COAT, ARM}), frozenset({SCARF}), COAT, "right")
    assert read[2].possible == W.bits({COAT, ARM, SCARF})
    assert read[3] == W.Wears(frozenset({COAT}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"street": {"1": {"wears": ["Cape"]}}}', "no class 'Cape'"),
        ('{"street": {"0": {"wears": ["Coat"]}}}', "numbered from 1"),
        ('{"street": {"1": ["Coat"]}}', "what it says of the photo 'street' cannot .* look like"),
        ('{"street": {"wears": ["Coat"]}}', "the photo 'street' cannot be used"),
        ('{"street": {"1": {"wears": "Coat"}}}', "the photo 'street' cannot be used"),
        ('["Coat"]', "holds no JSON object; it should look like"),
        ("{", "is not JSON .* should look like"),
    ],
)
def test_a_list_that_cannot_be_used_says_what_is_wrong_and_where(tmp_path, text, said):
    file = tmp_path / "wears.json"
    file.write_text(text)
    with pytest.raises(OptionError, match=said) as raised:
        W.read_wears(file, CIHP)
    assert str(file) in str(raised.value)


def test_a_mirrored_list_has_its_sides_exchanged():
    assert W.mirrored_bits(W.bits({ARM, COAT}), CIHP) == W.bits({OTHER_ARM, COAT})
    assert W.mirrored_bits(W.bits({ARM, OTHER_ARM}), CIHP) == W.bits({ARM, OTHER_ARM})


def test_sets_are_laid_where_a_list_or_a_side_is_all_that_is_known():
    either_arm = next(code for code, pair in W.either(CIHP).items() if pair == (ARM, OTHER_ARM))
    codes = np.array([[0, COAT, W.LISTED], [either_arm, W.LISTED, W.IGNORE]], np.uint8)
    people = np.array([[0, 1, 1], [1, 2, 2]])
    possible = np.array([0, W.bits({COAT, SCARF}), W.ANYTHING])
    sets = W.sets_of(codes, people, possible, CIHP)
    assert sets.tolist() == [[0, 0, W.bits({COAT, SCARF})], [W.bits({ARM, OTHER_ARM}), 0, 0]]
