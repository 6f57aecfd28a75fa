"""Batches of scenes made by worker processes: how they are passed on, and what if a worker fails.

PyTorch passes batches on in /dev/shm, which has 64 MB in a container by default, and a batch that
does not fit ends the run. How much the batches need is known before the first one: if there is too
little, they come through pipes instead, which costs nothing but another copy.
"""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
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
AHEAD = 4  # batches that a worker makes in advance
HELD = 2  # more batches in memory: the one being learnt from, and the one being passed on

Key = tuple[int, int]  # a scene's number and its side in pixels
Encoded = Mapping[str, np.ndarray | np.float32]  # a scene's input and targets by name


class Scenes(Protocol):
    """Makes and encodes one scene."""

    def __call__(self, index: int, size: int) -> Encoded:
        """Return what the network sees of scene number `index`, and its targets."""


@dataclass(frozen=True)
class Failed:
    """What comes from a worker instead of a scene.

    Attributes:
        reason: The error in words.
        where: The worker's traceback.
        foreseen: Whether it is an error of ours or of the file system.
    """

    reason: str
    where: str
    foreseen: bool


def batches(
    scenes: Scenes,
    steps: Iterable[list[Key]],
    largest: tuple[int, int],
    workers: int,
    pin_memory: bool,
    log: Callable[[str], None],
) -> Generator[dict[str, Tensor], None, None]:
    """Yield the tensors of each step.

    Args:
        scenes: Makes and encodes one scene.
        steps: The keys of each step's scenes.
        largest: Side and number of the scenes of the largest step.
        workers: The number of processes that make scenes, on Linux; with 0 this process makes them.
        pin_memory: Whether to pin the batches' memory, for a GPU.
        log: Called if /dev/shm has too little room.

    Raises:
        OptionError: For something that a worker could not read.
        RuntimeError: With the worker's traceback as a note, for any other error in a worker; see
            also `worker_death_as_error`.
    """
    # Workers are forked, so that they share the photos in memory; only on Linux is that safe.
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
    """A data set from (scene number, size) to a scene and its targets, or to what went wrong in a
    worker.
    """

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
    """Return the batch of a step's scenes.

    Args:
        encoded: The scenes.
        piped: Whether to return arrays, which need no shared memory, rather than tensors.

    Returns:
        The batch, or the first Failed among the scenes.
    """
    scenes: list[Encoded] = []
    for one in encoded:
        if isinstance(one, Failed):
            return one
        scenes.append(one)
    if not piped:
        return default_collate(scenes)
    return {name: np.stack([one[name] for one in scenes]) for name in scenes[0]}


def _end_workers(iterator: Iterator) -> None:
    """End the workers now; there is no public way.

    PyTorch ends them when the iterator is collected, which an error's traceback delays, and until
    then they hold copies of everything that this process has open.
    """
    getattr(iterator, "_shutdown_workers", lambda: None)()


@contextmanager
def worker_death_as_error() -> Iterator[None]:
    """Raise HumanParseError, with advice, if a worker dies while the block runs."""
    try:
        yield
    except RuntimeError as error:  # PyTorch raises it at whatever line is running then
        if not str(error).startswith("DataLoader worker"):
            raise
        first = str(error).split(". ")[0].strip().rstrip(".")
        raise HumanParseError(
            f"a process that makes scenes has died ({first}); if memory or /dev/shm ran out, use "
            "fewer workers, or set workers to 0; add --resume to continue"
        ) from error


def _has_room(
    scenes: Scenes, largest: tuple[int, int], workers: int, log: Callable[[str], None]
) -> bool:
    """Whether /dev/shm has room for all batches that exist at once; logs a line if not."""
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
        f"{SHARED} has {free / 1e6:.0f} MB free, but the workers' batches need up to "
        f"{need / 1e6:.0f} MB, so they come through pipes, a little slower; "
        "a container gets more with --shm-size"
    )
    return False


def _failed(error: Exception) -> Failed:
    """The error in words, since the object might not survive being passed to another process."""
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
