"""Regions: the words by which edits, masks and formats name parts of a photo.

    face                    the faces of everybody
    head:2                  the head of person 2
    clothes + shoes         both
    person - face           everybody but their faces
    upper grow=12           and 12 pixels around it
    hair:1,3 feather=2%     of persons 1 and 3, with an edge that fades

A region is one or more terms, joined by ` + ` and ` - ` from left to right, and then options. A
term is a preset (`presets`) or the name of a class, in capitals or not, and after a colon the
numbers of the people. Spaces around `+` and `-` are needed: names of classes hold hyphens.

    grow=N, shrink=N   pixels by which the region becomes larger or smaller, or with % a share of
                       the photo's shorter side
    hull               the convex hull, of each person by itself
    invert             all that is not in it
    feather=N          pixels over which the edge fades, outside of the region
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from humanparse.arguments import one_or_more, whole_number
from humanparse.errors import OptionError
from humanparse.labels import EYEWEAR, LabelSet
from humanparse.masks import Mask, class_pixels
from humanparse.result import Parsing
from humanparse.vocabulary import MAX_REGION_LENGTH, PEOPLE_PATTERN

EVERYBODY = "person"
MOST_GROWN_PX = 500.0  # by which a region grows, shrinks or fades

# Kinds of classes: names in small letters, without hyphens and without their side.
ARMS = {"arm", "hand", "upperarm", "lowerarm"}
LEGS = {"leg", "upperleg", "lowerleg"}
SKIN = {"face", "foot", "torsoskin"} | ARMS | LEGS
SHOES = {"shoe", "boot", "highheel", "sandal"}
ON_HEAD = {"hat", "cap/hat", "helmet", "headwear"} | EYEWEAR
UPPER = set(
    "upperclothes coat jacket/windbreaker/hoodie teeshirt poloshirt sweater singlet bikini/bra "
    "otherupperbodyclothes protector torso".split()
)
LOWER = set(
    "pants shorts shorts/swimshorts skirt stockings otherlowerbodyclothes lowerclothes".split()
)
DRESS = {"dress", "robe"}
WHOLE = DRESS | {"jumpsuit", "jumpsuits", "otherfullbodyclothes"}
ACCESSORIES = ON_HEAD | set(
    "glove scarf backpack belt bag carrybag wallet/purse watch wristband tie umbrella cases "
    "otheraccessary accessory".split()
)
# The kinds of classes of each preset. The eyes of a face whose glasses were found are theirs.
_PRESETS = {
    "face": {"face"} | EYEWEAR,
    "hair": {"hair"},
    "head": {"face", "head", "hair"} | ON_HEAD,
    "skin": SKIN,
    "clothes": UPPER | LOWER | WHOLE | {"socks"},
    "upper": UPPER,
    "lower": LOWER,
    "dress": DRESS,
    "overall": WHOLE,
    "arms": ARMS,
    "legs": LEGS | {"foot"},
    "shoes": SHOES,
    "accessories": ACCESSORIES,
}


def presets(labels: LabelSet) -> dict[str, tuple[int, ...]]:
    """Return the classes of each preset that a label set makes possible, by its name.

    `person` is not among them: it is everybody's pixels, whatever their classes.
    """
    kinds = {number: kind_of(name) for number, name in enumerate(labels.names) if number}
    found = {
        preset: tuple(number for number, kind in kinds.items() if kind in members)
        for preset, members in _PRESETS.items()
    }
    if not labels.faces:
        del found["face"]
    return {preset: classes for preset, classes in found.items() if classes}


@dataclass(frozen=True)
class Term:
    """One term of a region: a preset or class, whose it is, and whether it is taken away."""

    name: str
    people: tuple[int, ...] = ()
    minus: bool = False


@dataclass(frozen=True)
class Region:
    """A region of any photo, as it was written. Lengths are text: pixels, or a share with %.

    Attributes:
        terms: What belongs to it, from left to right.
        grow: How far it becomes larger, or below 0 smaller.
        feather: How wide its fading edge is.
        hull: Whether it is filled up to its convex hull.
        invert: Whether it is all that the terms are not.
    """

    terms: tuple[Term, ...]
    grow: str = "0"
    feather: str = "0"
    hull: bool = False
    invert: bool = False
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region that a text describes. Its names are looked up later, in a photo.

        Raises:
            OptionError: The text is no region. The message says which word was not understood.
        """
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_REGION_LENGTH:
            raise OptionError(
                f"a region is {_shown(text)}; give up to {MAX_REGION_LENGTH} letters, such as "
                "'face', 'head:2' or 'person - face'"
            )
        terms: list[Term] = []
        options: dict[str, str | bool] = {}
        sign = ""
        for word in text.split():
            if word in "+-":
                if sign or not terms or options:
                    raise OptionError(
                        f"{word!r} stands in the wrong place in the region {text!r}; "
                        "write 'face + hair'"
                    )
                sign = word
            elif word in ("hull", "invert"):
                options[word] = True
            elif match := re.fullmatch(r"(grow|shrink|feather)=(.+)", word):
                options[match[1]] = _length(match[1], match[2])
            elif (terms and not sign) or options:
                raise OptionError(
                    f"{word!r} was not understood in the region {text!r}; "
                    "join terms by ' + ' or ' - '"
                )
            else:
                terms.append(_term(word, sign == "-", text))
                sign = ""
        if sign or not terms:
            raise OptionError(f"the region {text!r} ends too soon; give a name such as 'face'")
        if "grow" in options and "shrink" in options:
            raise OptionError(f"the region {text!r} has both grow and shrink; choose one")
        grow = f"-{options['shrink']}" if "shrink" in options else str(options.get("grow", "0"))
        feather, hull, invert = (
            str(options.get("feather", "0")),
            "hull" in options,
            "invert" in options,
        )
        return cls(tuple(terms), grow, feather, hull, invert, text)


