"""Several photos at the same time: how many, how they share the cores, and loops over them.

Threads, not processes: reading, the network and most of post-processing release Python's lock, and
the model is loaded only once. Each photo gets one thread of the engine, since a network that is
split among the cores waits at every layer for the slowest part (benchmarks/throughput.py measures
the ways to share).

Ctrl-C may arrive between any two steps of the main thread. The locks of `threading` and
`concurrent.futures` are taken by Python code, so an interrupt there leaves one locked for ever, and
whatever waits for it hangs. Hence the thread that runs a loop uses only queues and locks that are
written in C, and has another thread start its threads.
"""

from __future__ import annotations

import _thread
import atexit
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import RLock, Thread
from typing import Any, Generic, TypeVar, cast

from humanparse.system.cores import usable_cores

# Photos need so much memory with a larger model that by default they are parsed one by one.
SMALL_MODEL_BYTES = 50_000_000
MAX_JOBS = 8  # photos at the same time by default: each needs memory
WAIT_S = 0.5  # Windows notices Ctrl-C only between waits, so none may last for ever
SOURCE_S = 2.0  # how long a loop that ends early waits for an item that is being read

Item = TypeVar("Item")
Result = TypeVar("Result")


def jobs_for(model_bytes: int, threads: int | None = None) -> int:
    """Return how many photos to parse at the same time by default.

    Args:
        model_bytes: The size of the model file.
        threads: How many threads the engine takes for each photo; None for one.
    """
    if model_bytes >= SMALL_MODEL_BYTES:
        return 1
    return min(MAX_JOBS, max(1, usable_cores() // (threads or 1)))


def shared_threads(jobs: int) -> int:
    """Return how many threads the engine gets when `jobs` photos share it.

    The threads of the jobs take part in the work of the engine's pool, so together they fill the
    cores.
    """
    return max(1, usable_cores() - jobs + 1)


@dataclass(frozen=True, eq=False)
class Ended(Generic[Result]):
    """What became of one item.

    Attributes:
        value: What the function returned; None if it raised an error.
        error: The error that it raised, or None.
    """

    value: Result | None = None
    error: BaseException | None = None

    def result(self) -> Result:
        """Return what the function returned, or raise its error."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.value)  # without an error this is what was returned

    def exception(self) -> BaseException | None:
        """Return the error, or None if all went well."""
        return self.error


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[tuple[Item, Ended[Result]], None, None]:
    """Run a function on many items in threads, and yield the results in the order of the items.

    Each result comes as soon as it and those before it are done, even while the source keeps the
    loop waiting, as a separate thread reads it. At most twice `jobs` items are taken ahead of the
    one handed back, so a long list costs no memory.

    When the loop ends early (Ctrl-C, an error), the waiting items are dropped, the running ones
    finish first, and an item that is being read is waited for, but no longer than SOURCE_S seconds.
    Close the iterator (`contextlib.closing`).

    Args:
        function: Called with one item, in a thread.
        items: Their source. Its error is raised after the results of the items before it.
        jobs: How many items to process at the same time.

    Yields:
        (item, what became of it).
    """
    return _handed_back(function, items, jobs, _Reader, _from_the_oldest)


def in_order_of_completion(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[tuple[Item, Ended[Result]], None, None]:
    """Run a function on many items in threads, and yield the results as they are done.

    Like `in_order`, but the items are read in the caller's thread, one before each result that is
    handed back: for sources that share things with the loop's body and do not keep it waiting.

    Args:
        function: Called with one item, in a thread.
        items: Their source. Its error is raised at once.
        jobs: How many items to process at the same time.

    Yields:
        (item, what became of it).
    """
    return _handed_back(function, items, jobs, _ReadHere, _itself)


class Behind(Generic[Item]):
    """Does something with items, one after the other, in a thread of its own.

    The caller goes on meanwhile. Ctrl-C cannot damage it, like the loops above.

    Args:
        function: Called with each item, in the order in which they were given.
        room: How many items may wait; `give` waits for room.
    """

    def __init__(self, function: Callable[[Item], Any], room: int):
        self._events: SimpleQueue[_Task | BaseException] = SimpleQueue()
        self._workers = _Workers(function, 1, self._events)
        self._room, self._waiting = room, 0
        atexit.register(self._workers.end)
        _thread.start_new_thread(_start, (self._workers.threads, self._events))

    def give(self, item: Item) -> None:
        """Give the next item; raises the error of an earlier one."""
        while self._waiting >= self._room or not self._events.empty():
            self._take()
        self._waiting += 1
        self._workers.give(_Task(item))

    def finish(self) -> None:
        """Wait until all items are done; raises the error of one of them."""
        while self._waiting:
            self._take()

    def end(self) -> None:
        """Drop the items that wait, and wait for the one that is being done."""
        self._workers.end()
        atexit.unregister(self._workers.end)

    def _take(self) -> None:
        event = _waited_for(self._events)
        if isinstance(event, BaseException):
            raise event
        self._waiting -= 1
        event.ended.result()


class _Task:
    """One item in progress. ended: None until it is done."""

    def __init__(self, item: Any):
        self.item = item
        self.ended: Ended | None = None

    def do(self, function: Callable) -> None:
        try:
            self.ended = Ended(function(self.item))
        except BaseException as error:
            self.ended = Ended(error=error)


@dataclass(frozen=True)
class _Taken:
    """Says that the source has given a task to the workers."""

    task: _Task


@dataclass(frozen=True)
class _NoMore:
    """Says that the source has ended, by itself or with an error."""

    error: BaseException | None = None


# (tasks in progress, oldest first; the one that is done) → those that can be handed back now, which
# are removed from the first list.
Release = Callable[[list[_Task], _Task], list[_Task]]


def _handed_back(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    source: type[_Reader | _ReadHere],
    release: Release,
) -> Generator[tuple[Item, Ended[Result]], None, None]:
    run = _Run(function, items, jobs, source, release)
    try:
        run.start()
        while run.goes_on():
            run.listen()
            if run.ready:
                yield run.next()
    finally:
        run.end()


class _Run:
    """One loop over the items.

    Only its thread calls the methods; the others put into `_events`.
    """

    def __init__(
        self,
        function: Callable,
        items: Iterable,
        jobs: int,
        source: type[_Reader | _ReadHere],
        release: Release,
    ):
        self.ready: deque[_Task] = deque()
        self._events: SimpleQueue[_Taken | _Task | _NoMore | BaseException] = SimpleQueue()
        self._max_ahead, self._release = 2 * jobs, release
        self._ahead: list[_Task] = []
        self._asked = 0
        self._last: _NoMore | None = None
        self._workers = _Workers(function, jobs, self._events)
        self._source = source(iter(items), self._events, self._workers.give)

    def start(self) -> None:
        atexit.register(self._workers.end)
        threads = [*self._source.threads, *self._workers.threads]
        _thread.start_new_thread(_start, (threads, self._events))

    def goes_on(self) -> bool:
        """Ask for the next items if there is room for them.

        After the last result, returns False or raises the error of the source.
        """
        room = self._max_ahead - self._asked - len(self._ahead) - len(self.ready)
        for _ in range(min(room, self._source.at_once) if self._last is None else 0):
            self._asked += 1
            self._source.ask()
        if self._last is None or self._ahead or self.ready:
            return True
        if self._last.error is not None:
            raise self._last.error
        return False

    def listen(self) -> None:
        """Process all events so far; wait for one if nothing can be handed back."""
        if not self.ready:
            self._take(_waited_for(self._events))
        while not self._events.empty():
            self._take(self._events.get_nowait())

    def next(self) -> tuple[Any, Ended]:
        task = self.ready.popleft()
        assert task.ended is not None  # only what is done becomes ready
        return task.item, task.ended

    def end(self) -> None:
        self._workers.end()
        atexit.unregister(self._workers.end)
        self._source.end()

    def _take(self, event: _Taken | _Task | _NoMore | BaseException) -> None:
        if isinstance(event, _Taken):
            self._asked -= 1
            self._ahead.append(event.task)
        elif isinstance(event, _Task):
            self.ready.extend(self._release(self._ahead, event))
        elif isinstance(event, _NoMore):
            self._last = event
        else:
            raise event


def _from_the_oldest(ahead: list[_Task], _: _Task) -> list[_Task]:
    done = next((place for place, task in enumerate(ahead) if not task.ended), len(ahead))
    released, ahead[:done] = ahead[:done], []
    return released


def _itself(ahead: list[_Task], task: _Task) -> list[_Task]:
    ahead.remove(task)
    return [task]


def _waited_for(events: SimpleQueue) -> Any:
    while True:
        try:
            return events.get(timeout=WAIT_S)
        except Empty:
            pass


def _start(threads: list[Thread], events: SimpleQueue) -> None:
    """Start threads from a thread that Ctrl-C does not reach: Thread.start takes such a lock."""
    try:
        for thread in threads:
            thread.start()
    except BaseException as error:  # the system has no more threads
        events.put(error)


class _Workers:
    """Threads that do tasks and put them back into `events`.

    They are daemons, so that a loop that was never closed does not keep the process alive; but when
    it exits it waits for what they are doing.
    """

    def __init__(self, function: Callable, jobs: int, events: SimpleQueue):
        self._todo: SimpleQueue[_Task | None] = SimpleQueue()
        self._lives = [RLock() for _ in range(jobs)]  # each held by its thread while it lives
        self.threads = [
            Thread(
                target=_work,
                args=(function, self._todo, events, life),
                daemon=True,
                name=f"humanparse-{number}",
            )
            for number, life in enumerate(self._lives)
        ]

    def give(self, task: _Task) -> None:
        self._todo.put(task)

    def end(self) -> None:
        """Drop what waits and let what runs finish. If interrupted, it can be called again."""
        while not self._todo.empty():
            with suppress(Empty):  # a worker may have been faster
                self._todo.get_nowait()
        for _ in self._lives:
            self._todo.put(None)
        for life in self._lives:  # not Thread.join, which an interrupt may damage
            while not life.acquire(timeout=WAIT_S):
                pass


def _work(function: Callable, todo: SimpleQueue, events: SimpleQueue, life: RLock) -> None:
    if not life.acquire(blocking=False):
        return  # the loop ended before this thread had begun
    try:
        while (task := todo.get()) is not None:
            task.do(function)
            events.put(task)
            del task  # or its photo would be kept until the next one comes
    finally:
        life.release()


class _Reader:
    """Reads the items in a separate thread, when asked for them, and gives them to the workers."""

    at_once = sys.maxsize  # items that may be asked for before one has come

    def __init__(self, items: Iterator, events: SimpleQueue, give: Callable[[_Task], None]):
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._life = RLock()
        arguments = items, self._asked, events, give, self._life
        self.threads = [Thread(target=_read, args=arguments, daemon=True, name="humanparse-reader")]

    def ask(self) -> None:
        self._asked.put(True)

    def end(self) -> None:
        """Ask for no more, and wait for an item that is being read, but not for ever."""
        while not self._asked.empty():
            with suppress(Empty):  # the thread may have been faster
                self._asked.get_nowait()
        self._asked.put(False)
        self._life.acquire(timeout=SOURCE_S)


def _read(
    items: Iterator,
    asked: SimpleQueue,
    events: SimpleQueue,
    give: Callable[[_Task], None],
    life: RLock,
) -> None:
    if not life.acquire(blocking=False):
        return
    try:
        while asked.get() and _take_one(items, events, give):
            pass
    except BaseException as error:  # whatever it is, the loop waits for it
        events.put(_NoMore(error))
    finally:
        life.release()


class _ReadHere:
    """Reads the items in the thread that asks for them. Errors of the source come at once."""

    at_once = 1

    def __init__(self, items: Iterator, events: SimpleQueue, give: Callable[[_Task], None]):
        self._arguments = items, events, give
        self.threads: list[Thread] = []

    def ask(self) -> None:
        _take_one(*self._arguments)

    def end(self) -> None:
        """Do nothing: nothing was started."""


def _take_one(items: Iterator, events: SimpleQueue, give: Callable[[_Task], None]) -> bool:
    """Take the next item; False if there is none.

    The event is put before the task, which otherwise might be done first.
    """
    try:
        task = _Task(next(items))
    except StopIteration:
        events.put(_NoMore())
        return False
    events.put(_Taken(task))
    give(task)
    return True
