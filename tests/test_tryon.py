"""tryon.py: what try-on models paint over, and their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import parsing_from_maps

from humanparse.errors import OptionError
from humanparse.labels import CIHP, LIP, PASCAL_PERSON_PART
from humanparse.tryon import ATR, GREY, NECK, agnostic_mask, agnostic_photo, label_map

C = {name: number for number, name in enumerate(CIHP.names)}


def dressed(sleeve: int = 0, labels=CIHP):
    """Somebody who holds their arms away, 160 x 120 pixels. sleeve: rows of the arms in clothes."""
    here, people = np.zeros((160, 120), np.uint8), np.zeros((160, 120), np.uint16)

    def paint(name, top, bottom, left, right):
        here[top:bottom, left:right] = C[name]
        people[top:bottom, left:right] = 1

    paint("Hair", 8, 14, 52, 68)
    paint("Face", 14, 28, 52, 68)
    paint("Torso-skin", 28, 32, 54, 66)
    paint("UpperClothes", 32, 80, 44, 76)
    paint("Left-arm", 34, 84, 80, 88)
    paint("Right-arm", 34, 84, 32, 40)
    if sleeve:
        paint("UpperClothes", 34, 34 + sleeve, 80, 88)
        paint("UpperClothes", 34, 34 + sleeve, 32, 40)
    paint("Pants", 80, 140, 46, 74)
    paint("Left-shoe", 140, 150, 62, 78)
    paint("Right-shoe", 140, 150, 42, 58)
    return parsing_from_maps(here, people, labels=labels)


def covered(mask, parsing, name: str) -> float:
    part = parsing.label_map == C[name]
    return float(mask.to_dense()[part].mean())


@pytest.mark.parametrize("garment", ["upper", "lower", "dress"])
def test_the_garment_is_painted_over_and_head_feet_and_hands_stay(garment):
    parsing = dressed()
    mask = agnostic_mask(parsing, garment)
    assert all(covered(mask, parsing, name) == 0 for name in ("Face", "Hair", "Left-shoe"))
    assert covered(mask, parsing, "UpperClothes") == (garment != "lower")
    assert covered(mask, parsing, "Pants") == (garment != "upper")
    arm = covered(mask, parsing, "Left-arm")
    assert arm == 0 if garment == "lower" else 0.5 < arm < 1, "hands stay, arms do not"
    if garment != "lower":
        assert covered(agnostic_mask(parsing, garment, keep_hands=False), parsing, "Left-arm") == 1


def test_the_shape_of_the_old_garment_does_not_show():
    """The same person in short and in long sleeves gives the same mask."""
    short, long = (agnostic_mask(dressed(sleeve), "upper") for sleeve in (8, 36))
    assert short.iou(long) > 0.97
    bare = dressed().label_map > 0
    assert agnostic_mask(dressed(), "upper").to_dense()[~bare].sum() > 500, "it may be wider"


def test_specks_neither_stretch_the_mask_nor_leave_holes_in_it():
    clean, parsing = dressed(), dressed()
    here = parsing.label_map.copy()
    here[9:11, 58:60] = C["UpperClothes"]  # on the hair
    here[50:52, 60:62] = C["Left-arm"]  # on the chest
    mask = agnostic_mask(parsing_from_maps(here, parsing.person_map), "upper")
    assert mask.box_xyxy == agnostic_mask(clean, "upper").box_xyxy
    assert mask.to_dense()[50:52, 60:62].all()


def test_other_people_stay():
    parsing = dressed()
    people, here = parsing.person_map.copy(), parsing.label_map.copy()
    people[40:60, 76:80], here[40:60, 76:80] = 2, C["Coat"]
    mask = agnostic_mask(parsing_from_maps(here, people), "upper", 1)
    swapped = np.choose(people, [0, 2, 1]).astype(np.uint16)  # the largest person is meant
    assert agnostic_mask(parsing_from_maps(here, swapped), "upper").area == mask.area
    assert not mask.to_dense()[people == 2].any()
    assert agnostic_mask(parsing_from_maps(here, people), "lower", 2).area == 0


def test_the_photo_is_grey_there():
    parsing = dressed()
    photo, mask = agnostic_photo(parsing, "upper"), agnostic_mask(parsing, "upper").to_dense()
    assert (photo[mask] == GREY).all() and np.array_equal(photo[~mask], parsing.image[~mask])


def test_atr_numbers():
    parsing = dressed()
    mapped = label_map(parsing, "atr")
    same = {name: name for name in ("Pants", "Hair", "Left-arm", "Right-shoe")}
    for ours, theirs in (same | {"UpperClothes": "Upper-clothes", "Torso-skin": "Face"}).items():
        assert (mapped[parsing.label_map == C[ours]] == ATR.index(theirs)).all(), ours
    assert (
        label_map(parsing, "atr", neck=True)[parsing.label_map == C["Torso-skin"]] == NECK
    ).all()
    # as SCHP numbers them: github.com/GoGoDuck912/Self-Correction-Human-Parsing, data set ATR
    assert (ATR.index("Upper-clothes"), ATR.index("Dress"), ATR.index("Bag")) == (4, 7, 16)


def test_socks_and_gloves_belong_to_the_limb_that_they_are_on():
    parsing = dressed()
    here = parsing.label_map.copy()
    here[134:140, 46:58], here[134:140, 62:74] = C["Socks"], C["Socks"]
    here[78:84, 80:88] = C["Glove"]
    mapped = label_map(parsing_from_maps(here, parsing.person_map), "atr")
    assert (mapped[134:140, 47:57] == ATR.index("Right-leg")).all()
    assert (mapped[134:140, 63:73] == ATR.index("Left-leg")).all()
    assert (mapped[78:84, 80:88] == ATR.index("Left-arm")).all()


def test_lip_numbers():
    parsing = dressed()
    mapped = label_map(parsing, "lip")
    assert (mapped[parsing.label_map == C["Torso-skin"]] == LIP.index("Face")).all()
    same = parsing.label_map != C["Torso-skin"]
    assert np.array_equal(mapped[same], parsing.label_map[same])


def test_mistakes_are_told():
    with pytest.raises(OptionError, match="choose one of upper, lower, dress"):
        agnostic_mask(dressed(), "hat")
    with pytest.raises(OptionError, match="no person 2 in this photo: it shows one person"):
        agnostic_mask(dressed(), "upper", 2)
    with pytest.raises(OptionError, match="it shows nobody"):
        agnostic_mask(parsing_from_maps(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)))
    with pytest.raises(OptionError, match="choose lip or atr"):
        label_map(dressed(), "coco")
    blocks = np.ones((4, 4), np.uint8)
    parts = parsing_from_maps(blocks, blocks.astype(np.uint16), labels=PASCAL_PERSON_PART)
    with pytest.raises(OptionError, match="from those of CIHP or LIP"):
        label_map(parts, "atr")
