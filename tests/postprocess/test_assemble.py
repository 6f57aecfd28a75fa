"""Maps become people, in order, with their parts."""

import numpy as np

from humanparse.labels import CIHP
from humanparse.postprocess.assemble import Maps, assemble


def scene() -> Maps:
    """Person 1 (pants) to the right of person 2 (clothes, face), and a hat that is nobody's."""
    label_map, person_map = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint16)
    person_map[2:18, 2:12], label_map[2:18, 2:12] = 2, 5
    label_map[2:6, 2:12] = 13
    person_map[2:18, 12:22], label_map[2:18, 12:22] = 1, 9
    label_map[15:18, 26:29] = 1
    return Maps(
        label_map, person_map, [0.9, 0.6], {(2, 5): 0.8, (2, 13): 0.7, (1, 9): 0.65, (0, 1): 0.5}
    )


def test_people_carry_number_score_and_mask():
    maps = scene()
    people, _ = assemble(maps, CIHP, 0.3)
    assert [(person.id, person.score) for person in people] == [(1, 0.9), (2, 0.6)]
    for person in people:
        assert (person.mask.to_dense() == (maps.person_map == person.id)).all()


def test_parts_carry_label_score_box_and_area():
    people, _ = assemble(scene(), CIHP, 0.3)
    face = people[1].parts["Face"]
    assert (face.class_id, face.score, face.box_xyxy, face.area) == (13, 0.7, (2, 2, 12, 6), 40)
    assert list(people[0].parts) == ["Pants"]


def test_a_part_of_nobody_is_unassigned():
    _, unassigned = assemble(scene(), CIHP, 0.3)
    assert [(part.label, part.area) for part in unassigned] == [("Hat", 9)]


def test_people_below_the_score_leave_both_maps():
    maps = scene()
    people, _ = assemble(maps, CIHP, 0.65)
    assert [person.score for person in people] == [0.9]
    assert not maps.person_map[:, :12].any() and not maps.label_map[:, :12].any()


def test_numbers_close_up_behind_a_person_without_pixels():
    maps = scene()
    maps.person_map[maps.person_map == 1] = 0
    people, _ = assemble(maps, CIHP, 0.3)
    assert [(person.id, list(person.parts)) for person in people] == [(1, ["UpperClothes", "Face"])]
    assert np.unique(maps.person_map).tolist() == [0, 1]


def test_parts_below_the_score_lose_their_label_but_stay_the_persons():
    maps = scene()
    maps.part_scores[1, 9] = 0.1
    people, _ = assemble(maps, CIHP, 0.6)
    assert people[0].parts == {} and people[0].area == 160
    assert not maps.label_map[:, 12:22].any() and maps.person_map[5, 15] == 1


def test_an_empty_scene_gives_nobody():
    empty = Maps(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16), [], {})
    assert assemble(empty, CIHP, 0.3) == ((), ())


def test_boxes_that_are_known_save_looking_and_change_nothing():
    known = scene()
    known.person_boxes = {1: (10, 0, 25, 20), 2: (0, 0, 12, 20)}
    known.class_boxes = {
        1: (20, 10, 30, 20),
        5: (0, 0, 30, 20),
        9: (12, 2, 22, 18),
        13: (2, 2, 12, 6),
    }
    (people, unassigned), (same_people, same_unassigned) = (
        assemble(scene(), CIHP, 0.3),
        assemble(known, CIHP, 0.3),
    )
    for one, other in zip([*people, *unassigned], [*same_people, *same_unassigned], strict=True):
        assert one.mask.box_xyxy == other.mask.box_xyxy and (one.mask.crop == other.mask.crop).all()
    assert [list(person.parts) for person in people] == [
        list(person.parts) for person in same_people
    ]


def test_who_is_in_no_known_box_is_not_there():
    maps = scene()
    maps.person_boxes = {2: (0, 0, 12, 20)}
    people, _ = assemble(maps, CIHP, 0.3)
    assert [person.score for person in people] == [0.6]


def test_a_small_mask_does_not_keep_a_large_array():
    people, _ = assemble(scene(), CIHP, 0.3)
    for person in people:
        for mask in (person.mask, *(part.mask for part in person.parts.values())):
            kept = mask.crop if mask.crop.base is None else mask.crop.base
            assert mask.crop.size >= 0.8 * kept.size
