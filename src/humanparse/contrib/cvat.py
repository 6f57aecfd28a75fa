"""An auto-annotation function for CVAT: people and their parts, as masks or polygons.

    cvat-cli task auto-annotate TASK --function-module humanparse.contrib.cvat

Needs the package cvat-sdk, or cvat-cli, which brings it along. Parameters are those of `create`,
such as `-p what=str:people`. CVAT matches labels by their names: they are those of the model's
classes and "person".

Source: https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from cvat_sdk import auto_annotation as cvataa
from PIL import Image

from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.masks import Mask, row_runs
from humanparse.parser import HumanParser
from humanparse.pipeline import MIN_SCORE
from humanparse.result import Parsing

if TYPE_CHECKING:
    from cvat_sdk.models import LabeledShapeRequest

PERSON = "person"
WHAT = ("people", "parts", "both")


class Function:
    """One auto-annotation function, as CVAT calls it.

    Args:
        parser: What parses.
        what: What is annotated, one of `WHAT`.

    Attributes:
        spec: Its labels. A part's number is its class; that of people is the number of classes.

    Raises:
        OptionError: `what` is none of `WHAT`.
    """

    def __init__(self, parser: HumanParser, what: str = "both"):
        if what not in WHAT:
            raise OptionError(f"what is {what!r}; choose one of {', '.join(WHAT)}")
        self._parser, self._what = parser, what
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[
                cvataa.label_spec(name, number, type="mask", attributes=[])
                for number, name in _labels(parser.labels, what).items()
            ]
        )

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: Image.Image
    ) -> list[LabeledShapeRequest]:
        """Return the shapes of one picture.

        Those of one person and their parts have one group, the person's number; parts that belong
        to nobody have none. Parts lie above people.

        Args:
            context: What CVAT asks for: the lowest score, and whether masks become polygons.
            image: The picture.
        """
        parsing = self._parser.parse(image)
        lowest = context.conf_threshold or 0.0
        shapes = []
        for number, mask, score, person, above in _regions(parsing, self._what):
            if score < lowest or not mask.area:
                continue
            common: dict[str, Any] = {"group": person, "z_order": above}
            if not context.conv_mask_to_poly:
                shapes.append(cvataa.mask(number, cvat_mask(mask), **common))
                continue
            for polygon in mask.to_polygons():
                if len(polygon) >= 3:
                    shapes.append(cvataa.polygon(number, polygon.ravel().tolist(), **common))
        return shapes


def create(model: str | None = None, what: str = "both", min_score: float = MIN_SCORE) -> Function:
    """Return the function for the parameters of a command line (`-p model=str:…`).

    Args:
        model: A model's name or file; None for the one in the package.
        what: What is annotated: "people", "parts" or "both".
        min_score: The lowest score, 0 to 1.
    """
    return Function(HumanParser(model, min_score=min_score), what)


def detect(
    context: cvataa.DetectionFunctionContext, image: Image.Image
) -> list[LabeledShapeRequest]:
    """Return the shapes of one picture, found by the model in the package."""
    return _default().detect(context, image)


def __getattr__(name: str) -> Any:
    """Make `spec`, the labels of the model in the package, when it is first asked for."""
    if name == "spec":
        return _default().spec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def cvat_mask(mask: Mask) -> list[float]:
    """Return a mask in CVAT's form: run lengths in its box, row by row, which begin with those of
    the outside, and then the box, whose right and lower edges lie inside.

    Args:
        mask: One that is not empty.
    """
    x0, y0, x1, y1 = mask.box_xyxy
    return [*row_runs(mask.crop), x0, y0, x1 - 1, y1 - 1]


@cache
def _default() -> Function:
    return create()


def _labels(labels: LabelSet, what: str) -> dict[int, str]:
    parts = dict(list(enumerate(labels.names))[1:]) if what != "people" else {}
    return parts | ({len(labels): labels.name_beside(PERSON)} if what != "parts" else {})


def _regions(parsing: Parsing, what: str) -> Iterator[tuple[int, Mask, float, int, int]]:
    """Label, mask, score, person and height of everything that is annotated."""
    for person in parsing.people:
        if what != "parts":
            yield len(parsing.labels), person.mask, person.score, person.id, 0
        if what != "people":
            for part in person.parts.values():
                yield part.class_id, part.mask, part.score, person.id, 1
    if what != "people":
        for part in parsing.loose_parts:
            yield part.class_id, part.mask, part.score, 0, 1
