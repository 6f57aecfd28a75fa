"""SVG: every part as a path in its colour, grouped by person; for designers, and for pages that
react to a touch."""

from __future__ import annotations

from humanparse.labels import Colour
from humanparse.masks import Mask
from humanparse.result import Parsing, Part

DECIMALS = 1  # of a pixel


def to_svg(parsing: Parsing, *, palette: str = "clear", opacity: float = 1.0) -> str:
    """Return the parts as an SVG picture in the photo's size; there is nothing of the photo in it.

    A person is a group with `data-person`, a part a path with `data-label`. Parts that belong to
    nobody come first.

    Raises:
        OptionError: There is no such palette.
    """
    colours = parsing.labels.palette(palette)
    height, width = parsing.size_hw
    groups = [_group(0, list(parsing.loose_parts), colours)] if parsing.loose_parts else []
    groups += [
        _group(person.id, list(person.parts.values()), colours)
        for person in reversed(parsing.people)
    ]
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill-rule="evenodd"'
    return f'{head} opacity="{opacity:g}">\n{"".join(groups)}</svg>\n'


def _group(person: int, parts: list[Part], colours: tuple[Colour, ...]) -> str:
    from xml.sax.saxutils import quoteattr  # slow to import: it brings all of urllib and ssl

    paths = ""
    for part in parts:
        if part.area:
            fill = "#" + "".join(f"{one:02x}" for one in colours[part.class_id])
            label = quoteattr(part.label)
            paths += f'    <path data-label={label} fill="{fill}" d="{_path(part.mask)}"/>\n'
    return f'  <g data-person="{person}">\n{paths}  </g>\n'


def _path(mask: Mask) -> str:
    return " ".join(
        "M" + " ".join(f"{x:.{DECIMALS}f},{y:.{DECIMALS}f}" for x, y in polygon) + "Z"
        for polygon in mask.to_polygons()
    )
