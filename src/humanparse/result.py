"""What a parse returns: Parsing → Person → Part, small and frozen, masks kept compact.

Files, drawing and text live in formats/ and render/. The short methods at the end of Parsing only
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
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Part:
    """One body part or garment of one person."""

    label: str  # its name, such as "Left-arm"
    class_id: int  # its number in the label map
    score: float  # 0 to 1
    mask: Mask

    @property
    def box_xyxy(self) -> Box:
        return self.mask.box_xyxy

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.mask.area


@dataclass(frozen=True, eq=False)
class Person:
    """One person: their pixels and, by label, their parts."""

    id: int  # 1..n, the person's number in the person map
    score: float  # 0 to 1
    mask: Mask  # every pixel of the person; parts lie inside it
    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def box_xyxy(self) -> Box:
        return self.mask.box_xyxy

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.mask.area


@dataclass(frozen=True, eq=False)
class Parsing:
    """The people of one photo, in the size and orientation in which a person sees it.

    label_map:   uint8 (H, W), the class of each pixel, 0 background
    person_map:  uint16 (H, W), 0 nobody, 1..n the person of each pixel
    people:      by falling score; `people[i].id == i + 1`
    loose_parts: parts that belong to no person found (their pixels are in the label map, with
    person 0)
    image:       uint8 (H, W, 3) RGB, the photo itself, for drawing
    name:        of the photo, without folder and ending; names the files that `save` writes
    timings_ms:  how long each stage took, in milliseconds
    file_name:   of the photo, "" if it did not come from a file; without folder, or with those that
                 tell it from others of that name, parted by slashes
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

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.label_map.shape

    def overlay(self, **options) -> Image:
        """The photo with people's parts coloured and outlined, and a legend: see
        `humanparse.render.overlay`."""
        from humanparse import render

        return render.overlay(self, **options)

    def colormap(self, **options) -> Image:
        """The label map in colours: see `humanparse.render.colormap`."""
        from humanparse import render

        return render.colormap(self, **options)

    def edit(self, *, strength: float = 1.0, **operations: str | Iterable[str]) -> Image:
        """Return the photo with its regions edited: `result.edit(blur="face", background="white")`.

        What was asked for and not found is logged as a warning of the logger `humanparse`. See
        `humanparse.edit` for the operations and for a result that says what is missing.
        """
        from humanparse.edit import edited

        return edited(self, operations, strength)

    def to_json(self, **options) -> str:
        """People, parts, boxes, scores and run-length masks as text: see
        `humanparse.formats.to_json`."""
        from humanparse import formats

        return formats.to_json(self, **options)

    def to_modelscope(self) -> dict[str, list]:
        """{"masks", "labels", "scores"} as ModelScope's pipeline has them: see
        `humanparse.formats.to_modelscope`."""
        from humanparse import formats

        return formats.to_modelscope(self)

    def save(
        self,
        folder: str | Path,
        formats: Iterable[str] = ("overlay", "colormap", "labels", "json"),
        **options,
    ) -> list[Path]:
        """Write files named after the photo into `folder`: see `humanparse.formats.save`. Returns
        their paths."""
        from humanparse import formats as writers

        return writers.save(self, folder, formats, **options)


@dataclass(frozen=True, eq=False)
class ParseFailure:
    """What `HumanParser.parse_many(..., on_error="return")` gives in place of a photo that could
    not be read."""

    image: Any  # the photo as it was given: a path, bytes, ...
    error: Exception
