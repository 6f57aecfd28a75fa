"""What a parse returns: Parsing → Person → Part, small and frozen, with compact masks.

Files, drawing and text are in formats/ and render/. The short methods at the end of Parsing only
open those doors for the reader (`result.overlay()`); they import upwards, inside the call, and are
the only ones that may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from humanparse.labels import LabelSet
from humanparse.masks import Box, Mask

if TYPE_CHECKING:
    import pandas
    from PIL.Image import Image


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """One body part or garment of one person.

    Attributes:
        label: The name of its class, such as "Left-arm".
        class_id: The number of its class in the label map.
        score: From 0 to 1.
        mask: Its pixels.
    """

    label: str
    class_id: int
    score: float
    mask: Mask

    def __repr__(self) -> str:
        return f"<Part {self.label!r} {self.score:.2f}, {self.area} pixels>"

    @property
    def box_xyxy(self) -> Box:
        """The tight box of the mask, x0, y0, x1, y1 in pixels."""
        return self.mask.box_xyxy

    @property
    def area(self) -> int:
        """The number of pixels."""
        return self.mask.area


@dataclass(frozen=True, eq=False, repr=False)
class Person:
    """One person: their pixels and, by label, their parts.

    Attributes:
        id: 1..n, the person's number in the person map.
        score: From 0 to 1.
        mask: Every pixel of the person; the parts lie inside it.
        parts: By the name of the class.
    """

    id: int
    score: float
    mask: Mask
    parts: Mapping[str, Part] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Person {self.id} {self.score:.2f}, {self.area} pixels: {', '.join(self.parts)}>"

    @property
    def box_xyxy(self) -> Box:
        """The tight box of the mask, x0, y0, x1, y1 in pixels."""
        return self.mask.box_xyxy

    @property
    def area(self) -> int:
        """The number of pixels."""
        return self.mask.area


class People(tuple[Person, ...]):
    """The people of a photo, a tuple; shown as a small table."""

    __slots__ = ()

    def __repr__(self) -> str:
        rows = [("person", "score", "box", "pixels", "parts")]
        for one in self:
            box = "{}, {}, {}, {}".format(*one.box_xyxy)
            rows.append((str(one.id), f"{one.score:.2f}", box, str(one.area), ", ".join(one.parts)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines) if self else "()"


@dataclass(frozen=True, eq=False, repr=False)
class Parsing:
    """The people of one photo, in the size and orientation in which a person sees it.

    Attributes:
        label_map: uint8 (H, W), the class of each pixel; 0 is the background.
        person_map: uint16 (H, W), the person of each pixel; 0 is nobody.
        people: From left to right; `people[i].id == i + 1`.
        labels: The classes.
        image: uint8 (H, W, 3) RGB, the photo itself, for drawing.
        loose_parts: Parts that belong to no person found; their pixels are in the label map, with
            person 0.
        name: The name of the photo without folder and ending; `save` names files after it.
        model: The name of the model.
        timings_ms: The time that each stage took, in milliseconds.
        file_name: The file name of the photo, "" if it did not come from a file. Without folder, or
            with those folders, separated by slashes, that distinguish it from others of its name.
    """

    label_map: np.ndarray
    person_map: np.ndarray
    people: tuple[Person, ...]
    labels: LabelSet
    image: np.ndarray
    loose_parts: tuple[Part, ...] = ()
    name: str = "image"
    model: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    file_name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "people", People(self.people))

    def __repr__(self) -> str:
        height, width = self.size_hw
        count = "1 person" if len(self.people) == 1 else f"{len(self.people)} people"
        return f"<Parsing {self.name!r} {width}x{height}, {count}>"

    def _repr_png_(self) -> bytes:
        """Return the overlay for notebooks, which show a result by it."""
        from humanparse import formats, render

        return formats.encode_picture(render.overlay_pixels(self), "png")

    @property
    def size_hw(self) -> tuple[int, int]:
        """The height and width of the photo."""
        height, width = self.label_map.shape
        return height, width

    @property
    def parts(self) -> list[tuple[Part, int]]:
        """Every part with the number of its person; at the end those of nobody, with 0."""
        owned = [(part, person.id) for person in self.people for part in person.parts.values()]
        return owned + [(part, 0) for part in self.loose_parts]

    def overlay(self, **options: Any) -> Image:
        """Return the photo with people's parts coloured and outlined, and a legend.

        Args:
            **options: See `humanparse.render.overlay`.
        """
        from humanparse import render

        return render.overlay(self, **options)

    def colormap(self, **options: Any) -> Image:
        """Return the label map in colours.

        Args:
            **options: See `humanparse.render.colormap`.
        """
        from humanparse import render

        return render.colormap(self, **options)

    def edit(
        self,
        *,
        people: str | int | Iterable[int] | None = None,
        without_people: str | int | Iterable[int] | None = None,
        strength: float = 1.0,
        **operations: str | Iterable[str],
    ) -> Image:
        """Return the photo with its regions edited: `result.edit(blur="face", background="white")`.

        What was requested and not found is logged as a warning of the logger `humanparse`;
        `humanparse.edit` also returns what is missing.

        Args:
            people: Edit only these people, by number: 2 or [1, 3]; None for everybody.
            without_people: Edit everybody but these people.
            strength: Of blurring and pixelating; 2 leaves half the detail of 1.
            **operations: See `humanparse.edit`.
        """
        from humanparse.edit import edited

        return edited(
            self,
            operations,
            people=people,
            without_people=without_people,
            strength=strength,
        )

    def to_json(self, **options: Any) -> str:
        """Return people, parts, boxes, scores and run-length masks as text.

        Args:
            **options: See `humanparse.formats.to_json`.
        """
        from humanparse import formats

        return formats.to_json(self, **options)

    def to_modelscope(self) -> dict[str, list]:
        """Return {"masks", "labels", "scores"} like ModelScope's pipeline.

        See `humanparse.formats.to_modelscope`.
        """
        from humanparse import formats

        return formats.to_modelscope(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each person and each part. See `humanparse.formats.tables.to_pandas`."""
        from humanparse.formats import tables

        return tables.to_pandas(self)

    def save(
        self,
        folder: str | Path,
        formats: Iterable[str] = ("overlay", "colormap", "labels", "json"),
        **options: Any,
    ) -> list[Path]:
        """Write files named after the photo, and return their paths.

        Args:
            folder: Where to write them; it is made if it does not exist.
            formats: Which files: see `humanparse.formats.FORMATS`.
            **options: See `humanparse.formats.save`.
        """
        from humanparse import formats as writers

        return writers.save(self, folder, formats, **options)


@dataclass(frozen=True, eq=False)
class ParseFailure:
    """What `HumanParser.parse_many(..., on_error="return")` yields for an unreadable photo.

    Attributes:
        image: The photo as it was given: a path, bytes, …
        error: What was raised.
    """

    image: Any
    error: Exception
