"""The folder in which humanparse keeps what is to outlive a process: models, compiled networks,
jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from humanparse.errors import OptionError


def home() -> Path:
    """The folder of all that humanparse keeps: HUMANPARSE_HOME, or `humanparse` in the system's
    folder for caches.

    Raises OptionError where there is none: for a user without a home, as in some containers.
    """
    try:
        return _home()
    except RuntimeError as error:  # of Path.home and expanduser
        raise OptionError(
            f"there is no folder to keep things in ({error}); set HUMANPARSE_HOME to one that can be written"
        ) from None


def home_if_any() -> Path | None:
    """The same for what can be done without."""
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
