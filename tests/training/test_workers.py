"""Workers make the same batches as the main process, and their errors are reported in one line."""

import multiprocessing
import os
import signal
import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import get_worker_info  # noqa: E402

from humanparse.errors import HumanParseError, OptionError  # noqa: E402
from humanparse.training import workers  # noqa: E402
from humanparse.training.workers import batches, worker_death_as_error  # noqa: E402

STEPS = [[(0, 4), (1, 4)], [(2, 8)], [(3, 4), (4, 4)]]  # of two scenes, one larger one, two
LARGEST = (8, 1)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only there scenes are made in workers")


def scene(index: int, size: int) -> dict[str, np.ndarray]:
    return {
        "pixels": np.full((3, size, size), index, np.float32),
        "trust": np.float32(index / 3),
        "number": np.int64(index),
    }


def taken(scenes=scene, processes=2, log=lambda line: None) -> list[dict[str, torch.Tensor]]:
    return list(batches(scenes, STEPS, LARGEST, processes, False, log))


def in_worker(do):
    """Scenes of which number 2 does something, if a worker makes it."""

    def scenes(index, size):
        if index == 2 and get_worker_info() is not None:
            do()
        return scene(index, size)

    return scenes


def failing(error: Exception):
    def fail():
        raise error

    return fail


@pytest.fixture
def room(monkeypatch):
    """`room(bytes)` sets what is free in /dev/shm."""

    def set_free(num_bytes: int) -> None:
        monkeypatch.setattr(
            workers.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=num_bytes)
        )

    return set_free


@LINUX
@pytest.mark.parametrize("free", [0, 10**9])
def test_batches_are_the_same_from_workers_in_either_way_and_from_here(room, free):
    room(free)
    for here, there in zip(taken(processes=0), taken(), strict=True):
        assert here.keys() == there.keys()
        assert all(
            one.dtype == there[name].dtype and torch.equal(one, there[name])
            for name, one in here.items()
        )


@LINUX
def test_too_little_shared_memory_is_found_before_the_first_batch_and_pipes_are_used(room):
    lines = []
    need = (3 * 8 * 8 * 4 + 4 + 8) * (2 * workers.AHEAD + workers.HELD)
    room(need)
    taken(log=lines.append)
    assert lines == []
    room(need - 1)
    taken(log=lines.append)
    (line,) = lines
    assert "come through pipes" in line and "--shm-size" in line


@LINUX
def test_pipes_are_used_too_if_there_is_no_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "SHARED", tmp_path / "none")
    assert len(taken()) == 3


@LINUX
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OptionError("a.png is 9x9"), OptionError, "a.png is 9x9"),
        (
            FileNotFoundError(2, "No such file or directory", "a.png"),
            OptionError,
            "No such file or directory: a.png",
        ),
        (IndexError("7"), RuntimeError, "in a worker process, IndexError: 7"),
    ],
)
def test_a_workers_error_comes_over_in_one_line(error, kind, message):
    with pytest.raises(kind) as raised:
        taken(in_worker(failing(error)))
    assert str(raised.value) == message
    if kind is RuntimeError:
        assert "in fail" in raised.value.__notes__[0]  # where it was, for --debug


@LINUX
def test_no_worker_outlives_a_loop_that_is_left_early():
    before = set(multiprocessing.active_children())
    left = batches(scene, STEPS, LARGEST, 2, False, lambda line: None)
    next(left)
    assert set(multiprocessing.active_children()) != before
    left.close()
    assert set(multiprocessing.active_children()) == before


def test_without_workers_an_error_is_raised_as_it_is():
    def scenes(index, size):
        raise IndexError("7")

    with pytest.raises(IndexError, match="7"):
        taken(scenes, processes=0)


@LINUX
def test_the_death_of_a_worker_is_reported_with_advice_and_ends_the_others():
    before = set(multiprocessing.active_children())
    with pytest.raises(HumanParseError) as raised, worker_death_as_error():
        taken(in_worker(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    message = str(raised.value)
    assert (
        "has died" in message
        and "use fewer workers" in message
        and "\n" not in message
        and "It is possible" not in message
    )
    # although the error, and with it PyTorch's frames, is still there
    assert set(multiprocessing.active_children()) == before


def test_other_errors_of_pytorch_stay_as_they_are():
    with pytest.raises(RuntimeError, match="sizes differ"), worker_death_as_error():
        raise RuntimeError("sizes differ")
