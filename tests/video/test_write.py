"""Results as files: every format, and what is there after an error."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from coloured_clips import FACE, PANTS, SIZE, ColourParser, frame, walk
from PIL import Image

from humanparse.errors import MissingExtra, OptionError
from humanparse.formats import from_dict
from humanparse.masks import Mask
from humanparse.video import encode, open_clip, parse_video, readers, write
from humanparse.video.write import FORMATS, Look, Outputs, targets_of
from humanparse.vocabulary import VIDEO_SUFFIXES


@pytest.fixture(autouse=True)
def only_opencv(monkeypatch):
    for module in (readers, encode):
        monkeypatch.setattr(module, "pyav", lambda: None)
    monkeypatch.setattr(encode.shutil, "which", lambda _: None)


def written(folder: Path, frames, formats, look=None, size=SIZE, rate=10) -> dict[str, Path]:
    """Parse frames and write them; returns the files by format."""
    look = look or Look()
    pipe = io.BytesIO(b"".join(one.tobytes() for one in frames))
    targets = targets_of("walk", folder, formats, look.container)
    with open_clip(pipe, size=size, rate=rate) as clip, Outputs(clip, targets, look) as outputs:
        for result in parse_video(clip, ColourParser(), steady=False):
            outputs.add(result)
    return targets


def test_the_formats_are_those_of_the_vocabulary():
    assert list(FORMATS) == list(VIDEO_SUFFIXES)
    with pytest.raises(OptionError, match="no format 'gif'"):
        targets_of("walk", Path(), ["gif"], "webm")
    with pytest.raises(OptionError, match="no container 'avi'"):
        Look(container="avi")


@pytest.mark.parametrize("name", ["overlay", "colormap"])
def test_clips_have_the_size_the_rate_and_the_colours(tmp_path, name):
    written(tmp_path, walk(6), [name])
    assert [path.name for path in tmp_path.iterdir()] == [f"walk.{name}.webm"]
    with open_clip(tmp_path / f"walk.{name}.webm") as clip:
        frames = list(clip)
        assert clip.info.rate == 10 and len(frames) == 6
    assert frames[0].image.shape == (48, 64, 3)
    inside, outside = frames[5].image[28:38, 11:15], frames[5].image[28:38, 30:60]
    assert np.abs(inside.mean((0, 1)) - outside.mean((0, 1))).max() > 50
    if name == "colormap":
        assert outside.max() < 30


def test_odd_sizes_get_one_row_and_column_more(tmp_path):
    frames = [frame([5], size=(65, 47)) for _ in range(3)]
    written(tmp_path, frames, ["overlay"], size=(65, 47))
    with open_clip(tmp_path / "walk.overlay.webm") as clip:
        assert (clip.info.width, clip.info.height) == (66, 48) and len(list(clip)) == 3


def test_frames_at_any_time_are_shown_at_the_right_time_at_a_constant_rate(tmp_path):
    shades = {0.5: 0, 0.6: 60, 0.61: 90, 0.9: 120, 1.0: 240}  # the third comes too soon
    file = encode.clip_writer(tmp_path / "x.webm", (64, 48), 10.0)
    for seconds, shade in shades.items():
        file.write(np.full((48, 64, 3), shade, np.uint8), seconds)
    file.close()
    seen = [one.image.mean() for one in open_clip(tmp_path / "x.webm")]
    assert seen == pytest.approx([0, 60, 60, 60, 120, 240], abs=8)


def test_rows_of_jsonl_have_times_and_tracks_and_can_be_read_again(tmp_path):
    frames = [frame([4, 40]), frame([5])]
    path = written(tmp_path, frames, ["jsonl"])["jsonl"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["seconds"] for row in rows] == [0, 0.1] and [row["frame"] for row in rows] == [0, 1]
    assert [person["track_id"] for person in rows[0]["people"]] == [1, 2]
    assert rows[1]["people"][0]["box"] == [5, 8, 13, 40] and rows[1]["parsed"]
    native = {"schema": "humanparse/1", "name": "x", "model": "", "timings_ms": {}}
    labels = ColourParser.labels
    parsing = from_dict(rows[0] | native | {"label_set": labels.name, "labels": list(labels.names)})
    assert (parsing.label_map[8:24, 4:12] == FACE).all()


def test_mot_text_counts_from_one(tmp_path):
    path = written(tmp_path, [frame([4]), frame([4, 40])], ["mot"])["mot"]
    assert path.read_text().splitlines() == [
        "1,1,5,9,8,32,0.9000,-1,-1,-1",
        "2,1,5,9,8,32,0.9000,-1,-1,-1",
        "2,2,41,9,8,32,0.8000,-1,-1,-1",
    ]


def test_tracks_of_a_few_frames_are_left_out_unless_they_have_just_come(tmp_path):
    frames = [frame([4, 40]), frame([4, 40]), frame([4])]
    for least, kept in ((2, [1, 2]), (3, [1])):
        look = Look(min_track_frames=least)
        (folder := tmp_path / f"{least}").mkdir()
        targets = written(folder, frames, ["mot", "tracks"], look)
        rows = [line.split(",")[1] for line in targets["mot"].read_text().splitlines()]
        assert sorted({int(one) for one in rows}) == kept and rows.count("1") == 3
        tracks = json.loads(targets["tracks"].read_text())["tracks"]
        assert [one["track_id"] for one in tracks] == kept
    with pytest.raises(OptionError, match="min_track_frames"):
        written(tmp_path, frames, ["mot"], Look(min_track_frames=0))


def test_label_maps_are_pictures_of_classes(tmp_path):
    folder = written(tmp_path, walk(2), ["labels"])["labels"]
    assert sorted(one.name for one in folder.iterdir()) == ["000000.png", "000001.png"]
    with Image.open(folder / "000001.png") as picture:
        values = np.asarray(picture)
    assert picture.mode == "P" and values[30, 8] == PANTS and values[10, 8] == FACE


def test_coco_is_one_data_set_with_tracks(tmp_path):
    from pycocotools.coco import COCO

    path = written(tmp_path, [frame([4, 40]), frame([5, 41])], ["coco"])["coco"]
    coco = COCO(str(path))
    assert [one["frame_id"] for one in coco.dataset["images"]] == [0, 1]
    annotations = coco.dataset["annotations"]
    assert [one["id"] for one in annotations] == list(range(1, 13))
    people = [one for one in annotations if not one["part_of"]]
    assert [(one["image_id"], one["track_id"]) for one in people] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    parts = [one for one in annotations if one["part_of"]]
    assert all(coco.anns[one["part_of"]]["track_id"] == one["track_id"] for one in parts)
    assert Mask.from_rle(annotations[-1]["segmentation"]).area == 128


def test_the_summary_says_when_each_was_seen_and_what_they_wore(tmp_path):
    frames = [frame([4]), *(frame([4, 40]) for _ in range(4)), frame([40])]
    path = written(tmp_path, frames, ["tracks"])["tracks"]
    one, two = json.loads(path.read_text())["tracks"]
    assert (one["track_id"], one["from"], one["to"], one["seconds"]) == (1, 0, 0.4, 0.4)
    assert (two["track_id"], two["from"], two["to"], two["frames"]) == (2, 0.1, 0.5, 5)
    assert one["garments"] == [{"label": "Pants", "colour": "blue", "share": 1.0}]


def test_a_cutout_needs_what_can_write_transparency(tmp_path):
    with pytest.raises(MissingExtra, match=r"transparency in a clip needs PyAV.*pip install"):
        written(tmp_path, walk(1), ["cutout"])
    with pytest.raises(MissingExtra, match=r"MP4 with H\.264 needs PyAV"):
        written(tmp_path, walk(1), ["overlay"], Look(container="mp4"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_work_and_keeps_what_is_done(tmp_path, monkeypatch):
    from humanparse.system import files

    calls = []

    def fills(folder):
        calls.append(folder)
        if len(calls) > 3:
            raise OSError(28, "the disk is full", str(folder))

    monkeypatch.setattr(write, "check_free", fills)
    with pytest.raises(OSError, match="the disk is full"):
        written(tmp_path, walk(6), ["jsonl", "overlay", "tracks", "coco"])
    assert len((tmp_path / "walk.jsonl").read_text().splitlines()) == 3
    assert len(list(open_clip(tmp_path / "walk.overlay.webm"))) == 3
    assert json.loads((tmp_path / "walk.tracks.json").read_text())["frames"] == 3
    assert len(json.loads((tmp_path / "walk.coco.json").read_text())["images"]) == 3
    assert not list(tmp_path.glob(files.LEFTOVERS))


def test_an_encoder_that_fails_is_an_error_and_the_other_formats_are_kept(tmp_path, monkeypatch):
    class Full:
        def __init__(self):
            self.left = 2

        def write(self, image, seconds):
            self.left -= 1
            if self.left < 0:
                raise OSError("walk.overlay.webm cannot be written to the end; is the disk full?")

        def close(self):
            pass

    monkeypatch.setattr(write, "clip_writer", lambda *_, **__: Full())
    with pytest.raises(OSError, match="cannot be written to the end"):
        written(tmp_path, walk(30), ["overlay", "jsonl"])
    assert 2 <= len((tmp_path / "walk.jsonl").read_text().splitlines()) <= 30
