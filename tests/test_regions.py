"""regions.py: the words by which parts of a photo are named."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import parsing_from_maps

from humanparse.errors import OptionError
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART
from humanparse.regions import Region, check_names, classes_of, presets, select
from humanparse.vocabulary import MAX_REGION_LENGTH

FACE, HAIR, COAT, PANTS, LEFT_ARM = map(CIHP.index, ("Face", "Hair", "Coat", "Pants", "Left-arm"))
GLASSES = CIHP.index("Sunglasses")


def two_people():
    """20 x 30 pixels: person 1 on the left with hair, face, coat and trousers, 2 with a face."""
    labels, people = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint16)
    people[2:18, 2:10], people[2:18, 18:26] = 1, 2
    labels[2:4, 2:10], labels[4:8, 2:10] = HAIR, FACE
    labels[8:13, 2:10], labels[13:18, 2:10] = COAT, PANTS
    labels[2:18, 18:26] = FACE
    return parsing_from_maps(labels, people)


def area(region: str, parsing=None) -> int:
    return select(parsing or two_people(), region).mask.area


def test_presets_class_names_and_people_in_any_case():
    assert area("face") == 4 * 8 + 16 * 8
    assert area("Face:1") == area("FACE:1") == area("face:1,1") == 4 * 8
    assert area("head:1") == 6 * 8
    assert area("clothes") == area("upper + lower") == area("Coat + pants") == 10 * 8
    assert area("person") == 2 * 16 * 8 and area("person:2") == 16 * 8


def test_a_face_has_the_eyes_behind_its_glasses_but_glasses_alone_are_no_face():
    labels, people = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint16)
    people[2:18, 2:10], people[2:18, 18:26] = 1, 2
    labels[4:8, 2:10], labels[5:6, 3:9] = FACE, GLASSES
    labels[5:6, 19:25] = GLASSES
    chosen = select(parsing_from_maps(labels, people), "face")
    assert chosen.mask.area == 4 * 8 + 6 and chosen.missing == ("person 2 has no face",)


def test_terms_are_added_and_taken_away_from_left_to_right():
    assert area("person - face") == 12 * 8
    assert area("person:1 - clothes + Pants") == 6 * 8 + 5 * 8
    assert area("face - person") == 0
    assert area("person invert") == 20 * 30 - 2 * 16 * 8


def test_regions_grow_shrink_and_fill_their_hull():
    square = np.zeros((40, 40), np.uint16)
    square[10:20, 10:20] = 1
    parsing = parsing_from_maps((square * FACE).astype(np.uint8), square)
    grown = select(parsing, "face grow=3").mask
    assert grown.box_xyxy == (7, 7, 23, 23) and 100 < grown.area < 16 * 16  # its corners are round
    assert select(parsing, "face shrink=2").mask.box_xyxy == (12, 12, 18, 18)
    assert select(parsing, "face grow=7.5%").mask.area == grown.area  # of 40 pixels
    square[10:20, 14:16] = 0
    gap = parsing_from_maps((square * FACE).astype(np.uint8), square)
    assert select(gap, "face").mask.area == 80 and select(gap, "face hull").mask.area == 100


def test_hulls_are_of_each_person_by_themselves():
    assert area("face hull") == area("face")


def test_shrinking_does_not_begin_at_the_border_of_the_photo():
    everywhere = np.ones((10, 10), np.uint16)
    parsing = parsing_from_maps((everywhere * FACE).astype(np.uint8), everywhere)
    assert area("face shrink=3", parsing) == 100


def test_the_edge_fades_outside_of_the_region_alone():
    chosen = select(two_people(), "face:2 feather=4")
    inside = chosen.mask.to_dense()
    assert (chosen.alpha[inside] == 255).all()
    assert chosen.alpha[10, 13:19].tolist() == sorted(chosen.alpha[10, 13:19].tolist())
    assert 0 < chosen.alpha[10, 16] < 255 and chosen.alpha[10, 11] == 0
    hard = select(two_people(), "face:2").alpha
    assert set(np.unique(hard)) == {0, 255}


def test_what_was_asked_for_and_not_found_is_said():
    parsing = two_people()
    assert select(parsing, "face").missing == ()
    assert select(parsing, "hair").missing == ("person 2 has no hair",)
    assert select(parsing, "shoes:1").missing == ("person 1 has no shoes",)
    assert select(parsing, "person - shoes").missing == ()
    nobody = parsing_from_maps(np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint16))
    assert select(nobody, "face").missing == ("no face was found",)
    assert select(nobody, "person").missing == ("no person was found",)
    assert select(nobody, "face feather=3").alpha.max() == 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "give up to"),
        (3, "give up to"),
        ("x" * (MAX_REGION_LENGTH + 1), "give up to"),
        ("face hair", "'hair' was not understood"),
        ("+ face", "wrong place"),
        ("face + - hair", "wrong place"),
        ("face +", "ends too soon"),
        ("grow=3", "ends too soon"),
        ("face:0", "numbers of people"),
        ("face:two", "numbers of people"),
        ("face grow=-1", "was not understood"),
        ("face grow=501", "up to 500"),
        ("face feather=101%", "up to 500"),
        ("face grow=1 shrink=1", "choose one"),
        ("face grow=1 + hair", "wrong place"),
    ],
)
def test_what_is_no_region_is_refused(text, word):
    with pytest.raises(OptionError, match=word):
        Region.parse(text)


def test_unknown_names_and_people_are_told_with_the_nearest():
    with pytest.raises(OptionError, match=r"no region 'uper' \(did you mean 'upper'\?\)"):
        select(two_people(), "uper")
    with pytest.raises(OptionError, match="it shows people 1 to 2"):
        select(two_people(), "face:3")
    with pytest.raises(OptionError, match="no region 'belt'"):
        check_names(Region.parse("person - belt"), CIHP)
    check_names(Region.parse("person:9 - face"), CIHP)


def test_every_label_set_has_the_presets_that_it_makes_possible():
    assert "dress" in presets(CIHP) and "dress" not in presets(PASCAL_PERSON_PART)
    assert {"head", "arms", "legs", "upper"} <= set(presets(PASCAL_PERSON_PART))
    for labels in (CIHP, LIP, MHP_V2):
        known = presets(labels)
        assert set(known["head"]) >= set(known["face"]) | set(known["hair"])
        assert not set(known["clothes"]) & set(known["skin"])
        covered = {one for preset in known.values() for one in preset}
        left = {labels.names[one] for one in range(1, len(labels)) if one not in covered}
        assert left <= {"Ball", "Bats", "Bottle"}  # things in hands
    assert classes_of("overall", LIP) == (LIP.index("Dress"), LIP.index("Jumpsuits"))
