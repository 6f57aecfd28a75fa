"""labels.py: the classes of each data set, their sides, and colours that can be distinguished."""

from __future__ import annotations

import numpy as np
import pytest

from humanparse.errors import OptionError
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART, LabelSet, label_set
from humanparse.vocabulary import PALETTES

SETS = (CIHP, LIP, PASCAL_PERSON_PART, MHP_V2)
every_set = pytest.mark.parametrize("labels", SETS, ids=lambda labels: labels.name)

# How colour-blind people see linear RGB: Machado, Oliveira and Fernandes 2009, table for severity
# 1.0.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def cielab(colours, sight: str = "normal") -> np.ndarray:
    """RGB 0–255 (N, 3) → CIELAB (N, 3) under D65, as seen with that sight."""
    srgb = np.array(colours) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(SIGHT[sight]).T, 0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def nearest(labels, sight: str) -> tuple[float, str, str]:
    """Distance and names of the two classes whose clear colours look most alike."""
    lab = cielab(labels.palette("clear"), sight)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    return float(distances[i, j]), labels.names[i], labels.names[j]


# Classes


@pytest.mark.parametrize(
    ("labels", "count"), [(CIHP, 20), (LIP, 20), (PASCAL_PERSON_PART, 7), (MHP_V2, 59)]
)
def test_each_set_has_the_classes_of_its_data_set(labels, count):
    assert len(labels) == len(labels.names) == len(set(labels.names)) == count
    assert labels.names[0] == "Background"


def test_cihp_and_lip_differ_in_one_class_only():
    assert [(a, b) for a, b in zip(CIHP.names, LIP.names, strict=True) if a != b] == [
        ("Torso-skin", "Jumpsuits")
    ]


def test_cihp_pairs_are_arms_legs_and_shoes():
    assert CIHP.left_right_pairs == LIP.left_right_pairs == ((14, 15), (16, 17), (18, 19))


@every_set
def test_every_sided_class_is_in_one_pair_with_its_other_side(labels):
    sided = [i for i, name in enumerate(labels.names) if name.startswith(("Left-", "Right-"))]
    assert sorted(i for pair in labels.left_right_pairs for i in pair) == sided
    for left, right in labels.left_right_pairs:
        assert labels.names[left].removeprefix("Left-") == labels.names[right].removeprefix(
            "Right-"
        )


def test_mhp_has_eight_pairs_and_pascal_none():
    assert (len(MHP_V2.left_right_pairs), len(PASCAL_PERSON_PART.left_right_pairs)) == (8, 0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Background", "body", "body"), "classes 1 and 2 are both called 'body'"),
        (("Background", "Body", "body"), "classes 1 and 2 are both called 'body'"),
        (("Background", " "), "class 1 has no name"),
        (("Background", "Left-arm"), "there is a class 'Left-arm' but no 'Right-arm'"),
        (("Background", "Right-arm", "left-arm"), "there is a class 'Right-arm' but no 'Left-arm'"),
    ],
)
def test_names_by_which_classes_cannot_be_distinguished_or_mirrored_are_refused(names, message):
    with pytest.raises(OptionError, match=message):
        LabelSet("mine", names)


def test_what_is_not_a_class_gets_a_name_that_no_class_has():
    assert CIHP.name_beside("person") == "person"
    assert LabelSet("mine", ("Background", "Person")).name_beside("person") == "whole-person"
    assert (
        LabelSet("mine", ("Background", "person", "whole-person")).name_beside("person")
        == "whole-whole-person"
    )


@every_set
def test_a_set_is_found_by_its_name(labels):
    assert label_set(labels.name) is labels


def test_an_unknown_set_is_answered_with_those_there_are():
    with pytest.raises(OptionError, match="choose one of cihp, lip, pascal-person-part, mhp-v2"):
        label_set("coco")


def test_a_class_is_found_by_its_name():
    assert CIHP.names[CIHP.index("Left-arm")] == "Left-arm"


def test_an_unknown_class_is_answered_with_those_there_are():
    with pytest.raises(
        OptionError, match=r"cihp has no class 'left-arm'; its classes are Background, Hat,"
    ):
        CIHP.index("left-arm")


# Colours


@every_set
@pytest.mark.parametrize("palette", PALETTES)
def test_a_palette_has_a_different_colour_for_each_class_and_black_for_background(labels, palette):
    colours = labels.palette(palette)
    assert len(colours) == len(set(colours)) == len(labels)
    assert colours[0] == (0, 0, 0)
    assert all(
        isinstance(value, int) and 0 <= value <= 255 for colour in colours for value in colour
    )


def test_an_unknown_palette_is_answered_with_those_there_are():
    with pytest.raises(OptionError, match="no palette 'neon'; choose one of clear, classic"):
        CIHP.palette("neon")


def test_classic_cihp_colours_are_those_of_the_data_sets_own_tools():
    assert CIHP.palette("classic")[1:6] == (
        (128, 0, 0),
        (255, 0, 0),
        (0, 85, 0),
        (170, 0, 51),
        (255, 85, 0),
    )


def test_classic_pascal_colours_are_those_of_pascal_voc():
    voc = (
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
        (0, 128, 128),
    )
    assert PASCAL_PERSON_PART.palette("classic") == voc


@every_set
@pytest.mark.parametrize("sight", SIGHT)
def test_the_left_of_a_pair_is_clearly_lighter_than_the_right(labels, sight):
    lightness = cielab(labels.palette("clear"), sight)[:, 0]
    for left, right in labels.left_right_pairs:
        assert lightness[left] - lightness[right] >= 20, labels.names[left]


@pytest.mark.parametrize("labels", [CIHP, PASCAL_PERSON_PART], ids=lambda labels: labels.name)
@pytest.mark.parametrize(
    ("sight", "least"),
    [("normal", 24), ("protanopia", 16), ("deuteranopia", 16), ("tritanopia", 15)],
)
def test_clear_colours_stay_apart_for_colour_blind_people(labels, sight, least):
    distance, one, other = nearest(labels, sight)
    assert distance >= least, f"{one} and {other} look alike with {sight}"


def test_garments_are_the_clothes_of_the_body():
    assert {CIHP.names[index] for index in CIHP.garments} == {
        "UpperClothes",
        "Dress",
        "Coat",
        "Pants",
        "Skirt",
    }
    assert {LIP.names[index] for index in LIP.garments} >= {"UpperClothes", "Jumpsuits"}
    assert PASCAL_PERSON_PART.garments == frozenset()
    assert {CIHP.names[index] for index in CIHP.heads} == {"Hat", "Hair", "Sunglasses", "Face"}
    assert [CIHP.names[index] for index in CIHP.faces] == ["Face"] and not PASCAL_PERSON_PART.faces
