"""Quick and long checks: `pytest tests/hardening -m long` runs the long ones, which else are left
out."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

import humanparse

PHOTO = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"
LONG_TIMEOUT_S = 1500
FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; run with -m long")


def pytest_collection_modifyitems(config, items):
    """Leave the long ones out unless they are asked for."""
    if sys.platform != "linux":
        for item in items:
            if "hardening" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="looks into /proc"))
    if "long" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def quick_and_long(quick: int, long: int):
    """The same test with few rounds for every day, and with as many as are promised."""
    return [
        pytest.param(quick, id=f"{quick}"),
        pytest.param(
            long, id=f"{long}", marks=[pytest.mark.long, pytest.mark.timeout(LONG_TIMEOUT_S)]
        ),
    ]


@pytest.fixture
def measured(request):
    """`measured("seconds until all is free", 0.2)`: a figure that is printed after the run."""

    def note(what: str, value) -> None:
        request.config.stash.setdefault(FIGURES, []).append(f"{request.node.name}: {what}: {value}")

    return note


def pytest_terminal_summary(terminalreporter, config):
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photo of one person, 256×256, JPEG."""
    return jpeg(256)


def jpeg(side: int) -> bytes:
    file = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize((side, side)).save(file, "JPEG")
    return file.getvalue()
