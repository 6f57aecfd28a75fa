"""`humanparse demo`: parse the two photos in the package, which README.txt here describes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from humanparse.cli import parse
from humanparse.system.packaged import packaged

if TYPE_CHECKING:
    from humanparse.result import Parsing

PHOTOS = ("astronaut.jpg", "hopper.jpg")  # beside this file


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the results to this folder.",
        ),
    ] = Path("humanparse-demo"),
) -> None:
    """Parse the two photos that come with the package.

    The output shows what was found and where the results are.

    \b
    Example:
      humanparse demo
    """
    from humanparse.formats import save

    parser = parse.load_parser()
    parse.make_folder(output)
    rows, written = [], []
    for photo in (packaged("cli/demo") / name for name in PHOTOS):
        began = time.perf_counter()
        parsing = parser.parse(photo, name=photo.stem)
        rows.append((photo.stem, parsing, time.perf_counter() - began))
        written += save(parsing, output, parse.DEFAULT_FORMATS)
    show(rows)
    typer.echo(f"\n{len(written)} files are in the folder {output}; look at {written[0]} first.")
    typer.echo("Now parse your own photo:  humanparse parse street.jpg")
    typer.echo("Or a folder of photos:     humanparse parse photos/ -o results/")


def show(rows: list[tuple[str, Parsing, float]]) -> None:
    """Print a table of the results.

    Args:
        rows: Name, result and time in seconds of each photo.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("photo", "people", "parts", "time", box=None)
    for name, parsing, seconds in rows:
        table.add_row(
            Text(name), str(len(parsing.people)), Text(_parts(parsing)), f"{seconds:.1f} s"
        )
    Console().print(table)


def _parts(parsing: Parsing) -> str:
    """Return the names of all parts found, the largest first."""
    areas: dict[str, int] = {}
    for person in parsing.people:
        for label, part in person.parts.items():
            areas[label] = areas.get(label, 0) + part.area
    return ", ".join(sorted(areas, key=lambda label: areas[label], reverse=True)) or "none"
