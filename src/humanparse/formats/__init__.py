"""A Parsing as files, as text, and in the forms of other libraries; `save` writes any of `FORMATS`.

native.py writes and reads our own JSON; coco.py, labelme.py, cvat.py, label_studio.py, yolo.py and
panoptic.py write what annotation tools and trainings read; folders.py writes masks and the folders
of evaluation code, svg.py drawings, tables.py tables; pipelines.py has the forms of other
pipelines, and pictures.py the pictures. A new format is one function here and one row of
`vocabulary.FORMAT_SUFFIXES`.
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
from humanparse.formats.cvat import to_cvat
from humanparse.formats.folders import mask_png, write_masks
from humanparse.formats.label_studio import to_label_studio
from humanparse.formats.labelme import to_labelme
from humanparse.formats.native import SCHEMA, from_dict, from_json, to_dict, to_json
from humanparse.formats.pictures import encode_picture, labels_image, people_image
from humanparse.formats.pipelines import labelled_regions, to_huggingface, to_modelscope
from humanparse.formats.svg import to_svg
from humanparse.formats.yolo import to_yolo
from humanparse.masks import Mask
from humanparse.result import Parsing
from humanparse.system.files import whole_file
from humanparse.tryon import agnostic_mask
from humanparse.vocabulary import FORMAT_SUFFIXES

__all__ = [
    "FORMATS",
    "SCHEMA",
    "Format",
    "coco_dataset",
    "encode_picture",
    "from_dict",
    "from_json",
    "labelled_regions",
    "labels_image",
    "paths",
    "people_image",
    "save",
    "to_coco",
    "to_dict",
    "to_huggingface",
    "to_json",
    "to_labelme",
    "to_modelscope",
]

PNG, JSON = "image/png", "application/json"  # media types
Writer = Callable[[Parsing, BinaryIO, str], None]  # parsing, open file, palette


def save(
    parsing: Parsing, folder: str | Path, formats: Iterable[str] | str, *, palette: str = "clear"
) -> list[Path]:
    """Write the photo's files into a folder.

    Each file appears whole or not at all: it is written under another name first. A file that
    already has the name is replaced.

    Args:
        parsing: The result to write.
        folder: Where to write; it is created if it does not exist.
        formats: Names of `FORMATS`, or a single name.
        palette: The colours of the formats that are pictures.

    Returns:
        The paths of the files, in the order of the formats.

    Raises:
        OptionError: If a format or the palette is unknown; raised before anything is written.
        OSError: If writing fails.
    """
    parsing.labels.palette(palette)  # raises an error if it is unknown
    formats, folder = _known(formats), folder_path("folder", folder)
    targets = paths(parsing.name, folder, formats)
    _make_folder(folder)
    for name, target in zip(formats, targets, strict=True):
        with whole_file(target) as part, open(part, "xb") as file:
            FORMATS[name].write(parsing, file, palette)
    return targets


def paths(name: str, folder: str | Path, formats: Iterable[str] | str) -> list[Path]:
    """Return the paths of the files that `save` writes for a photo of that name.

    Args:
        name: The photo's name, without folder and ending.
        folder: Where they would be written.
        formats: Names of `FORMATS`, or a single name.

    Raises:
        OptionError: If a format is unknown, or if the name is a path.
    """
    if (
        not isinstance(name, str)
        or not name
        or Path(name).name != name
        or "\\" in name
        or "\0" in name
    ):
        raise OptionError(f"{name!r} cannot be the name of a file; give a name without folders")
    folder = folder_path("folder", folder)
    return [folder / f"{name}{FORMATS[one].suffix}" for one in _known(formats)]


# The writers


class Format(NamedTuple):
    """How one format is written.

    Attributes:
        suffix: What the format adds to the photo's name, with its dots.
        content_type: The media type of the file, for HTTP.
        write: Writes a parsing to an open file: (parsing, file, palette).
    """

    suffix: str
    content_type: str
    write: Writer


def _format(name: str, content_type: str) -> Callable[[Writer], Writer]:
    """Register the function as the writer of a format."""

    def register(write: Writer) -> Writer:
        FORMATS[name] = Format(FORMAT_SUFFIXES[name], content_type, write)
        return write

    return register


FORMATS: dict[str, Format] = {}  # in the order of the functions below


@_format("overlay", PNG)
def _write_overlay(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The photo in colours, with outlines and a legend."""
    _write_png(render.overlay_pixels(parsing, palette=palette), file)


