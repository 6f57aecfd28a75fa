"""What was parsed once is not parsed again."""

from __future__ import annotations

import numpy as np
import pytest
from coloured_clips import ColourParser, walk

from humanparse.errors import OptionError
from humanparse.video.record import Recorded

IDENTITY = {"clip": "walk.mp4", "model": "colours"}


def test_the_same_results_come_from_the_record(tmp_path):
    path, frames = tmp_path / "walk.resume.jsonl", walk(6)
    first = Recorded(ColourParser(), path, IDENTITY)
    results = first.parse_many(frames)
    before = [next(results) for _ in range(4)]
    results.close()
    with path.open("a") as file:
        file.write('{"schema": "humanp')  # the process was killed while it wrote
    parser = ColourParser()
    again = Recorded(parser, path, IDENTITY)
    after = list(again.parse_many(frames))
    assert again.found == 4 and parser.seen == 2 and len(after) == 6
    for one, other in zip(before, after, strict=False):
        assert np.array_equal(one.label_map, other.label_map)
        assert np.array_equal(one.person_map, other.person_map)
        assert np.array_equal(one.image, other.image)
    assert Recorded(parser, path, IDENTITY).found == 6
    again.remove()
    assert not path.exists()


def test_the_record_of_another_run_is_refused(tmp_path):
    path = tmp_path / "walk.resume.jsonl"
    Recorded(ColourParser(), path, IDENTITY)
    with pytest.raises(OptionError, match="another clip, model or step"):
        Recorded(ColourParser(), path, IDENTITY | {"model": "other"})
