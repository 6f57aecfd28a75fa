"""Video: people followed from frame to frame, with their parts.

frames.py    clips, cameras and folders of pictures as frames (readers.py, pictures.py, live.py)
clip.py      frames → results: read, parse, track and steady, all at the same time
track.py     which person of a frame is which person of the frames before
steady.py    parts that do not flicker
carry.py     masks for frames that are not parsed
write.py     results → files of every format (encode.py writes clips)
edits.py     the edits of photos, steady over gaps
record.py    what was parsed, for a run that goes on later
flicker.py   how much parts flicker
"""

from __future__ import annotations

from humanparse.video.clip import FrameResult, parse_video
from humanparse.video.frames import Clip, ClipInfo, ClipLimits, Frame, open_clip
from humanparse.video.steady import SteadySettings
from humanparse.video.track import TrackSettings

__all__ = [
    "Clip",
    "ClipInfo",
    "ClipLimits",
    "Frame",
    "FrameResult",
    "SteadySettings",
    "TrackSettings",
    "open_clip",
    "parse_video",
]