@_format("outlines", PNG)
def _write_outlines(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The photo with outlines only."""
    _write_png(render.outlines_pixels(parsing, palette=palette), file)


@_format("colormap", PNG)
def _write_colormap(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The label map in colours, RGB."""
    _write_png(render.colormap_pixels(parsing, palette=palette), file)


@_format("labels", PNG)
def _write_labels(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The label map; each value is a class."""
    _write_png(labels_image(parsing, palette), file)


@_format("people", PNG)
def _write_people(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The person map; each value is a person."""
    _write_png(people_image(parsing), file)


@_format("cutout", PNG)
def _write_cutout(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """All people on a transparent background."""
    _write_png(render.cutout(parsing), file)


@_format("agnostic", PNG)
def _write_agnostic(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """What a try-on model paints over for the upper body of the largest person."""
    _write_tryon_mask(parsing, "upper", file)


@_format("agnostic-lower", PNG)
def _write_agnostic_lower(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The same for the lower body."""
    _write_tryon_mask(parsing, "lower", file)


@_format("agnostic-dress", PNG)
def _write_agnostic_dress(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The same for all of the body."""
    _write_tryon_mask(parsing, "dress", file)


@_format("masks", "application/zip")
def _write_masks(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """A ZIP archive with a binary PNG for each person and part."""
    write_masks(parsing, file)


@_format("json", JSON)
def _write_json(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """Our own JSON, see docs/json.md."""
    file.write(to_json(parsing).encode() + b"\n")


@_format("coco", JSON)
def _write_coco(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """COCO's annotations of people and parts."""
    file.write(json.dumps(to_coco(parsing)).encode() + b"\n")


@_format("labelme", JSON)
def _write_labelme(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The parts as polygons, for labelme."""
    file.write(json.dumps(to_labelme(parsing), indent=2).encode() + b"\n")


@_format("cvat", "application/xml")
def _write_cvat(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """People and parts as masks, for CVAT (images 1.1)."""
    file.write(to_cvat(parsing).encode())


@_format("label-studio", JSON)
def _write_label_studio(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """A task with the parts as brush masks, for Label Studio."""
    image = {"image": parsing.file_name or parsing.name}
    file.write(json.dumps({"data": image, "predictions": [to_label_studio(parsing)]}).encode())


@_format("yolo", "text/plain")
def _write_yolo(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """A line for each part, for YOLO's segmentation."""
    file.write(to_yolo(parsing).encode())


@_format("svg", "image/svg+xml")
def _write_svg(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """The parts as paths."""
    file.write(to_svg(parsing, palette=palette).encode())


@_format("npz", "application/octet-stream")
def _write_npz(parsing: Parsing, file: BinaryIO, palette: str) -> None:
    """Both maps and the people's boxes, for NumPy."""
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


def _write_png(picture: Image.Image | np.ndarray, file: BinaryIO) -> None:
    file.write(encode_picture(picture, "png"))


def _write_tryon_mask(parsing: Parsing, garment: str, file: BinaryIO) -> None:
    """Write white where the photo is painted over. A photo without people has nothing of it."""
    nothing = Mask.from_dense(np.zeros(parsing.size_hw, bool))
    file.write(mask_png(agnostic_mask(parsing, garment) if parsing.people else nothing))


def _known(formats: Iterable[str] | str) -> list[str]:
    """Return the formats without repetitions; a single name is a list of one.

    Raises OptionError for an unknown format.
    """
    names = one_or_more("formats", formats)
    for name in names:
        if name not in list(FORMATS):  # may be a list, which no dictionary can look up
            raise OptionError(f"there is no format {name!r}; choose from {', '.join(FORMATS)}")
    return list(dict.fromkeys(names))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OptionError(
            f"{folder} cannot be created: a file has that name; choose another folder"
        ) from error
