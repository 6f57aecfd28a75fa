"""The files of the package are found in a folder, a zip archive and a bundled program.

If one is missing, the error says what to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import humanparse
from humanparse import doctor
from humanparse.errors import HumanParseError
from humanparse.service.work.process import worker_command
from humanparse.system import packaged

ROOT = Path(humanparse.__file__).parent
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """The package as a zip archive."""
    target = tmp_path_factory.mktemp("zip") / "humanparse.zip"
    with zipfile.ZipFile(target, "w") as file:
        for path in ROOT.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                file.write(path, Path("humanparse") / path.relative_to(ROOT))
    return target


def from_archive(archive: Path, folder: Path, code: str) -> str:
    """What Python prints, with the package from the archive and that folder for temporary files."""
    environ = {**os.environ, "PYTHONPATH": str(archive), "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_parser_works_from_a_zip_archive_and_leaves_nothing(archive, tmp_path):
    code = """
import humanparse, numpy as np
from humanparse import HumanParser
assert ".zip" in humanparse.__file__
print(HumanParser(threads=1).parse(np.zeros((48, 64, 3), np.uint8)).size_hw)
"""
    assert from_archive(archive, tmp_path, code) == "(48, 64)\n"
    assert list(tmp_path.iterdir()) == []


def test_workers_find_the_archive_that_their_server_runs_from(archive, tmp_path):
    code = """
import subprocess
from humanparse.system.packaged import environment, python
child = python("-c", "import humanparse.service.child.main as one; print(one.__file__)")
print(subprocess.run(child, env=environment(), capture_output=True, text=True, check=True).stdout)
"""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = f"import sys; sys.path.insert(0, {str(archive)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(archive))


@pytest.mark.parametrize(
    "name",
    [
        "weights/bundled",
        "cli/demo",
        "service/page/static",
        "training/recipes",
        "export/triton_models",
        "export/web",
        "py.typed",
    ],
)
def test_all_that_is_needed_is_there(name):
    assert packaged.packaged(name).exists()


def test_what_is_missing_is_told_with_what_to_do():
    with pytest.raises(
        HumanParseError, match=r"'weights/lost' is missing.*--collect-data humanparse"
    ):
        packaged.packaged("weights/lost")


def test_a_bundled_program_starts_no_children(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(HumanParseError, match="a bundled program has no Python"):
        worker_command()
    monkeypatch.setattr(doctor, "try_here", lambda name: f"{name} was tried here")
    assert doctor.try_apart("onnxruntime") == "onnxruntime was tried here"
    assert doctor.import_apart("no_such_module") == ""
    assert [finding.state for finding in doctor.packages()] == [doctor.NOTE]


def test_pyinstaller_finds_our_hook():
    points = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["entry-points"]["pyinstaller40"]
    module, _, function = points["hook-dirs"].partition(":")
    (folder,) = getattr(import_module(module), function)()
    hook = (Path(folder) / "hook-humanparse.py").read_text("utf-8")
    hidden = {}
    # PyInstaller itself is not needed to read it
    exec(
        hook.replace("from PyInstaller.utils.hooks import", "#"),
        {
            "collect_data_files": lambda name: [name],
            "copy_metadata": lambda name: [name],
        },
        hidden,
    )
    assert [import_module(name) for name in hidden["hiddenimports"]]
