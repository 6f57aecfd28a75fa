"""What each person wears, read from the network's maps over the whole person.

A coat is hard to tell from a dress at one pixel, and easier on the whole person. So the maps are
summed up for each person (`summaries`), and two small layers, which learnt from lists of what
people wear (training/outfits.py), say how likely each class is on that person. Their answer raises
and lowers the class logits of all the person's pixels.

The layers travel in the model's card, as text (`OutfitReader.from_text`).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import cv2
import numpy as np

from humanparse.errors import BrokenModel

BANDS = 4  # from a person's top to their bottom
PER_CLASS = BANDS + 3  # numbers of a summary for each class
REACH = 5.0  # standard deviations; numbers of a summary that lie farther out count as if here


@dataclass(frozen=True, eq=False)
class OutfitReader:
    """Two layers, from a person's summary to the log odds of each class.

    Attributes:
        middle: The means of the numbers of a summary, float32 (F,).
        scale: What they are multiplied by after the mean is subtracted, (F,).
        first: Weights of the hidden layer, (F, H), and its biases, (H,).
        second: Weights of the result, (H, C), and its biases, (C,).
    """

    middle: np.ndarray
    scale: np.ndarray
    first: tuple[np.ndarray, np.ndarray]
    second: tuple[np.ndarray, np.ndarray]

    def __call__(self, summaries: np.ndarray) -> np.ndarray:
        """Return the log odds of each class on each person.

        Args:
            summaries: float32 (people, F), as `summaries` makes them.

        Returns:
            float32 (people, C); 0 for the background.
        """
        seen = np.clip((summaries - self.middle) * self.scale, -REACH, REACH)
        hidden = np.maximum(seen @ self.first[0] + self.first[1], 0)
        odds = hidden @ self.second[0] + self.second[1]
        odds[:, 0] = 0
        return odds

    @property
    def tensors(self) -> tuple[np.ndarray, ...]:
        """All numbers, in the order in which the text has them."""
        return self.middle, self.scale, *self.first, *self.second

    def to_text(self) -> str:
        """Return the layers as text for a model's card: base64 of float16, little endian."""
        flat = np.concatenate([one.ravel() for one in self.tensors]).astype("<f2")
        return base64.b64encode(flat.tobytes()).decode("ascii")

    @classmethod
    @cache
    def from_text(cls, text: str, num_classes: int) -> OutfitReader:
        """Read the layers from a card.

        Args:
            text: What `to_text` returned.
            num_classes: The number of classes C, including the background.

        Raises:
            BrokenModel: If the text does not hold layers for that many classes.
        """
        try:
            flat = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
        except ValueError as error:
            raise BrokenModel(
                f"the model's outfit reader is damaged ({error}); fetch or convert the model again"
            ) from error
        size = PER_CLASS * num_classes
        hidden, rest = divmod(len(flat) - 2 * size - num_classes, size + 1 + num_classes)
        if hidden < 1 or rest or not np.isfinite(flat).all():
            raise BrokenModel(
                f"the model's outfit reader has {len(flat)} numbers, which do not fit "
                f"{num_classes} classes; fetch or convert the model again"
            )
        shapes = ((size,), (size,), (size, hidden), (hidden,), (hidden, num_classes))
        cuts = np.cumsum([np.prod(shape) for shape in shapes])
        middle, scale, *layers, last = np.split(flat, cuts)
        first, bias, second = (
            values.reshape(shape) for values, shape in zip(layers, shapes[2:], strict=True)
        )
        return cls(middle, scale, (first, bias), (second, last))


def summaries(
    probability: np.ndarray, wears: np.ndarray, owner: np.ndarray, count: int
) -> np.ndarray:
    """Sum up the maps of each person.

    For each class: its mean probability, its highest, its means in BANDS bands of equal height from
    the person's top to their bottom, and the mean evidence of the map `wears`.

    Args:
        probability: float32 (C, h, w), of the classes including the background.
        wears: float32 (C, h, w).
        owner: int (h, w), the person of each cell, below `count`, -1 for nobody.
        count: The number of people.

    Returns:
        float32 (count, PER_CLASS · C); 0 for a person without any cell.
    """
    made = np.zeros((count, PER_CLASS, len(probability)), np.float32)
    by_cell = [cv2.transpose(maps.reshape(len(maps), -1)) for maps in (probability, wears)]
    for index in range(count):
        cells = np.flatnonzero(owner == index)
        if not len(cells):
            continue
        here, worn = (maps.take(cells, axis=0) for maps in by_cell)  # (n, C) each
        rows = cells // owner.shape[1]
        band = (rows - rows[0]) * BANDS // (rows[-1] + 1 - rows[0])  # rising: rows come in order
        begins = np.searchsorted(band, np.arange(BANDS + 1))
        made[index, 0], made[index, 1] = _mean(here), cv2.reduce(here, 0, cv2.REDUCE_MAX)
        for number, (begin, end) in enumerate(pairwise(begins)):
            if end > begin:
                made[index, 2 + number] = _mean(here[begin:end])
        made[index, -1] = _mean(worn)
    return made.reshape(count, PER_CLASS * len(probability))


def _mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean of each column, as NumPy has it to the last bit, in a fifth of its time."""
    return cv2.reduce(rows, 0, cv2.REDUCE_SUM)[0] / np.float32(len(rows))
