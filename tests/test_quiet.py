"""No dependency reports anything to its maker, whichever way it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import serve

import humanparse

PHOTO = Path(humanparse.__file__).parent / "cli/demo/hopper.jpg"
COMMAND = "from humanparse.cli import main; main()"
WAYS = {
    "API": f"from humanparse import HumanParser; HumanParser().parse({str(PHOTO)!r})",
    "engine alone": "import humanparse.engines.onnxruntime",
    "parse": COMMAND,
    "export": COMMAND,
    "training": "import humanparse.training.__main__, humanparse.engines.onnxruntime",
}
ARGUMENTS = {
    "parse": ("parse", str(PHOTO), "-o", "results"),
    "export": ("export", "humanparse-small", "--to", "onnx", "-o", "exported"),
}
# as users start it: here, importing humanparse has set the variable
ASKED = ("env", "-u", "ORT_DISABLE_TELEMETRY")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="HOME is for other systems")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty home folder, in which child processes are started."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("HUMANPARSE_HOME", str(tmp_path / "ours"))
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_in_the_users_home(home, tmp_path, way):
    if way in ("export", "training"):
        pytest.importorskip("torch" if way == "training" else "onnx")
    command = [*ASKED, sys.executable, "-c", WAYS[way], *ARGUMENTS.get(way, ())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_the_workers_of_the_service_leave_nothing_in_the_users_home(home, tmp_path):
    with serve(tmp_path, "--workers", "1", before=ASKED) as served:
        assert served.children()
        assert served.stop() == 0
    assert list(home.rglob("*")) == []


def test_a_user_who_wants_to_report_may():
    code = "import os, humanparse; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environ = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


@pytest.mark.parametrize("way", ["humanparse.engines.openvino", "nncf"])
def test_openvino_and_nncf_load_without_the_package_that_reports(way):
    pytest.importorskip(way.split(".")[-1])
    code = (
        f"import humanparse, sys, importlib; importlib.import_module({way!r})\n"
        "print(sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "None"
