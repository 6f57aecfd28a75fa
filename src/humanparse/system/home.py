"""The folder for what outlives a process: models, compiled networks, jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from humanparse.errors import OptionError


def home() -> Path:
    """Return the folder in which humanparse keeps everything.

    It is HUMANPARSE_HOME, or `humanparse` in the system's folder for caches.

    Raises:
        OptionError: For a user without a home folder, as in some containers.
    """
    try:
        return _home()
    except RuntimeError as error:  # of Path.home and expanduser
        raise OptionError(
            f"there is no folder to keep things in ({error}); "
            "set HUMANPARSE_HOME to one that can be written"
        ) from None


def home_if_any() -> Path | None:
    """Return the same folder, or None where there is none, for optional things."""
    try:
        return home()
    except OptionError:
        return None


def _home() -> Path:
    if chosen := os.environ.get("HUMANPARSE_HOME", "").strip():
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
            / "humanparse"
            / "Cache"
        )
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/humanparse"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "humanparse"
