"""`humanparse version`: the versions for a bug report, read without importing the packages."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import typer

import humanparse
from humanparse.doctor import SAME_FOLDER

# A package may be installed under several names; the first one found counts.
PACKAGES = {
    "numpy": ("numpy",),
    "onnxruntime": SAME_FOLDER["onnxruntime"],
    "opencv": SAME_FOLDER["cv2"],
}


def version() -> None:
    """Print the versions that a bug report should name.

    \b
    Example:
      humanparse version
    """
    lines = {name: _first_installed(names) for name, names in PACKAGES.items()}
    typer.echo(f"humanparse {humanparse.__version__}")
    typer.echo(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, found in lines.items():
        typer.echo(f"{name} {found}")


def _first_installed(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return installed(name)
        except PackageNotFoundError:
            continue
    return "not installed"
