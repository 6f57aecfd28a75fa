"""The figures of `Summary.figures` as text: tables for people, JSON for programs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def as_json(figures: dict[str, Any]) -> str:
    """Return the figures as indented JSON in plain ASCII; docs/evaluation.md lists the keys."""
    return json.dumps(figures, indent=2) + "\n"


def as_text(figures: dict[str, Any]) -> str:
    """Return three tables without colours: the whole data set, the classes, and the pairs of sides.

    Args:
        figures: The figures of `Summary.figures`; with the data set's name, its format and the
            model's name if they are known, as docs/evaluation.md lists them.
    """
    tables = [
        _overall(figures),
        _classes(figures),
        *([_swaps(figures)] if figures["swaps"]["pairs"] else []),
    ]
    return "\n".join(_printed(table) for table in tables)


def _overall(figures: dict[str, Any]) -> Table:
    pixels, people, swaps = figures["pixels"], figures["people"], figures["swaps"]
    table = _table(_heading(figures), figures.get("model", "value"))
    for name, value in (
        ("mIoU", pixels["mean_iou"]),
        ("pixel accuracy", pixels["pixel_accuracy"]),
        ("mean accuracy", pixels["mean_accuracy"]),
        ("frequency weighted IoU", pixels["frequency_weighted_iou"]),
        ("left/right swap rate", swaps["rate"]),
    ):
        table.add_row(name, _number(value))
    if not people:
        return table
    for name, value in (
        ("AP^r, mean of 0.1 to 0.9", people["ap_r"]["mean"]),
        ("AP^r at 0.5", people["ap_r"]["0.50"]),
        ("AP^p, mean of 0.1 to 0.9", people["ap_p"]["mean"]),
        ("AP^p at 0.5", people["ap_p"]["0.50"]),
        ("PCP at 0.5", people["pcp_50"]),
        ("AP^h, mean of 0.5 to 0.95", people["ap_h"]["mean"]),
        ("AP^h at 0.5", people["ap_h"]["0.50"]),
        ("AP^h at 0.75", people["ap_h"]["0.75"]),
        ("person PQ", people["pq"]["pq"]),
    ):
        table.add_row(name, _number(value))
    for name in ("found", "missed", "false"):
        table.add_row(f"people {name}", str(people["pq"][name]))
    return table


def _classes(figures: dict[str, Any]) -> Table:
    table = _table("class", "IoU", "accuracy", "AP^r", "pixels")
    for one in figures["classes"]:
        table.add_row(
            one["name"],
            _number(one["iou"]),
            _number(one["accuracy"]),
            _number(one["ap_r"]),
            f"{one['pixels']:,}",
        )
    return table


def _swaps(figures: dict[str, Any]) -> Table:
    table = _table("left and right", "swap rate", "swapped", "kept")
    for pair in figures["swaps"]["pairs"]:
        name = f"{pair['left']}, {pair['right']}"
        table.add_row(name, _number(pair["rate"]), f"{pair['swapped']:,}", f"{pair['kept']:,}")
    return table


def _table(first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _printed(table: Table) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120, color_system=None, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _heading(figures: dict[str, Any]) -> str:
    """Return, for example, "150 images of photos (plain), standard matching"."""
    images = "1 image" if figures["images"] == 1 else f"{figures['images']} images"
    which = f" of {figures['dataset']} ({figures['format']})" if "dataset" in figures else ""
    return f"{images}{which}, {figures['matching']} matching"
