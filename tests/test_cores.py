"""How many cores count: those of the machine, the process, and the container's share of time."""

import pytest

from humanparse.system import cores


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Write control groups: the process's own lines, and files by path."""

    def write(lines: str, **files: str):
        (tmp_path / "self").write_text(lines)
        for name, text in files.items():
            path = tmp_path / "fs" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(cores, "PROC_CGROUP", tmp_path / "self")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return write


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("5000 100000", 1),
        ("6400000 100000", 8),
        ("", 8),
        ("rubbish", 8),
    ],
)
def test_the_limit_of_a_container_counts(groups, limit, count):
    groups("0::/\n", cpu_dot_max=limit + "\n")
    assert cores.usable_cores() == count


def test_the_tightest_limit_on_the_way_up_counts(groups):
    groups(
        "0::/pod/box\n",
        pod__box__cpu_dot_max="600000 100000",
        pod__cpu_dot_max="300000 100000",
        cpu_dot_max="max 100000",
    )
    assert cores.usable_cores() == 3


@pytest.mark.parametrize(("quota", "count"), [("150000", 2), ("-1", 8)])
def test_the_first_version_of_control_groups_counts_too(groups, quota, count):
    groups(
        "4:memory:/a\n1:cpu,cpuacct:/a\n",
        **{
            "cpu__a__cpu_dot_cfs_quota_us": quota,
            "cpu__a__cpu_dot_cfs_period_us": "100000",
            "memory__a__cpu_dot_max": "100000 100000",
        },
    )
    assert cores.usable_cores() == count


def test_elsewhere_the_process_or_the_machine_decides(groups, monkeypatch):
    assert cores.usable_cores() == 8  # no control groups
    monkeypatch.delattr(cores.os, "sched_getaffinity")
    monkeypatch.setattr(cores.os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1
