"""Slices → outcomes in threads of this process, which share one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing

from humanparse.batch.manifest import Manifest
from humanparse.batch.slices import Known, Slice, SourceItem
from humanparse.batch.work import Outcome, SliceDone, Work
from humanparse.parser import HumanParser
from humanparse.system.parallel import in_order_of_completion


def outcomes(
    slices: Iterator[Slice], manifest: Manifest, *, work: Work, parser: HumanParser, jobs: int
) -> Generator[Outcome | SliceDone, None, None]:
    """Yield what becomes of every picture that the manifest does not know, as it is finished.

    At most twice `jobs` pictures are held in memory. Close the iterator (`contextlib.closing`).

    Args:
        slices: The work.
        manifest: Knows which pictures need no more work.
        work: What is wanted of every picture.
        parser: The parser that all threads share.
        jobs: Number of pictures that are parsed at the same time.

    Raises:
        ModelError: The model does not work, so that every other picture would fail as well.
    """
    todo = _Todo(slices, manifest.known)

    def one(item: SourceItem) -> Outcome:
        return work.outcome(parser, item, todo.slice_of[item.key])

    with closing(in_order_of_completion(one, todo.items(), jobs)) as ended:
        for item, future in ended:
            yield future.result()
            yield from todo.ended(item)
    yield from todo.finished()


class _Todo:
    """The items in order, no key twice at the same time; and which slices are finished."""

    def __init__(self, slices: Iterator[Slice], known: Known):
        self.slice_of: dict[str, str] = {}  # of the items that are being worked on
        self._slices, self._known = slices, known
        self._left: Counter[str] = Counter()
        self._read: set[str] = set()  # slices of which all items have been taken

    def items(self) -> Generator[SourceItem, None, None]:
        for one in self._slices:
            with closing(one.items(self._known)) as items:
                for item in items:
                    if item.key in self.slice_of:
                        continue  # named twice
                    self.slice_of[item.key] = one.name
                    self._left[one.name] += 1
                    yield item
            if one.name:
                self._read.add(one.name)

    def ended(self, item: SourceItem) -> Iterator[SliceDone]:
        self._left[self.slice_of.pop(item.key)] -= 1
        yield from self.finished()

    def finished(self) -> Iterator[SliceDone]:
        for name in [name for name in self._read if not self._left[name]]:
            self._read.discard(name)
            del self._left[name]
            yield SliceDone(name)
