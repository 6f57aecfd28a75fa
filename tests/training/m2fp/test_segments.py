"""A scene's segments: the background, each part of each person, and each person.

Nothing is learnt from what is unknown.
"""

import numpy as np
import pytest

pytest.importorskip("torch")

from stick_people import stick_scene

from humanparse.training.m2fp import segments as S
from humanparse.training.m2fp.segments import NONE, UNKNOWN, segments


def found(wanted) -> list[tuple[int, bool, int]]:
    """(class, whether a whole person, pixels) of each segment."""
    count = (wanted["classes"] >= 0).sum()
    maps = wanted["part_map"], wanted["person_map"]
    return [
        (
            int(wanted["classes"][i]),
            bool(wanted["whole"][i]),
            int((maps[int(wanted["whole"][i])] == i).sum()),
        )
        for i in range(count)
    ]


def test_two_people_have_their_own_parts_and_masks_and_share_the_background():
    scene = stick_scene(0)
    listed = found(segments(scene, num_parts=5))
    classes = [(label, whole) for label, whole, _ in listed]
    assert sorted(classes) == sorted(
        [(0, False), *((part, False) for part in (1, 2, 3, 4) * 2), (5, True), (5, True)]
    )
    assert sum(pixels for _, whole, pixels in listed if not whole) == 96 * 96
    assert [pixels for _, whole, pixels in listed if whole] == [
        int((scene.people == p).sum()) for p in (1, 2)
    ]


def test_for_photos_of_one_person_there_is_a_segment_a_class_and_no_person():
    wanted = segments(stick_scene(0), num_parts=5, whole_people=False)
    assert [(label, whole) for label, whole, _ in found(wanted)] == [
        (label, False) for label in range(5)
    ]
    assert (wanted["person_map"] == NONE).all()


def test_unknown_pixels_belong_to_no_segment_but_to_the_person_if_theirs():
    scene = stick_scene(0)
    clothes = scene.classes == 2
    scene.classes[clothes] = 255
    scene.people[:4], scene.classes[:4] = -1, 255
    wanted = segments(scene, num_parts=5)
    assert (wanted["part_map"][clothes] == UNKNOWN).all() and (
        wanted["person_map"][clothes] >= 0
    ).all()
    assert (wanted["part_map"][:4] == UNKNOWN).all() and (wanted["person_map"][:4] == UNKNOWN).all()
    assert 2 not in wanted["classes"]


def test_specks_become_unknown():
    scene = stick_scene(0)
    scene.classes[0, :5], scene.people[0, :5] = 4, 3
    wanted = segments(scene, num_parts=5)
    assert (wanted["part_map"][0, :5] == UNKNOWN).all() and (
        wanted["person_map"][0, :5] == UNKNOWN
    ).all()


def test_of_too_many_segments_the_largest_are_kept(monkeypatch):
    monkeypatch.setattr(S, "MAX_SEGMENTS", 3)
    scene = stick_scene(0)
    wanted = segments(scene, num_parts=5)
    assert wanted["classes"].tolist() == [0, 5, 5] and wanted["whole"].tolist() == [
        False,
        True,
        True,
    ]
    assert (wanted["part_map"][scene.classes > 0] == UNKNOWN).all() and set(
        np.unique(wanted["person_map"])
    ) == {NONE, 1, 2}
