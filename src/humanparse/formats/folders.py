"""Folders of PNGs: a binary mask for each person and part, and what the evaluation code of CIHP and
LIP reads.

    CIHP    cihp_parsing_maps/NAME.png         the class of each pixel
            cihp_instance_part_maps/NAME.png   the number of the part, and in NAME.txt on line i
                                               "class score" of part i
            cihp_human_maps/NAME.png           the number of the person, and in NAME.txt "1 score"
    LIP     NAME.png                           the class of each pixel

Sources: https://github.com/Engineering-Course/CIHP_PGN (evaluation/, instance_tool/);
https://github.com/GoGoDuck912/Self-Correction-Human-Parsing (utils/miou.py).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from humanparse.arguments import folder_path
from humanparse.errors import OptionError
from humanparse.formats.pictures import encode_picture
from humanparse.labels import difference, label_set
from humanparse.masks import Mask
from humanparse.result import Parsing, Part
from humanparse.system.files import whole_file

LAYOUTS = ("cihp", "lip")
_STAMP = (1980, 1, 1, 0, 0, 0)  # of files in archives: the same result gives the same bytes


def save_masks(parsing: Parsing, folder: str | Path) -> list[Path]:
    """Write a binary PNG, 0 or 255, for each person and each part, in the photo's size.

    `street.person-1.png` is the first person, `street.person-1.Face.png` their face, and
    `street.nobody.Hat.png` a part that belongs to nobody.

    Args:
        parsing: The result; its name begins the names of the files.
        folder: Where to write; it is made if it does not exist. Files of these names are replaced.

    Returns:
        The paths of the files.

    Raises:
        OSError: Writing fails.
    """
    folder = folder_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write(folder / f"{parsing.name}.{name}.png", mask_png(mask))
        for name, mask in _masks(parsing)
    ]


def write_masks(parsing: Parsing, file: BinaryIO) -> None:
    """Write the PNGs of `save_masks` into one ZIP archive; their names begin with the person."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, mask in _masks(parsing):
            archive.writestr(zipfile.ZipInfo(f"{name}.png", _STAMP), mask_png(mask))


def mask_png(mask: Mask) -> bytes:
    """Return the PNG of a mask: 255 in it, 0 elsewhere."""
    return _png(mask.to_dense().view(np.uint8) * np.uint8(255))


def save_evaluation(parsings: Iterable[Parsing], folder: str | Path, layout: str) -> int:
    """Write results as the evaluation code of a data set reads predictions.

    Args:
        parsings: The results, named like the data set's photos; they are read one after the other.
        folder: Where to write; it is made if it does not exist. Files of these names are replaced.
        layout: "cihp" or "lip"; the results must have the classes of that data set.

    Returns:
        The number of photos.

    Raises:
        OptionError: There is no such layout, the classes differ, a photo has more parts or people
            than a PNG of eight bits can number, or two photos have one name.
        OSError: Writing fails.
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout is {layout!r}; choose one of {', '.join(LAYOUTS)}")
    folder = folder_path("folder", folder)
    seen: set[str] = set()
    for parsing in parsings:
        if what := difference(label_set(layout), parsing.labels, "the result's"):
            raise OptionError(f"{layout} has {what}; use a model with its classes")
        if parsing.name in seen:
            raise OptionError(
                f"two photos are called {parsing.name!r}; parse each with a name of its own"
            )
        seen.add(parsing.name)
        for path, data in _evaluated(parsing, layout):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, data)
    return len(seen)


def _masks(parsing: Parsing) -> Iterator[tuple[str, Mask]]:
    for person in parsing.people:
        yield f"person-{person.id}", person.mask
        for part in person.parts.values():
            yield f"person-{person.id}.{_file_name(part.label)}", part.mask
    for part in parsing.loose_parts:
        yield f"nobody.{_file_name(part.label)}", part.mask


def _file_name(label: str) -> str:
    """A label without what cannot be in the name of a file: "Cap/hat" is "Cap-hat"."""
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "-", label)


def _evaluated(parsing: Parsing, layout: str) -> Iterator[tuple[str, bytes]]:
    """The files of one photo, each with its path in the folder."""
    name = parsing.name
    if layout == "lip":
        yield f"{name}.png", _png(parsing.label_map)
        return
    parts = sorted((part for part, _ in parsing.parts), key=lambda part: part.class_id)
    yield f"cihp_parsing_maps/{name}.png", _png(parsing.label_map)
    yield f"cihp_instance_part_maps/{name}.png", _png(_numbered(parts, parsing))
    yield (
        f"cihp_instance_part_maps/{name}.txt",
        _lines((part.class_id, part.score) for part in parts),
    )
    if len(parsing.people) > 255:
        raise OptionError(f"{name!r} shows {len(parsing.people)} people; a PNG numbers 255")
    yield f"cihp_human_maps/{name}.png", _png(parsing.person_map.astype(np.uint8))
    yield f"cihp_human_maps/{name}.txt", _lines((1, person.score) for person in parsing.people)


def _numbered(parts: list[Part], parsing: Parsing) -> np.ndarray:
    """uint8 (H, W): the number of each pixel's part, from 1 on; 0 for none."""
    if len(parts) > 255:
        raise OptionError(f"{parsing.name!r} has {len(parts)} parts; a PNG numbers 255")
    numbers = np.zeros(parsing.size_hw, np.uint8)
    for number, part in enumerate(parts, 1):
        x0, y0, x1, y1 = part.mask.box_xyxy
        numbers[y0:y1, x0:x1][part.mask.crop] = number
    return numbers


def _lines(rows: Iterable[tuple[int, float]]) -> bytes:
    return "".join(f"{number} {score:.6f}\n" for number, score in rows).encode()


def _png(values: np.ndarray) -> bytes:
    return encode_picture(Image.fromarray(np.ascontiguousarray(values)), "png")


def _write(target: Path, data: bytes) -> Path:
    with whole_file(target) as part:
        part.write_bytes(data)
    return target
