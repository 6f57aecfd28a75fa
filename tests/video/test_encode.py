"""Clips written by PyAV, and by the program ffmpeg."""

from __future__ import annotations

import shutil
from fractions import Fraction

import numpy as np
import pytest
from coloured_clips import frame

from humanparse.video import encode, open_clip


@pytest.fixture(params=["pyav", "ffmpeg"])
def encoder(request, monkeypatch):
    if request.param == "pyav":
        pytest.importorskip("av")
    else:
        if not shutil.which("ffmpeg"):
            pytest.skip("there is no ffmpeg on PATH")
        monkeypatch.setattr(encode, "pyav", lambda: None)
    return request.param


@pytest.fixture
def singing(tmp_path):
    """A clip of two seconds with sound of three, in Opus."""
    av = pytest.importorskip("av")
    path = tmp_path / "singing.webm"
    with av.open(str(path), "w") as file:
        picture = file.add_stream("libvpx", rate=10)
        picture.width, picture.height = 64, 48
        sound = file.add_stream("libopus", rate=48_000)
        sound.layout = "mono"
        for number in range(20):
            image = av.VideoFrame.from_ndarray(frame([number]), format="rgb24")
            image.pts = number
            file.mux(picture.encode(image))
        tone = (np.sin(np.arange(3 * 48_000) / 20) * 9000).astype(np.int16)[None]
        heard = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        heard.sample_rate, heard.time_base = 48_000, Fraction(1, 48_000)
        for packets in (sound.encode(heard), sound.encode(), picture.encode()):
            file.mux(packets)
    return path


@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_clips_hold_their_frames_at_their_times(tmp_path, encoder, ending):
    path = tmp_path / f"x.{ending}"
    file = encode.clip_writer(path, (65, 47), 10.0)
    times = [0.0, 0.1, 0.2, 0.5, 0.6]
    for number, seconds in enumerate(times):
        file.write(frame([4 + 8 * number], size=(65, 47)), seconds)
    file.close()
    with open_clip(path) as clip:
        frames = list(clip)
    assert (clip.info.width, clip.info.height) == (66, 48)
    if encoder == "pyav":
        assert [one.seconds for one in frames] == pytest.approx(times, abs=0.002)
    else:  # a constant rate: the third frame is shown until the fourth comes
        assert len(frames) == 7
    assert np.abs(frames[-1].image[:47, :65].astype(int) - frame([36], size=(65, 47))).mean() < 12


def test_transparency_is_kept(tmp_path, encoder):
    av = pytest.importorskip("av")
    path = tmp_path / "x.webm"
    file = encode.clip_writer(path, (64, 48), 10.0, alpha=True)
    image = np.dstack([frame([4]), np.full((48, 64), 255, np.uint8)])
    image[:, 32:, 3] = 0
    for number in range(3):
        file.write(image, number / 10)
    file.close()
    with av.open(str(path)) as opened:
        assert opened.streams.video[0].metadata.get("alpha_mode") == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        packets = list(opened.demux(opened.streams.video[0]))
        frames = [one for packet in packets for one in decoder.decode(packet)]
    alpha = frames[0].to_ndarray(format="rgba")[..., 3]
    assert alpha[:, :28].min() > 240 and alpha[:, 36:].max() < 15


def test_sound_is_copied_and_ends_with_the_frames(tmp_path, encoder, singing):
    av = pytest.importorskip("av")
    path = tmp_path / "x.webm"
    file = encode.clip_writer(path, (64, 48), 10.0, sound_of=singing)
    for number in range(10):
        file.write(frame([number]), number / 10)
    file.close()
    with av.open(str(path)) as opened:
        assert opened.streams.audio[0].codec_context.name in ("opus", "libopus")
        ends = [
            float(one.pts * one.time_base) for one in opened.demux(audio=0) if one.pts is not None
        ]
    assert 0.8 < max(ends) < 1.6


def test_a_clip_knows_of_its_sound_and_a_rate_that_varies(tmp_path, singing):
    with open_clip(singing) as clip:
        assert clip.info.sound and clip.info.rate == 10
        assert len(list(clip)) == 20  # although the sound goes on
