"""The folder of a run: one training's alone, and with room for what the run will write."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from torch import nn

from humanparse.errors import HumanParseError, OptionError
from humanparse.system.lock import lock_file

LOCK = "_lock"
# the workers of a run that was killed hold its lock until they notice, which takes them five
# seconds
LOCK_S = 10.0
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# What is there at most, in copies of the weights: a checkpoint has four (the weights, their
# average, two of the optimiser's), and the next is written before the last is replaced; the best
# weights; the model.
COPIES = 4 + 4 + 1 + 1


@contextmanager
def run_folder(out: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Inside, `out` is there and this process's alone, and a full disk raises HumanParseError with
    what to do.

    log: called if another training holds the folder, which is waited for LOCK_S seconds.
    Raises OptionError if it still does then, and if the folder cannot be written to.
    """
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            waiting = partial(
                log,
                f"another training writes to {out}, or has just been killed: waiting for its end",
            )
            stack.enter_context(lock_file(out / LOCK, LOCK_S, waiting))
        except TimeoutError:
            raise OptionError(
                f"another training writes to {out} now; wait for its end, or choose another --out"
            ) from None
        except OSError as error:
            raise OptionError(
                f"cannot write to the folder {out}: {error.strerror}; choose another --out"
            ) from None
        try:
            yield
        except (OSError, RuntimeError) as error:
            if not _is_full(error):
                raise
            raise HumanParseError(
                f"the disk of {out} is full, or cannot be written to; make room there, and add --resume to go on from the "
                "last checkpoint"
            ) from error


def check_room(out: Path, network: nn.Module) -> None:
    """Raises OptionError if the files of a run of that network do not fit beside what is on the
    disk of `out`."""
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    there = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    free = shutil.disk_usage(out).free + there
    if free < COPIES * weights:
        raise OptionError(
            f"the run's checkpoints and model need up to {COPIES * weights / 1e6:.0f} MB, and {out} has room for "
            f"{free / 1e6:.0f} MB; make room there, or choose another --out"
        )


def _is_full(error: Exception) -> bool:
    """Whether the error says that there is no space left, in whose words ever."""
    if isinstance(error, OSError):
        return error.errno in FULL
    # the file of PyTorch's that writes checkpoints; it says no more of the cause
    return "inline_container.cc" in str(error)