@dataclass(frozen=True, eq=False)
class Selection:
    """A region in one photo.

    Attributes:
        mask: Its pixels, without the fading edge.
        region: As it was asked for.
        missing: In words, what was asked for and not found: a person without a face, say.
    """

    region: Region
    mask: Mask
    missing: tuple[str, ...]

    @cached_property
    def alpha(self) -> np.ndarray:
        """uint8 (H, W): 255 inside, falling to 0 over the region's `feather` outside of it."""
        dense = self.mask.to_dense().view(np.uint8)
        width = _pixels(self.region.feather, self.mask.size_hw)
        if not width or not self.mask.area:
            return dense * np.uint8(255)
        distance = cv2.distanceTransform(1 - dense, cv2.DIST_L2, 5)
        return np.clip((1 - distance / (width + 1)) * 255 + 0.5, 0, 255).astype(np.uint8)


def select(
    parsing: Parsing, region: str | Region, among: tuple[int, ...] | None = None
) -> Selection:
    """Return where a region lies in a photo.

    Args:
        parsing: The photo's result.
        region: As in the text above, or parsed already.
        among: Whom terms mean that name no person, as `among` returns it; None for everybody.

    Raises:
        OptionError: The text is no region, or names a class or a person that there is not.
    """
    region = region if isinstance(region, Region) else Region.parse(region)
    dense = np.zeros(parsing.size_hw, bool)
    missing: list[str] = []
    for term in region.terms:
        check_people(term.people, parsing)
        people = term.people or among
        here = _pixels_of(term, people, parsing)
        if term.minus:
            dense &= ~here
        else:
            missing += _missing(term, people, parsing)
            dense |= here
    if region.hull:
        dense = _hulls(dense, parsing.person_map)
    dense = _grown(dense, _pixels(region.grow, parsing.size_hw))
    return Selection(region, Mask.from_dense(~dense if region.invert else dense), tuple(missing))


def among(
    parsing: Parsing,
    people: str | int | Iterable[int] | None = None,
    without_people: str | int | Iterable[int] | None = None,
) -> tuple[int, ...] | None:
    """Return the people of a photo that are kept, or not left out.

    Args:
        parsing: The photo's result.
        people: The numbers of those that are meant: 2, [1, 3] or "1,3"; None for everybody.
        without_people: Instead of `people`, the numbers of those that are not meant.

    Returns:
        Values of the person map. With `without_people` 0 is among them, since a part that belongs
        to nobody is none of theirs. None for everybody.

    Raises:
        OptionError: Both are given, they are no numbers, or the photo has no such person.
    """
    if people is not None and without_people is not None:
        raise OptionError("people and without_people exclude each other; give one of them")
    name = "people" if without_people is None else "without_people"
    given = people if without_people is None else without_people
    if given is None:
        return None
    numbers = people_numbers(name, given)
    check_people(numbers, parsing)
    if without_people is None:
        return numbers
    return tuple(one for one in range(len(parsing.people) + 1) if one not in numbers)


def people_numbers(name: str, given: str | int | Iterable[int]) -> tuple[int, ...]:
    """Return the numbers in 2, [1, 3] or "1,3", each once.

    Args:
        name: What the argument is called, for the message.
        given: The numbers.

    Raises:
        OptionError: It is something else, or there is no number in it.
    """
    if isinstance(given, str):
        if not re.fullmatch(PEOPLE_PATTERN, given):
            raise OptionError(
                f"{name} is {_shown(given)}; give numbers of people, such as '2' or '1,3'"
            )
        given = map(int, given.split(","))
    numbers = tuple(dict.fromkeys(whole_number(name, one, 1) for one in one_or_more(name, given)))
    if not numbers:
        raise OptionError(f"{name} is empty; give numbers of people, such as [1, 3]")
    return numbers


