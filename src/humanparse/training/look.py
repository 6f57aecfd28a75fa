"""Read all photos and labels before the first step, so that none of them ends a run hours later.

Labelled photos are read again for every scene, some for the first time perhaps after hours. Reading
each once takes as long as the scenes of a few hundred steps, and reports what is wrong with all
files at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np

from humanparse.errors import HumanParseError, OptionError
from humanparse.evaluation.datasets import Sample
from humanparse.system.cores import usable_cores
from humanparse.system.parallel import in_order
from humanparse.training.wears import IGNORE

LOG_EVERY_S = 10.0  # between lines about the progress
MAX_NAMED = 20  # bad files that the error itself names; if there are more, all are listed before

# Such as `folder.read_scene_maps`; raises HumanParseError or OSError.
Read = Callable[[Sample], tuple]


def look_through(
    photos: Sequence[tuple[Sample, Read]], log: Callable[[str], None]
) -> list[frozenset[int]]:
    """Read every photo with its labels, once.

    Args:
        photos: Each with the function that reads it and returns pixels, classes uint8 (H, W),
            people int (H, W), and more.
        log: Called with the progress now and then if it takes long.

    Returns:
        The classes in each photo's labels, without background and unknown.

    Raises:
        OptionError: With the names of all photos that cannot be learnt from, and the reasons; or if
            the labels of all of them hold nothing but background, and no lists say what people
            wear; or if they show classes, but all persons/ hold nobody.
    """
    bad: list[str] = []
    seen: list[frozenset[int]] = []
    with_people, logged = 0, time.monotonic()
    with closing(in_order(_read, photos, usable_cores())) as looked_at:
        for number, ((sample, _), ended) in enumerate(looked_at, start=1):
            reason, classes, shows_people = ended.result()
            seen.append(classes)
            with_people += shows_people
            if reason:
                bad.append(f"{sample.image}: {reason.removeprefix(f'{sample.image} ')}")
            if time.monotonic() - logged > LOG_EVERY_S:
                log(f"looking through the photos: {number} of {len(photos)}")
                logged = time.monotonic()
    if bad:
        raise OptionError(_message(bad, len(photos), log))
    if photos and not any(seen):
        raise OptionError(
            f"the labels of all {len(photos)} photos hold nothing but background (0) and "
            "unknown (255), so there is nothing to learn; expected a class number in each pixel"
        )
    if photos and not with_people:
        raise OptionError(
            f"labels show classes, but persons/ has nobody (0) on all {len(photos)} photos; "
            "number the people from 1, or leave persons/ out if every photo shows one person"
        )
    return seen


def _read(photo: tuple[Sample, Read]) -> tuple[str, frozenset[int], bool]:
    """What is wrong with a photo or its labels, "" for nothing; its classes; whether there are
    people."""
    sample, read = photo
    try:
        _, classes, people, *_ = read(sample)
    except HumanParseError as error:
        return str(error), frozenset(), False
    except OSError as error:
        return error.strerror or str(error), frozenset(), False
    seen = np.flatnonzero(np.bincount(classes.ravel(), minlength=256)).tolist()
    return "", frozenset(seen) - {0, IGNORE}, bool((people > 0).any())


def _message(bad: list[str], count: int, log: Callable[[str], None]) -> str:
    """The message about bad files; if there are many, all of them are logged first."""
    more = ""
    if len(bad) > MAX_NAMED:
        for line in bad:
            log(line)
        more = f"; and {len(bad) - MAX_NAMED} more, all listed above"
    named = "; ".join(bad[:MAX_NAMED])
    return (
        f"{len(bad)} of {count} photos cannot be learnt from; repair them, or move them away with "
        f"their labels: {named}{more}"
    )
