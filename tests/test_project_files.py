"""The files around the code agree with each other and with the formats that others read them in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import humanparse

ROOT = Path(__file__).parents[1]
# Every file that names the version of a release, and the lines in which it does.
VERSIONED = {
    "deploy/Containerfile": r"^ARG VERSION=(\S+)$",
    "deploy/compose.yaml": r"image: humanparse:(\S+)",
    "deploy/kustomization.yaml": r"newTag: (\S+)",
    "deploy/ray/kuberay.yaml": r"image: humanparse-ray:(\S+)",
}


@pytest.mark.parametrize("path", VERSIONED)
def test_the_version_is_that_of_the_package(path):
    found = re.findall(VERSIONED[path], (ROOT / path).read_text("utf-8"), re.M)
    assert found, f"{path} names no version"
    assert set(found) == {humanparse.__version__}
