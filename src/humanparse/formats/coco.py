"""COCO's object detection format: one annotation for every person and every part, linked by number.

Source: https://cocodataset.org/#format-data. Boxes, areas and masks are those of pycocotools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from humanparse.errors import OptionError
from humanparse.formats.native import flat_polygons, plain_rle
from humanparse.labels import LabelSet
from humanparse.result import Parsing, Part, Person

PERSON = "person"
_AS_MANY = "give exactly one name for each photo"


def to_coco(parsing: Parsing, *, polygons: bool = False) -> dict[str, Any]:
    """Return one photo as a whole COCO data set; see `coco_dataset`."""
    return coco_dataset([parsing], polygons=polygons)


def coco_dataset(
    parsings: Iterable[Parsing],
    *,
    file_names: Iterable[str | PurePath] | None = None,
    polygons: bool = False,
) -> dict[str, Any]:
    """Return many photos as one COCO data set, ready for `json.dump`.

    The numbers of images and annotations count from 1. The number of a category is that of its
    class; "person" comes after the last one ("whole-person" if a class is called "person"). Besides
    COCO's own keys, an annotation has `score`, `person_id` (the person's number in the photo, 0 for
    a part that belongs to nobody) and `part_of` (the number of the person's annotation; 0 for
    people, and for parts that belong to nobody). Empty masks are left out.

    Args:
        parsings: The results; they are read once, one after the other, so that a generator need not
            hold more than one photo.
        file_names: What each photo is called, for example its path below the folder of all photos;
            None takes the names of their files, without folders. Every name must be different:
            readers would confuse two photos of the same name, or refuse the file.
        polygons: Write outlines instead of run lengths, for tools that cannot read those; see
            `Mask.to_polygons` for what they lose.

    Returns:
        {"info", "licenses", "images", "categories", "annotations"}, in plain Python values.

    Raises:
        OptionError: If photos have different label sets, whose classes have different numbers; if
            two photos have the same name; or if there are more or fewer names than photos.
    """
    labels: LabelSet | None = None
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    models: dict[str, None] = {}
    for image_id, (parsing, file_name) in enumerate(of_one_data_set(parsings, file_names), 1):
        labels = parsing.labels
        models[parsing.model] = None
        height, width = parsing.size_hw
        images.append(
            {
                "id": image_id,
                "file_name": file_name,
                "width": int(width),
                "height": int(height),
            }
        )
        annotations += _annotations(parsing, image_id, len(annotations) + 1, polygons)
    return {
        "info": {
            "description": "people and their parts, found by humanparse with "
            + (", ".join(models) or "no model")
        },
        "licenses": [],
        "images": images,
        "categories": _categories(labels) if labels else [],
        "annotations": annotations,
    }


def of_one_data_set(
    parsings: Iterable[Parsing], file_names: Iterable[str | PurePath] | None
) -> Iterator[tuple[Parsing, str]]:
    """Yield each photo with its name, as `coco_dataset` describes them.

    Raises:
        OptionError: Photos have different label sets or one name, or there are more or fewer names
            than photos.
    """
    labels: LabelSet | None = None
    numbers: dict[str, int] = {}
    for number, (parsing, name) in enumerate(_named(parsings, file_names), 1):
        if labels and labels.names != parsing.labels.names:
            raise OptionError(
                f"{parsing.name!r} has the label set {parsing.labels.name}, but the photos before "
                f"it have {labels.name}; make one data set for each label set"
            )
        if (other := numbers.setdefault(name, number)) != number:
            raise OptionError(
                f"photos {other} and {number} are both called {name!r}; give each its own "
                "name with file_names, for example its path below the folder of all photos"
            )
        labels = parsing.labels
        yield parsing, name


def _named(
    parsings: Iterable[Parsing], file_names: Iterable[str | PurePath] | None
) -> Iterator[tuple[Parsing, str]]:
    """Yield each photo with its name, with slashes between folders."""
    if file_names is None:
        yield from ((parsing, parsing.file_name or parsing.name) for parsing in parsings)
        return
    names = iter(file_names)
    for number, parsing in enumerate(parsings, 1):
        if (name := next(names, None)) is None:
            raise OptionError(f"file_names ends before photo {number}; {_AS_MANY}")
        yield parsing, name.as_posix() if isinstance(name, PurePath) else name
    if (name := next(names, None)) is not None:
        raise OptionError(f"file_names has {str(name)!r} after the last photo; {_AS_MANY}")


def _categories(labels: LabelSet) -> list[dict[str, Any]]:
    parts = [
        {"id": number, "name": name, "supercategory": "part"}
        for number, name in enumerate(labels.names)
        if number
    ]
    return [
        *parts,
        {"id": len(labels), "name": labels.name_beside(PERSON), "supercategory": PERSON},
    ]


def _annotations(
    parsing: Parsing, image_id: int, first_id: int, polygons: bool
) -> list[dict[str, Any]]:
    """Return the annotations of each person and their parts, then those of parts of nobody."""
    found: list[dict[str, Any]] = []

    def add(region: Person | Part, category_id: int, person_id: int, part_of: int) -> int:
        if region.area:
            x0, y0, x1, y1 = (int(edge) for edge in region.box_xyxy)
            found.append(
                {
                    "id": first_id + len(found),
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": flat_polygons(region.mask)
                    if polygons
                    else plain_rle(region.mask),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": region.area,
                    "iscrowd": 0,
                    "score": round(float(region.score), 4),
                    "person_id": person_id,
                    "part_of": part_of,
                }
            )
        return found[-1]["id"] if region.area else 0

    for person in parsing.people:
        annotation_id = add(person, len(parsing.labels), int(person.id), 0)
        for part in person.parts.values():
            add(part, int(part.class_id), int(person.id), annotation_id)
    for part in parsing.loose_parts:
        add(part, int(part.class_id), 0, 0)
    return found
