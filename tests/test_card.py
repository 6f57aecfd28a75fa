"""What a model file says of itself is read as it was written, and nonsense is refused."""

import json

import pytest

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.errors import BrokenModel
from humanparse.labels import CIHP, LabelSet
from humanparse.preprocess import Preprocess

CARD = ModelCard(
    "made-up",
    CIHP,
    "centres",
    Preprocess((1, 2, 3), (4, 5, 6), short_side=640),
    "Apache-2.0",
    {"peak": 0.3},
)


def read(text: str) -> ModelCard:
    return ModelCard.from_metadata({METADATA_KEY: text}, "made-up.onnx")


def test_a_card_survives_the_way_into_a_file_and_out():
    assert read(CARD.to_json()) == CARD


def test_other_label_sets_travel_with_their_names():
    own = LabelSet("pets", ("Background", "Left-ear", "Right-ear"))
    card = ModelCard("pets", own, "queries", CARD.preprocess, "MIT")
    assert read(card.to_json()).labels == own


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        json.dumps({**json.loads(CARD.to_json()), "preprocess": {"zoom": 2}}),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(text):
    with pytest.raises(BrokenModel, match=r"made-up\.onnx carries metadata that cannot be read"):
        read(text)


def test_a_model_with_two_classes_of_one_name_is_refused():
    with pytest.raises(BrokenModel, match="both called 'ear'"):
        read(
            json.dumps(
                {
                    **json.loads(CARD.to_json()),
                    "labels": "pets",
                    "names": ["Background", "ear", "ear"],
                }
            )
        )


def test_a_file_without_our_metadata_is_refused():
    with pytest.raises(BrokenModel, match="not made by humanparse"):
        ModelCard.from_metadata({}, "other.onnx")


def test_a_head_of_a_later_version_is_refused():
    with pytest.raises(BrokenModel, match=r"'rays'.*update humanparse"):
        read(json.dumps({**json.loads(CARD.to_json()), "head": "rays"}))
