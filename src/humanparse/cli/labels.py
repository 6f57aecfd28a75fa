"""`humanparse labels`: the classes of a model or label set, with their colours."""

from __future__ import annotations

from typing import Annotated

import typer

from humanparse.cli import parse
from humanparse.cli.options import BUILT_IN
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
            help="Print the classes of this model.",
            show_default=BUILT_IN,
        ),
    ] = None,
    set_name: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help="Print the classes of this label set: cihp, lip, pascal-person-part or mhp-v2.",
        ),
    ] = None,
    palette: Annotated[
        str, typer.Option(metavar="|".join(PALETTES), help="Show these colours.")
    ] = "clear",
) -> None:
    """Print the classes and their colours.

    A class of the left or right side is shown with its counterpart. Left and right are those of the
    person, not of the viewer.

    \b
    Examples:
      humanparse labels
      humanparse labels --set lip
    """
    if model and set_name:
        raise OptionError("--model and --set exclude each other; give one of them")
    chosen = label_set(set_name) if set_name else parse.load_parser(model).labels
    show(chosen, palette)


def show(chosen: LabelSet, palette: str) -> None:
    """Print the table of a label set.

    Args:
        chosen: The label set.
        palette: Name of the palette.

    Raises:
        OptionError: There is no palette with this name.
    """
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
