"""The Containerfile: its text, and what its image would do.

The tests have no container engine. So the content of the image is built by the steps of the file
and run like a container in separate namespaces: as process 1, as a user without an account, without
capabilities, on a read-only file system. Only Python and the required packages are those of the
tests.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from nginx_server import DEPLOY
from packaging.requirements import Requirement
from served import until, web

import humanparse
from humanparse.service.settings import PREFIX, Settings

ROOT = DEPLOY.parent
TOKEN = {"authorization": "Bearer sesame"}
START_S = 60
# Libraries in the base image; no package may need others.
SYSTEM_LIBRARIES = {
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libz.so.1",
    "linux-vdso.so.1",
}


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, as (name, the rest in one line)."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.M)
    lines = [
        line.split(maxsplit=1) for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line
    ]
    found: list[list[tuple[str, str]]] = [[]]
    for name, rest in lines:
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def values(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for one, rest in stage if one == name]


FINAL = stages()[-1]


# The text of the file


def test_the_base_is_named_with_its_version_once():
    [base] = [rest for rest in values(stages()[0], "ARG") if rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=docker\.io/library/python:3\.\d+-slim-\w+", base)
    assert [stage[0][1] for stage in stages()[1:]] == [
        "${PYTHON} AS dependencies",
        "dependencies AS package",
        "${PYTHON}",
    ]
    assert f"VERSION={humanparse.__version__}" in values(FINAL, "ARG")


def test_the_final_stage_holds_what_was_built_and_no_tools():
    assert all(rest.startswith("--from=") for rest in values(FINAL, "COPY"))
    assert not re.search(r"apt|pip|gcc|curl|wget", " ".join(values(FINAL, "RUN")))
    assert "--without-pip" in values(stages()[1], "RUN")[0]


def test_it_is_no_root_by_number_and_ends_on_a_signal_by_itself():
    names = [name for name, _ in FINAL]
    user, group = values(FINAL, "USER")[0].split(":")
    assert user.isdecimal() and group.isdecimal() and int(user) >= 10000
    assert names.index("USER") > max(
        place for place, name in enumerate(names) if name in ("RUN", "COPY")
    )
    assert isinstance(json.loads(values(FINAL, "ENTRYPOINT")[0]), list), (
        "a shell as process 1 would keep the signal to itself"
    )
    assert values(FINAL, "STOPSIGNAL") == ["SIGTERM"] and values(FINAL, "EXPOSE") == [
        str(Settings().port)
    ]


def test_its_variables_are_settings():
    known = {PREFIX + name.upper() for name in Settings.__dataclass_fields__} | {
        "HUMANPARSE_HOME",
        "HUMANPARSE_OFFLINE",
    }
    named = {name for name in environment() if name.startswith(PREFIX)}
    assert named and named <= known


def test_all_that_is_copied_is_there_and_reaches_the_builder():
    copied = [
        word
        for stage in stages()[1:-1]
        for rest in values(stage, "COPY")
        for word in rest.split()[:-1]
    ]
    assert len(copied) >= 5
    for one in copied:
        assert (ROOT / one).exists() and not is_ignored(one), one
    for secret in (".git/config", ".env", "tests/conftest.py", "src/humanparse/__pycache__/a.pyc"):
        assert is_ignored(secret), secret


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps it from the builder: the last line that fits decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if (
            line
            and not line.startswith("#")
            and any(_fits(part, pattern) for part in (Path(path), *Path(path).parents))
        ):
            ignored = not line.startswith("!")
    return ignored


def _fits(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(path.name, pattern[3:])
    return fnmatch.fnmatch(str(path), pattern)


def test_what_is_installed_is_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert requirements("") == project["dependencies"]
    assert requirements("redis, heif") == project["dependencies"] + extras["redis"] + extras["heif"]
    assert set(extras["torch"]) < set(requirements("train")), "an extra that names another"
    with pytest.raises(subprocess.CalledProcessError) as error:
        requirements("reddis")
    assert "reddis" in error.value.stderr and "redis" in error.value.stderr


def requirements(extras: str) -> list[str]:
    command = [sys.executable, DEPLOY / "requirements.py", extras]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[
        :-1
    ]


@pytest.mark.skipif(shutil.which("ldd") is None, reason="ldd is not there")
def test_no_package_needs_a_library_that_the_base_image_lacks():
    files = [
        str(file.locate())
        for name in needed_packages()
        for file in metadata.files(name) or ()
        if re.search(r"\.so(\.|$)", file.name)
    ]
    assert len(files) > 20
    shown = subprocess.run(["ldd", *files], capture_output=True, text=True).stdout
    assert "not found" not in shown, re.findall(r".*not found.*", shown)
    loaded = dict(re.findall(r"^\t(\S+) => (\S+)", shown, re.M))
    of_the_system = {
        name for name, path in loaded.items() if not path.startswith((sys.prefix, "/tmp"))
    }
    assert of_the_system <= SYSTEM_LIBRARIES


def needed_packages() -> set[str]:
    """humanparse's dependencies with those of the extra redis, and theirs in turn."""
    found, left = set(), [Requirement(line) for line in requirements("redis")]
    while left:
        one = left.pop()
        if one.name.lower() not in found and (
            one.marker is None or one.marker.evaluate({"extra": ""})
        ):
            found.add(one.name.lower())
            left += [Requirement(line) for line in metadata.requires(one.name) or ()]
    return found


