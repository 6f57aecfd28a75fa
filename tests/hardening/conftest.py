"""Checks with few rounds for every day and many for `make long`, and what they measure."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

import humanparse

PHOTO = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"
LONG_TIMEOUT_S = 1500


def pytest_collection_modifyitems(items):
    if sys.platform != "linux":
        for item in items:
            if "hardening" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="looks into /proc"))


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
    """`measured("seconds until all is free", 0.2)`: a measurement to print after the run."""

    def note(what: str, value) -> None:
        # A property of the report, which gets from a worker of pytest-xdist to its terminal.
        figure = f"{request.node.name}: {what}: {value}"
        request.node.user_properties.append(("figure", figure))

    return note


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    figures = [
        text
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, text in report.user_properties
        if name == "figure"
    ]
    if figures:
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
