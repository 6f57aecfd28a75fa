"""coarse.py: results with few, sure classes."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import made_up_parsing, parsing_from_maps

from humanparse import formats
from humanparse.coarse import GROUPS, coarse, coarse_labels
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART
from humanparse.regions import presets
from humanparse.tryon import agnostic_mask


@pytest.mark.parametrize("labels", [CIHP, LIP, MHP_V2, PASCAL_PERSON_PART])
def test_every_class_has_a_coarse_one(labels):
    few, table = coarse_labels(labels)
    assert len(table) == len(labels) and set(table) == set(range(len(few))) and table[0] == 0
    assert set(few.names[1:]) <= {*GROUPS, "Accessory"}


def test_cihp_as_the_older_services_named_it():
    few, table = coarse_labels(CIHP)
    assert few.names == (
        "Background", "Hair", "Head", "Upper-clothes", "Lower-clothes", "Dress", "Torso", "Arm",
        "Leg", "Foot", "Accessory",
    )  # fmt: skip
    meant = {name: few.names[table[number]] for number, name in enumerate(CIHP.names)}
    assert meant["Coat"] == meant["UpperClothes"] == "Upper-clothes"
    assert meant["Left-shoe"] == meant["Right-shoe"] == meant["Socks"] == "Foot"
    assert meant["Hat"] == meant["Face"] == "Head" and meant["Scarf"] == "Accessory"
    assert few.garments == {few.names.index(n) for n in ("Upper-clothes", "Dress")}


def test_parts_become_one_and_people_stay():
    labels, people = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint16)
    people[:8] = 1
    labels[:2], labels[2:4], labels[4:8] = (
        CIHP.index(n) for n in ("Coat", "UpperClothes", "Pants")
    )
    before = parsing_from_maps(labels, people)
    after = coarse(before)
    person = after.people[0]
    assert list(person.parts) == ["Upper-clothes", "Lower-clothes"]
    upper = person.parts["Upper-clothes"]
    assert upper.area == 40 and upper.box_xyxy == (0, 0, 10, 4)
    assert (after.label_map[:4] == upper.class_id).all()
    assert np.array_equal(after.person_map, before.person_map)
    assert person.mask is before.people[0].mask and person.score == before.people[0].score


def test_formats_and_pictures_take_coarse_results():
    few = coarse(made_up_parsing())
    again = formats.from_json(few.to_json())
    assert again.labels.names == few.labels.names
    assert np.array_equal(again.label_map, few.label_map)
    assert few.overlay(legend=False).size == (160, 120) and formats.to_coco(few)["categories"]


def test_coarse_results_stay_as_they_are_and_have_the_presets_of_clothes():
    labels = coarse_labels(CIHP)[0]
    assert coarse_labels(labels)[0] == labels
    few = coarse(made_up_parsing())
    assert np.array_equal(coarse(few).label_map, few.label_map)
    assert presets(labels)["lower"] == (labels.index("Lower-clothes"),)
    assert agnostic_mask(few, "lower").area
