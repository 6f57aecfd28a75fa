"""`humanparse bench`: measure how fast photos are parsed on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from humanparse.cli import parse
from humanparse.cli.options import Engine, Model, Threads
from humanparse.system.memory import peak_bytes

if TYPE_CHECKING:
    from humanparse.bench import EngineTime


def bench(
    model: Model = None,
    engine: Engine = "auto",
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how fast photos are parsed on this machine.

    A photo from the package is parsed in three sizes. The output shows the median time of each
    stage, the photos per second one at a time and several at a time, the peak memory, and the time
    of the network with each engine and precision. It takes about half a minute with the built-in
    model.

    \b
    Examples:
      humanparse bench
      humanparse bench --engine openvino --json
    """
    from humanparse import bench

    machine, others = bench.describe("openvino"), bench.others_share()
    if not as_json:
        share = "unknown" if others is None else f"{others:.0%}"
        typer.echo(f"{machine}\nprocessor used by other programs: {share}" + _warning(others))
    parser = parse.load_parser(model, engine=engine, threads=threads)
    sizes = [bench.size_times(parser, name, size) for name, size in bench.SIZES.items()]
    rate = bench.throughput(parser)
    peak = peak_bytes()
    engines = bench.engine_times(partial(parse.load_parser, threads=threads), model)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "machine": machine,
                    "others_share": None if others is None else round(others, 3),
                    "model": parser.name,
                    "engine": engine,
                    "sizes": [asdict(one) for one in sizes],
                    "photos_per_s": asdict(rate),
                    "peak_memory_mb": peak and round(peak / 1e6),
                    "engines": [asdict(one) for one in engines],
                },
                indent=2,
            )
        )
        return
    rows = [["photo", *bench.STAGES, "bytes → result"]]
    rows += [
        [
            one.name,
            *(f"{one.stages_ms[stage]:.1f} ms" for stage in bench.STAGES),
            f"{one.total_ms:.1f} ms",
        ]
        for one in sizes
    ]
    typer.echo(f"\n{bench.table(rows)}\n")
    many = f"{rate.many:.1f} with parse_many ({rate.ratio:.2f} times as many)"
    typer.echo(f"photos of 640×480 per second: {rate.one_by_one:.1f} one at a time, {many}")
    if peak:
        typer.echo(f"peak memory of this process: {peak / 1e6:.0f} MB")
    rows = [
        ["engine", "precision", "network"],
        *([one.engine, one.precision, _network(one)] for one in engines),
    ]
    typer.echo(f"\n{bench.table(rows)}")
    for one in engines:
        if one.why_not:
            typer.echo(f"{one.engine}, {one.precision}: {one.why_not}")


def _network(one: EngineTime) -> str:
    return "not available" if one.network_ms is None else f"{one.network_ms:.1f} ms"


def _warning(others: float | None) -> str:
    return (
        "; this machine is faster than the times below when it is idle"
        if others is not None and others > 0.1
        else ""
    )
