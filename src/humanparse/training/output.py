"""The folder of a run: used by one training at a time, and with room for all that it writes."""

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
# The workers of a run that was killed hold its lock until they notice, which takes five seconds.
LOCK_S = 10.0
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# The most that is on the disk at once, in copies of the weights: a checkpoint has four (the
# weights, their average, and two of the optimiser), and the next one is written before the last is
# replaced; then the best weights, and the model.
COPIES = 4 + 4 + 1 + 1


@contextmanager
def run_folder(out: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Make a run's folder and reserve it for this process while the block runs.

    Inside, a full disk raises HumanParseError with advice.

    Args:
        out: The folder.
        log: Called if another training uses the folder; its end is awaited for LOCK_S seconds.

    Raises:
        OptionError: If it is still in use then, or the folder cannot be written to.
        HumanParseError: If the disk is full.
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
                f"the disk of {out} is full, or cannot be written to; make room there, and add "
                "--resume to continue from the last checkpoint"
            ) from error


def check_room(out: Path, network: nn.Module) -> None:
    """Check that the disk has room for the files of a run.

    Args:
        out: The run's folder, whose files may be replaced.
        network: The network that is trained.

    Raises:
        OptionError: If there is too little.
    """
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    there = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    free = shutil.disk_usage(out).free + there
    if free < COPIES * weights:
        raise OptionError(
            f"the run's checkpoints and model need up to {COPIES * weights / 1e6:.0f} MB, "
            f"but {out} has room for {free / 1e6:.0f} MB; make room there, or choose another --out"
        )


def _is_full(error: Exception) -> bool:
    """Whether the error says in one way or another that no space is left."""
    if isinstance(error, OSError):
        return error.errno in FULL
    # PyTorch's source file that writes checkpoints; the message says no more about the cause.
    return "inline_container.cc" in str(error)
