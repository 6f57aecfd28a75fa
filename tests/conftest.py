"""Lets every test module import the helpers that lie in this folder, such as `made_up`; and Ctrl-C
reach child processes.

Says, too, which tests are slow, and which share a worker where `make test` has several.
"""

import os
import signal
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
# Of PyTorch, here and in what the tests start: for small pictures more threads only wait for each
# other, beside other workers for very long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from npm import runtime_archive  # noqa: E402, F401  (a fixture; fetches nothing by itself)
from ray_cluster import _two_nodes, ray_cluster  # noqa: E402, F401  (fixtures; loads no Ray)

import humanparse  # noqa: E402, F401  (before any test module loads ONNX Runtime)

# A shell starts background commands with Ctrl-C ignored, and children inherit that: those that
# tests interrupt would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Folders and files whose tests run in one worker, one after the other: they share something that
# takes long to start, or measure what the others of the group would disturb. All other tests are
# grouped by their file.
GROUPS = {
    "export": [  # one converted network; NNCF, OpenVINO
        "export",
        "engines/test_openvino.py",
        "engines/test_openvino_attention.py",
        "agreement",
    ],
    "nginx": ["deploy/test_nginx.py", "deploy/test_through_nginx.py"],  # two servers, one Redis
    "browser": ["page"],  # one browser
    "measured": [  # memory and times of servers under load
        "hardening/test_clients.py",
        "hardening/test_kill.py",
        "hardening/test_memory.py",
        "batch/test_killed.py",
        "test_memory.py",
    ],
    "ray": ["service_ray", "batch/test_ray.py"],  # one cluster of two nodes
    "training": ["training"],  # one teacher's masks
}
# Groups are begun in the order above, so that no long one is left for the end, and these after all
# other files. Ray's nodes take each other for dead where they get too few of the cores, and wait
# for each other half of the time: beside them there is one worker alone, which trains on one core.
LAST = ("ray", "training")
# Folders and files that `make quick` leaves out. Slow tests elsewhere have the mark themselves. All
# that load PyTorch or OpenVINO are here: else each worker did, only to collect them.
SLOW = [
    "agreement",
    "batch/test_ray.py",
    "cli/test_commands.py",
    "deploy/test_container.py",
    "deploy/test_nginx.py",
    "deploy/test_queueing.py",
    "deploy/test_through_nginx.py",
    "engines/test_openvino.py",
    "engines/test_openvino_attention.py",
    "export",
    "hardening",
    "model",
    "page",
    "service/test_dispatcher.py",
    "service/test_openapi.py",
    "service/test_pool.py",
    "service/test_process.py",
    "service/test_serve.py",
    "service/test_server.py",
    "service_ray",
    "test_docs_site.py",
    "test_examples.py",
    "test_memory.py",
    "test_quiet.py",
    "training/m2fp",
    "training/test_command.py",
    "training/test_data.py",
    "training/test_guess.py",
    "training/test_init.py",
    "training/test_listed_photos.py",
    "training/test_log.py",
    "training/test_look.py",
    "training/test_loop.py",
    "training/test_losses.py",
    "training/test_low_rank.py",
    "training/test_memory.py",
    "training/test_outfits.py",
    "training/test_output.py",
    "training/test_scenes.py",
    "training/test_validate.py",
    "training/test_workers.py",
]


@pytest.fixture(scope="session")
def tiny_m2fp(tmp_path_factory):
    """The checkpoint of `tiny_network()` as its authors publish it, and what `convert` makes of it:
    the files pytorch_model.pt and tiny.onnx, made once, as that takes long."""
    torch = pytest.importorskip("torch")
    from official import official_state, tiny_network

    from humanparse.export.m2fp import convert_checkpoint

    folder = tmp_path_factory.mktemp("tiny-m2fp")
    checkpoint, file = folder / "pytorch_model.pt", folder / "tiny.onnx"
    torch.save({"model": official_state(tiny_network())}, checkpoint)
    convert_checkpoint(checkpoint, file)
    return checkpoint, file


def pytest_ignore_collect(collection_path, config):
    """`make quick` does not even import what is slow."""
    if config.option.markexpr == "not slow" and _is_slow(_place(collection_path)):
        return True
    return None


def pytest_collection_modifyitems(config, items):
    """Mark what is slow, begin with the groups, and leave out `long` unless it is asked for."""
    for item in items:
        if _is_slow(_place(item.path)):
            item.add_marker("slow")
    if hasattr(config, "workerinput"):
        first = [name for name in GROUPS if name not in LAST]
        order = {name: number for number, name in enumerate([*first, None, *LAST])}
        items.sort(key=lambda item: order.get(_group(_place(item.path)), order[None]))
    if "long" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("long")]
        if long:
            config.hook.pytest_deselected(items=long)
            items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each group to one worker, and all other tests of a file to one."""
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(_place(config.rootpath / nodeid.partition("::")[0]))

    return Grouped(config, log)


@cache
def _place(path: Path) -> str:
    """Where it lies in this folder, as it is written above."""
    return path.relative_to(HERE).as_posix() if path.is_relative_to(HERE) else ""


@cache
def _is_slow(place: str) -> bool:
    return _lies_in(place, SLOW)


def _lies_in(place: str, places: list[str]) -> bool:
    return any(place == one or place.startswith(one + "/") for one in places)


@cache
def _group(place: str) -> str:
    """The group of a file; a file of none is one by itself."""
    return next((name for name, places in GROUPS.items() if _lies_in(place, places)), place)
