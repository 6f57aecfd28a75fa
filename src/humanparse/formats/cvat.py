"""CVAT for images 1.1: XML with people and their parts, as masks or polygons, to be uploaded there.

Masks are run lengths in their box, row by row. A person and their parts are one group, and parts
lie above people. Source: https://docs.cvat.ai/docs/other/xml_format/ ("Annotation").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from humanparse.errors import OptionError
from humanparse.formats.coco import PERSON, of_one_data_set
from humanparse.labels import LabelSet
from humanparse.masks import Mask, row_runs
from humanparse.result import Parsing

KINDS = ("masks", "polygons")
DECIMALS = 2  # of a pixel, as CVAT itself writes them


def to_cvat(parsing: Parsing, kind: str = "masks") -> str:
    """Return one photo's XML; see `cvat_dataset`."""
    return cvat_dataset([parsing], kind)


def cvat_dataset(
    parsings: Iterable[Parsing],
    kind: str = "masks",
    *,
    file_names: Iterable[str | PurePath] | None = None,
) -> str:
    """Return the XML of many photos. CVAT finds them again by their names.

    Labels are the classes, and "person" for whole people; the task must have them. Empty masks are
    left out.

    Args:
        parsings: The results; they are read once, one after the other.
        kind: "masks", to the pixel, or "polygons", which are easier to move.
        file_names: What each photo is called in the task, such as its path below the folder that
            was uploaded; None takes the names of their files, without folders.

    Raises:
        OptionError: There is no such kind, photos have different classes or one name, or there are
            more or fewer names than photos.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    labels: LabelSet | None = None
    size = 0
    for size, (parsing, name) in enumerate(of_one_data_set(parsings, file_names), 1):
        labels = parsing.labels
        height, width = parsing.size_hw
        image = SubElement(
            root, "image", id=str(size - 1), name=name, width=str(width), height=str(height)
        )
        image.extend(_shapes(parsing, kind))
    _describe(task, size, labels)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _describe(task: Element, size: int, labels: LabelSet | None) -> None:
    SubElement(task, "name").text = "humanparse"
    SubElement(task, "size").text = str(size)
    SubElement(task, "mode").text = "annotation"
    listed = SubElement(task, "labels")
    if labels is None:
        return
    colours = [*labels.palette()[1:], (255, 255, 255)]
    for name, colour in zip(_names(labels)[1:], colours, strict=True):
        label = SubElement(listed, "label")
        SubElement(label, "name").text = name
        SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*colour)
        SubElement(label, "type").text = "any"
        SubElement(label, "attributes")


def _names(labels: LabelSet) -> list[str]:
    """The classes, and after them that of whole people."""
    return [*labels.names, labels.name_beside(PERSON)]


def _shapes(parsing: Parsing, kind: str) -> Iterator[Element]:
    names = _names(parsing.labels)
    found = [
        (number, mask, person, above)
        for one in parsing.people
        for number, mask, person, above in [
            (len(parsing.labels), one.mask, one.id, 0),
            *((part.class_id, part.mask, one.id, 1) for part in one.parts.values()),
        ]
    ]
    found += [(part.class_id, part.mask, 0, 1) for part in parsing.loose_parts]
    for number, mask, person, above in found:
        common = {"label": names[number], "source": "auto", "occluded": "0", "z_order": str(above)}
        if person:
            common["group_id"] = str(person)
        if not mask.area:
            continue
        if kind == "masks":
            yield Element("mask", common | _mask(mask))
            continue
        for polygon in mask.to_polygons():
            corners = (f"{x:.{DECIMALS}f},{y:.{DECIMALS}f}" for x, y in polygon)
            yield Element("polygon", common | {"points": ";".join(corners)})


def _mask(mask: Mask) -> dict[str, str]:
    x0, y0, x1, y1 = mask.box_xyxy
    return {
        "rle": ", ".join(map(str, row_runs(mask.crop))),
        "left": str(x0),
        "top": str(y0),
        "width": str(x1 - x0),
        "height": str(y1 - y0),
    }
