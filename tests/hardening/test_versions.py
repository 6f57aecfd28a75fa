"""No installed version has a known hole; `make audit` asks for the newest advisories."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

FLOORS = {  # the first version without the known holes
    "starlette": (1, 3, 1),
    "python-multipart": (0, 0, 31),
    "pillow": (12, 3, 0),
    "onnx": (1, 21, 0),
    "torch": (2, 10),
    "ray": (2, 54),
}
ABANDONED = ("diskcache",)  # unpickles the files in its folder, and is not maintained
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("package", FLOORS)
def test_no_version_with_a_known_hole_is_installed(package):
    try:
        found = version(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:3] if part.isdigit())
    assert numbers >= FLOORS[package], f"{package} {found}"


def test_the_project_asks_for_such_versions_and_for_nothing_abandoned():
    text = PROJECT.read_text()
    for package in ("starlette", "python-multipart", "pillow", "onnx", "torch"):
        floor = text.split(f'"{package}>=', 1)[1].split('"')[0].split(",")[0]
        assert tuple(map(int, floor.split("."))) >= FLOORS[package][: len(floor.split("."))], (
            package
        )
    assert not any(f'"{package}' in text for package in ABANDONED)
