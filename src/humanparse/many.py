"""Several photos at a time: how many, how they share the cores, and loops that hand back their results.

Threads, not processes: reading, the network and most of post-processing leave Python's lock to others, and the model is
there once. Each photo gets one thread of the engine, since a network that is split among the cores waits at every layer
for the slowest part (benchmarks/throughput.py measures the ways to share).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from humanparse.cores import usable_cores

SMALL_MODEL_BYTES = 50_000_000  # from here on one photo needs so much memory that only one is parsed at a time unasked
MAX_JOBS = 8                    # photos at a time unasked: each holds its own memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def jobs_for(model_bytes: int, threads: int | None = None) -> int:
    """How many photos to parse at a time with a model file of that size, whose engine takes so many threads a photo."""
    if model_bytes >= SMALL_MODEL_BYTES:
        return 1
    return min(MAX_JOBS, max(1, usable_cores() // (threads or 1)))


def shared_threads(jobs: int) -> int:
    """Engine threads when `jobs` photos share the engine.

    The jobs' own threads take part in the work of the engine's pool, so together they fill the cores.
    """
    return max(1, usable_cores() - jobs + 1)


def in_order(function: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[tuple[Item, Future[Result]]]:
    """(item, ended future) of each item, in the order of the items; `function(item)` runs for `jobs` at a time, in threads.

    At most twice `jobs` items are taken ahead of the one handed back, so a long list costs no memory. When the loop over
    it ends early (Ctrl-C, an error), the waiting items are dropped and the running ones finish first. Close it
    (`contextlib.closing`).
    """
    return _ended(function, items, jobs, lambda ahead: list(islice(ahead, 1)))


def in_order_of_completion(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Like `in_order`, but what is done first comes first; of those that ended together, the first begun."""
    return _ended(function, items, jobs, list)


def _ended(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int,
    next_ones: Callable[[Iterable[Future[Result]]], list[Future[Result]]],
) -> Iterator[tuple[Item, Future[Result]]]:
    """next_ones: of the futures not handed back, oldest first, those that may be next."""
    items = iter(items)
    with ThreadPoolExecutor(jobs, thread_name_prefix="humanparse") as pool:
        ahead: dict[Future[Result], Item] = {}
        try:
            while True:
                ahead.update((pool.submit(function, item), item) for item in islice(items, 2 * jobs - len(ahead)))
                if not ahead:
                    return
                wanted = next_ones(ahead)
                # Windows hears Ctrl-C only between waits, so none may last for ever.
                done, _ = wait(wanted, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in [one for one in wanted if one in done]:
                    yield ahead.pop(future), future
        finally:
            for future in ahead:
                future.cancel()
