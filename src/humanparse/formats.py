"""Files and text from a Parsing: JSON there and back, indexed PNGs, NPZ, and `save`, which writes any of `FORMATS`.

docs/json.md describes the JSON. A further format is one function and one line of `FORMATS`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from humanparse import labels, render
from humanparse.errors import OptionError
from humanparse.labels import Colour, LabelSet
from humanparse.masks import Mask
from humanparse.result import Parsing, Part, Person

SCHEMA = "humanparse/1"


def to_json(parsing: Parsing, *, masks: bool = True, indent: int | None = None) -> str:
    """`to_dict` as text, in plain ASCII. indent: spaces a level, None for one line."""
    return json.dumps(to_dict(parsing, masks=masks), indent=indent)


def to_dict(parsing: Parsing, *, masks: bool = True) -> dict[str, Any]:
    """People, parts, boxes, scores and masks in plain Python values, as docs/json.md describes.

    masks: False leaves the masks out, which makes it small; `from_dict` needs them.
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
        "people": [_person_to_dict(person, masks) for person in parsing.people],
        "loose_parts": [_part_to_dict(part, masks) for part in parsing.loose_parts],
        "timings_ms": {stage: round(float(ms), 3) for stage, ms in parsing.timings_ms.items()},
    }


def to_modelscope(parsing: Parsing) -> dict[str, list]:
    """The result in the form of ModelScope's human parsing pipeline: {"masks", "labels", "scores"}, parts, then people.

    masks: float32 (H, W) each, 0 or 1: as many bytes as four times the photo's pixels for every part and person.
    Other than there, masks do not overlap, parts come person by person, and people are called "Human".
    """
    parts = [part for person in parsing.people for part in person.parts.values()] + list(parsing.loose_parts)
    regions = [*parts, *parsing.people]
    return {
        "masks": [region.mask.to_dense().astype(np.float32) for region in regions],
        "labels": [part.label for part in parts] + ["Human"] * len(parsing.people),
        "scores": [region.score for region in regions],
    }


def from_json(text: str | bytes, image: np.ndarray | None = None) -> Parsing:
    """The inverse of `to_json`; see `from_dict`. Raises OptionError for text that is not JSON."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise OptionError(f"this is not JSON: {error}") from error
    return from_dict(data, image)


def from_dict(data: dict[str, Any], image: np.ndarray | None = None) -> Parsing:
    """The inverse of `to_dict`: the same people, parts and maps.

    image: the photo, uint8 (height, width, 3), for drawing; black if not given.
    Raises OptionError for another schema, for data written without masks, for damaged data and for a photo of
    another size.
    """
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise OptionError(f"the data's schema is {schema!r} but this version of humanparse reads {SCHEMA!r}")
    try:
        return _parsing_from_dict(data, image)
    except OptionError:
        raise
    except KeyError as error:
        raise OptionError(f"the data lack {error}, which docs/json.md describes") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise OptionError(f"the data are damaged: {error}") from error


def labels_image(parsing: Parsing, palette: str = "clear") -> Image.Image:
    """The label map as an indexed picture (mode P): each pixel's value is its class, shown in the palette's colour."""
    return _indexed(parsing.label_map, parsing.labels.palette(palette))


def people_image(parsing: Parsing) -> Image.Image:
    """The person map as a picture whose values are the people's numbers: mode P, or I;16 for more than 255 people."""
    if len(parsing.people) > 255:
        return Image.fromarray(parsing.person_map.astype(np.uint16))
    return _indexed(parsing.person_map.astype(np.uint8), render.person_colours(len(parsing.people)))


def save(parsing: Parsing, folder: str | Path, formats: Iterable[str] | str, *, palette: str = "clear") -> list[Path]:
    """Write the photo's files into `folder`, which is made if it is not there. Returns their paths, in order.

    formats: names of `FORMATS`. palette: the colours of those that are pictures. A file of that name is replaced.
    Each file appears whole or not at all: it is written under another name first.
    Raises OptionError for an unknown format or palette, before anything is written, and OSError if writing fails.
    """
    parsing.labels.palette(palette)  # raises now for an unknown one
    formats = _known(formats)
    targets = paths(parsing.name, folder, formats)
    _make_folder(Path(folder))
    for name, target in zip(formats, targets, strict=True):
        _write_whole(target, lambda file, write=FORMATS[name].write: write(parsing, file, palette))
    return targets


def paths(name: str, folder: str | Path, formats: Iterable[str] | str) -> list[Path]:
    """The files that `save` writes for a photo of that name. Raises OptionError for an unknown format or a path as name."""
    if not name or Path(name).name != name or "\\" in name or "\0" in name:
        raise OptionError(f"{name!r} cannot name a file; give the photo a name without folders")
    return [Path(folder) / f"{name}{FORMATS[one].suffix}" for one in _known(formats)]


# JSON

def _person_to_dict(person: Person, masks: bool) -> dict[str, Any]:
    return {
        "id": int(person.id),
        **_region_to_dict(person, masks),
        "parts": [_part_to_dict(part, masks) for part in person.parts.values()],
    }


def _part_to_dict(part: Part, masks: bool) -> dict[str, Any]:
    return {"label": part.label, "class_id": int(part.class_id), **_region_to_dict(part, masks)}


def _region_to_dict(region: Person | Part, masks: bool) -> dict[str, Any]:
    box = [int(edge) for edge in region.box_xyxy]
    plain = {"score": round(float(region.score), 4), "box": box, "area": region.area}
    return {**plain, "mask": _plain_rle(region.mask)} if masks else plain


def _plain_rle(mask: Mask) -> dict[str, Any]:
    rle = mask.to_rle()
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}


