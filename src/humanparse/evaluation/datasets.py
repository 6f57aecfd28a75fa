"""Labelled data sets in the folder layouts in which they are published.

These are CIHP, LIP, PASCAL-Person-Part and MHP-v2, and plain folders:

    cihp     Images/*.jpg, Category_ids/*.png, Human_ids/*.png, Instance_ids/*.png and *.txt (one
             line for each part instance: its number in the PNG, its class, its person)
    lip      val_images/*.jpg, val_segmentations/*.png; or Images/, Category_ids/
    pascal   like cihp (the layout of M2FP and Parsing R-CNN)
    mhp      images/*.jpg, parsing_annos/NAME_PEOPLE_PERSON.png, one file per person; or like cihp
    plain    images/*, labels/*.png, persons/*.png if people are separated, labels.txt with one
             class name per line if the classes are not the model's; 255 in labels/ is unknown

The folder is that of one split (for example `Validation`); in the folder above it, the validation
split is taken. Only names are read until a sample is loaded.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from humanparse.errors import OptionError
from humanparse.evaluation.ground_truth import GroundTruth
from humanparse.evaluation.label_png import read_numbers
from humanparse.evaluation.mean_iou import IGNORE
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART, LabelSet, difference
from humanparse.system.text import read_text
from humanparse.vocabulary import PICTURE_ENDINGS as PHOTO_ENDINGS

FORMATS = ("cihp", "lip", "pascal", "mhp", "plain")
SPLITS = ("Validation", "val", "Testing", "test")  # looked for in this order
MHP_FILE = re.compile(r"(.+)_\d+_\d+\.png")
VOC_NAME = re.compile(r"\d{4}_\d{6}")  # how PASCAL VOC names photos


@dataclass(frozen=True)
class Sample:
    """One labelled photo.

    Attributes:
        name: The photo's name.
        image: The path of the photo.
        load: Reads its labels. Raises OptionError for a missing or damaged label file.
    """

    name: str
    image: Path
    load: Callable[[], GroundTruth]


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
        folder: The folder of the split.
        format: One of FORMATS.
        labels: The classes, None for those of the model.
        samples: The samples, sorted by name.
        notes: What was found there and left out, with its number, as sentences for the user.
    """

    folder: Path
    format: str
    labels: LabelSet | None
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the folder, for example "photos".

        The name of a split includes the folder above it, for example "CIHP/Validation".
        """
        folder = self.folder.resolve()
        return f"{folder.parent.name}/{folder.name}" if folder.name in SPLITS else folder.name


def open_dataset(folder: str | Path, format: str | None = None) -> Dataset:
    """Open the data set in a folder.

    Args:
        folder: The folder of the split, or the one above it.
        format: One of FORMATS, or None to recognise the layout.

    Raises:
        OptionError: If there is no such folder, if it holds no such data set, or if photos have no
            labels.
    """
    folder = Path(folder)
    if format is not None and format not in FORMATS:
        raise OptionError(
            f"there is no data set format {format!r}; choose one of {', '.join(FORMATS)}"
        )
    if not folder.is_dir():
        raise OptionError(
            f"there is no folder {str(folder)!r}; give the folder of a data set's split, "
            "for example its Validation folder"
        )
    for place in (folder, *(folder / split for split in SPLITS)):
        kind = format or _format(place)
        if kind and (read := _layout(place, kind)):
            return read()
    wanted = f"the {format} layout" if format else "a data set"
    raise OptionError(f"{folder} does not look like {wanted}: expected {_expected(format)}")


def check_labels(dataset: Dataset, model_labels: LabelSet, model: str) -> LabelSet:
    """Return the classes of the model if they are those of the data set.

    Raises:
        OptionError: If they differ.
    """
    what = difference(dataset.labels, model_labels, "the model's") if dataset.labels else ""
    if not what:
        return model_labels
    raise OptionError(
        f"{dataset.folder} ({dataset.format}) has {what}, so {model} cannot be measured on it; "
        "choose another model, or another --format"
    )


# Which layout


def _format(folder: Path) -> str | None:
    """Return the format that the folder looks like, or None."""
    if (folder / "parsing_annos").is_dir():
        return "mhp"
    if (folder / "labels").is_dir() and (folder / "images").is_dir():
        return "plain"
    if (folder / "Category_ids").is_dir():
        if not (folder / "Human_ids").is_dir():
            return "lip"
        first = next((folder / "Images").glob("*.jpg"), None)
        return "pascal" if first and VOC_NAME.fullmatch(first.stem) else "cihp"
    return "lip" if _lip_folders(folder) else None


def _layout(folder: Path, format: str) -> Callable[[], Dataset] | None:
    """Return a function that reads a data set of that format, or None if the layout does not
    fit.
    """
    if format == "plain" and (folder / "labels").is_dir():
        return lambda: _plain(folder)
    if format == "mhp" and (folder / "parsing_annos").is_dir():
        return lambda: _mhp(folder)
    if format == "lip" and (found := _lip_folders(folder)):
        return lambda: _semantic(folder, "lip", LIP, *found)
    if format != "plain" and (folder / "Category_ids").is_dir():
        if format == "lip":
            return lambda: _semantic(folder, "lip", LIP, folder / "Images", folder / "Category_ids")
        return lambda: _instances(folder, format)
    return None


def _expected(format: str | None) -> str:
    layouts = {
        "cihp": "Images/, Category_ids/, Human_ids/ and Instance_ids/",
        "lip": "val_images/ and val_segmentations/",
        "mhp": "images/ and parsing_annos/",
        "plain": "images/, labels/ and, to tell people apart, persons/",
    }
    layouts["pascal"] = layouts["cihp"]
    return (
        layouts[format]
        if format
        else "; ".join(f"{layouts[one]} ({one})" for one in ("cihp", "lip", "mhp", "plain"))
    )


def _lip_folders(folder: Path) -> tuple[Path, Path] | None:
    """Return LIP's folders of photos and labels.

    Its archives unpack into one or two more folders, or none.
    """
    found = []
    for name in ("val_images", "val_segmentations"):
        places = [
            place
            for depth in ("", "*/", "*/*/")
            for place in sorted(folder.glob(depth + name))
            if place.is_dir()
        ]
        found += places[:1]
    return (found[0], found[1]) if len(found) == 2 else None


# Readers


def _semantic(
    folder: Path, format: str, labels: LabelSet, images: Path, categories: Path
) -> Dataset:
    """Read a data set of label maps only."""

    def sample(photo: Path) -> Sample:
        return Sample(
            photo.stem,
            photo,
            lambda: GroundTruth(_read_classes(categories / f"{photo.stem}.png", len(labels))),
        )

    return _dataset(folder, format, labels, images, categories, sample)


def _instances(folder: Path, format: str) -> Dataset:
    """Read Category_ids, Human_ids and, where there are any, Instance_ids."""
    labels = {"cihp": CIHP, "pascal": PASCAL_PERSON_PART, "mhp": MHP_V2}[format]
    parts = folder / "Instance_ids"

    def load(name: str) -> GroundTruth:
        classes = _read_classes(folder / "Category_ids" / f"{name}.png", len(labels))
        people = _read_beside(classes, folder / "Human_ids" / f"{name}.png")
        if not (parts / f"{name}.txt").is_file():
            return GroundTruth(classes, people)
        part_map = _read_beside(classes, parts / f"{name}.png")
        listed = _read_part_list(parts / f"{name}.txt", len(labels))
        return GroundTruth(classes, people, part_map, listed)

    return _dataset(
        folder,
        format,
        labels,
        folder / "Images",
        folder / "Category_ids",
        lambda photo: Sample(photo.stem, photo, partial(load, photo.stem)),
    )


def _mhp(folder: Path) -> Dataset:
    """Read one label map per person; where two claim a pixel, the later file wins."""
    files: dict[str, list[Path]] = {}
    for path in sorted((folder / "parsing_annos").glob("*.png")):
        if match := MHP_FILE.fullmatch(path.name):
            files.setdefault(match[1], []).append(path)

    def load(name: str) -> GroundTruth:
        first, *others = files[name]
        classes = _read_classes(first, len(MHP_V2))
        people = (classes > 0).astype(np.uint16)
        for number, path in enumerate(others, start=2):
            one = _same_size(classes, _read_classes(path, len(MHP_V2)), path)
            classes[one > 0], people[one > 0] = one[one > 0], number
        return GroundTruth(classes, people)

    images = _photos(folder / "images")
    missing = [photo.stem for photo in images if photo.stem not in files]
    _refuse_missing(missing, folder / "parsing_annos", "_01_01.png")
    samples = tuple(Sample(photo.stem, photo, partial(load, photo.stem)) for photo in images)
    notes = _left_out(folder / "images", folder / "parsing_annos", images, files)
    return Dataset(folder, "mhp", MHP_V2, samples, notes)


def _plain(folder: Path) -> Dataset:
    """Read images/, labels/ and, if it exists, persons/."""
    names = folder / "labels.txt"
    labels = _read_names(names) if names.is_file() else None
    persons = folder / "persons" if (folder / "persons").is_dir() else None

    def load(name: str) -> GroundTruth:
        classes = _read_classes(folder / "labels" / f"{name}.png", len(labels) if labels else 255)
        if persons is None:
            return GroundTruth(classes)
        return GroundTruth(classes, _read_beside(classes, persons / f"{name}.png"))

    dataset = _dataset(
        folder,
        "plain",
        labels,
        folder / "images",
        folder / "labels",
        lambda photo: Sample(photo.stem, photo, partial(load, photo.stem)),
    )
    return (
        replace(dataset, notes=dataset.notes + _unknown_sides(names, labels)) if labels else dataset
    )


def _dataset(
    folder: Path,
    format: str,
    labels: LabelSet | None,
    images: Path,
    categories: Path,
    sample: Callable[[Path], Sample],
) -> Dataset:
    photos = _photos(images)
    present = {path.stem for path in categories.glob("*.png")}
    _refuse_missing(
        [photo.stem for photo in photos if photo.stem not in present], categories, ".png"
    )
    notes = _left_out(images, categories, photos, present)
    return Dataset(folder, format, labels, tuple(sample(photo) for photo in photos), notes)


def _photos(folder: Path) -> list[Path]:
    """Return the photos by name. Raises OptionError if there are none, or two of the same name."""
    photos = sorted(
        (path for path in _shown(folder) if _is_photo(path)), key=lambda path: path.stem
    )
    if not photos:
        seen = "".join(f" but {one}" for one in _what_else(folder))
        endings = " ".join(PHOTO_ENDINGS)
        raise OptionError(
            f"there are no photos in {folder}{seen}; expected files that end in {endings}"
        )
    for one, two in itertools.pairwise(photos):
        if one.stem == two.stem:
            raise OptionError(
                f"{one} and {two.name} have the same name, so it is not clear which labels belong "
                "to which; rename one of them"
            )
    return photos


def _refuse_missing(missing: list[str], folder: Path, ending: str) -> None:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        other = next((path.name for path in _shown(folder) if path.stem == missing[0]), None)
        seen = f" but {other}" if other else ""
        raise OptionError(
            f"{folder} has no {missing[0]}{ending}{more}{seen}: every photo needs labels; "
            "add them, or remove the photos that have none"
        )


def _shown(folder: Path) -> Iterator[Path]:
    """Return the contents of a folder without hidden files."""
    return (path for path in folder.glob("*") if not path.name.startswith("."))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_ENDINGS and path.is_file()


def _left_out(
    images: Path, labels: Path, photos: list[Path], labelled: Collection[str]
) -> tuple[str, ...]:
    """Return notes on files in `images` that are not read, and on labels (by name) without a
    photo.
    """
    notes = [f"left out of {images}: {one}" for one in _what_else(images)]
    alone = sorted(set(labelled) - {photo.stem for photo in photos})
    if alone:
        notes.append(
            f"left out of {labels}: {counted(alone, 'label')} without a photo of that name"
        )
    return tuple(notes)


def _what_else(images: Path) -> list[str]:
    """Return phrases that count the files with other endings, and the sub-folders."""
    others = sorted(path for path in _shown(images) if not _is_photo(path))
    files = [path.name for path in others if not path.is_dir()]
    folders = [path.name for path in others if path.is_dir()]
    phrases = []
    if files:
        phrases.append(f"{counted(files, 'file')} with an ending that is not supported")
    if folders:
        phrases.append(f"{counted(folders, 'sub-folder')}, since all photos must be in one folder")
    return phrases


def counted(names: list[str], what: str) -> str:
    """Return, for example, "1 file (a.txt)" or "3 files (such as a.txt)"."""
    return (
        f"1 {what} ({names[0]})"
        if len(names) == 1
        else f"{len(names)} {what}s (such as {names[0]})"
    )


# Files


def _read_classes(path: Path, num_classes: int) -> np.ndarray:
    """Read uint8 (H, W). Raises OptionError unless all values are below `num_classes` or 255."""
    values = read_numbers(path)
    known = values[values != IGNORE]
    if known.size and known.max() >= num_classes:
        raise OptionError(
            f"{path} has the value {int(known.max())}; expected classes 0 to {num_classes - 1}, "
            "or 255 for unknown; is it a label map of numbers, and is the --format right?"
        )
    return values.astype(np.uint8)


def _read_beside(classes: np.ndarray, path: Path) -> np.ndarray:
    """Read the numbers of people or parts, int (H, W). Raises OptionError for another size."""
    return _same_size(classes, read_numbers(path), path)


def _same_size(classes: np.ndarray, other: np.ndarray, path: Path) -> np.ndarray:
    if other.shape != classes.shape:
        (height, width), (h, w) = classes.shape, other.shape
        raise OptionError(
            f"{path} is {w}x{h} but the other labels of that photo are {width}x{height}; "
            "all should have the photo's size"
        )
    return other


def _read_part_list(path: Path, num_classes: int) -> dict[int, int]:
    """Return number of the part → class, from lines of "part class person"."""
    parts = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if (
            len(words) < 2
            or not all(word.isdigit() for word in words[:2])
            or int(words[1]) >= num_classes
        ):
            raise OptionError(
                f"{path}, line {number} is {line!r}; "
                "expected the numbers of a part, its class and its person"
            )
        parts[int(words[0])] = int(words[1])
    return parts


def _unknown_sides(path: Path, labels: LabelSet) -> tuple[str, ...]:
    """Return a note on classes that look like the two sides of a pair but are not written as
    one.
    """
    there = {name.casefold() for name in labels.names}
    for name in labels.names:
        low = name.casefold()
        if low.startswith("left") and not name.startswith("Left-") and f"right{low[4:]}" in there:
            return (
                f"{path}: {name!r} and its right side are not treated as a pair, so they keep "
                "their names in mirrored photos; write pairs as Left-arm and Right-arm",
            )
    return ()


def _read_names(path: Path) -> LabelSet:
    """Read one class name per line; return the known label set of these names if there is one."""
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    for known in (CIHP, LIP, PASCAL_PERSON_PART, MHP_V2):
        if known.names == names:
            return known
    if not 2 <= len(names) <= 255:
        raise OptionError(
            f"{path} has {len(names)} names; expected one class per line, the background first"
        )
    try:
        return LabelSet(path.parent.resolve().name, names)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None
