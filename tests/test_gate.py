"""`make test` hides nothing: what fails once fails it.

Without PyTorch, what needs it is skipped, not lost.
"""

import os
import re
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
# What `make test WORKERS=3` gives to pytest-xdist.
IN_PARALLEL = "--numprocesses 3 --dist loadscope --no-loadscope-reorder --max-worker-restart 0"
FAILS_ONCE = """
import pathlib, pytest

def test_that_passes():
    pass

@pytest.mark.parametrize("name", ["a@b"])
def test_that_fails_once(name):
    before = pathlib.Path("before")
    if not before.exists():
        before.touch()
        raise AssertionError
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
    linters = dict.fromkeys(("ruff", "mypy", "oxlint", "oxfmt"), "#!/bin/sh\n")
    for name, text in ({"python": FAKE_PYTHON} | linters).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / "venv/.installed-for-tests").touch()

    def run(*outcomes: int, target: str = "test") -> tuple[subprocess.CompletedProcess, list[str]]:
        (folder / "outcomes").write_text("".join(f"{one}\n" for one in outcomes))
        done = subprocess.run(
            ["make", target, f"VENV={tmp_path / 'venv'}", "WORKERS=3"],
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
    assert asked == [f"-m pytest {IN_PARALLEL}"]


@pytest.mark.parametrize("outcome", [0, 1])
def test_quick_leaves_out_what_is_slow_and_long_runs_the_rest(make_test, outcome):
    quick, asked = make_test(outcome, target="quick")
    assert asked == [f"-m pytest {IN_PARALLEL} -m not slow"]
    long, asked = make_test(outcome, outcome, target="long")
    assert asked[1:] == ["-m pytest -m long"]
    assert (quick.returncode != 0) == (long.returncode != 0) == bool(outcome)


def test_quick_imports_no_test_module_that_loads_pytorch(request):
    """Each worker would load it, only to collect the tests."""
    [tests] = [
        one for one in request.config.pluginmanager.get_plugins() if hasattr(one, "_lies_in")
    ]
    loads = re.compile(
        r"^(import torch|from (torch|official)\b|(torch = )?pytest\.importorskip\(.torch)", re.M
    )
    modules = [path for path in tests.HERE.rglob("test_*.py") if loads.search(path.read_text())]
    assert len(modules) > 20
    quick = [one for one in map(tests._place, modules) if not tests._lies_in(one, tests.SLOW)]
    assert quick == [], "add them to SLOW in tests/conftest.py"


@pytest.mark.parametrize(("second", "word"), [(0, "FLAKY"), (1, "BROKEN")])
def test_a_test_that_fails_once_fails_the_gate_whatever_it_does_alone(make_test, second, word):
    done, asked = make_test(1, second)
    assert done.returncode != 0
    assert word in done.stderr and len(asked) == 2 and "--last-failed" in asked[1]
    assert "--numprocesses" not in asked[1]


@pytest.fixture
def run_pytest(tmp_path):
    """`run_pytest("-q")` runs pytest on a small project that has this conftest."""
    pytest.importorskip("xdist")
    for name in ("conftest.py", "npm.py", "ray_cluster.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    long\n")

    def run(*more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "xdist", "--strict-markers", *more],
            cwd=tmp_path,
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # they take long to load
            capture_output=True,
            text=True,
            timeout=200,
        )

    return run


def test_what_fails_in_a_worker_is_known_by_its_own_name_and_run_again_alone(tmp_path, run_pytest):
    (tmp_path / "test_it.py").write_text(FAILS_ONCE)
    first = run_pytest("-q", "--numprocesses", "1", *IN_PARALLEL.split()[2:])
    assert first.returncode == 1 and "1 failed, 1 passed" in first.stdout, first.stdout
    assert "FAILED test_it.py::test_that_fails_once[a@b] - " in first.stdout
    second = run_pytest("-q", "--last-failed", "--last-failed-no-failures", "none")
    assert second.returncode == 0 and "1 passed" in second.stdout, second.stdout


def test_the_tests_of_a_file_and_of_a_group_share_a_worker(tmp_path, run_pytest):
    files = ["test_a.py", "test_b.py", "page/test_c.py", "page/test_d.py"]
    (tmp_path / "page").mkdir()
    for file in files:
        text = "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_it(n): pass\n"
        (tmp_path / file).write_text(text)
    done = run_pytest("-v", *IN_PARALLEL.split())
    assert done.returncode == 0, done.stdout
    seen = set(re.findall(r"\[(gw\d)\].* (?:PASSED )?(\S+\.py)::", done.stdout))
    workers = {file: [worker for worker, one in seen if one == file] for file in files}
    assert all(len(one) == 1 for one in workers.values()), workers
    assert workers["page/test_c.py"] == workers["page/test_d.py"]


@pytest.mark.slow
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