def _parsing_from_dict(data: dict[str, Any], image: np.ndarray | None) -> Parsing:
    size_hw = (_whole(data["height"]), _whole(data["width"]))
    label_set = _label_set(data["label_set"], tuple(data["labels"]))
    people = tuple(_person_from_dict(one, label_set, size_hw) for one in data["people"])
    loose_parts = tuple(_part_from_dict(one, label_set, size_hw) for one in data["loose_parts"])
    if [person.id for person in people] != list(range(1, len(people) + 1)):
        raise ValueError(f"the people's ids should be 1 to {len(people)} in order")
    image = np.zeros((*size_hw, 3), np.uint8) if image is None else image
    if image.shape != (*size_hw, 3):
        raise OptionError(f"the photo is {image.shape[1]}x{image.shape[0]} but the data are for {size_hw[1]}x{size_hw[0]}")
    parts = [part for person in people for part in person.parts.values()]
    return Parsing(
        label_map=_painted([(part.class_id, part.mask) for part in (*loose_parts, *parts)], size_hw, np.uint8),
        person_map=_painted([(person.id, person.mask) for person in reversed(people)], size_hw, np.uint16),
        people=people,
        labels=label_set,
        image=image,
        loose_parts=loose_parts,
        name=str(data["name"]),
        model=str(data["model"]),
        timings_ms={str(stage): float(ms) for stage, ms in data["timings_ms"].items()},
    )


def _person_from_dict(data: dict[str, Any], label_set: LabelSet, size_hw: tuple[int, int]) -> Person:
    parts = [_part_from_dict(one, label_set, size_hw) for one in data["parts"]]
    return Person(_whole(data["id"]), float(data["score"]), _mask(data, size_hw), {part.label: part for part in parts})


def _part_from_dict(data: dict[str, Any], label_set: LabelSet, size_hw: tuple[int, int]) -> Part:
    label, class_id = data["label"], _whole(data["class_id"])
    if class_id >= len(label_set) or label_set.names[class_id] != label:
        raise ValueError(f"class {class_id} is not {label!r} in its labels")
    return Part(label, class_id, float(data["score"]), _mask(data, size_hw))


def _mask(data: dict[str, Any], size_hw: tuple[int, int]) -> Mask:
    if "mask" not in data:
        raise OptionError("the data hold no masks; write them with masks=True")
    if tuple(data["mask"]["size"]) != size_hw:
        raise ValueError(f"a mask is for {data['mask']['size']} but the picture is {list(size_hw)} (height, width)")
    return Mask.from_rle(data["mask"])


def _label_set(name: str, names: tuple[str, ...]) -> LabelSet:
    """The label set of that name with its colours, or one of these names if we know none such."""
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
    """One map from numbered masks; the later hides the earlier."""
    painted = np.zeros(size_hw, kind)
    for number, mask in regions:
        x0, y0, x1, y1 = mask.box_xyxy
        painted[y0:y1, x0:x1][mask.crop] = number
    return painted


# Files

def _write_overlay(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(render.overlay(parsing, palette=palette), file)


def _write_colormap(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(render.colormap(parsing, palette=palette), file)


def _write_labels(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(labels_image(parsing, palette), file)


def _write_people(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(people_image(parsing), file)


def _write_cutout(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(render.cutout(parsing), file)


def _write_json(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    file.write(to_json(parsing).encode() + b"\n")


def _write_npz(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    people = parsing.people
    np.savez_compressed(
        file,
        label_map=parsing.label_map,
        person_map=parsing.person_map,
        label_names=np.array(parsing.labels.names),
        person_ids=np.array([person.id for person in people], np.int32),
        person_scores=np.array([person.score for person in people], np.float32),
        person_boxes_xyxy=np.array([person.box_xyxy for person in people], np.int32).reshape(-1, 4),
    )


class Format(NamedTuple):
    """What one format adds to the photo's name, and the function that writes it."""

    suffix: str
    write: Callable[[Parsing, BinaryIO, str], None]  # parsing, open file, palette


FORMATS: dict[str, Format] = {
    "overlay": Format(".overlay.png", _write_overlay),     # the photo in colours, with outlines and legend
    "colormap": Format(".colormap.png", _write_colormap),  # the label map in colours, RGB
    "labels": Format(".labels.png", _write_labels),        # the label map, each value a class
    "people": Format(".people.png", _write_people),        # the person map, each value a person
    "cutout": Format(".cutout.png", _write_cutout),        # everybody on a transparent background
    "json": Format(".json", _write_json),                  # docs/json.md
    "npz": Format(".npz", _write_npz),                     # both maps and the people's boxes for NumPy
}


def _known(formats: Iterable[str] | str) -> list[str]:
    """The formats without repeats; a single name is a list of one. Raises OptionError for an unknown one."""
    names = list(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    for name in names:
        if name not in FORMATS:
            raise OptionError(f"there is no format {name!r}; choose from {', '.join(FORMATS)}")
    return names


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OptionError(f"{folder} cannot be a folder: a file of that name is in the way; choose another") from error


def _write_whole(target: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file under a passing name in the same folder, then give it its own name in one step."""
    passing = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(passing, "xb") as file:
            write(file)
        passing.replace(target)
    finally:
        passing.unlink(missing_ok=True)


def _write_png(picture: Image.Image, file: BinaryIO) -> None:
    picture.save(file, "PNG", compress_level=1)  # level 6 takes three times as long for a fifth less


def _indexed(values: np.ndarray, colours: tuple[Colour, ...]) -> Image.Image:
    """uint8 (H, W) → mode P. All 256 colours are given, so that the file keeps 8 bits a pixel, as simple readers expect."""
    picture = Image.fromarray(np.ascontiguousarray(values))
    picture.putpalette([channel for colour in colours for channel in colour] + [0] * 3 * (256 - len(colours)))
    return picture
