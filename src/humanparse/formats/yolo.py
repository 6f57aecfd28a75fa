"""YOLO's segmentation labels: a text file for each photo, a line for each part or person.

    class x1 y1 x2 y2 … xn yn      corners of one polygon, as shares of the photo's width and height

Source: https://docs.ultralytics.com/datasets/segment/. Holes and further connected components are
joined to the polygon by ways of no width, as Ultralytics does itself.
"""

from __future__ import annotations

import json

from humanparse.errors import OptionError
from humanparse.formats.coco import PERSON
from humanparse.labels import LabelSet
from humanparse.masks import Mask, joined_polygon
from humanparse.result import Parsing

KINDS = ("parts", "people", "both")
DIGITS = 6  # of a share: a thousandth of a pixel in a photo of 1,000


def to_yolo(parsing: Parsing, kind: str = "parts") -> str:
    """Return the lines of one photo.

    Args:
        parsing: The photo's result.
        kind: "parts", "people" or "both". A part's class is that of the label set less one, since
            there is no background; people come after the last (`yolo_names`).

    Raises:
        OptionError: There is no such kind.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
    people = [(len(parsing.labels) - 1, person.mask) for person in parsing.people]
    parts = [(part.class_id - 1, part.mask) for part, _ in parsing.parts]
    wanted = {"parts": parts, "people": people, "both": people + parts}[kind]
    return "".join(line + "\n" for number, mask in wanted for line in _lines(number, mask))


def yolo_names(labels: LabelSet) -> list[str]:
    """Return the names of YOLO's classes 0, 1, …: the label set's without the background, then that
    of people."""
    return [*labels.names[1:], labels.name_beside(PERSON)]


def yolo_dataset(labels: LabelSet, train: str = "images/train", val: str = "images/val") -> str:
    """Return the data set's YAML, which names its folders and classes."""
    names = "".join(
        f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(yolo_names(labels))
    )
    return f"path: .\ntrain: {json.dumps(train)}\nval: {json.dumps(val)}\nnames:\n{names}"


def _lines(number: int, mask: Mask) -> list[str]:
    """The line of one mask; none where it is empty."""
    height, width = mask.size_hw
    polygons = mask.to_polygons()
    if not polygons:
        return []
    corners = joined_polygon(polygons) / (width, height)
    return [f"{number} " + " ".join(f"{value:.{DIGITS}g}" for value in corners.ravel())]
