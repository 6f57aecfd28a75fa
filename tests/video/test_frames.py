"""Clips, folders, pipes and cameras as frames."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from coloured_clips import SIZE, frame, walk, write_clip
from PIL import Image

from humanparse.errors import BrokenVideo, NotAVideo, OptionError, VideoTooLarge
from humanparse.video import ClipLimits, open_clip, readers
from humanparse.video import live as live_sources
from humanparse.video.containers import missing_bytes


@pytest.fixture(params=["opencv", "pyav"])
def library(request, monkeypatch):
    """Whatever reads files, each in turn."""
    if request.param == "pyav":
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(readers, "pyav", lambda: None)
    return request.param


@pytest.mark.parametrize("ending", ["mp4", "webm", "avi"])
def test_frames_come_in_order_with_their_times_and_colours(tmp_path, library, ending):
    path = write_clip(tmp_path / f"walk.{ending}", walk(5), rate=10)
    with open_clip(path) as clip:
        assert (clip.info.width, clip.info.height) == SIZE and clip.info.name == "walk"
        assert clip.info.rate == 10 and clip.info.frames == 5 and not clip.info.live
        frames = list(clip)
    assert [one.index for one in frames] == [0, 1, 2, 3, 4]
    assert [one.seconds for one in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.002)
    assert np.abs(frames[3].image.astype(int) - walk(5)[3]).mean() < 12


def turned(path, degrees):
    """Write into the track header of an MP4 by how much its frames are to be turned."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1)}[degrees]
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[at + place : at + place + 4] = struct.pack(">i", value << 16)
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [90, 180])
def test_frames_are_upright(tmp_path, library, degrees):
    path = write_clip(tmp_path / "phone.mp4", walk(2))
    turned(path, degrees)
    with open_clip(path) as clip:
        first = next(iter(clip)).image
        assert first.shape[:2] == (clip.info.height, clip.info.width)
    expected = np.rot90(frame([4]), -degrees // 90)
    assert np.abs(first.astype(int) - expected).mean() < 12


def test_one_frame_is_a_clip(tmp_path, library):
    path = write_clip(tmp_path / "one.webm", walk(1))
    assert len(list(open_clip(path))) == 1


def test_a_clip_that_breaks_off_gives_its_frames_and_then_an_error(tmp_path, library):
    rng = np.random.default_rng(0)
    whole = write_clip(tmp_path / "whole.webm", rng.integers(0, 255, (20, 48, 64, 3), np.uint8))
    data = whole.read_bytes()
    cut = tmp_path / "cut.webm"
    cut.write_bytes(data[: len(data) // 2])
    assert missing_bytes(whole) == 0 and missing_bytes(cut) == len(data) - len(data) // 2
    clip, frames = open_clip(cut), []
    with pytest.raises(BrokenVideo, match=r"breaks off after \d+ frames.*at its end"):
        frames.extend(clip)
    assert 3 < clip.read < 20


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", NotAVideo, "is empty"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.ts\n", NotAVideo, "not a clip of a type"),
        (b"\x00\x00\x00\x20ftypisom" + b"x" * 100, BrokenVideo, "beginning is damaged"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path, library, data, kind, words):
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    with pytest.raises(kind, match=words):
        open_clip(path)


def test_a_header_without_frames_is_an_error(tmp_path, library):
    whole = write_clip(tmp_path / "whole.avi", walk(3)).read_bytes()
    (tmp_path / "none.avi").write_bytes(whole[: whole.index(b"movi") + 4])
    with pytest.raises(BrokenVideo):
        list(open_clip(tmp_path / "none.avi"))


def test_limits_hold_before_and_while_a_clip_is_read(tmp_path, library):
    path = write_clip(tmp_path / "walk.mp4", walk(5))
    with pytest.raises(VideoTooLarge, match=r"64x48 .* limit is 0.001 MP"):
        open_clip(path, limits=ClipLimits(max_megapixels=0.001))
    with pytest.raises(VideoTooLarge, match="5 frames or more but the limit is 4"):
        open_clip(path, limits=ClipLimits(max_frames=4))
    with pytest.raises(VideoTooLarge, match=r"the limit is 0\.3 s"):
        open_clip(path, limits=ClipLimits(max_seconds=0.3))
    pipe = io.BytesIO(b"".join(one.tobytes() for one in walk(5)))
    clip = open_clip(pipe, size=SIZE, limits=ClipLimits(max_frames=3))
    with pytest.raises(VideoTooLarge):
        list(clip)
    assert clip.read == 3


def test_pictures_of_a_folder_or_pattern_are_frames_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1):
        Image.fromarray(frame([number])).save(tmp_path / f"f{number}.png")
    for source in (tmp_path, str(tmp_path / "*.png")):
        with open_clip(source, rate=2) as clip:
            frames = list(clip)
        assert [one.file_name for one in frames] == ["f1.png", "f9.png", "f10.png"]
        assert [one.seconds for one in frames] == [0, 0.5, 1]
        assert np.array_equal(frames[1].image, frame([9])) and clip.info.seconds == 1.5
    Image.fromarray(frame([1], size=(32, 48))).save(tmp_path / "f11.png")
    with pytest.raises(BrokenVideo, match="frame 3 is 32x48 but the clip began with 64x48"):
        list(open_clip(tmp_path))
    with pytest.raises(OptionError, match="no pictures match"):
        open_clip(str(tmp_path / "*.jpg"))


def test_raw_frames_come_from_a_pipe_and_may_not_break_off():
    data = b"".join(one.tobytes() for one in walk(3))
    frames = list(open_clip(io.BytesIO(data), size=SIZE, rate=5))
    assert [one.seconds for one in frames] == [0, 0.2, 0.4]
    assert np.array_equal(frames[2].image, walk(3)[2])
    with pytest.raises(BrokenVideo, match="raw frame 2 ends after 5 of 9216 bytes"):
        list(open_clip(io.BytesIO(data[: 2 * 9216 + 5]), size=SIZE))
    with pytest.raises(BrokenVideo, match="no frame"):
        list(open_clip(io.BytesIO(b""), size=SIZE))


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("nowhere.mp4", {}, "no file or folder"),
        (io.BytesIO(b""), {}, "give it, such as 640x480"),
        (".", {"size": (4, 4)}, "size is for raw frames"),
        (0, {"rate": 5}, "times of its own"),
        (io.BytesIO(b""), {"size": (4, 4), "rate": 0}, "rate is 0"),
        (-1, {}, "the number of a camera"),
    ],
)
def test_sources_that_make_no_sense_are_refused(source, options, words):
    with pytest.raises(OptionError, match=words):
        open_clip(source, **options)


