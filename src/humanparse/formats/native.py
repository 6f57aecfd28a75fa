"""Our own JSON, written and read, as docs/json.md describes it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from humanparse import labels
from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.masks import MAX_PIXELS, Mask
from humanparse.result import Parsing, Part, Person

SCHEMA = "humanparse/1"


def to_json(
    parsing: Parsing, *, masks: bool = True, polygons: bool = False, indent: int | None = None
) -> str:
    """Return `to_dict` as text, in plain ASCII.

    Args:
        parsing: The result.
        masks: See `to_dict`.
        polygons: See `to_dict`.
        indent: The number of spaces per level; None writes a single line.
    """
    return json.dumps(to_dict(parsing, masks=masks, polygons=polygons), indent=indent)


def to_dict(parsing: Parsing, *, masks: bool = True, polygons: bool = False) -> dict[str, Any]:
    """Return the result in plain Python values, as docs/json.md describes.

    Args:
        parsing: The result.
        masks: False leaves the masks out, which makes the result small; `from_dict` needs them.
        polygons: True adds the outlines of every person and part (see `Mask.to_polygons`);
            `from_dict` does not read them.
    """
    height, width = parsing.size_hw
    return {
        "schema": SCHEMA,
        "name": parsing.name,
        "model": parsing.model,
        "width": int(width),
        "height": int(height),
        "label_set": parsing.labels.name,
        "labels": list(parsing.labels.names),
        "people": [_person_to_dict(person, masks, polygons) for person in parsing.people],
        "loose_parts": [_part_to_dict(part, masks, polygons) for part in parsing.loose_parts],
        "timings_ms": {stage: round(float(ms), 3) for stage, ms in parsing.timings_ms.items()},
    }


def from_json(text: str | bytes, image: np.ndarray | None = None) -> Parsing:
    """Read what `to_json` wrote; see `from_dict`.

    Raises:
        OptionError: If the text is not JSON, and for the reasons of `from_dict`.
    """
    try:
        data = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"this is not JSON: {error}") from error
    return from_dict(data, image)


def from_dict(data: dict[str, Any], image: np.ndarray | None = None) -> Parsing:
    """Read what `to_dict` returned: the same people, parts and maps.

    Args:
        data: The data.
        image: The photo, uint8 (height, width, 3), for drawing; black if it is not given.

    Raises:
        OptionError: If the data have another schema, were written without masks or are damaged, or
            if the photo has another size.
    """
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise OptionError(
            f"the data's schema is {schema!r} but this version of humanparse reads {SCHEMA!r}"
        )
    try:
        return _parsing_from_dict(data, image)
    except OptionError:
        raise
    except KeyError as error:
        raise OptionError(
            f"the data have no {error}, which docs/json.md describes; write them again"
        ) from error
    except (
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise OptionError(f"the data are damaged: {error}") from error


# Regions


def _person_to_dict(person: Person, masks: bool, polygons: bool) -> dict[str, Any]:
    return {
        "id": int(person.id),
        **_region_to_dict(person, masks, polygons),
        "parts": [_part_to_dict(part, masks, polygons) for part in person.parts.values()],
    }


def _part_to_dict(part: Part, masks: bool, polygons: bool) -> dict[str, Any]:
    return {
        "label": part.label,
        "class_id": int(part.class_id),
        **_region_to_dict(part, masks, polygons),
    }


def _region_to_dict(region: Person | Part, masks: bool, polygons: bool) -> dict[str, Any]:
    box = [int(edge) for edge in region.box_xyxy]
    data = {"score": round(float(region.score), 4), "box": box, "area": region.area}
    if masks:
        data["mask"] = plain_rle(region.mask)
    if polygons:
        data["polygons"] = flat_polygons(region.mask)
    return data


def plain_rle(mask: Mask) -> dict[str, Any]:
    """Return COCO's compressed run lengths in plain Python values."""
    rle = mask.to_rle()
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}


