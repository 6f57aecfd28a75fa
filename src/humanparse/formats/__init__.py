"""Files, text and other libraries' forms of a Parsing; `save` writes any of `FORMATS`.

native.py is our own JSON, there and back; coco.py and labelme.py are those of annotation tools;
pipelines.py has the forms of other pipelines, pictures.py the pictures. A further format is one
function, one line of `_WRITERS` and one of files.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from humanparse import render
from humanparse.arguments import folder_path, one_or_more
from humanparse.errors import OptionError
from humanparse.formats.coco import coco_dataset, to_coco
from humanparse.formats.labelme import to_labelme
from humanparse.formats.native import SCHEMA, from_dict, from_json, to_dict, to_json
from humanparse.formats.pictures import encode_picture, labels_image, people_image
from humanparse.formats.pipelines import labelled_regions, to_huggingface, to_modelscope
from humanparse.result import Parsing
from humanparse.system.files import whole_file
from humanparse.vocabulary import FORMAT_SUFFIXES

__all__ = [
    "CONTENT_TYPES", "FORMATS", "SCHEMA", "Format", "coco_dataset", "encode_picture", "from_dict", "from_json",
    "labelled_regions", "labels_image", "paths", "people_image", "save", "to_coco", "to_dict", "to_huggingface", "to_json",
    "to_labelme", "to_modelscope",
]  # fmt: skip


def save(
    parsing: Parsing, folder: str | Path, formats: Iterable[str] | str, *, palette: str = "clear"
) -> list[Path]:
    """Write the photo's files into `folder`, which is made if it is not there. Returns their paths,
    in order.

    formats: names of `FORMATS`. palette: the colours of those that are pictures. A file of that
    name is replaced. Each file appears whole or not at all: it is written under another name first.
    Raises OptionError for an unknown format or palette, before anything is written, and OSError if
    writing fails.
    """
    parsing.labels.palette(palette)  # raises now for an unknown one
    formats, folder = _known(formats), folder_path("folder", folder)
    targets = paths(parsing.name, folder, formats)
    _make_folder(folder)
    for name, target in zip(formats, targets, strict=True):
        with whole_file(target) as part, open(part, "xb") as file:
            FORMATS[name].write(parsing, file, palette)
    return targets


def paths(name: str, folder: str | Path, formats: Iterable[str] | str) -> list[Path]:
    """The files that `save` writes for a photo of that name. Raises OptionError for an unknown
    format or a path as name."""
    if (
        not isinstance(name, str)
        or not name
        or Path(name).name != name
        or "\\" in name
        or "\0" in name
    ):
        raise OptionError(f"{name!r} cannot name a file; give the photo a name without folders")
    folder = folder_path("folder", folder)
    return [folder / f"{name}{FORMATS[one].suffix}" for one in _known(formats)]


# The writers


def _write_overlay(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(render.overlay(parsing, palette=palette), file)


def _write_outlines(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    _write_png(render.outlines(parsing, palette=palette), file)


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


def _write_coco(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    file.write(json.dumps(to_coco(parsing)).encode() + b"\n")


def _write_labelme(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    file.write(json.dumps(to_labelme(parsing), indent=2).encode() + b"\n")


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


def _write_png(picture: Image.Image, file: BinaryIO) -> None:
    file.write(encode_picture(picture, "png"))


class Format(NamedTuple):
    """What one format adds to the photo's name, and the function that writes it."""

    suffix: str
    write: Callable[[Parsing, BinaryIO, str], None]  # parsing, open file, palette


_WRITERS: dict[str, Callable[[Parsing, BinaryIO, str], None]] = {
    "overlay": _write_overlay,  # the photo in colours, with outlines and legend
    "outlines": _write_outlines,  # the photo with the outlines alone
    "colormap": _write_colormap,  # the label map in colours, RGB
    "labels": _write_labels,  # the label map, each value a class
    "people": _write_people,  # the person map, each value a person
    "cutout": _write_cutout,  # everybody on a transparent background
    "json": _write_json,  # docs/json.md
    "coco": _write_coco,  # COCO's annotations, people and parts
    "labelme": _write_labelme,  # the parts as polygons, for labelme
    "npz": _write_npz,  # both maps and the people's boxes for NumPy
}
FORMATS = {name: Format(suffix, _WRITERS[name]) for name, suffix in FORMAT_SUFFIXES.items()}

_MEDIA_TYPES = {"png": "image/png", "json": "application/json", "npz": "application/octet-stream"}
# for HTTP
CONTENT_TYPES = {name: _MEDIA_TYPES[one.suffix.rpartition(".")[2]] for name, one in FORMATS.items()}


def _known(formats: Iterable[str] | str) -> list[str]:
    """The formats without repeats; a single name is a list of one. Raises OptionError for an
    unknown one."""
    names = one_or_more("formats", formats)
    for name in names:
        if name not in list(FORMATS):  # a list is in no dictionary, but may be asked for
            raise OptionError(f"there is no format {name!r}; choose from {', '.join(FORMATS)}")
    return list(dict.fromkeys(names))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OptionError(
            f"{folder} cannot be a folder: a file of that name is in the way; choose another"
        ) from error
