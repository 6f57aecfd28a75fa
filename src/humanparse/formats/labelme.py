"""labelme's JSON (version 5), to look at the parts and correct them by hand. Source:
https://github.com/wkentaro/labelme."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from humanparse.result import Parsing, Part


def to_labelme(parsing: Parsing, image_path: str | None = None) -> dict[str, Any]:
    """The parts as polygons, in plain Python values; a person is the group of their parts
    (group_id, null for nobody's).

    image_path: of the photo, relative to the JSON file; None takes the name of the photo's file.
    labelme opens it there. A part in several pieces is several shapes; people without any part
    leave no shape.
    """
    height, width = parsing.size_hw
    owned = [(part, int(person.id)) for person in parsing.people for part in person.parts.values()]
    shapes = [shape for part, person_id in owned for shape in _shapes(part, person_id)]
    shapes += [shape for part in parsing.loose_parts for shape in _shapes(part, None)]
    return {
        "version": "5.0.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path or PurePosixPath(parsing.file_name).name or parsing.name,
        "imageData": None,
        "imageHeight": int(height),
        "imageWidth": int(width),
    }


def _shapes(part: Part, person_id: int | None) -> list[dict[str, Any]]:
    return [
        {
            "label": part.label,
            "points": polygon.tolist(),
            "group_id": person_id,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for polygon in part.mask.to_polygons()
    ]
