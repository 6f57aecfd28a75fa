"""Every program of examples/ runs, on a demo photo."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from humanparse.system.packaged import packaged

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
WRITES = {
    "hide_faces": "astronaut.hidden.png",
    "try_on_mask": "astronaut.mask.png",
    "yolo_labels": "yolo/labels/train/astronaut.txt",
}


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(program, tmp_path):
    photo = packaged("cli/demo") / "astronaut.jpg"
    if program.stem == "gradio_page":
        if not find_spec("gradio"):
            pytest.skip("gradio is not installed")
        command = ["-c", f"import runpy; runpy.run_path({str(program)!r})"]
    else:
        command = [program, photo]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    if written := WRITES.get(program.stem):
        assert (tmp_path / written).stat().st_size > 100
    elif program.stem != "gradio_page":
        assert "Coat" in done.stdout or "UpperClothes" in done.stdout


def test_the_list_of_examples_is_whole():
    text = (EXAMPLES[0].parent / "README.md").read_text()
    assert all(f"`{program.name}`" in text for program in EXAMPLES)
