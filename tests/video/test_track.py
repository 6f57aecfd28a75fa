"""People keep their number: on true parsings of made-up clips, so that only tracking is tested."""

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_up import empty_parsing, parsing_from_maps
from made_up_clips import Actor, ClipFrame, MadeUpClip, Shot, Stage, block_person, parsing_of

from humanparse.video.track import Tracker, TrackSettings

SIZE = (120, 160)
RED, BLUE, GREEN = (200, 40, 40), (40, 70, 200), (40, 160, 60)
STAGE = Stage([block_person(colour) for colour in (RED, BLUE, GREEN, (220, 180, 40))], (), SIZE)


def numbers_given(frames: Iterable[ClipFrame], tracker: Tracker | None = None) -> list[dict]:
    """For each frame, the track of each person of the clip, who come in any order."""
    tracker, order, given = tracker or Tracker(), np.random.default_rng(3), []
    for frame in frames:
        parsing, people = parsing_of(frame, order)
        track_ids = tracker.update(parsing, frame.image, frame.seconds)
        given.append(dict(zip(people, track_ids, strict=True)))
    return given


def usual(given: list[dict], person: int) -> int:
    """The track that somebody has in most frames."""
    tracks = [one[person] for one in given if person in one]
    return max(set(tracks), key=tracks.count)


def kept(given: list[dict], person: int) -> float:
    """The share of the frames in which somebody has their usual track."""
    tracks = [one[person] for one in given if person in one]
    return tracks.count(usual(given, person)) / len(tracks)


def walk(colour, person, *keys, height=80):
    return Actor(block_person(colour), person, keys, height)


def clip(*actors, seconds=4.0, camera=((0, 0, 0),), background=None):
    shot = Shot(STAGE_BACKGROUND if background is None else background, actors, seconds, camera)
    return MadeUpClip("test", (shot,), 1, SIZE, rate=10)


STAGE_BACKGROUND = replace(STAGE, size_hw=(140, 400)).make("pan", 5).shots[0].background


def test_people_who_cross_keep_their_numbers():
    given = numbers_given(
        clip(walk(RED, 1, (0, 20, 110), (4, 140, 110)), walk(BLUE, 2, (0, 140, 112), (4, 20, 112)))
    )
    assert kept(given, 1) == kept(given, 2) == 1
    assert {track for one in given for track in one.values()} == {1, 2}


def test_people_who_look_the_same_cross_as_well():
    given = numbers_given(
        clip(walk(RED, 1, (0, 20, 110), (4, 140, 110)), walk(RED, 2, (0, 140, 112), (4, 20, 112)))
    )
    assert usual(given, 1) != usual(given, 2)
    assert min(kept(given, 1), kept(given, 2)) == 1


def test_somebody_who_was_hidden_for_two_seconds_is_known_again():
    wall = Actor(STAGE._thing(60, 120), 0, ((0, 80, 120),), 120)
    hidden = walk(RED, 1, (0, 20, 110), (1.2, 70, 110), (3.5, 90, 110), (5, 140, 110))
    given = numbers_given(clip(hidden, wall, walk(BLUE, 2, (0, 150, 112), (5, 10, 112)), seconds=5))
    out_of_sight = [index for index, one in enumerate(given) if 1 not in one]
    assert len(out_of_sight) >= 20
    before, after = given[: out_of_sight[0]], given[out_of_sight[-1] + 3 :]
    assert usual(before, 1) == usual(after, 1) and kept(given, 2) == 1


def test_somebody_who_leaves_and_returns_elsewhere_is_known_again_and_a_stranger_is_not():
    leaves = walk(
        RED, 1, (0, 80, 110), (1, -30, 110), (3, -30, 110), (3.01, 190, 110), (4, 80, 110)
    )
    stranger = walk(GREEN, 2, (0, -30, 112), (3, -30, 112), (4, 60, 112))
    given = numbers_given(clip(leaves, stranger))
    assert usual(given[:10], 1) == usual(given[33:], 1) == 1
    assert usual(given, 2) > 1


def test_who_has_been_forgotten_is_somebody_new():
    leaves = walk(RED, 1, (0, 80, 110), (1, -30, 110), (3, -30, 110), (4, 80, 110))
    frames = list(clip(leaves))
    for settings in (TrackSettings(remember_s=1.0), TrackSettings(most_lost=0)):
        assert numbers_given(frames, Tracker(settings))[-1] == {1: 2}
    assert numbers_given(frames)[-1] == {1: 1}


