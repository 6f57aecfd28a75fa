"""The error tree: every error reaches the process that waits for it, and says what to install."""

from __future__ import annotations

import copy
import pickle
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from humanparse.errors import HumanParseError, MissingExtra
from humanparse.extras import EXTRAS, install_line
from humanparse.service.problems import Problem
from humanparse.service.work.process import WorkerDied

ROOT = Path(__file__).parents[1]


def tree(kind: type = HumanParseError) -> list[type]:
    below = [one for child in kind.__subclasses__() for one in tree(child)]
    return [one for one in (kind, *below) if one.__module__.startswith("humanparse.")]


ERRORS = [
    *(kind("image is 12x9 but the limit is 40") for kind in tree()),
    MissingExtra("HEIC photos need pillow-heif", "heif"),
    Problem("queue_full", "come back later", retry_after_s=2.5),
    Problem(code="queue_full", detail="come back later"),
    WorkerDied("signal SIGKILL", from_outside=True),
]
WAYS = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_survives(error, way):
    back = WAYS[way](error)
    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))


def test_the_tree_is_complete():
    kinds = tree()
    assert len(kinds) >= 11
    assert len({kind.code for kind in kinds}) == len(kinds)


def wanted(project: dict, extra: str) -> list[str]:
    """The packages of an extra, with those of the extras that it contains."""
    found = []
    for line in project["optional-dependencies"][extra]:
        inner = re.fullmatch(r"humanparse\[(\w+)\]", line)
        found += wanted(project, inner[1]) if inner else [line]
    return found


def test_the_packages_of_the_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [
        name for name in project["optional-dependencies"] if name not in ("test", "dev", "docs")
    ]
    assert {name: list(EXTRAS[name]) for name in EXTRAS} == {
        name: wanted(project, name) for name in extras
    }


def test_only_missing_packages_are_named(monkeypatch):
    here = {"torch", "safetensors"}

    def version(name: str) -> str:
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    assert install_line("torch") == "pip install 'onnx>=1.21'"
    assert (
        str(MissingExtra("this needs Ray", "ray"))
        == "this needs Ray: pip install 'ray[data,serve]>=2.58'"
    )
    here.add("onnx")  # then one of them is broken
    assert install_line("torch") == "pip install 'torch>=2.10' 'onnx>=1.21' 'safetensors>=0.4'"


def told() -> list[str]:
    """Every package that we name in quotation marks with its oldest version."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]
    texts = [page.read_text("utf-8") for page in pages]
    return [
        line
        for text in texts
        for line in re.findall(r"'([a-z][\w-]*(?:\[[\w,]+\])?>=[\d.]+)'", text)
    ]


def test_what_we_tell_people_to_install_is_what_the_project_needs():
    known = {package for packages in EXTRAS.values() for package in packages}
    assert set(told()) and set(told()) <= known


def test_nobody_is_sent_to_another_package_of_our_name():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]
    sending = re.compile(r"(pip install[^`\n]*[ '\"]|['`])humanparse\[")
    assert [page.name for page in pages if sending.search(page.read_text("utf-8"))] == []
