"""native.py: our own JSON, written and read."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps

from humanparse import formats
from humanparse.errors import OptionError
from humanparse.formats import from_json, to_json
from humanparse.labels import CIHP, LabelSet
from humanparse.masks import Mask

DOCS = Path(__file__).parents[2] / "docs" / "json.md"


def test_json_round_trip_gives_the_same_maps_people_and_parts():
    parsing = made_up_parsing()
    again = formats.from_json(formats.to_json(parsing))
    assert np.array_equal(again.label_map, parsing.label_map) and again.label_map.dtype == np.uint8
    assert (
        np.array_equal(again.person_map, parsing.person_map) and again.person_map.dtype == np.uint16
    )
    assert again.labels is CIHP and (again.name, again.model) == (parsing.name, parsing.model)
    assert [list(person.parts) for person in again.people] == [
        list(person.parts) for person in parsing.people
    ]
    assert again.timings_ms == parsing.timings_ms
    assert formats.to_dict(again) == formats.to_dict(parsing)


def test_json_round_trip_keeps_loose_parts():
    label_map = np.zeros((4, 5), np.uint8)
    label_map[1:3, 2] = CIHP.index("Hat")
    again = formats.from_json(
        formats.to_json(parsing_from_maps(label_map, np.zeros((4, 5), np.uint16)))
    )
    assert [part.label for part in again.loose_parts] == ["Hat"] and again.people == ()
    assert np.array_equal(again.label_map, label_map)


def test_json_of_a_photo_without_people_has_an_empty_list():
    data = formats.to_dict(empty_parsing((3, 4)))
    assert (data["people"], data["loose_parts"], data["height"], data["width"]) == ([], [], 3, 4)
    assert formats.from_dict(data).size_hw == (3, 4)


def test_every_mask_in_the_json_is_the_map_s():
    parsing = made_up_parsing()
    for person in json.loads(formats.to_json(parsing))["people"]:
        mine = parsing.person_map == person["id"]
        assert np.array_equal(Mask.from_rle(person["mask"]).to_dense(), mine)
        for part in person["parts"]:
            assert np.array_equal(
                Mask.from_rle(part["mask"]).to_dense(),
                mine & (parsing.label_map == part["class_id"]),
            )


def test_boxes_in_the_json_are_half_open_and_areas_count_pixels():
    person = formats.to_dict(made_up_parsing())["people"][1]
    face = next(part for part in person["parts"] if part["label"] == "Face")
    assert (face["box"], face["area"]) == ([92, 26, 108, 42], 16 * 16)
    assert (face["score"], person["box"]) == (0.7, [80, 20, 120, 100])


def test_json_without_masks_is_small_and_cannot_be_read_back():
    data = formats.to_dict(made_up_parsing(), masks=False)
    assert "mask" not in data["people"][0] and "mask" not in data["people"][0]["parts"][0]
    with pytest.raises(OptionError, match="masks=True"):
        formats.from_dict(data)


def test_names_in_any_script_survive_json():
    parsing = made_up_parsing(name="straße-写真")
    assert formats.to_json(parsing).isascii()
    assert formats.from_json(formats.to_json(parsing)).name == "straße-写真"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_that_windows_saved_again_is_read(encoding):
    text = to_json(made_up_parsing())
    for saved in (text.encode(encoding), "\ufeff" + text):
        assert len(from_json(saved).people) == 2


def test_json_that_is_nested_too_deeply_is_refused():
    for text in ("[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(OptionError, match="this is not JSON"):
            from_json(text)


def test_an_unknown_label_set_keeps_its_names():
    labels = LabelSet("toys", CIHP.names)
    assert formats.from_dict(formats.to_dict(made_up_parsing(labels=labels))).labels == labels


def test_a_photo_can_be_given_back_and_must_fit():
    parsing = made_up_parsing()
    assert formats.from_dict(formats.to_dict(parsing), image=parsing.image).image is parsing.image
    with pytest.raises(OptionError, match="160x120"):
        formats.from_dict(formats.to_dict(parsing), image=parsing.image[:50])


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"schema": "humanparse/9"}', '{"schema": "humanparse/1"}']
)
def test_text_of_another_kind_is_refused(text):
    with pytest.raises(OptionError):
        formats.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 161}, "size|mask"),
        ({"width": 0}, "whole number"),
        ({"height": "120"}, "whole number"),
        ({"people": None}, "damaged"),
        ({"people": [{}]}, "the data have no"),
        ({"labels": ["Background", "Hat"]}, "Hair"),
        ({"timings_ms": []}, "damaged"),
    ],
)
def test_damaged_data_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        formats.from_dict({**formats.to_dict(made_up_parsing()), **change})


def test_people_out_of_order_are_refused():
    data = formats.to_dict(made_up_parsing())
    data["people"].reverse()
    with pytest.raises(OptionError, match="1 to 2 in order"):
        formats.from_dict(data)


def test_the_example_in_the_docs_reads_and_writes_back_unchanged():
    example = json.loads(re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1))
    assert formats.to_dict(formats.from_dict(example)) == example


def test_polygons_are_added_on_demand_and_do_not_hinder_reading():
    parsing = made_up_parsing()
    data = formats.to_dict(parsing, polygons=True)
    face = next(part for part in data["people"][0]["parts"] if part["label"] == "Face")
    [polygon] = face.pop("polygons")
    assert (min(polygon[::2]), max(polygon[::2]), min(polygon[1::2]), max(polygon[1::2])) == (
        52,
        68,
        26,
        42,
    )
    assert json.loads(formats.to_json(parsing, polygons=True, masks=False))["people"][1]["polygons"]
    assert formats.to_dict(formats.from_dict(data)) == formats.to_dict(parsing)
    assert "polygons" not in formats.to_json(parsing)


def test_a_picture_of_impossible_size_is_refused_before_it_is_made():
    with pytest.raises(OptionError, match="limit"):
        formats.from_dict({**formats.to_dict(empty_parsing()), "width": 10**9, "height": 10**9})
