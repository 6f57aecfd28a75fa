"""Watching folders: photos are handed out as they arrive, once they are written to the end.

A folder is searched again and again, since not every file system tells of changes. A photo is
handed out when its size and time are those of the search before, so that none is read while it is
being copied. What has results already is left alone, which is how an interrupted watch goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from humanparse.cli.photos import InputPhoto
from humanparse.errors import OptionError

EVERY_S = 2.0  # between two searches

State = tuple[int, int]  # size in bytes, time of the last change in nanoseconds


def check_folders(sources: Sequence[str]) -> None:
    """Raise OptionError unless all sources are folders, which alone can be watched."""
    if not sources or (others := [one for one in sources if not os.path.isdir(one)]):
        which = repr(others[0]) if sources else "nothing"
        raise OptionError(f"--watch watches folders, not {which}; name one that exists")


def arrivals(
    search: Callable[[], Sequence[InputPhoto]], is_done: Callable[[InputPhoto], bool]
) -> Iterator[list[InputPhoto]]:
    """Yield the photos to parse after each search, without end.

    Args:
        search: Returns all photos that are there now.
        is_done: Tells whether all results of a photo exist.

    Yields:
        The photos that have no results and lie still, often none. A photo that was handed out comes
        again only if it has changed, so that one that fails is not tried forever. What is
        remembered is a pair of numbers for each photo without results.
    """
    before: dict[Path, State] = {}
    handed_out: dict[Path, State] = {}
    while True:
        now = {
            photo.source: (photo, state)
            for photo in search()
            if isinstance(photo.source, Path)
            and not is_done(photo)
            and (state := _state(photo.source))
        }
        still = {
            path: state
            for path, (_, state) in now.items()
            if before.get(path) == state and handed_out.get(path) != state
        }
        yield [now[path][0] for path in still]
        before = {path: state for path, (_, state) in now.items()}
        handed_out = {path: one for path, one in (handed_out | still).items() if path in now}
        pause()


def pause() -> None:
    """Wait until the next search; tests put something quicker in its place."""
    time.sleep(EVERY_S)


def _state(path: Path) -> State | None:
    """The size and time of a file; None if it is gone again, or empty still."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if found.st_size else None
