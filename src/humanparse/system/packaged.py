"""The files that come with the package, wherever it lies: in a folder, a zip archive or a program.

Files that libraries open by their path are unpacked from an archive once in each process. Child
processes get the package that we are; a bundled program (PyInstaller and the like) has no Python to
start them with.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path

import humanparse
from humanparse.errors import HumanParseError

FOLDER = "humanparse-"  # the beginning of the names of folders into which archives are unpacked


def packaged(name: str) -> Path:
    """Return the path of a file or folder of the package.

    Args:
        name: Its path inside the package, such as "weights/bundled".

    Raises:
        HumanParseError: If it is missing, since a bundle was made without the package's data.
    """
    place = resources.files("humanparse").joinpath(*name.split("/"))
    if isinstance(place, Path):
        if place.exists():
            return place
    elif place.is_dir() or place.is_file():
        return _unpacked(name)
    raise HumanParseError(
        f"humanparse is incomplete here: {name!r} is missing; install it again, or have the tool "
        "that bundles your program include its data (PyInstaller: --collect-data humanparse)"
    )


def is_bundled() -> bool:
    """Return whether this is a bundled program, in which sys.executable is not a Python."""
    return bool(getattr(sys, "frozen", False))


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command of a Python that imports nothing from the current folder.

    Args:
        *arguments: Appended to the command.

    Raises:
        HumanParseError: In a bundled program.
    """
    if is_bundled():
        raise HumanParseError(
            "a bundled program has no Python to start worker processes with; "
            "use HumanParser in it, or run the service from an installed humanparse"
        )
    return (sys.executable, "-P", *arguments)


def environment() -> dict[str, str]:
    """Return the environment in which that Python finds the package that we are."""
    archive = getattr(humanparse.__spec__.loader, "archive", None)
    if archive is None:
        return dict(os.environ)
    path = [os.path.abspath(archive), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


@cache
def _unpacked(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = resources.files("humanparse").joinpath(*name.split("/"))
    _copy(place, folder / place.name)
    return folder / place.name


def _copy(place: Traversable, target: Path) -> None:
    if place.is_file():
        target.write_bytes(place.read_bytes())
        return
    target.mkdir()
    for inner in place.iterdir():
        _copy(inner, target / inner.name)
