"""Slices → outcomes on a Ray cluster: Ray Data's map_batches on a pool of one-core actors.

Slices go to the cluster in rounds, so that neither the driver nor Ray ever holds the whole list. A
worker reads its slices itself, and its outcomes come back in small blocks. When a worker or its
node dies, Ray does the slice again elsewhere; outcomes that have already arrived are recognised by
their keys and dropped (batch/run.py).
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

from humanparse.batch.manifest import Manifest
from humanparse.batch.slices import Slice
from humanparse.batch.work import Outcome, SliceDone, Work
from humanparse.errors import HumanParseError, MissingExtra
from humanparse.ray import cluster
from humanparse.system.cores import usable_cores

# pictures per worker in a round: minutes of work, compared with seconds of overhead
ROUND_PER_WORKER = 2000
ASSUMED = 1000  # pictures in a tar file whose number is unknown
OUTCOMES_PER_TABLE = 16  # outcomes that a worker yields at once
BLOCK_BYTES = 4_000_000  # Ray joins them up to this size
OBJECT_STORE_BYTES = 200_000_000  # of a Ray that we start, for outcomes on their way


@contextmanager
def connected(address: str | None, cpus: int | None = None) -> Iterator[int]:
    """Connect to a Ray while the context is open.

    Args:
        address: "host:port" or "auto"; None starts a Ray on this machine.
        cpus: Processors of a Ray that is started here; None for all.

    Yields:
        The number of its processors.

    Raises:
        MissingExtra: Without Ray or pyarrow.
        OptionError: If `cluster.join` cannot connect.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("work on a cluster needs Ray", "ray")
    leave = cluster.join(
        address, cpus=cpus or usable_cores(), object_store_bytes=OBJECT_STORE_BYTES, silent=True
    )
    import ray

    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        leave()


def outcomes(
    slices: Iterator[Slice], manifest: Manifest, *, work: Work, workers: int
) -> Generator[Outcome | SliceDone, None, None]:
    """Yield the outcome of every picture that the manifest does not know, as soon as it is there.

    Call it within `connected`, and close it (`contextlib.closing`).

    Args:
        slices: The slices to work on.
        manifest: What is already done.
        work: What to do with each picture.
        workers: The maximum number of workers.

    Yields:
        Outcomes; SliceDone after the last one of a named slice.

    Raises:
        HumanParseError: If Ray gives up.
    """
    import ray

    context = ray.data.DataContext.get_current()
    # must come after the import of ray.data, which sets the level
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK_BYTES
    todo = _unknown(slices, manifest)
    for first in todo:
        begun = list(_round(chain([first], todo), workers * ROUND_PER_WORKER))
        with closing(_one_round(begun, work, min(workers, len(begun)))) as ended:
            try:
                yield from ended
            except ray.exceptions.RayError as error:
                raise HumanParseError(
                    f"Ray gave up: {cluster.first_line(error)}; "
                    "run the same command again to continue"
                ) from error


def _unknown(slices: Iterator[Slice], manifest: Manifest) -> Iterator[tuple[Slice, list[str]]]:
    """The parts of the slices that are still to do, with the known keys in them."""
    for one in slices:
        if one.listed:
            left = tuple((key, url) for key, url in one.listed if not manifest.known(key))
            if left:
                yield Slice(listed=left, size=len(left)), []
        elif one.column:
            rows = (
                f"{one.name.rpartition(':')[0]}/{number}"
                for number in range(one.first_row, one.first_row + (one.size or 0))
            )
            yield one, [key for key in rows if manifest.known(key)]
        elif not (one.trouble and manifest.known(one.name)):
            yield one, manifest.keys_below(one.name)


def _round(
    todo: Iterator[tuple[Slice, list[str]]], pictures: int
) -> Iterator[tuple[Slice, list[str]]]:
    """As many slices as are needed for this number of pictures."""
    for one, known in todo:
        yield one, known
        pictures -= ASSUMED if one.size is None else one.size
        if pictures <= 0:
            return


def _one_round(
    begun: list[tuple[Slice, list[str]]], work: Work, workers: int
) -> Generator[Outcome | SliceDone, None, None]:
    import ray

    rows = [{"slice": one.to_json(), "known": json.dumps(known)} for one, known in begun]
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        RayWorker,
        fn_constructor_args=(work,),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
    )
    batches: Iterable[Any] = found.iter_batches(
        batch_size=None, batch_format="pyarrow", prefetch_batches=1
    )
    for batch in batches:
        for one in batch.to_pylist():
            yield (
                SliceDone(one["slice"])
                if one["last"]
                else Outcome(
                    one["key"],
                    tuple(one["blobs"]),
                    one["people"],
                    one["code"],
                    one["message"],
                    one["slice"],
                )
            )


class RayWorker:
    """An actor of the pool: a parser with one thread, and the slices that it is given."""

    def __init__(self, work: Work):
        self._work, self._parser = work, work.parser(threads=1)

    def __call__(self, batch: Any) -> Iterator[Any]:
        """Do the slices.

        Args:
            batch: A pyarrow table of slices.

        Yields:
            Tables of outcomes; the last row of a named slice says that it is done.
        """
        for row in batch.to_pylist():
            one, known = Slice.from_json(row["slice"]), set(json.loads(row["known"]))
            found: list[dict[str, Any]] = []
            with closing(one.items(known.__contains__)) as items:
                for item in items:
                    found.append(_plain(self._work.outcome(self._parser, item, one.name)))
                    if len(found) == OUTCOMES_PER_TABLE:
                        yield _table(found)
                        found = []
            if one.name:
                found.append({**_plain(Outcome("", slice=one.name)), "last": True})
            yield _table(found)


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {**vars(outcome), "blobs": list(outcome.blobs), "last": False}


def _table(outcomes: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    kinds = [
        ("key", pa.string()),
        ("blobs", pa.list_(pa.binary())),
        ("people", pa.int32()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("slice", pa.string()),
        ("last", pa.bool_()),
    ]
    return pa.Table.from_pylist(outcomes, pa.schema(kinds))
