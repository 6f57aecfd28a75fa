"""Two Ray nodes on this machine, for tests: a process of their own starts them, and ends them and
nothing else.

    def test_…(ray_cluster):
        subprocess.run([…, "--address", ray_cluster.address], env=ray_cluster.environment, …)
        ray_cluster.kill_node()

Both nodes live on 127.0.0.1 with two processors and 100 MB of object store each, with token
authentication and without the dashboard. The first is the head. Whoever connects needs
`environment`, in which the token's file is named; nothing of the user's Ray is read or written. The
nodes end when the session does, and also if the test process is killed: they live as long as the
pipe to it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CPUS_A_NODE = 2
OBJECT_STORE_BYTES = 100_000_000
START_S = 120  # a start takes five seconds on an idle machine


class RayCluster:
    """address: "127.0.0.1:port" of the head. environment: for the processes that connect. nodes:
    ids of those beside the head."""

    def __init__(self, process: subprocess.Popen, environment: dict[str, str]):
        self.environment = environment
        self.nodes: list[str] = []
        self._process = process
        self.address = self._answer()["address"]

    def add_node(self) -> str:
        """A further node. Returns its id."""
        self.nodes.append(self._ask("add")["node"])
        return self.nodes[-1]

    def kill_node(self) -> str:
        """Kill all processes of the latest node at once, as a power cut would. Returns its id."""
        return self._ask("kill", self.nodes.pop())["node"]

    def processes(self) -> dict[str, list[str]]:
        """Names of the worker processes of each living node, such as "ray::MapWorker(…)", by the
        node's id."""
        return self._ask("processes")["processes"]

    def mend(self) -> None:
        """Have one node beside the head again, whatever a test did."""
        while not self.nodes:
            self.add_node()

    def _ask(self, *words: str) -> dict:
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        assert line, f"the process with Ray's nodes ended with {self._process.wait(START_S)}"
        return json.loads(line)


@contextmanager
def two_nodes() -> Iterator[RayCluster]:
    # short: Ray's sockets lie below, and their paths are limited
    folder = Path(tempfile.mkdtemp(prefix="hp", dir="/tmp"))
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "token").chmod(0o600)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("RAY_")
    } | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # the one switch by which 127.0.0.1 stays 127.0.0.1, to nodes and to clients
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # it would end workers because of other programs' memory
        "RAY_memory_monitor_refresh_ms": "0",
    }
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        cluster = RayCluster(process, environment)
        cluster.add_node()
        yield cluster
    finally:
        # a child that was forked meanwhile may hold a copy of stdin, so that it has no end
        process.stdin.write(b'["end"]\n')
        process.stdin.close()
        try:
            process.wait(START_S)
        finally:
            process.kill()
            process.stdout.close()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _two_nodes() -> Iterator[RayCluster]:
    if importlib.util.find_spec("ray") is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Ray on Linux: pip install '.[ray]'")
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture
def ray_cluster(_two_nodes: RayCluster) -> RayCluster:
    """Two living nodes, shared by all tests of the session."""
    _two_nodes.mend()
    return _two_nodes


# The other process


def serve_nodes() -> None:
    """Start the head, and do what the lines on stdin ask for until they end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer

    def answer(**what) -> None:
        print(json.dumps(what), file=answers, flush=True)

    from ray.cluster_utils import Cluster

    alike = {
        "num_cpus": CPUS_A_NODE,
        "object_store_memory": OBJECT_STORE_BYTES,
        "node_ip_address": "127.0.0.1",
    }
    # A node that is gone is noticed after two seconds; one that is only slow to answer has ten.
    health = {
        "health_check_initial_delay_ms": 1000,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
    }
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**alike, "include_dashboard": False, "_system_config": health},
    )
    try:
        answer(address=cluster.address)
        nodes = {cluster.head_node.node_id: cluster.head_node}
        for line in sys.stdin:
            match json.loads(line):
                case ["add"]:
                    node = cluster.add_node(**alike)
                    nodes[node.node_id] = node
                    answer(node=node.node_id)
                case ["kill", name]:
                    cluster.remove_node(nodes.pop(name), allow_graceful=False)
                    answer(node=name)
                case ["end"]:
                    break
                case ["processes"]:
                    raylets = {
                        name: node.all_processes["raylet"][0].process.pid
                        for name, node in nodes.items()
                    }
                    answer(processes={name: children(pid) for name, pid in raylets.items()})
    finally:
        cluster.shutdown()


def children(parent: int) -> list[str]:
    """The command lines of a process's children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(
                    stat.with_name("cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                    .strip()
                )
        except OSError:
            continue  # it has ended
    return found


if __name__ == "__main__":
    serve_nodes()
