"""A coarse label set, for everybody to whom it does not matter whether a coat is a coat: results
with few, sure classes.

    Background, Hair, Head, Upper-clothes, Lower-clothes, Dress, Torso, Arm, Leg, Foot, Accessory

Head is all of it but the hair; Torso its skin (with PASCAL-Person-Part, clothes included, which
that does not tell apart); Foot has shoes and socks. Left and right become one. Of a label set,
those classes are there that something belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.masks import Mask
from humanparse.regions import ARMS, LEGS, LOWER, ON_HEAD, SHOES, UPPER, WHOLE, kind_of
from humanparse.result import Parsing, Part

# The kinds of classes (regions.py) of each coarse class. The first that fits has a class.
GROUPS = {
    "Hair": {"hair"},
    "Head": {"face", "head"} | ON_HEAD,
    "Upper-clothes": UPPER - {"torso"},
    "Lower-clothes": LOWER,
    "Dress": WHOLE,
    "Torso": {"torso", "torsoskin"},
    "Arm": ARMS,
    "Leg": LEGS,
    "Foot": SHOES | {"socks", "foot"},
}
ACCESSORY = "Accessory"  # what belongs to none of them


@cache
def coarse_labels(labels: LabelSet) -> tuple[LabelSet, tuple[int, ...]]:
    """Return the coarse label set of a label set, and of each of its classes the coarse class. What
    is coarse already stays as it is."""
    groups = [_group(name) for name in labels.names[1:]]
    names = [name for name in (*GROUPS, ACCESSORY) if name in groups]
    table = (0, *(names.index(group) + 1 for group in groups))
    if tuple(names) == labels.names[1:]:
        return labels, table
    # the class whose colour each takes
    first = [table.index(number) for number in range(len(names) + 1)]
    clear, classic = (
        tuple(labels.palette(one)[number] for number in first) for one in ("clear", "classic")
    )
    return LabelSet(f"{labels.name}-coarse", ("Background", *names), clear, classic), table


def coarse(parsing: Parsing) -> Parsing:
    """Return a result with the coarse classes; people, their masks and scores stay as they are.

    A part's score is the mean of those that it is made of, weighted by their pixels.
    """
    labels, table = coarse_labels(parsing.labels)
    lookup = np.zeros(256, np.uint8)
    lookup[: len(table)] = table
    people = tuple(
        replace(
            person,
            parts={part.label: part for part in _merged(person.parts.values(), labels, table)},
        )
        for person in parsing.people
    )
    loose = tuple(
        Part(labels.names[table[part.class_id]], table[part.class_id], part.score, part.mask)
        for part in parsing.loose_parts
    )
    label_map = cv2.LUT(np.ascontiguousarray(parsing.label_map), lookup)
    return replace(parsing, label_map=label_map, people=people, labels=labels, loose_parts=loose)


def _group(name: str) -> str:
    kind = kind_of(name)
    return next((group for group, kinds in GROUPS.items() if kind in kinds), ACCESSORY)


def _merged(parts: Iterable[Part], labels: LabelSet, table: tuple[int, ...]) -> list[Part]:
    """The parts of one person as coarse ones, in the order of the classes."""
    groups: dict[int, list[Part]] = {}
    for part in parts:
        groups.setdefault(table[part.class_id], []).append(part)
    return [_joined(labels.names[number], number, groups[number]) for number in sorted(groups)]


def _joined(label: str, number: int, parts: list[Part]) -> Part:
    score = sum(part.score * part.area for part in parts) / max(1, sum(part.area for part in parts))
    return Part(label, number, score, Mask.union([part.mask for part in parts]))
