"""Run a function over many items, a few at a time, and hand back each as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def in_order_of_completion(function: Callable, items: Iterable[Item], jobs: int) -> Iterator[tuple[Item, Future]]:
    """(item, future) of each item once `function(item)` has ended; `jobs` run at a time, in threads.

    At most twice `jobs` items are taken ahead, so a long list costs no memory. When the loop over it ends early (Ctrl-C,
    an error), the waiting items are dropped and the running ones finish first. Close it (`contextlib.closing`).
    """
    items = iter(items)
    with ThreadPoolExecutor(jobs, thread_name_prefix="humanparse") as pool:
        waiting: dict[Future, Item] = {}
        try:
            while True:
                for item in islice(items, 2 * jobs - len(waiting)):
                    waiting[pool.submit(function, item)] = item
                if not waiting:
                    return
                # Windows hears Ctrl-C only between waits, so none may last for ever.
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in [one for one in waiting if one in done]:  # those that ended together: the first begun first
                    yield waiting.pop(future), future
        finally:
            for future in waiting:
                future.cancel()
