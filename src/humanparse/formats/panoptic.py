"""COCO's panoptic form: a PNG whose colours are segments, and what each segment is.

A segment is a part of a person, a person's pixels without any part, or a part that belongs to
nobody. Source: https://cocodataset.org/#format-data, "panoptic segmentation": a segment's number is
R + 256 G + 256² B.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from humanparse.arguments import folder_path
from humanparse.errors import OptionError
from humanparse.formats.coco import PERSON
from humanparse.labels import LabelSet
from humanparse.result import Parsing
from humanparse.system.files import whole_file

_CLASSES = 256  # more than a label map can have


def to_panoptic(parsing: Parsing, image_id: int = 1) -> tuple[Image.Image, dict[str, Any]]:
    """Return the PNG's picture, RGB, and the annotation of one photo.

    Args:
        parsing: The photo's result.
        image_id: The photo's number in the data set.
    """
    keys = parsing.person_map.astype(np.int32) * _CLASSES + parsing.label_map
    found, inverse = np.unique(keys, return_inverse=True)
    numbers = np.where(found > 0, np.cumsum(found > 0), 0)  # 0 stays the background
    segments = numbers[inverse.reshape(keys.shape)]
    colours = np.stack([segments & 255, segments >> 8 & 255, segments >> 16], axis=2).astype(
        np.uint8
    )
    info = [
        _segment(int(number), int(key), segments == number, parsing)
        for key, number in zip(found, numbers, strict=True)
        if number
    ]
    annotation = {"image_id": image_id, "file_name": f"{parsing.name}.png", "segments_info": info}
    return Image.fromarray(colours), annotation


def panoptic_categories(labels: LabelSet) -> list[dict[str, Any]]:
    """Return the data set's categories: the classes under their numbers, then people without a part
    there."""
    names = [*labels.names[1:], labels.name_beside(PERSON)]
    return [
        {"id": number, "name": name, "supercategory": PERSON, "isthing": 1}
        for number, name in enumerate(names, 1)
    ]


def save_panoptic(parsings: Iterable[Parsing], folder: str | Path) -> dict[str, Any]:
    """Write each photo's PNG into `folder`, which is made if it is not there, and return the data
    set for `json.dump`.

    Raises:
        OptionError: Photos have different classes, or one name.
        OSError: Writing fails.
    """
    folder = folder_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    labels: LabelSet | None = None
    for number, parsing in enumerate(parsings, 1):
        if labels and labels.names != parsing.labels.names:
            raise OptionError(
                f"{parsing.name!r} has other classes than the photos before it; "
                "make a data set of each"
            )
        if any(one["file_name"] == f"{parsing.name}.png" for one in annotations):
            raise OptionError(
                f"two photos are called {parsing.name!r}; parse each with a name of its own"
            )
        labels = parsing.labels
        picture, annotation = to_panoptic(parsing, number)
        with whole_file(folder / annotation["file_name"]) as part:
            picture.save(part, "png")
        height, width = parsing.size_hw
        file_name = parsing.file_name or parsing.name
        images.append(
            {"id": number, "file_name": file_name, "width": int(width), "height": int(height)}
        )
        annotations.append(annotation)
    categories = panoptic_categories(labels) if labels else []
    return {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _segment(number: int, key: int, where: np.ndarray, parsing: Parsing) -> dict[str, Any]:
    person, class_id = divmod(key, _CLASSES)
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    return {
        "id": number,
        "category_id": class_id or len(parsing.labels),
        "area": int(where.sum()),
        "bbox": box,
        "iscrowd": 0,
        "person_id": person,
    }
