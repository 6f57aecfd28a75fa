"""From a clip to results: in order, at every step, with numbers that stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from coloured_clips import FACE, SIZE, ColourParser, frame, walk

from humanparse.errors import BrokenVideo, OptionError
from humanparse.video import open_clip, parse_video


def pipe(frames):
    return io.BytesIO(b"".join(one.tobytes() for one in frames))


def test_every_frame_has_its_people_with_numbers_that_stay():
    frames = [frame([4 + number, 40 - number]) for number in range(6)]
    results = list(parse_video(pipe(frames), ColourParser(), size=SIZE, rate=10))
    assert [one.frame.index for one in results] == list(range(6))
    assert {one.track_ids for one in results} == {(1, 2)} and all(one.parsed for one in results)
    assert results[2].parsing.name == "stdin-000002"
    drawn = results[0].numbered()
    assert [person.id for person in drawn.people] == [1, 2]


def test_between_parsed_frames_masks_are_carried_along_the_motion():
    rng = np.random.default_rng(0)  # motion is seen where there is texture
    texture = rng.integers(0, 90, (240, 400, 1), np.uint8)
    frames = []
    for number in range(4):
        image = np.repeat(texture, 3, 2)
        left = 100 + 4 * number
        image[60:180, left : left + 80, 0] = texture[60:180, 100:180, 0] + 160
        frames.append(image[:, :320].copy())
    parser = ColourParser()
    results = list(parse_video(pipe(frames), parser, size=(320, 240), every=3))
    assert [one.parsed for one in results] == [True, False, False, True] and parser.seen == 2
    carried, true = results[2].parsing.people[0].mask, frames[2][..., 0] > 150
    overlap = (carried.to_dense() & true).sum() / (carried.to_dense() | true).sum()
    stood_still = results[0].parsing.people[0].mask.to_dense()
    assert overlap > 0.9 > (stood_still & true).sum() / (stood_still | true).sum() + 0.05
    assert results[2].track_ids == (1,) and results[2].parsing.people[0].parts["Face"].area
    assert (results[2].parsing.label_map == FACE).sum() == carried.area


def test_somebody_who_leaves_between_parsed_frames_is_gone():
    frames = [frame([4, 40]), frame([4])]
    results = list(parse_video(pipe(frames), ColourParser(), size=SIZE, every=2))
    assert len(results[0].track_ids) == 2
    for result in results:
        assert len(result.track_ids) == len(result.parsing.people)


def test_a_clip_that_breaks_off_gives_its_results_first():
    data = pipe(walk(3)).getvalue()[:-10]
    results = parse_video(io.BytesIO(data), ColourParser(), size=SIZE)
    assert [next(results).frame.index, next(results).frame.index] == [0, 1]
    with pytest.raises(BrokenVideo):
        next(results)


def test_an_opened_clip_stays_open_and_others_are_closed():
    with open_clip(pipe(walk(4)), size=SIZE) as clip:
        first = next(parse_video(clip, ColourParser()))
        assert first.frame.index == 0 and next(iter(clip)).index > 0


def test_without_tracks_people_are_numbered_in_each_frame():
    frames = [frame([4]), frame([4, 40])]
    results = list(parse_video(pipe(frames), ColourParser(), size=SIZE, track=False))
    assert [one.track_ids for one in results] == [(1,), (1, 2)]


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 31}, {"track": 1}, {"steady": "no"}])
def test_impossible_options_are_refused_at_once(options):
    with pytest.raises(OptionError):
        parse_video(pipe(walk(1)), ColourParser(), size=SIZE, **options)


def test_supervision_gets_the_numbers_of_the_tracks():
    pytest.importorskip("supervision")
    result = next(parse_video(pipe([frame([4, 40])]), ColourParser(), size=SIZE))
    assert list(result.to_supervision().tracker_id) == [1, 2]
    assert set(result.to_supervision("parts").tracker_id) == {1, 2}
