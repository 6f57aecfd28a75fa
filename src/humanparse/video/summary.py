"""What became of every track of a clip: when somebody was seen, and what they wore."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from humanparse.arguments import whole_number
from humanparse.graph import colour_name
from humanparse.regions import presets
from humanparse.result import Parsing, Part
from humanparse.video.clip import FrameResult
from humanparse.vocabulary import MIN_TRACK_FRAMES

WORN = ("clothes", "shoes", "accessories")  # presets of the classes that are garments
WORN_SHARE = 0.25  # of a track's parsed frames, at least, that show a main garment


class Lasting:
    """Tells the tracks of a clip that last from those of a few frames, which are mostly noise.

    Whoever is in the last frame counts in any case: they may only just have come.

    Args:
        min_frames: The least frames of a track that counts.
    """

    def __init__(self, min_frames: int = MIN_TRACK_FRAMES):
        self._min_frames = whole_number("min_track_frames", min_frames, 1, " frames")
        self._frames: Counter[int] = Counter()
        self._last: tuple[int, ...] = ()

    def add(self, result: FrameResult) -> None:
        """Take in the next frame."""
        self._frames.update(result.track_ids)
        self._last = result.track_ids

    def sure(self) -> set[int]:
        """Return which tracks of the last frame count, however the clip goes on."""
        return {number for number in self._last if self._frames[number] >= self._min_frames}

    def tracks(self) -> set[int]:
        """Return which tracks count if the clip ends here."""
        long = {number for number, seen in self._frames.items() if seen >= self._min_frames}
        return long | set(self._last)


@dataclass
class _Track:
    from_s: float
    to_s: float = 0.0
    seen_s: float = 0.0
    frames: int = 0
    parsed: int = 0
    spans: list[list[float]] = field(default_factory=list)  # from and to, in seconds
    garments: Counter[str] = field(default_factory=Counter)  # frames that show them
    colours: dict[str, Counter[str]] = field(default_factory=dict)


class Tracks:
    """Gathers the tracks of a clip, frame after frame, in a few hundred bytes each.

    Args:
        min_frames: The least frames of a track that counts; see `Lasting`.
    """

    def __init__(self, min_frames: int = MIN_TRACK_FRAMES) -> None:
        self._lasting = Lasting(min_frames)
        self._tracks: dict[int, _Track] = {}
        self._before_s: float | None = None
        self._frames = 0

    def add(self, result: FrameResult) -> None:
        """Take in the next frame."""
        self._lasting.add(result)
        seconds = result.frame.seconds
        before_s, self._before_s = self._before_s, seconds
        step_s = seconds - before_s if before_s is not None else 0.0
        self._frames += 1
        for person, number in zip(result.parsing.people, result.track_ids, strict=True):
            track = self._tracks.setdefault(number, _Track(seconds))
            track.seen_s += step_s if track.frames else 0.0
            if not track.spans or track.to_s != before_s:
                track.spans.append([seconds, seconds])
            track.spans[-1][1] = seconds
            track.to_s = seconds
            track.frames += 1
            if result.parsed:
                track.parsed += 1
                for part in person.parts.values():
                    _wear(track, part, result.parsing)

    def summary(self) -> dict[str, Any]:
        """Return the tracks in plain Python values, as docs/video.md describes."""
        lasting = self._lasting.tracks()
        return {
            "schema": "humanparse-tracks/1",
            "frames": self._frames,
            "seconds": round(self._before_s or 0.0, 3),
            "tracks": [
                {
                    "track_id": number,
                    "from": round(track.from_s, 3),
                    "to": round(track.to_s, 3),
                    "seconds": round(track.seen_s, 3),
                    "frames": track.frames,
                    "seen": [[round(one, 3) for one in span] for span in track.spans],
                    "garments": _garments(track),
                }
                for number, track in sorted(self._tracks.items())
                if number in lasting
            ],
        }


def _wear(track: _Track, part: Part, parsing: Parsing) -> None:
    known = presets(parsing.labels)
    if any(part.class_id in known.get(preset, ()) for preset in WORN):
        track.garments[part.label] += 1
        colours = track.colours.setdefault(part.label, Counter())
        colours[colour_name(parsing.image, part.mask)] += 1


def _garments(track: _Track) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "colour": track.colours[label].most_common(1)[0][0],
            "share": round(frames / track.parsed, 3),
        }
        for label, frames in track.garments.most_common()
        if frames >= WORN_SHARE * track.parsed
    ]
