"""The packages that optional parts need, and the command that installs those that are missing.

The command names the packages themselves, and not an extra of humanparse. So it also works where
humanparse was installed from a folder or a wheel, and never installs another package of that name.
"""

from __future__ import annotations

import re

_ONNX, _TORCH = ("onnx>=1.21",), ("torch>=2.10", "onnx>=1.21", "safetensors>=0.4")

EXTRAS = {  # as in pyproject.toml, where extras may contain others
    "torch": _TORCH,
    "openvino": ("openvino>=2025.0",),
    "quantize": ("nncf>=3.0", *_ONNX),
    "export": _ONNX,
    "train": (*_TORCH, "scipy>=1.13"),
    "heif": ("pillow-heif>=1.1",),
    "redis": ("redis>=5.2",),
    "batch": ("pyarrow>=17", "fsspec>=2024.10"),
    "ray": ("ray[data,serve]>=2.58",),
    "mcp": ("mcp>=2.0",),
    "video": ("av>=14.0",),
}


def install_line(extra: str) -> str:
    """Return the pip command for the packages of an extra that are not installed.

    Args:
        extra: One of EXTRAS.

    Returns:
        The command. If all are installed, one of them is broken or too old, and it names them all.
    """
    wanted = EXTRAS[extra]
    missing = [package for package in wanted if not _installed(package)]
    return " ".join(["pip install", *(f"'{package}'" for package in missing or wanted)])


def _installed(package: str) -> bool:
    from importlib import metadata  # slow to import, and only needed where something is missing

    try:
        metadata.version(re.split(r"[\[>]", package)[0])
    except metadata.PackageNotFoundError:
        return False
    return True
