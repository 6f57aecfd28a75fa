"""Tables: a row for each person and each of their parts, for notebooks and data frames; and the
same as objects of supervision and FiftyOne."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from humanparse.errors import MissingExtra, OptionError
from humanparse.formats.coco import PERSON
from humanparse.result import Parsing, Part, Person

if TYPE_CHECKING:
    import fiftyone
    import pandas
    import supervision

COLUMNS = "photo person label class_id score area share x0 y0 x1 y1".split()


def rows(parsing: Parsing) -> list[dict[str, Any]]:
    """Return the people and their parts as plain values, each person before their parts.

    Each has photo, person (0 for parts that belong to nobody), label ("person" for the whole),
    class_id (0 for the whole), score, area and share (of the photo, 0 to 1), x0, y0, x1, y1.
    """
    whole = parsing.labels.name_beside(PERSON)
    found = []
    for person in parsing.people:
        found.append(_row(parsing, person.id, whole, 0, person))
        found += [
            _row(parsing, person.id, one.label, one.class_id, one) for one in person.parts.values()
        ]
    return found + [_row(parsing, 0, one.label, one.class_id, one) for one in parsing.loose_parts]


def to_pandas(parsing: Parsing) -> pandas.DataFrame:
    """Return `rows` as a data frame. Raises MissingExtra without pandas."""
    pandas = _imported("pandas")
    return pandas.DataFrame(rows(parsing), columns=COLUMNS)


def to_supervision(parsing: Parsing, kind: str = "people") -> supervision.Detections:
    """Return supervision's Detections, of "people" or of "parts".

    `data` has class_name and person_id. People's class is 0; parts have that of the label set.

    Raises:
        OptionError: There is no such kind.
        MissingExtra: The package supervision is not installed.
    """
    if kind not in ("people", "parts"):
        raise OptionError(f"kind is {kind!r}; choose people or parts")
    detections = _imported("supervision").Detections
    whole = parsing.labels.name_beside(PERSON)
    found: list[tuple[Person | Part, int, str, int]]
    if kind == "people":
        found = [(one, 0, whole, one.id) for one in parsing.people]
    else:
        found = [(one, one.class_id, one.label, person) for one, person in parsing.parts]
    if not found:
        return detections.empty()
    return detections(
        xyxy=np.array([one.box_xyxy for one, *_ in found], float),
        mask=np.stack([one.mask.to_dense() for one, *_ in found]),
        confidence=np.array([one.score for one, *_ in found], float),
        class_id=np.array([number for _, number, _, _ in found], int),
        data={
            "class_name": np.array([name for _, _, name, _ in found]),
            "person_id": np.array([person for *_, person in found], int),
        },
    )


def to_fiftyone(parsing: Parsing) -> dict[str, fiftyone.Label]:
    """Return the fields of a sample: `fiftyone.Sample(filepath=path, **to_fiftyone(result))`.

    `people` and `parts` are Detections with boxes, masks, confidence and `person_id` (0 for parts
    that belong to nobody); `classes` is a Segmentation with the label map, whose numbers
    `dict(enumerate(result.labels.names))` explains as the data set's `default_mask_targets`.

    Raises:
        MissingExtra: The package fiftyone is not installed.
    """
    package = _imported("fiftyone")
    height, width = parsing.size_hw

    def detection(region: Person | Part, label: str, person_id: int) -> fiftyone.Detection:
        x0, y0, x1, y1 = region.box_xyxy
        return package.Detection(
            label=label,
            bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
            mask=region.mask.crop,
            confidence=float(region.score),
            person_id=int(person_id),
        )

    whole = parsing.labels.name_beside(PERSON)
    people = [detection(one, whole, one.id) for one in parsing.people if one.area]
    parts = [detection(one, one.label, person) for one, person in parsing.parts if one.area]
    return {
        "people": package.Detections(detections=people),
        "parts": package.Detections(detections=parts),
        "classes": package.Segmentation(mask=parsing.label_map),
    }


def _row(
    parsing: Parsing, person: int, label: str, class_id: int, region: Person | Part
) -> dict[str, Any]:
    photo, share = parsing.file_name or parsing.name, region.area / max(1, parsing.label_map.size)
    known = (photo, person, label, class_id, float(region.score), region.area, share)
    return dict(zip(COLUMNS, (*known, *region.box_xyxy), strict=True))


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise MissingExtra(f"this needs {package}: pip install {package}") from None
