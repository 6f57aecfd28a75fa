"""The checks behind `humanparse doctor`: what is installed, what works, what is missing, and what
to do about it.

Each check is one function that returns findings. Packages are imported and engines are tried in
separate processes (`python -m humanparse.doctor NAME`), because a package that was not built for
the processor ends the whole process. Nothing heavy is imported here, so that the checks also work
where NumPy does not.
"""

from __future__ import annotations

import json
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from humanparse.system.cores import usable_cores
from humanparse.system.packaged import environment, is_bundled
from humanparse.system.packaged import python as python_command
from humanparse.system.parallel import in_order
from humanparse.vocabulary import ENGINES

OK, NOTE, PROBLEM = "ok", "note", "problem"
TRIAL_S = 120.0  # in which an engine must parse one tiny picture
LEFT_OUT = {"test", "dev", "docs"}  # extras for the development of humanparse itself
X86_SETS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
)
ARM_SETS = ("asimd", "asimddp", "i8mm", "bf16", "sve")

# The modules of packages that are imported by another name than their own.
MODULES = {"pillow": "PIL", "opencv-python-headless": "cv2", "python-multipart": "python_multipart"}

# Packages that install the same folder: of two of them, the later one has overwritten the other.
SAME_FOLDER = {
    "cv2": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    ),
    "onnxruntime": (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-directml",
    ),
}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: What kind of thing was checked, such as "package".
        name: Which of them.
        state: OK, NOTE (worth knowing) or PROBLEM.
        what: What was found.
        todo: What to do about it; "" if there is nothing to do.
    """

    topic: str
    name: str
    state: str
    what: str
    todo: str = ""


def examine() -> list[Finding]:
    """Run every check, in the order in which problems are best solved.

    A check that itself fails is a finding as well.
    """
    found: list[Finding] = []
    for check in (python, packages, same_folders, processor, engines, models):
        try:
            found += check()
        except Exception as error:
            todo = "please report this line"
            found.append(
                Finding(
                    "doctor",
                    check.__name__,
                    PROBLEM,
                    f"the check failed: {type(error).__name__}: {error}",
                    todo,
                )
            )
    return found


def python() -> list[Finding]:
    """Check the version of Python."""
    wanted, here = _required_python(), platform.python_version()
    what = f"{here} on {platform.system()} {platform.machine()}"
    if _older(here, _floor(wanted)):
        return [
            Finding(
                "python",
                "version",
                PROBLEM,
                what,
                f"install Python {wanted}, then humanparse into it",
            )
        ]
    return [Finding("python", "version", OK, what)]


def packages(trial: Callable[[str], str] | None = None) -> list[Finding]:
    """Check that each required package is installed, recent enough, and can be imported.

    Packages of extras may be missing, but must not be too old or broken.

    Args:
        trial: Imports a module; returns what is wrong, or "". By default `import_apart`.
    """
    if is_bundled():
        return [
            Finding(
                "package",
                "all",
                NOTE,
                "inside a bundled program, where their versions are unknown",
            )
        ]
    wanted = [one for one in _requirements() if one.extra not in LEFT_OUT]
    # Each only once, even if several extras want it.
    modules = dict.fromkeys(_module(one) for one in wanted if _installed(one.name)[1])
    with closing(in_order(trial or import_apart, modules, usable_cores())) as ended:
        reasons = {module: reason.result() for module, reason in ended}
    return [_package(one, reasons.get(_module(one), "")) for one in wanted]


def _package(one: Requirement, broken: str) -> Finding:
    """Judge one package. broken: why it cannot be imported, or ""."""
    build, version = _installed(one.name)
    topic = f"extra {one.extra}" if one.extra else "package"
    if not version and one.extra:
        return Finding(
            topic, one.name, NOTE, "not installed", f"if you want it: pip install '{one.line}'"
        )
    if not version:
        return Finding(topic, one.name, PROBLEM, "not installed", f"pip install '{one.line}'")
    if _older(version, one.floor):
        what = f"{version} is older than {one.floor}"
        return Finding(topic, one.name, PROBLEM, what, f"pip install -U '{one.name}>={one.floor}'")
    if broken:
        what = f"{version} cannot be imported: {broken}"
        return Finding(topic, one.name, PROBLEM, what, f"pip install -U --force-reinstall {build}")
    return Finding(topic, one.name, OK, version)


def same_folders() -> list[Finding]:
    """Find packages that overwrite each other, such as opencv-python and opencv-python-headless."""
    found = []
    for folder, rivals in SAME_FOLDER.items():
        here = {name: version for name in rivals if (version := _exactly(name))}
        if len(here) > 1:
            names, listed = (
                " ".join(here),
                ", ".join(f"{name} {version}" for name, version in here.items()),
            )
            state = PROBLEM if len(set(here.values())) > 1 else NOTE
            what = f"{listed} all install the folder {folder}"
            found.append(
                Finding(
                    "conflict",
                    folder,
                    state,
                    what,
                    f"pip uninstall -y {names} && pip install {next(iter(here))}",
                )
            )
    return found


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[Finding]:
    """Report the cores and instruction sets; the latter are known only on Linux.

    Args:
        cpuinfo: The file in which Linux lists the instruction sets.
    """
    cores = usable_cores()
    many = f"{cores} core{'s' if cores != 1 else ''} for this process"
    try:
        text = cpuinfo.read_text("utf-8", "replace")
    except OSError:
        return [
            Finding(
                "processor",
                platform.machine(),
                NOTE,
                f"{many}; its instruction sets are unknown on this system",
            )
        ]
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    known = [flag for flag in X86_SETS + ARM_SETS if flag in flags]
    what = f"{many}; {' '.join(known) or 'no known vector instructions'}"
    if platform.machine().lower() in ("x86_64", "amd64") and flags and "avx2" not in flags:
        todo = (
            "without AVX2, parsing is slow; if this is a virtual machine, "
            "check that it passes on what the processor can do"
        )
        return [Finding("processor", platform.machine(), NOTE, what, todo)]
    return [Finding("processor", platform.machine(), OK, what)]


def engines(
    names: Iterable[str] | None = None, trial: Callable[[str], Finding] | None = None
) -> list[Finding]:
    """Check that each engine parses a tiny picture. The first is required, the others are extras.

    Args:
        names: Names of the engines; by default all.
        trial: Tries one engine. By default `try_apart`.
    """
    return [(trial or try_apart)(name) for name in names or ENGINES]


def models() -> list[Finding]:
    """Check the downloaded models against what was recorded when they were downloaded."""
    from humanparse.weights import store
    from humanparse.weights.hub import HUB

    found = []
    for model in HUB.values():
        checks, pull = store.verify(model), f"humanparse models pull {model.name}"
        bad = [f"{check.path.name} is {check.state}" for check in checks if check.state != "intact"]
        if bad:
            todo = f"humanparse models remove {model.name} && {pull}"
            found.append(Finding("model", model.name, PROBLEM, ", ".join(bad), todo))
        elif not checks:
            begun = "its download was interrupted" if store.size(model) else "not here"
            found.append(
                Finding(
                    "model", model.name, NOTE, begun, f"if you want it ({model.license}): {pull}"
                )
            )
        elif not store.converted(model):
            found.append(Finding("model", model.name, NOTE, "downloaded, but not converted", pull))
        else:
            found.append(Finding("model", model.name, OK, f"intact in {store.folder(model)}"))
    return found


# Trying an engine


def import_apart(module: str, timeout_s: float = TRIAL_S) -> str:
    """Import a module in a separate process.

    Args:
        module: Name of the module.
        timeout_s: How many seconds it may take.

    Returns:
        What is wrong; "" if the module can be imported.
    """
    if is_bundled():
        return ""  # trying the engines will show it
    command = python_command("-c", f"import humanparse, {module}")
    try:
        done = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {timeout_s:g} s"
    return "" if done.returncode == 0 else f"{_last_line(done.stderr)} ({_ending(done.returncode)})"


def try_apart(name: str, timeout_s: float = TRIAL_S) -> Finding:
    """Try an engine in a separate process, so that a crash is a finding as well.

    Args:
        name: Name of the engine.
        timeout_s: How many seconds it may take.
    """
    if is_bundled():
        return try_here(name)
    command = python_command("-m", "humanparse.doctor", name)
    try:
        done = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(
            "engine",
            name,
            PROBLEM,
            f"did not parse a tiny picture within {timeout_s:g} s",
            _again(name),
        )
    try:
        return Finding(**json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        what = f"its process ended with {_ending(done.returncode)}: {_last_line(done.stderr)}"
        return Finding("engine", name, PROBLEM, what, _again(name))


def try_here(name: str) -> Finding:
    """Parse a tiny picture with an engine and the built-in model."""
    from humanparse.errors import HumanParseError, MissingExtra

    try:
        import numpy as np

        from humanparse.parser import HumanParser

        parsing = HumanParser(engine=name).parse(np.full((48, 64, 3), 127, np.uint8))
    except MissingExtra as error:
        what, _, install = str(error).rpartition(": ")
        return Finding("engine", name, NOTE, what or "not installed", f"if you want it: {install}")
    except HumanParseError as error:
        return Finding("engine", name, PROBLEM, str(error), _again(name))
    except ImportError as error:
        todo = (
            "repair the package above that cannot be imported; if there is none, report this line"
        )
        return Finding("engine", name, PROBLEM, f"cannot be imported: {error}", todo)
    except Exception as error:
        return Finding("engine", name, PROBLEM, f"{type(error).__name__}: {error}", _again(name))
    took = parsing.timings_ms.get("network", 0)
    return Finding("engine", name, OK, f"parsed a tiny picture ({took:.0f} ms in the network)")


def _again(name: str) -> str:
    build = _installed(name)[0] or name
    return (
        f"install it again: pip install -U --force-reinstall {build}; "
        "if that does not help, report this line and `humanparse version`"
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it printed nothing"])[-1][:200]


def _ending(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"exit code {code}"


# What is installed


def _required_python() -> str:
    """Return the versions of Python that humanparse supports, such as ">=3.11"; "" if unknown."""
    name = "Requires-Python"
    try:
        known = metadata.metadata("humanparse")
    except metadata.PackageNotFoundError:
        return ""
    return known[name] if name in known else ""  # noqa: SIM401 (it has no get)


def _module(one: Requirement) -> str:
    return MODULES.get(one.name, one.name.replace("-", "_"))


class Requirement(NamedTuple):
    """One package that humanparse requires.

    Attributes:
        name: Name of the package.
        line: The requirement as pip takes it.
        floor: The lowest version; "" if there is none.
        extra: The extra to which it belongs; "" if it is always required.
    """

    name: str
    line: str
    floor: str
    extra: str


def _requirements() -> list[Requirement]:
    """Return what humanparse requires on this machine, what it always requires first."""
    try:
        lines = metadata.requires("humanparse") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        name = _beginning(r"[A-Za-z0-9._-]+", line)
        if name == "humanparse":  # an extra that includes another extra
            continue
        wanted, _, condition = line.partition(";")
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", condition)
        machines = re.search(r"""platform_machine\s+in\s+['"]([^'"]+)['"]""", condition)
        if not machines or platform.machine() in machines[1].split():
            found.append(
                Requirement(name, wanted.strip(), _floor(wanted), extra[1] if extra else "")
            )
    return sorted(found, key=lambda one: one.extra)


def _beginning(pattern: str, text: str) -> str:
    found = re.match(pattern, text)
    return found[0] if found else ""


def _floor(text: str) -> str:
    found = re.search(r">=\s*([0-9][0-9.]*)", text)
    return found[1] if found else ""


def _older(version: str, floor: str) -> bool:
    """Return whether a version is below the floor; suffixes such as rc1 or +cpu do not count."""
    if not floor:
        return False
    here, wanted = (
        [int(n) for n in _beginning(r"[0-9.]*", text).split(".") if n] for text in (version, floor)
    )
    longest = max(len(here), len(wanted))
    return here + [0] * (longest - len(here)) < wanted + [0] * (longest - len(wanted))


def _installed(name: str) -> tuple[str, str]:
    """Return (name, version) of a package, or of another one that installs the same folder.

    Both are "" if there is none.
    """
    rivals = next((group for group in SAME_FOLDER.values() if name in group), (name,))
    return next(((one, version) for one in (name, *rivals) if (version := _exactly(one))), ("", ""))


def _exactly(name: str) -> str:
    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    print(json.dumps(vars(try_here(sys.argv[1]))))
