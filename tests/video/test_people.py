"""People in photos, found by the embedded model, keep their numbers. One clip serves all tests."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_clips import Actor, MadeUpClip, Shot, Stage, photographed

from humanparse import HumanParser
from humanparse.masks import Mask
from humanparse.video.flicker import Flips, flips
from humanparse.video.steady import Steadier
from humanparse.video.track import Tracker

SIZE = (240, 320)


@pytest.fixture(scope="module")
def followed():
    """Frames, parsings and tracks: two cross, and the one behind is hidden by the other."""
    parser = HumanParser(short_side=256)
    cast = photographed(parser)
    scene = Stage(cast, (), SIZE).make("crossing", 3).shots[0].background
    far = Actor(cast[1], 1, [(0, 60, 230), (3, 260, 230)], 150)
    near = Actor(cast[0], 2, [(0, 270, 244), (3, 50, 244)], 170)
    tracker, frames = Tracker(), []
    for frame in MadeUpClip("people", (Shot(scene, (far, near), 3),), 3, SIZE):
        parsing = parser.parse(frame.image)
        track_ids = tracker.update(parsing, frame.image, frame.seconds)
        frames.append((frame, parsing, track_ids))
    return frames


def test_two_people_in_photos_cross_and_keep_their_numbers(followed):
    numbers: dict[int, set[int]] = {1: set(), 2: set()}
    for frame, parsing, track_ids in followed:
        for number, seen in numbers.items():
            mask = Mask.from_dense(frame.person_map == number)
            for person, track in zip(parsing.people, track_ids, strict=True):
                if mask.iou(person.mask) > 0.5:
                    seen.add(track)
    assert len(numbers[1]) == len(numbers[2]) == 1 and numbers[1] != numbers[2]


def test_their_parts_flicker_at_most_half_as_much_when_steadied(followed):
    steadier, before, after = Steadier(), Flips(), Flips()
    steadied = [steadier.update(parsing, ids, frame.image) for frame, parsing, ids in followed]
    for index in range(1, len(followed)):
        (_, one, old), (frame, two, new) = followed[index - 1], followed[index]
        tracks, came_from = (old, new), frame.came_from_xy
        before += flips(one, two, tracks, came_from)
        after += flips(steadied[index - 1], steadied[index], tracks, came_from)
    assert 0 < after.rate < before.rate / 2


def test_another_programs_measures_agree(followed):
    motrics = pytest.importorskip("motrics")
    truth, tracks, overlaps = [], [], []
    for frame, parsing, track_ids in followed:
        people = [int(one) for one in np.unique(frame.person_map) if one]
        masks = [Mask.from_dense(frame.person_map == one) for one in people]
        truth.append(people)
        tracks.append(track_ids)
        overlaps.append([[mask.iou(one.mask) for one in parsing.people] for mask in masks])
    assert motrics.compute_identity_from_similarity(truth, tracks, overlaps).idf1 > 0.85
    assert motrics.compute_hota_from_similarity(truth, tracks, overlaps).hota > 0.7
    assert motrics.compute_clear_from_similarity(truth, tracks, overlaps).num_switches == 0