# The behaviour of its image


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in values(FINAL, "ENV") for word in shlex.split(rest))


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """What the stage `package` makes, from nothing but what is copied there: the folder
    /package."""
    context, prefix = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("package")
    for stage in stages()[1:3]:
        for rest in values(stage, "COPY"):
            for one in rest.split()[:-1]:
                place = context / Path(one).name
                if (ROOT / one).is_dir():
                    shutil.copytree(ROOT / one, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / one, place)
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")
    [step] = values(stages()[2], "RUN")
    assert step.endswith("install --disable-pip-version-check --no-deps --prefix /package .")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "--ignore-installed",
        "--no-compile",
        "--prefix",
        prefix,
        ".",
    ]
    done = subprocess.run(command, cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    prefix.chmod(0o755)
    return prefix


CONTAINER = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 root "$BOX"
cd "$BOX"
mkdir -p dev proc tmp data opt/humanparse
mount -t tmpfs -o size=64m,mode=1777,noexec,nosuid,nodev tmp tmp
mount -t tmpfs -o size=64m,mode=0700,uid=10001,gid=10001,noexec,nosuid,nodev data data
for folder in /usr /bin /sbin /lib /lib64 /etc /sys $PYTHONS; do
    if [ -L "$folder" ]; then cp -P "$folder" ".$folder"
    elif [ -d "$folder" ]; then mkdir -p ".$folder"; mount --rbind "$folder" ".$folder"; fi
done
for one in null zero random urandom; do touch dev/$one; mount --bind /dev/$one dev/$one; done
mount -t proc proc proc
mount --bind "$PACKAGE" opt/humanparse
for one in $(cut -d' ' -f5 /proc/self/mountinfo | grep "^$BOX"); do
    case "$one" in
        "$BOX/tmp"|"$BOX/data"|"$BOX"/dev/*|"$BOX/proc") ;;
        *) mount -o remount,bind,ro "$one" ;;
    esac
done
exec chroot . setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \\
    --inh-caps=-all --bounding-set=-all env -i -C /data $ENVIRONMENT "$@"
"""


class Container:
    """process: `unshare` around it; pid: of the container's process 1, as seen from here."""

    def __init__(self, process: subprocess.Popen, url: str):
        self.process, self.url = process, url
        [self.pid] = children(process.pid)

    def status(self) -> dict[str, str]:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return {
            name: value.strip()
            for name, value in (line.split(":", 1) for line in text.splitlines())
        }


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def container(package, tmp_path):
    """The image of the file, run as its first lines say."""
    needed = [shutil.which(name) for name in ("unshare", "setpriv", "chroot")]
    probe = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "probe", tmp_path]
    if (
        os.geteuid() != 0
        or not all(needed)
        or subprocess.run(probe, capture_output=True).returncode != 0
    ):
        pytest.skip("needs root and namespaces")
    entry, [major, minor] = json.loads(values(FINAL, "ENTRYPOINT")[0]), sys.version_info[:2]
    assert entry[0] == "/opt/humanparse/bin/humanparse"
    assert (package / "bin/humanparse").read_text().startswith(f"#!{sys.executable}\n")
    variables = environment() | {
        # there it is in the environment's own folder
        "PYTHONPATH": f"/opt/humanparse/lib/python{major}.{minor}/site-packages",
        "HUMANPARSE_TOKEN": "sesame",
        "HUMANPARSE_HOST": "127.0.0.1",
        "HUMANPARSE_PORT": "0",
        "HUMANPARSE_WORKERS": "1",
    }
    box = tmp_path / "box"
    box.mkdir()
    given = os.environ | {
        "BOX": str(box),
        "PACKAGE": str(package),
        "PYTHONS": f"{sys.prefix} {sys.base_prefix}",
        "ENVIRONMENT": " ".join(f"{name}={value}" for name, value in variables.items()),
    }
    command = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        CONTAINER,
        "sh",
        *entry,
    ]
    with open(tmp_path / "log.txt", "w") as log:
        process = subprocess.Popen(
            command, env=given, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"it said {line!r} and {(tmp_path / 'log.txt').read_text()!r}"
        yield Container(process, found[0].rstrip("/"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_works_as_nobody_on_a_file_system_that_cannot_be_written(container, photo):
    status, mounts = container.status(), Path(f"/proc/{container.pid}/mountinfo").read_text()
    assert status["NSpid"].split()[-1] == "1" and set(status["Uid"].split()) == set(
        status["Gid"].split()
    ) == {"10001"}
    assert (
        int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0 and status["NoNewPrivs"] == "1"
    )
    writable = {line.split()[4] for line in mounts.splitlines() if line.split()[5].startswith("rw")}
    assert writable <= {
        "/tmp",
        "/data",
        "/proc",
        *(f"/dev/{name}" for name in ("null", "zero", "random", "urandom")),
    }, writable

    answer = web.post(container.url + "/parse", content=photo, headers=TOKEN, timeout=60)
    assert (
        answer.json()["people"]
        and web.post(container.url + "/parse", content=photo).status_code == 401
    )
    job = web.post(
        container.url + "/v1/jobs", files={"image": photo}, headers=TOKEN, timeout=60
    ).json()
    assert (
        "event: done"
        in web.get(f"{container.url}/v1/jobs/{job['id']}/events", headers=TOKEN, timeout=60).text
    )
    assert web.get(container.url + "/readyz").json()["degraded"] == []

    port = container.url.rsplit(":", 1)[1]
    assert health_check(port) == 0

    [worker] = children(container.pid)
    os.kill(worker, signal.SIGKILL)
    # another one, and the dead one is gone
    until(lambda: children(container.pid) not in ([], [worker]), START_S)
    os.kill(container.pid, signal.SIGTERM)
    assert container.process.wait(START_S) == 0
    assert health_check(port) != 0


def health_check(port: str) -> int:
    """The exit code of the image's HEALTHCHECK, by this Python."""
    [line] = values(FINAL, "HEALTHCHECK")
    command = json.loads(line[line.index("CMD") + 3 :])
    assert command[0] == "/opt/humanparse/bin/python"
    return subprocess.run(
        [sys.executable, *command[1:]], env={"HUMANPARSE_PORT": port}, capture_output=True
    ).returncode


def test_without_a_token_it_refuses_to_start_and_says_how(package, tmp_path):
    folder = next(package.glob("lib/python*/site-packages"))
    environ = {**environment(), "PYTHONPATH": str(folder), "HUMANPARSE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "humanparse", "serve"]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=START_S
    )
    assert done.returncode == 2 and "HUMANPARSE_TOKEN" in done.stderr