def check_people(numbers: Iterable[int], parsing: Parsing) -> None:
    """Raise OptionError for the number of a person whom a photo does not show."""
    count = len(parsing.people)
    if beyond := [number for number in numbers if number > count]:
        there = "nobody" if not count else "one person" if count == 1 else f"people 1 to {count}"
        raise OptionError(f"there is no person {beyond[0]} in this photo: it shows {there}")


def check_names(region: Region, labels: LabelSet) -> None:
    """Raise OptionError unless every name of a region means something in a label set."""
    for term in region.terms:
        if term.name.casefold() != EVERYBODY:
            classes_of(term.name, labels)


def classes_of(name: str, labels: LabelSet) -> tuple[int, ...]:
    """Return the classes that a preset or the name of a class stands for, in capitals or not.

    Raises:
        OptionError: There is neither; the message names the nearest, and all that there are.
    """
    known = presets(labels)
    wanted = name.casefold()
    if wanted in known:
        return known[wanted]
    classes = {one.casefold(): number for number, one in enumerate(labels.names)}
    if wanted in classes:
        return (classes[wanted],)
    names = [EVERYBODY, *known, *labels.names[1:]]
    near = difflib.get_close_matches(wanted, [one.casefold() for one in names], 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise OptionError(f"there is no region {name!r}{hint}; there are {', '.join(names)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(name: str) -> str:
    """Return the name of a class without its side, hyphens and capitals: "Left-arm" is "arm"."""
    return re.sub(r"^(left|right)-", "", name.casefold()).replace("-", "")


def _term(word: str, minus: bool, text: str) -> Term:
    name, colon, numbers = word.partition(":")
    if not colon:
        return Term(name, (), minus)
    if not re.fullmatch(PEOPLE_PATTERN, numbers):
        raise OptionError(
            f"{word!r} in the region {text!r} should end in numbers of people, "
            "such as 'head:2' or 'head:1,3'"
        )
    return Term(name, people_numbers("people", numbers), minus)


def _length(name: str, text: str) -> str:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(px|%)?", text)
    most = 100.0 if match and match[2] == "%" else MOST_GROWN_PX
    if not match or float(match[1]) > most:
        raise OptionError(
            f"{name}={text} was not understood; give pixels up to {MOST_GROWN_PX:g}, such as "
            f"{name}=8, or a share of the photo's shorter side, such as {name}=2%"
        )
    return match[1] + ("%" if match[2] == "%" else "")


def _pixels(length: str, size_hw: tuple[int, int]) -> float:
    if not length.endswith("%"):
        return float(length)
    pixels = float(length[:-1]) / 100 * min(size_hw)
    return max(-MOST_GROWN_PX, min(MOST_GROWN_PX, pixels))


def _pixels_of(term: Term, people: tuple[int, ...] | None, parsing: Parsing) -> np.ndarray:
    """bool (H, W): the pixels of one term, of these people; None for everybody."""
    if term.name.casefold() == EVERYBODY:
        chosen = (parsing.person_map > 0) | (parsing.label_map > 0)
    else:
        chosen = class_pixels(parsing.label_map, classes_of(term.name, parsing.labels))
    return chosen if people is None else chosen & np.isin(parsing.person_map, people)


def _missing(term: Term, people: tuple[int, ...] | None, parsing: Parsing) -> list[str]:
    """Of whom a term asks for something that was not found on them."""
    if term.name.casefold() == EVERYBODY:
        return [] if parsing.people else ["no person was found"]
    classes = set(classes_of(term.name, parsing.labels))
    if term.name.casefold() == "face":  # glasses alone are no face
        classes &= parsing.labels.faces
    wanted = [one.id for one in parsing.people if people is None or one.id in people]
    if not parsing.people:
        loose = any(part.class_id in classes for part in parsing.loose_parts)
        return [] if loose else [f"no {term.name} was found"]
    return [
        f"person {number} has no {term.name}" for number in wanted
        if not any(part.class_id in classes for part in parsing.people[number - 1].parts.values())
    ]  # fmt: skip


def _hulls(dense: np.ndarray, person_map: np.ndarray) -> np.ndarray:
    """The region filled up to the convex hull of each person's share of it."""
    filled = np.zeros(dense.shape, np.uint8)
    for number in np.unique(person_map[dense]):
        points = cv2.findNonZero((dense & (person_map == number)).view(np.uint8))
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled.view(bool)


def _grown(dense: np.ndarray, by_px: float) -> np.ndarray:
    """The region larger by so many pixels in every direction, or below 0 smaller."""
    if not by_px or not dense.any():
        return dense
    if by_px < 0:  # beyond the photo's border the region goes on
        return cv2.distanceTransform(dense.view(np.uint8), cv2.DIST_L2, 5) > -by_px
    return cv2.distanceTransform((~dense).view(np.uint8), cv2.DIST_L2, 5) <= by_px
