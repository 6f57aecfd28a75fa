"""Batches of scenes, made by worker processes: in what way they come over, and what is told if a
worker fails.

PyTorch hands batches over in /dev/shm, of which a container has 64 MB unless told otherwise, and
ends the run at the batch that finds no room. What the batches need is known before the first of
them: where it is not there, they come through pipes instead, which takes nothing but a copy more.
"""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from humanparse.errors import HumanParseError, OptionError

SHARED = Path("/dev/shm")
AHEAD = 4  # batches that a worker makes ahead
HELD = 2  # batches more that are there at once: the one being learnt from, and the one on its way

Key = tuple[int, int]  # number of a scene, and its side in pixels
Encoded = dict[str, np.ndarray]


class Scenes(Protocol):
    """What makes and encodes one scene."""

    def __call__(self, index: int, size: int) -> Encoded: ...


@dataclass(frozen=True)
class Failed:
    """What comes from a worker instead of a scene. foreseen: an error of ours or of the file
    system."""

    reason: str
    where: str
    foreseen: bool


def batches(
    scenes: Scenes,
    steps: Iterable[Sequence[Key]],
    largest: tuple[int, int],
    workers: int,
    pin_memory: bool,
    log: Callable[[str], None],
) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors of each step.

    steps: the keys of each step's scenes. largest: side and number of the step that needs most.
    workers: processes that make scenes, on Linux; 0 makes them here. log: called if there is too
    little of /dev/shm. Raises OptionError for what a worker could not read, RuntimeError (with the
    worker's traceback as a note) for what nobody foresaw; see also `workers_deaths_told`.
    """
    # Workers are forked, so that they share the photos in memory; elsewhere than on Linux that is
    # not safe.
    workers = workers if sys.platform == "linux" else 0
    piped = workers > 0 and not _has_room(scenes, largest, workers, log)
    loader = DataLoader(
        SceneTargets(scenes),
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=partial(collate, piped=piped),
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context="fork" if workers else None,
        pin_memory=pin_memory,
    )
    iterator = iter(loader)
    try:
        for batch in iterator:
            if isinstance(batch, Failed):
                raise _error(batch)
            yield {name: torch.as_tensor(value) for name, value in batch.items()}
    finally:
        _end_workers(iterator)


class SceneTargets(Dataset):
    """(scene number, size) → one scene and its targets, or, from a worker, what went wrong."""

    def __init__(self, scenes: Scenes):
        self.scenes = scenes

    def __getitem__(self, key: Key) -> Encoded | Failed:
        try:
            return self.scenes(*key)
        except Exception as error:
            if get_worker_info() is None:
                raise
            return _failed(error)


def collate(
    encoded: Sequence[Encoded | Failed], piped: bool
) -> dict[str, Tensor | np.ndarray] | Failed:
    """One batch of a step's scenes. piped: as arrays, which need no shared memory, rather than
    tensors."""
    for one in encoded:
        if isinstance(one, Failed):
            return one
    if not piped:
        return default_collate(list(encoded))
    return {name: np.stack([one[name] for one in encoded]) for name in encoded[0]}


def _end_workers(iterator: Iterator) -> None:
    """End the workers now: PyTorch does so when the iterator is collected, which an error's
    traceback puts off, and until then they hold copies of whatever this process has open. There is
    no public way."""
    getattr(iterator, "_shutdown_workers", lambda: None)()


@contextmanager
def workers_deaths_told() -> Iterator[None]:
    """Inside, the death of a worker raises HumanParseError with what to do, in one line."""
    try:
        yield
    except RuntimeError as error:  # of PyTorch's, at whatever line the news arrives
        if not str(error).startswith("DataLoader worker"):
            raise
        first = str(error).split(". ")[0].strip().rstrip(".")
        raise HumanParseError(
            f"a process that makes scenes is gone ({first}); if memory or /dev/shm ran out, set workers "
            "lower, or to 0; add --resume to go on"
        ) from error


def _has_room(
    scenes: Scenes, largest: tuple[int, int], workers: int, log: Callable[[str], None]
) -> bool:
    """Whether all batches that are there at once go into /dev/shm; says so if they do not."""
    side, count = largest
    num_bytes = sum(np.asarray(value).nbytes for value in scenes(0, side).values())
    need = count * num_bytes * (AHEAD * workers + HELD)
    try:
        free = shutil.disk_usage(SHARED).free
    except OSError:
        free = 0
    if need <= free:
        return True
    log(
        f"{SHARED} has {free / 1e6:.0f} MB free and the workers' batches need up to {need / 1e6:.0f} MB, so they "
        "come through pipes, a little slower; to a container, --shm-size gives more"
    )
    return False


def _failed(error: Exception) -> Failed:
    """The error in words: as an object it might not survive the way to the other process."""
    where = "".join(traceback.format_exception(error))
    if isinstance(error, HumanParseError):
        return Failed(str(error), where, True)
    if isinstance(error, OSError) and error.strerror:
        return Failed(f"{error.strerror}: {error.filename}", where, True)
    return Failed(f"{type(error).__name__}: {error}", where, False)


def _error(failed: Failed) -> Exception:
    if failed.foreseen:
        return OptionError(failed.reason)
    error = RuntimeError(f"in a worker process, {failed.reason}")
    error.add_note(failed.where)
    return error