def flat_polygons(mask: Mask) -> list[list[float]]:
    """Return each polygon as [x, y, x, y, ...], as COCO does."""
    return [polygon.ravel().tolist() for polygon in mask.to_polygons()]


def _parsing_from_dict(data: dict[str, Any], image: np.ndarray | None) -> Parsing:
    size_hw = (_whole(data["height"]), _whole(data["width"]))
    if size_hw[0] * size_hw[1] > MAX_PIXELS:
        raise ValueError(
            f"the picture is {size_hw[1]}x{size_hw[0]}, but the limit is {MAX_PIXELS} pixels"
        )
    label_set = _label_set(data["label_set"], tuple(data["labels"]))
    people = tuple(_person_from_dict(one, label_set, size_hw) for one in data["people"])
    loose_parts = tuple(_part_from_dict(one, label_set, size_hw) for one in data["loose_parts"])
    if [person.id for person in people] != list(range(1, len(people) + 1)):
        raise ValueError(f"the people's ids should be 1 to {len(people)} in order")
    image = np.zeros((*size_hw, 3), np.uint8) if image is None else image
    if image.shape != (*size_hw, 3):
        raise OptionError(
            f"the photo is {image.shape[1]}x{image.shape[0]} but the data are for a photo of "
            f"{size_hw[1]}x{size_hw[0]}; give the photo that was parsed"
        )
    parts = [part for person in people for part in person.parts.values()]
    return Parsing(
        label_map=_painted(
            [(part.class_id, part.mask) for part in (*loose_parts, *parts)], size_hw, np.uint8
        ),
        person_map=_painted(
            [(person.id, person.mask) for person in reversed(people)], size_hw, np.uint16
        ),
        people=people,
        labels=label_set,
        image=image,
        loose_parts=loose_parts,
        name=str(data["name"]),
        model=str(data["model"]),
        timings_ms={str(stage): float(ms) for stage, ms in data["timings_ms"].items()},
    )


def _person_from_dict(
    data: dict[str, Any], label_set: LabelSet, size_hw: tuple[int, int]
) -> Person:
    parts = [_part_from_dict(one, label_set, size_hw) for one in data["parts"]]
    return Person(
        _whole(data["id"]),
        float(data["score"]),
        _mask(data, size_hw),
        {part.label: part for part in parts},
    )


def _part_from_dict(data: dict[str, Any], label_set: LabelSet, size_hw: tuple[int, int]) -> Part:
    label, class_id = data["label"], _whole(data["class_id"])
    if class_id >= len(label_set) or label_set.names[class_id] != label:
        raise ValueError(f"class {class_id} is not {label!r} in its labels")
    return Part(label, class_id, float(data["score"]), _mask(data, size_hw))


def _mask(data: dict[str, Any], size_hw: tuple[int, int]) -> Mask:
    if "mask" not in data:
        raise OptionError("the data have no masks; write them with masks=True")
    if tuple(data["mask"]["size"]) != size_hw:
        raise ValueError(
            f"a mask is for {data['mask']['size']} but the picture is {list(size_hw)} "
            "(height, width)"
        )
    try:
        return Mask.from_rle(data["mask"])
    except OptionError as error:
        raise ValueError(str(error)) from error


def _label_set(name: str, names: tuple[str, ...]) -> LabelSet:
    """Return the label set of that name with its colours, or a new one if its names differ."""
    if not all(isinstance(one, str) for one in names) or not 1 <= len(names) <= 256:
        raise ValueError("its labels should be 1 to 256 names")
    try:
        known = labels.label_set(name)
    except OptionError:
        return LabelSet(str(name), names)
    return known if known.names == names else LabelSet(name, names)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} should be a whole number from 1 on")
    return value


def _painted(regions: list[tuple[int, Mask]], size_hw: tuple[int, int], kind: type) -> np.ndarray:
    """Paint numbered masks into one map; later masks hide earlier ones."""
    painted: np.ndarray = np.zeros(size_hw, kind)
    for number, mask in regions:
        x0, y0, x1, y1 = mask.box_xyxy
        painted[y0:y1, x0:x1][mask.crop] = number
    return painted
