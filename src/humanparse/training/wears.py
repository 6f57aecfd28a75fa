"""What is known about a person without a label map: a list of the classes that can be seen on them.

A list says `wears` (can be seen), `unsure` (counts neither way), and sometimes the `main` garment
and on which side of the picture the person's own left lies. All other classes of the label set are
not there. A set of classes is stored as the bits of an int; in label maps of training scenes a few
high numbers stand for sets of classes:

    LISTED          whatever the person's list allows
    EITHER[i]       the left or the right class of pair i: an arm, a leg, a shoe of an unknown side
    255             unknown
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.system.text import read_text

IGNORE = 255
LISTED = 254
FIRST_EITHER = 248  # EITHER of pair i is FIRST_EITHER - i
ANYTHING = 0  # as a set of bits: nothing is known about the person
SIDES = ("left", "right")
MAX_LISTED_CLASSES = 62  # classes whose sets fit into the bits of an int64
EXAMPLE = (
    'it should look like {"street": {"1": {"wears": ["Hair", "Coat"], "unsure": ["Scarf"]}}}, '
    "with a photo's name and a person's number in persons/"
)


@dataclass(frozen=True)
class Wears:
    """One person's list.

    Attributes:
        wears: Classes that can be seen.
        unsure: Classes that may be seen.
        main: The garment that covers most, or None.
        left_at: "left" or "right": where in the picture the person's own left lies; None if
            unknown.
    """

    wears: frozenset[int]
    unsure: frozenset[int] = frozenset()
    main: int | None = None
    left_at: str | None = None

    @property
    def possible(self) -> int:
        """The classes that may be seen on the person, as bits."""
        return bits(self.wears | self.unsure)


def bits(classes: Iterable[int]) -> int:
    """Return a set of classes as the bits of an int."""
    return sum(1 << c for c in set(classes))


def either(labels: LabelSet) -> dict[int, tuple[int, int]]:
    """Return the numbers that stand in label maps for limbs of an unknown side.

    Returns:
        Number → its left and its right class.
    """
    return {FIRST_EITHER - i: pair for i, pair in enumerate(labels.left_right_pairs)}


def sets_of(
    codes: np.ndarray, people: np.ndarray, possible: np.ndarray, labels: LabelSet
) -> np.ndarray:
    """Return the classes that each pixel may have, as bits.

    Args:
        codes: uint8 (h, w), classes, or numbers that stand for sets of them.
        people: int (h, w), 1.. the person, 0 and below nobody.
        possible: int64 (P + 1,), for each person by number, see Wears; row 0 is nobody's.
        labels: The classes.

    Returns:
        int64 (h, w); ANYTHING where nothing is known, or where exactly one class is.
    """
    table = np.zeros(256, np.int64)
    for code, pair in either(labels).items():
        table[code] = bits(pair)
    sets = table[codes]
    listed = codes == LISTED
    sets[listed] = possible[np.maximum(people[listed], 0)]
    return sets


def mirrored_bits(sets: int, labels: LabelSet) -> int:
    """Return the same set in a mirrored photo: left and right of each pair exchanged."""
    for left, right in labels.left_right_pairs:
        if (sets >> left & 1) != (sets >> right & 1):
            sets ^= 1 << left | 1 << right
    return sets


def read_wears(path: Path, labels: LabelSet) -> dict[str, dict[int, Wears]]:
    """Read a `wears.json`.

    The file holds {photo: {number: {"wears": [class, …], "unsure": […], "main": class, "left_at":
    "left" or "right"}}}; everything but `wears` may be left out.

    Args:
        path: The file.
        labels: The classes.

    Returns:
        Photo name → person's number in persons/ → Wears.

    Raises:
        OptionError: If the file holds anything else.
        FileNotFoundError: If it does not exist.
    """
    try:
        content = json.loads(read_text(path))
        return {
            photo: {_number(number): wears_from(one, labels) for number, one in people.items()}
            for photo, people in _checked(content).items()
        }
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error
    except ValueError as error:
        raise OptionError(f"{path} is not JSON ({error}); {EXAMPLE}") from error


def wears_from(content: Mapping[str, Any], labels: LabelSet) -> Wears:
    """Return the Wears that an object of the JSON file describes.

    Raises:
        OptionError: For a class that does not exist.
        KeyError: Without `wears`.
    """
    main, left_at = content.get("main") or None, content.get("left_at")
    return Wears(
        frozenset(map(labels.index, content["wears"])),
        frozenset(map(labels.index, content.get("unsure", ()))),
        labels.index(main) if main else None,
        left_at if left_at in SIDES else None,
    )


def _checked(content: Any) -> dict[str, dict[str, dict]]:
    """The content of a wears.json. Raises OptionError if it does not look like one."""
    if not isinstance(content, dict):
        raise OptionError(f"it holds no JSON object; {EXAMPLE}")
    for photo, people in content.items():
        if not isinstance(people, dict) or not all(map(_describes, people, people.values())):
            raise OptionError(f"what it says of the photo {photo!r} cannot be used; {EXAMPLE}")
    return content


def _describes(number: str, person: Any) -> bool:
    return (
        number.isdecimal()
        and isinstance(person, dict)
        and isinstance(person.get("wears"), list)
        and isinstance(person.get("unsure", []), list)
    )


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise OptionError(
            f"a person has the number {number}; people in persons/ are numbered from 1"
        )
    return number
