"""A look at all photos and labels before the first step, so that none of them ends a run when its
turn comes.

Photos of one's own are read again for every scene, the last of them perhaps after hours. Reading
each once takes as long as a few hundred steps' scenes, and what is wrong is then told of all files
at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from humanparse.errors import HumanParseError, OptionError
from humanparse.evaluation.datasets import Sample
from humanparse.system.cores import usable_cores
from humanparse.system.parallel import in_order
from humanparse.training.wears import IGNORE

TELL_EVERY_S = 10.0  # between lines about how far the look is
NAMED = 20  # bad files that the error itself names; more are listed before it

# such as `folder.read_scene_maps`; raises HumanParseError or OSError
Read = Callable[[Sample], tuple]


def look_through(photos: Sequence[tuple[Sample, Read]], log: Callable[[str], None]) -> None:
    """Read every photo with its labels, once.

    photos: each with what reads it: pixels, classes uint8 (H, W), and more.
    log: called with a line now and then where it takes long. Raises OptionError that names all
    photos that cannot be learnt from, each with its reason; and if the labels of all of them hold
    no class but the background, where no lists say what people wear.
    """
    bad, with_class, told = [], 0, time.monotonic()
    with closing(in_order(_read, photos, usable_cores())) as looked_at:
        for number, ((sample, _), ended) in enumerate(looked_at, start=1):
            reason, shows_class = ended.result()
            with_class += shows_class
            if reason:
                bad.append(f"{sample.image}: {reason.removeprefix(f'{sample.image.name} ')}")
            if time.monotonic() - told > TELL_EVERY_S:
                log(f"looking through the photos: {number} of {len(photos)}")
                told = time.monotonic()
    if bad:
        raise OptionError(_told(bad, len(photos), log))
    if photos and not with_class:
        raise OptionError(
            f"the labels of all {len(photos)} photos hold nothing but background (0) and unknown (255), so there "
            "is nothing to learn; expected a class number in each pixel"
        )


def _read(photo: tuple[Sample, Read]) -> tuple[str, bool]:
    """What is wrong with a photo or its labels, "" for nothing; whether any pixel is of a class."""
    sample, read = photo
    try:
        classes = read(sample)[1]
    except HumanParseError as error:
        return str(error), False
    except OSError as error:
        return error.strerror or str(error), False
    return "", bool(((classes > 0) & (classes != IGNORE)).any())


def _told(bad: list[str], count: int, log: Callable[[str], None]) -> str:
    """The message about bad files; where they are many, `log` lists them first."""
    more = ""
    if len(bad) > NAMED:
        for line in bad:
            log(line)
        more = f"; and {len(bad) - NAMED} more, all listed above"
    named = "; ".join(bad[:NAMED])
    return (
        f"{len(bad)} of {count} photos cannot be learnt from; mend them, or move them away with their "
        f"labels: {named}{more}"
    )