class Camera:
    """Stands for cv2.VideoCapture: hands out a picture for each token that the test gives."""

    def __init__(self, frames):
        import threading

        self.frames, self.may = iter(frames), threading.Semaphore(0)
        self.taken, self.released = threading.Semaphore(0), threading.Event()

    def read(self):
        self.taken.release()
        self.may.acquire()
        image = next(self.frames, None)
        return image is not None, image

    def release(self):
        self.released.set()


def test_of_a_camera_the_newest_frame_is_taken_and_its_end_is_the_end_of_the_clip():
    shades = [np.full((4, 6, 3), shade, np.uint8) for shade in range(1, 4)]
    camera = Camera(shades[1:])
    clip = live_sources.Newest(camera, shades[0], 30.0)
    for _ in range(2):  # two frames come while nobody asks
        camera.taken.acquire()
        camera.may.release()
    camera.taken.acquire()
    assert clip.next_frame()[1].max() == 3 and clip.dropped == 2
    camera.may.release()
    assert clip.next_frame() is None and camera.released.wait(5)


def test_a_camera_that_stalls_is_an_error(monkeypatch):
    monkeypatch.setattr(live_sources, "STALL_S", 0.01)
    camera = Camera([])
    clip = live_sources.Newest(camera, np.zeros((4, 6, 3), np.uint8), 30.0)
    assert clip.next_frame() is not None
    with pytest.raises(BrokenVideo, match="no frame came"):
        clip.next_frame()
    clip.close()
    camera.may.release()
    assert camera.released.wait(5)


def test_a_camera_that_is_not_there_is_an_error():
    with pytest.raises(BrokenVideo, match="cannot be opened"):
        open_clip("/dev/video99")
