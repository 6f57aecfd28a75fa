"""Edits of clips: of tracks, and steady over gaps."""

from __future__ import annotations

import io

import numpy as np
import pytest
from coloured_clips import SIZE, ColourParser, frame, walk

from humanparse.edit import step
from humanparse.errors import OptionError
from humanparse.video import parse_video
from humanparse.video.edits import HOLD_S, Editor

GREEN = np.array([0, 255, 0])


def edited(frames, editor, blind=(), rate=10):
    pipe = io.BytesIO(b"".join(one.tobytes() for one in frames))
    results = parse_video(pipe, ColourParser(blind), size=SIZE, rate=rate, steady=False)
    return [editor(result) for result in results]


def test_a_face_that_is_missed_for_a_moment_stays_hidden_where_its_person_went():
    editor = Editor([step("fill", "face=lime")])
    pictures = edited(walk(12), editor, blind=(3, 4))
    for number, picture in enumerate(pictures):
        face = picture[8:24, 4 + number : 12 + number]
        assert (face == GREEN).all(), number


def test_what_was_not_seen_for_long_is_let_go():
    frames = walk(12, step=0)
    pictures = edited(frames, Editor([step("fill", "face=lime")]), blind=range(2, 12))
    hidden = [bool((one[8:24, 4:12] == GREEN).all()) for one in pictures]
    assert hidden == [True] * (1 + round(HOLD_S * 10)) + [False] * (11 - round(HOLD_S * 10))


def test_a_person_who_is_missed_altogether_stays_hidden():
    frames = [frame([4]), frame([4]), frame([]), frame([4])]
    pictures = edited(frames, Editor([step("fill", "person=lime")]))
    assert all((one[8:40, 4:12] == GREEN).all() for one in pictures)


def test_numbers_in_regions_are_those_of_tracks():
    # the first leaves, so that the second is person 1 of later frames, but still track 2
    frames = [frame([4, 40]), frame([40]), frame([40])]
    first = edited(frames, Editor([step("fill", "face:1=lime")]), rate=1)
    second = edited(frames, Editor([step("fill", "face:2=lime")]), rate=1)
    assert (first[0][8:24, 4:12] == GREEN).all() and not (first[0][8:24, 40:48] == GREEN).any()
    assert np.array_equal(first[2], frames[2])
    assert all((one[8:24, 40:48] == GREEN).all() for one in second)
    rest = edited(frames, Editor([step("fill", "person - face:2=lime")]), rate=1)
    assert not (rest[2][8:24, 40:48] == GREEN).any() and (rest[2][24:40, 40:48] == GREEN).all()


def test_inverted_regions_are_held_as_well():
    frames = [frame([4]), frame([]), frame([4])]
    pictures = edited(frames, Editor([step("fill", "person invert=lime")]))
    assert not (pictures[1][8:40, 4:12] == GREEN).all(2).any()
    assert (pictures[1][:, 20:] == GREEN).all()


def test_cutouts_are_transparent_and_crops_refused():
    editor = Editor([step("cutout", "person")])
    assert editor.transparent and edited(walk(1), editor)[0].shape == (48, 64, 4)
    assert not Editor([step("background", "white")]).transparent
    with pytest.raises(OptionError, match="cannot be cropped"):
        Editor([step("crop", "person")])
