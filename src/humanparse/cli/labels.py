"""`humanparse labels`: the classes of a model or label set, with their colours and left-right
pairs."""

from __future__ import annotations

from typing import Annotated

import typer

from humanparse.cli import parse
from humanparse.errors import OptionError
from humanparse.labels import LabelSet, label_set
from humanparse.vocabulary import PALETTES


def labels(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="The classes of this model.",
            show_default="the built-in one",
        ),
    ] = None,
    set_name: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help="The classes of a label set: cihp, lip, pascal-person-part or mhp-v2.",
        ),
    ] = None,
    palette: Annotated[
        str, typer.Option(metavar="|".join(PALETTES), help="Colours to show.")
    ] = "clear",
) -> None:
    """Print the classes and their colours.

    For a side of the body also the other side. Left and right are the person's own.

    \b
    Examples:
      humanparse labels
      humanparse labels --set lip
    """
    if model and set_name:
        raise OptionError("choose --model or --set, not both")
    chosen = label_set(set_name) if set_name else parse.load_parser(model).labels
    show(chosen, palette)


def show(chosen: LabelSet, palette: str) -> None:
    """Print the table of a label set. Raises OptionError for an unknown palette."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    other = {
        a: b for left, right in chosen.left_right_pairs for a, b in ((left, right), (right, left))
    }
    table = Table(
        "no.",
        "colour",
        "class",
        "other side",
        title=f"{chosen.name}, {len(chosen)} classes",
        box=None,
    )
    for number, (name, rgb) in enumerate(zip(chosen.names, chosen.palette(palette), strict=True)):
        code = "#{:02x}{:02x}{:02x}".format(*rgb)
        pair = f"{other[number]} {chosen.names[other[number]]}" if number in other else ""
        table.add_row(
            str(number), Text.assemble(("   ", f"on {code}"), f" {code}"), Text(name), Text(pair)
        )
    Console(soft_wrap=True).print(table)
