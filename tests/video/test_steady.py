"""Parts do not flicker, and do not smear."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import made_up_parsing, parsing_from_maps
from made_up_clips import Actor, MadeUpClip, Shot, block_person, parsing_of

from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.result import Parsing
from humanparse.video.flicker import Flips, flips
from humanparse.video.steady import Steadier, SteadySettings
from humanparse.video.wardrobe import Wardrobe

SIZE = (120, 160)
SCENE = np.random.default_rng(2).integers(80, 120, (140, 200, 3)).astype(np.uint8)
COAT, UPPER, DRESS, PANTS = (CIHP.index(n) for n in ("Coat", "UpperClothes", "Dress", "Pants"))
LEFT, RIGHT = CIHP.index("Left-arm"), CIHP.index("Right-arm")


def walking(background=SCENE, seconds=3.0, speed=25, colour=(200, 40, 40)):
    actor = Actor(block_person(colour), 1, [(0, 40, 110), (4, 40 + 4 * speed, 110)], 80)
    return Shot(background, (actor,), seconds)


def with_classes(parsing: Parsing, label_map: np.ndarray) -> Parsing:
    return parsing_from_maps(label_map, parsing.person_map, image=parsing.image)


def flickering(clip, seed=0):
    """Frames, their true parsings, and parsings in which parts change their class at random."""
    rng = np.random.default_rng(seed)
    for frame in clip:
        true, _ = parsing_of(frame, rng)
        wrong = true.label_map.copy()
        if rng.random() < 0.3:  # the whole garment, for a frame
            wrong[wrong == UPPER] = COAT
        if rng.random() < 0.3:  # the sides of the arms
            swap = np.arange(256, dtype=np.uint8)
            swap[[LEFT, RIGHT]] = RIGHT, LEFT
            wrong = swap[wrong]
        y, x = rng.integers(30, 90), rng.integers(20, 130)  # a patch of something else
        patch = wrong[y : y + 14, x : x + 14]
        patch[patch > 0] = CIHP.index("Scarf")
        yield frame, true, with_classes(true, wrong)


def rate_and_errors(frames, settings: SteadySettings | None):
    """The flip rate, and the share of wrong pixels, as they come or steadied."""
    steadier, total, wrong, pixels, before = Steadier(settings), Flips(), 0, 0, None
    for frame, true, parsing in frames:
        now = steadier.update(parsing, [1], frame.image) if settings else parsing
        if before is not None:
            total += flips(before, now, ([1], [1]), frame.came_from_xy)
        wrong += np.count_nonzero(now.label_map != true.label_map)
        pixels += np.count_nonzero(true.label_map)
        before = now
    return total.rate, wrong / pixels


def test_steadying_more_than_halves_the_flip_rate_and_brings_parts_nearer_to_the_truth():
    frames = list(flickering(MadeUpClip("walk", (walking(seconds=6, speed=12),), 1, SIZE)))
    before, after = (rate_and_errors(frames, one) for one in (None, SteadySettings()))
    assert after[0] < before[0] / 2 and after[1] < before[1] / 2
    off = SteadySettings(garments=False, along_motion=False)
    assert rate_and_errors(frames, off) == before


def test_nothing_smears_over_a_cut():
    other = np.ascontiguousarray(255 - SCENE[::-1])
    shots = (
        walking(seconds=1.5),
        replace(walking(other, 1.0, speed=5, colour=(40, 70, 200)), background=other),
    )
    for frame, _, parsing in flickering(MadeUpClip("cut", shots, 1, SIZE), seed=4):
        if frame.seconds == 0:
            steadier = Steadier(SteadySettings(garments=False))
        now = steadier.update(parsing, [1], frame.image)
        if np.isnan(frame.came_from_xy).all():  # the first frame of a shot
            assert np.array_equal(now.label_map, parsing.label_map)


def test_a_fast_arm_leaves_no_trace():
    person = block_person((200, 40, 40))
    arm = np.full((36, 9), LEFT, np.uint8)
    skin = np.full((36, 9, 3), (130, 80, 60), np.uint8)  # unlike the two arms at rest
    arm = replace(person, pixels=skin, alpha=np.full((36, 9), 255, np.uint8), labels=arm)
    keys = [(t / 10, 80 + 24 * (-1) ** t, 85) for t in range(12)]  # 48 pixels in a tenth second
    actors = Actor(person, 1, [(0, 80, 110)], 80), Actor(arm, 1, keys, 36)
    clip = MadeUpClip("arm", (Shot(SCENE, actors, 1.2),), 1, SIZE, rate=20)
    steadier, rng = Steadier(), np.random.default_rng(0)
    for frame in clip:
        true, _ = parsing_of(frame, rng)
        now = steadier.update(true, [1], frame.image)
        wrong = np.count_nonzero(now.label_map != true.label_map)
        assert wrong < 0.04 * np.count_nonzero(true.label_map), frame.seconds


def test_people_keep_their_outlines_numbers_and_order_and_parts_agree_with_the_map():
    frames = list(flickering(MadeUpClip("walk", (walking(),), 1, SIZE)))
    steadier = Steadier()
    for frame, _, parsing in frames:
        now = steadier.update(parsing, [5], frame.image)
        assert np.array_equal(now.person_map, parsing.person_map)
        assert [one.id for one in now.people] == [one.id for one in parsing.people]
        [person] = now.people
        drawn = np.zeros(SIZE, np.uint8)
        for part in person.parts.values():
            assert part.label == CIHP.names[part.class_id] and 0 < part.score <= 1
            drawn[part.mask.to_dense()] = part.class_id
        assert np.array_equal(drawn, now.label_map)


def test_somebody_elses_parts_are_not_held():
    parsing = made_up_parsing()
    steadier = Steadier(SteadySettings(garments=False))
    for _ in range(5):
        steadier.update(parsing, [1, 2], parsing.image)
    changed = parsing.label_map.copy()
    changed[changed == UPPER] = COAT
    other = with_classes(parsing, changed)
    held = steadier.update(other, [1, 3], parsing.image).label_map
    one, two = parsing.person_map == 1, parsing.person_map == 2
    assert np.array_equal(held[one], parsing.label_map[one])  # held
    assert np.array_equal(held[two], changed[two])  # another track: not held


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        ({UPPER: 9, COAT: 1, PANTS: 8}, [COAT, PANTS], [UPPER, PANTS]),
        ({UPPER: 9, COAT: 6, PANTS: 8}, [COAT, PANTS], [COAT, PANTS]),  # an open coat
        ({UPPER: 9, PANTS: 8, DRESS: 1}, [DRESS, DRESS], [UPPER, PANTS]),
        ({DRESS: 20, UPPER: 1, PANTS: 2}, [UPPER, PANTS], [DRESS, DRESS]),
        ({DRESS: 20}, [DRESS, LEFT], [DRESS, LEFT]),
        ({}, [COAT, PANTS], [COAT, PANTS]),
    ],
)
def test_garments_are_those_of_the_whole_track(seen, now, expected):
    wardrobe = Wardrobe(CIHP)
    for one, rows in seen.items():
        wardrobe._shares[one] = rows / sum(seen.values())
    classes = np.array(now, np.uint8).repeat(5)[:, None]
    corrected = wardrobe.corrected(classes, classes > 0)
    assert corrected.ravel().tolist() == np.array(expected).repeat(5).tolist()


def test_wrong_use_is_told():
    with pytest.raises(OptionError, match="1 tracks for 2 people"):
        Steadier().update(made_up_parsing(), [1], made_up_parsing().image)
    with pytest.raises(OptionError, match="hold is 0"):
        SteadySettings(hold=0)