def test_people_are_known_by_their_looks_behind_a_cut():
    places = {1: (30, 110), 2: (80, 110), 3: (130, 110)}
    colours = {1: RED, 2: BLUE, 3: GREEN}
    shots = [
        Shot(
            background,
            tuple(
                walk(colours[one], one, (0, *places[at]))
                for one, at in zip((1, 2, 3), order, strict=True)
            ),
            1.0,
        )
        for background, order in (
            (STAGE_BACKGROUND, (1, 2, 3)),
            (255 - STAGE_BACKGROUND[:, ::-1], (2, 3, 1)),
        )
    ]
    given = numbers_given(MadeUpClip("cut", tuple(shots), 1, SIZE, rate=10))
    assert all(one == given[0] for one in given) and len(given) == 20


@pytest.mark.parametrize("seconds", [2.0, 1.0])
def test_a_camera_that_pans_past_people_who_stand_changes_no_number(seconds):
    standing = [walk(RED, one, (0, x, 112), height=60) for one, x in ((1, 90), (2, 118), (3, 146))]
    given = numbers_given(clip(*standing, seconds=2, camera=((0, 0, 0), (seconds, 70, 5))))
    assert all(one == given[0] for one in given)  # though they look the same
    assert len(set(given[0].values())) == 3


def test_a_stranger_at_the_place_of_somebody_who_turns_up_elsewhere_is_somebody_new():
    stands = walk(RED, 1, (0, 50, 110), (0.95, 50, 110), (0.96, -90, 110))
    elsewhere = walk(RED, 1, (0, -90, 110), (1.15, -90, 110), (1.16, 120, 110))
    stranger = walk(BLUE, 2, (0, -90, 110), (1.15, -90, 110), (1.16, 50, 110))
    given = numbers_given(clip(stands, elsewhere, stranger, seconds=2))
    assert given[:10] == [{1: 1}] * 10 and given[10:12] == [{}] * 2
    assert given[12:] == [{1: 1, 2: 2}] * 8


@pytest.mark.parametrize("seed", range(3))
def test_no_two_people_of_a_frame_have_one_number(seed):
    rng, tracker = np.random.default_rng(seed), Tracker()
    cast = [block_person(colour) for colour in (RED, RED, BLUE, GREEN)]
    for step in range(25):  # who jump about, hide each other, and look alike
        label_map, person_map = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint16)
        image = STAGE_BACKGROUND[:120, :160].copy()
        there = rng.permutation(4)[: rng.integers(1, 5)]
        for number, who in enumerate(there, start=1):
            x, y = int(rng.integers(0, 120)), int(rng.integers(0, 40))
            at, inside = np.s_[y : y + 80, x : x + 40], cast[who].alpha > 0
            image[at][inside], label_map[at][inside] = (
                cast[who].pixels[inside],
                cast[who].labels[inside],
            )
            person_map[at][inside] = number
        parsing = parsing_from_maps(label_map, person_map, image=image)
        track_ids = tracker.update(parsing, image, step * 0.3)
        assert len(set(track_ids)) == len(track_ids) == len(there)
        assert min(track_ids) >= 1


def test_the_unsure_go_on_but_do_not_take_the_place_of_the_sure():
    frames = list(clip(walk(RED, 1, (0, 60, 110), (2, 90, 110)), seconds=2))
    tracker, given = Tracker(), []
    for index, frame in enumerate(frames):
        parsing, _ = parsing_of(frame, np.random.default_rng(0))
        score = 0.9 if index < 5 else 0.35
        people = tuple(replace(person, score=score) for person in parsing.people)
        given += tracker.update(replace(parsing, people=people), frame.image, frame.seconds)
    assert given == [1] * len(frames)


def test_the_same_clip_gives_the_same_numbers():
    frames = list(STAGE.make("crossing", 4))[6:26]
    assert numbers_given(frames) == numbers_given(frames)


def test_memory_is_bounded():
    tracker, rng = Tracker(TrackSettings(most_lost=5)), np.random.default_rng(0)
    for index in range(25):
        colour = tuple(int(one) for one in rng.integers(0, 255, 3))
        place = (0, int(rng.integers(30, 130)), 110)
        background = rng.integers(0, 255, (140, 180, 3)).astype(np.uint8)
        [frame] = clip(walk(colour, 1, place), seconds=0.1, background=background)
        tracker.update(parsing_of(frame, rng)[0], frame.image, index * 5.0)
    assert len(tracker._tracks) <= 6


def test_frames_without_people_of_other_sizes_and_at_one_time_are_no_trouble():
    tracker = Tracker()
    [frame] = clip(walk(RED, 1, (0, 80, 110)), seconds=0.1)
    parsing, _ = parsing_of(frame, np.random.default_rng(0))
    large = cv2.resize(frame.image, (320, 240))
    assert tracker.update(empty_parsing(), frame.image, 0.0) == []
    assert tracker.update(parsing, frame.image, 0.0) == [1]
    assert tracker.update(empty_parsing((240, 320)), large, 0.1) == []
    assert tracker.update(parsing, frame.image, 0.1) == [1]  # known by the looks
