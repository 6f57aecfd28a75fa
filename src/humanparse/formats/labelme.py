"""labelme's JSON (version 5), for looking at the parts and correcting them by hand.

Source: https://github.com/wkentaro/labelme.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from humanparse.result import Parsing, Part


def to_labelme(parsing: Parsing, image_path: str | None = None) -> dict[str, Any]:
    """Return the parts as polygons, in plain Python values.

    A person is the group of their parts: `group_id` is the person's number, and None for parts that
    belong to nobody. A part with several connected components is several shapes; people without any
    part leave no shape.

    Args:
        parsing: The result.
        image_path: The path of the photo, relative to the JSON file; labelme opens it there. None
            takes the name of the photo's file.
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
