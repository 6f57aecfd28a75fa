"""`make test` hides nothing: what fails once fails it.

Without PyTorch, what needs it is skipped, not lost.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Collects all tests where nothing can be imported that `make test TORCH=` leaves out.
WITHOUT_PYTORCH = """
import sys
for name in ("torch", "safetensors", "scipy", "nncf"):
    sys.modules[name] = None
import pytest
sys.exit(pytest.main(["--collect-only", "-p", "no:cacheprovider", "tests"]))
"""
# Stands in for Python in a made-up virtual environment: writes down how it is called, and exits as
# OUTCOMES says next.
FAKE_PYTHON = """#!/bin/sh
folder=$(dirname "$0")
echo "$@" >> "$folder/asked"
exit "$(sed -n "$(wc -l < "$folder/asked")p" "$folder/outcomes")"
"""


@pytest.fixture
def make_test(tmp_path):
    """`make_test(1, 0)` runs `make test` with a pytest that first fails and then passes.

    It returns the outcome, and how Python was called.
    """
    if not shutil.which("make") or os.name == "nt" or not (ROOT / "Makefile").is_file():
        pytest.skip("needs make, and the repository's Makefile")
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    for name, text in {"python": FAKE_PYTHON, "ruff": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / "venv/.installed-for-tests").touch()

    def run(*outcomes: int) -> tuple[subprocess.CompletedProcess, list[str]]:
        (folder / "outcomes").write_text("".join(f"{one}\n" for one in outcomes))
        done = subprocess.run(
            ["make", "test", f"VENV={tmp_path / 'venv'}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done, (folder / "asked").read_text().splitlines()

    return run


def test_tests_that_pass_are_run_once(make_test):
    done, asked = make_test(0)
    assert done.returncode == 0, done.stderr
    assert asked == ["-m pytest"]


@pytest.mark.parametrize(("second", "word"), [(0, "FLAKY"), (1, "BROKEN")])
def test_a_test_that_fails_once_fails_the_gate_whatever_it_does_alone(make_test, second, word):
    done, asked = make_test(1, second)
    assert done.returncode != 0
    assert word in done.stderr and len(asked) == 2 and "--last-failed" in asked[1]


def test_without_pytorch_every_test_module_can_be_collected():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYTORCH],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "tests/training/test_recipe.py" in done.stdout  # which needs none
