"""The steps from a photo to its people that a model's card describes, without the network.

    pixels → inputs → (a network) → outputs → people

Everything here is pure: there are no engines, threads or files. `HumanParser` runs the network with
an engine in between; a Triton server runs it elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from humanparse.arguments import number_between, whole_number
from humanparse.card import ModelCard
from humanparse.errors import BrokenModel, OptionError
from humanparse.labels import LabelSet
from humanparse.postprocess.assemble import Maps, assemble
from humanparse.postprocess.heads import HEADS, Head
from humanparse.preprocess import Geometry
from humanparse.result import Parsing, Part, Person

MIN_SCORE = 0.3  # people and parts whose score is below this are left out


class Pipeline:
    """The steps before and after the network of one model.

    Args:
        card: What the model's file says about the model.
        where: What to call the model in error messages, for example its file.
        min_score: People and parts whose score is below this are left out, from 0 to 1.
        short_side: The short side of the network's input in pixels, instead of the model's own
            rule.
        max_side: The greatest length of its long side, in pixels.

    Raises:
        OptionError: If a value is out of its range.
        BrokenModel: If the card has settings that this version does not know.
    """

    def __init__(
        self,
        card: ModelCard,
        where: str = "the model",
        *,
        min_score: float = MIN_SCORE,
        short_side: int | None = None,
        max_side: int | None = None,
    ):
        self.card = card
        self.min_score = number_between("min_score", min_score, 0, 1)
        self.preprocess = card.preprocess.resized(short_side, max_side)
        self.settings = _settings(card, where)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.card.name

    @property
    def labels(self) -> LabelSet:
        """The model's classes."""
        return self.card.labels

    @property
    def head(self) -> Head:
        """The head that reads the network's outputs."""
        return HEADS[self.card.head]

    def inputs(self, pixels: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Turn a photo into the network's input.

        Args:
            pixels: The photo, uint8 (H, W, 3) RGB.

        Returns:
            The input, float32 (1, 3, h, w), and where the photo lies in it.
        """
        return self.preprocess(pixels)

    def check(self, outputs: dict[str, np.ndarray]) -> None:
        """Raise BrokenModel unless the outputs fit the model's head and classes."""
        if missing := self.head.missing(outputs):
            lacking = ", ".join(missing)
            raise BrokenModel(
                f"model {self.name!r} has no output {lacking}, which its head "
                f"{self.card.head!r} needs; convert it again with the head that it has"
            )
        if (found := self.head.num_classes(outputs)) != len(self.labels):
            raise BrokenModel(
                f"model {self.name!r} has {found} classes, but its label set "
                f"{self.labels.name!r} has {len(self.labels)}; "
                "convert it again with the labels that it was trained on"
            )

    def people(
        self, outputs: dict[str, np.ndarray], geometry: Geometry
    ) -> tuple[Maps, tuple[Person, ...], tuple[Part, ...]]:
        """Find the people in the outputs of the network.

        Args:
            outputs: The outputs by name, each with its leading batch axis.
            geometry: Where the photo lies in the network's input, as `inputs` returned it.

        Returns:
            The maps in the photo's size, the people, and the parts that belong to nobody.
        """
        maps = self.head.parse(outputs, geometry, self.settings, self.labels)
        people, unassigned = assemble(maps, self.labels, self.min_score)
        return maps, people, unassigned

    def finish(self, outputs: dict[str, np.ndarray], photo_hw: tuple[int, int]) -> Parsing:
        """Parse the outputs of a network that ran elsewhere, on what `inputs` made of a photo.

        Args:
            outputs: The outputs of the network by name, each with its leading batch axis.
            photo_hw: The photo's height and width in pixels.

        Returns:
            A Parsing whose `image` is black, since the photo is not available here.

        Raises:
            BrokenModel: If the outputs are not those of this model.
            OptionError: If the size is impossible.
        """
        photo_hw = _size(photo_hw)
        self.check(outputs)
        maps, people, unassigned = self.people(outputs, self.preprocess.geometry(photo_hw))
        photo = np.broadcast_to(np.zeros(3, np.uint8), (*photo_hw, 3))
        return Parsing(
            maps.label_map,
            maps.person_map,
            people,
            self.labels,
            photo,
            unassigned,
            model=self.name,
        )


def _settings(card: ModelCard, where: str) -> Any:
    try:
        return HEADS[card.head].settings(**card.settings)
    except TypeError as error:
        raise BrokenModel(
            f"{where} has settings that this version does not know ({error}); update humanparse"
        ) from error


def _size(photo_hw: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = photo_hw
    except (TypeError, ValueError):
        raise OptionError(f"photo_hw is {photo_hw!r}; give (height, width) in pixels") from None
    return whole_number("the height", height, 1), whole_number("the width", width, 1)
