"""`humanparse doctor`: every kind of trouble is found, and each problem comes with what to do."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from humanparse import doctor
from humanparse.cli import doctor as command
from humanparse.doctor import NOTE, OK, PROBLEM, Finding
from humanparse.weights import store
from humanparse.weights.hub import HUB

posix = pytest.mark.skipif(sys.platform == "win32", reason="scripts and signals differ")
FINE, BAD = (
    Finding("package", "numpy", OK, "2.4"),
    Finding("package", "pillow", PROBLEM, "not installed", "pip install pillow"),
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_HOME", str(tmp_path / "home"))


@pytest.fixture
def installed(monkeypatch):
    """`installed({"numpy": "1.0"}, ["numpy>=2"])`: these packages are installed, and humanparse
    asks for those."""

    def pretend(versions: dict[str, str], asked: list[str] = ()):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(metadata, "requires", lambda name: list(asked))

    return pretend


@pytest.mark.slow
def test_this_installation_is_sound(run, monkeypatch):
    """But for the packages of extras, which take long to load, and which other tests use."""
    wanted = [one for one in doctor._requirements() if not one.extra]
    monkeypatch.setattr(doctor, "_requirements", lambda: wanted)
    result = run("doctor")
    assert "engine onnxruntime: parsed a tiny picture" in result.stdout
    assert "package numpy: " in result.stdout
    assert result.exit_code == ("problem " in result.stdout), result.stdout


def test_findings_are_lines_with_what_to_do_below(run, monkeypatch):
    monkeypatch.setattr(command, "examine", lambda: [FINE, BAD])
    result = run("doctor")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "ok       package numpy: 2.4",
        "problem  package pillow: not installed",
        "         → pip install pillow",
        "",
        "1 problem; the line below it says what to do",
    ]


def test_no_problem_ends_with_0(run, monkeypatch):
    monkeypatch.setattr(command, "examine", lambda: [FINE])
    result = run("doctor")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        0,
        "no problems: humanparse is ready",
    )


def test_json_is_for_programs(run, monkeypatch):
    monkeypatch.setattr(command, "examine", lambda: [FINE, BAD])
    result = run("doctor", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert answer["findings"][1] == {
        "topic": "package",
        "name": "pillow",
        "state": "problem",
        "what": "not installed",
        "todo": "pip install pillow",
    }


def test_a_check_that_fails_itself_is_a_finding(monkeypatch):
    def python():
        raise RuntimeError("no luck")

    monkeypatch.setattr(doctor, "python", python)
    monkeypatch.setattr(doctor, "packages", list)
    monkeypatch.setattr(doctor, "engines", list)
    first = doctor.examine()[0]
    assert (first.state, first.what) == (PROBLEM, "the check failed: RuntimeError: no luck")


def test_an_old_python_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    (found,) = doctor.python()
    assert (found.state, found.todo) == (PROBLEM, "install Python >=3.11, then humanparse into it")


def test_old_and_missing_packages_are_problems_and_missing_extras_are_not(installed):
    installed(
        {"numpy": "1.26.4", "pillow": "12.10", "torch": "2.1.0+cpu"},
        [
            "numpy>=2.0",
            "pillow>=12.3",
            "typer>=0.16",
            "torch>=2.10; extra == 'train'",
            "pillow-heif>=1.1; extra == 'heif'",
            "ruff>=0.9; extra == 'dev'",
            "humanparse[torch]; extra == 'train'",
        ],
    )
    found = {finding.name: finding for finding in doctor.packages(lambda module: "")}
    assert {name: finding.state for name, finding in found.items()} == {
        "numpy": PROBLEM,
        "pillow": OK,
        "typer": PROBLEM,
        "torch": PROBLEM,
        "pillow-heif": NOTE,
    }
    assert found["numpy"].todo == "pip install -U 'numpy>=2.0'"
    assert found["typer"].todo == "pip install 'typer>=0.16'"
    assert found["pillow-heif"].todo == "if you want it: pip install 'pillow-heif>=1.1'"


@pytest.mark.parametrize(
    ("version", "floor", "older"),
    [
        ("2.0", "2", False),
        ("1.9.9", "2.0", True),
        ("2.10.0", "2.9", False),
        ("2.1+cpu", "2.10", True),
        ("5.0.0.93", "4.10", False),
        ("3.0rc1", "3", False),
        ("", "1", True),
        ("1", "", False),
    ],
)
def test_versions_are_compared_by_numbers(version, floor, older):
    assert doctor._older(version, floor) is older


def test_another_build_of_opencv_will_do(installed):
    installed({"opencv-python": "4.12"}, ["opencv-python-headless>=4.10"])
    assert [finding.state for finding in doctor.packages(lambda module: "")] == [OK]
    (found,) = doctor.packages(lambda module: f"no {module} here")
    assert (found.state, found.what) == (PROBLEM, "4.12 cannot be imported: no cv2 here")
    assert found.todo == "pip install -U --force-reinstall opencv-python"


def test_a_package_that_is_there_but_cannot_be_loaded_is_named(installed, tmp_path, monkeypatch):
    for name, code in {
        "sound": "",
        "broken": "raise ImportError('built for another NumPy')",
    }.items():
        (tmp_path / f"{name}.py").write_text(code)
    source = Path(doctor.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(source)]))
    installed({"sound": "1.0", "broken": "1.0"}, ["sound>=1.0", "broken>=1.0; extra == 'heif'"])
    found = {finding.name: finding for finding in doctor.packages()}
    assert (found["sound"].state, found["sound"].what) == (OK, "1.0")
    assert found["broken"].state == PROBLEM
    assert "ImportError: built for another NumPy (exit code 1)" in found["broken"].what


def test_a_package_that_hangs_while_it_is_loaded_is_a_finding(tmp_path, monkeypatch):
    (tmp_path / "stuck.py").write_text("import threading; threading.Event().wait()")
    source = Path(doctor.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(source)]))
    assert doctor.import_apart("stuck", timeout_s=0.5) == "it took more than 0.5 s"


def test_an_engine_whose_package_is_broken_is_not_blamed(monkeypatch):
    from humanparse import parser

    def broken(*_, **__):
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(parser, "open_engine", broken)
    found = doctor.try_here("onnxruntime")
    assert found.state == PROBLEM and "pip install" not in found.todo
    assert "package above" in found.todo


def test_what_other_machines_need_is_not_asked_for(installed, monkeypatch):
    installed({}, ["isal>=1.7; platform_machine in 'x86_64 arm64'"])
    monkeypatch.setattr(doctor.platform, "machine", lambda: "riscv64")
    assert doctor.packages() == []


@pytest.mark.parametrize(("other", "state"), [("4.10", PROBLEM), ("4.12", NOTE)])
def test_two_opencvs_in_one_folder_are_told(installed, other, state):
    installed({"opencv-python-headless": "4.12", "opencv-python": other})
    (found,) = doctor.same_folders()
    assert (found.state, found.name) == (state, "cv2")
    assert (
        found.todo == "pip uninstall -y opencv-python-headless opencv-python && "
        "pip install opencv-python-headless"
    )


def test_instruction_sets_are_read_where_linux_tells_them(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    (tmp_path / "new").write_text("processor: 0\nflags\t\t: fpu avx2 avx512_vnni\n")
    (tmp_path / "old").write_text("processor: 0\nflags\t\t: fpu sse4_1\n")
    assert doctor.processor(tmp_path / "new")[0].what.endswith("avx2 avx512_vnni")
    assert "without AVX2" in doctor.processor(tmp_path / "old")[0].todo
    assert "unknown on this system" in doctor.processor(tmp_path / "none")[0].what


@posix
def test_an_engine_that_kills_its_process_is_a_finding(tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\nimport os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    fake.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(fake))
    found = doctor.try_apart("onnxruntime")
    assert (found.state, found.what) == (
        PROBLEM,
        "its process ended with SIGILL: it printed nothing",
    )
    assert "install it again" in found.todo


@posix
def test_an_engine_that_hangs_is_a_finding(tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexec sleep 9\n")
    fake.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(fake))
    assert "within 0.2 s" in doctor.try_apart("onnxruntime", timeout_s=0.2).what


def test_a_missing_engine_is_no_problem_and_an_unknown_one_is(monkeypatch):
    from humanparse import parser
    from humanparse.errors import MissingExtra
    from humanparse.extras import install_line

    def missing(*_, **__):
        raise MissingExtra("the x engine needs X", "redis")

    assert doctor.try_here("no-such").state == PROBLEM
    monkeypatch.setattr(parser, "open_engine", missing)
    found = doctor.try_here("x")
    assert (found.state, found.what) == (NOTE, "the x engine needs X")
    assert found.todo == f"if you want it: {install_line('redis')}"


def test_damaged_and_broken_off_models_are_found():
    from humanparse.weights.hub import CHECKPOINT

    one, other = HUB.values()
    assert {finding.state for finding in doctor.models()} == {NOTE}
    files = tuple(store.RemoteFile(path, 3, "0" * 64) for path in one.files)
    store.folder(one).mkdir(parents=True)
    (store.folder(one) / CHECKPOINT).write_bytes(b"abc")
    (store.folder(one) / store.RECORD).write_text(
        store.Record(one.repo, one.revision, files).to_json()
    )
    store.folder(other).mkdir(parents=True)
    (store.folder(other) / "pytorch_model.pt.0000.part").write_bytes(b"abc")
    damaged, begun = doctor.models()
    assert (damaged.state, damaged.what) == (
        PROBLEM,
        "configuration.json is missing, pytorch_model.pt is damaged",
    )
    assert (
        damaged.todo == f"humanparse models remove {one.name} && humanparse models pull {one.name}"
    )
    assert (begun.state, begun.what) == (NOTE, "its download was interrupted")


def test_the_manual_explains_every_option(run):
    manual = (Path(__file__).parents[2] / "docs/cli.md").read_text("utf-8")
    shown = run("doctor", "--help").stdout
    assert "humanparse doctor" in shown
    assert [option for option in re.findall(r"--[a-z][a-z-]+", shown) if option not in manual] == []
