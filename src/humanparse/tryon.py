"""Virtual try-on: what is painted over, and label maps in the numbers that try-on code reads.

    agnostic_mask(result, "upper")   the pixels that a try-on model paints, as IDM-VTON, CatVTON,
                                     OOTDiffusion and HR-VITON want them; from parts alone
    label_map(result, "atr")        classes in ATR's numbers (IDM-VTON, OOTDiffusion) or LIP's

The old garment's shape must not show through the mask, else the new one gets its sleeves and hem.
So limbs belong to it, it is filled up to its convex hull, and it grows. Face, hair and hat, shoes,
hands and the other garments stay.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from humanparse.arguments import whole_number
from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.masks import Mask, class_pixels
from humanparse.regions import (
    ARMS,
    LEGS,
    LOWER,
    ON_HEAD,
    SHOES,
    UPPER,
    WHOLE,
    check_people,
    kind_of,
)
from humanparse.result import Parsing, Person

_ARMS = ARMS | {"glove"}
_LEGS = LEGS | {"socks", "stockings"}
_HEAD = {"face", "hair", "head"} | ON_HEAD
_FEET = SHOES | {"foot"}
_CHEST = {"torsoskin", "scarf", "tie"}
# Of each garment that is to be tried on: what is painted over, and what stays beside the head and
# the feet.
GARMENTS = {
    "upper": (UPPER | WHOLE | _ARMS | _CHEST, LOWER | _LEGS),
    "lower": (LOWER | WHOLE | _LEGS, UPPER | _ARMS | _CHEST),
    "dress": (UPPER | LOWER | WHOLE | _ARMS | _LEGS | _CHEST, set()),
}
GROWN = 0.02  # of the person's height: by how much the mask grows
# of the person's height: a hand's length, where no face says how large they are
HAND_SHARE = 0.1
SPECK = 0.003  # of the person's pixels: smaller connected components are mistakes
LIMB = 0.1  # of a garment's pixels: smaller connected components do not stretch its hull
GREY = 128  # what an agnostic photo has in place of the garment

ATR = tuple(
    "Background Hat Hair Sunglasses Upper-clothes Skirt Pants Dress Belt Left-shoe Right-shoe Face "
    "Left-leg Right-leg Left-arm Right-arm Bag Scarf".split()
)
NECK = 18
# ATR's class of each of CIHP's and LIP's classes. Coats are upper clothes there; socks and gloves
# belong to the limb that they are on.
_TO_ATR = {name: name for name in ATR} | {
    "UpperClothes": "Upper-clothes",
    "Coat": "Upper-clothes",
    "Jumpsuits": "Dress",
}
_LIMBS = {"Socks": ("Left-leg", "Right-leg"), "Glove": ("Left-arm", "Right-arm")}


def agnostic_mask(
    parsing: Parsing, garment: str = "upper", person: int | None = None, *, keep_hands: bool = True
) -> Mask:
    """Return what a try-on model paints anew.

    Args:
        parsing: A result with CIHP's, LIP's or other classes of garments and limbs.
        garment: What is to be tried on: "upper", "lower" or "dress" (all of the body).
        person: On whom, by number; the largest person without one.
        keep_hands: Leave the hands as they are. They are the ends of the arms, a face long, since
            no class says where an arm ends and a hand begins.

    Returns:
        The mask, in the photo's size; parts of the background belong to it, where the new garment
        may be wider.

    Raises:
        OptionError: There is no such garment or person, or the model tells no garments apart.
    """
    if garment not in GARMENTS:
        raise OptionError(f"garment is {garment!r}; choose one of {', '.join(GARMENTS)}")
    if person is None:
        person = max(parsing.people, key=lambda one: one.area).id if parsing.people else 1
    person = whole_number("person", person, 1)
    check_people([person], parsing)
    painted, others = GARMENTS[garment]
    whose = parsing.people[person - 1]
    if not _classes(parsing.labels, UPPER | LOWER | WHOLE):
        raise OptionError(
            f"the classes of {parsing.labels.name} hold no garments; "
            "use a model that tells them apart, such as the one in the package"
        )
    body = parsing.person_map == person
    wanted = _without_small(_where(parsing, painted) & body, SPECK * body.sum())
    if not wanted.any():
        return Mask.from_dense(wanted)
    stays = _where(parsing, _HEAD | _FEET | others) & (parsing.person_map > 0)
    stays |= (parsing.person_map > 0) & ~body  # whoever else stands there
    if keep_hands and painted & _ARMS:
        stays |= _hands(parsing, whose, body)
    stays = _without_small(stays, SPECK * body.sum())
    grown = _hidden_shape(parsing, wanted, painted, body, GROWN * _height(whose))
    return Mask.from_dense(grown & ~stays)


def agnostic_photo(
    parsing: Parsing, garment: str = "upper", person: int | None = None, *, keep_hands: bool = True
) -> np.ndarray:
    """uint8 (H, W, 3): the photo with grey where `agnostic_mask` is. Raises OptionError as that
    does."""
    photo = parsing.image.copy()
    photo[agnostic_mask(parsing, garment, person, keep_hands=keep_hands).to_dense()] = GREY
    return photo


def label_map(parsing: Parsing, numbers: str, *, neck: bool = False) -> np.ndarray:
    """Return the label map in the numbers of another data set.

    Args:
        parsing: A result with CIHP's or LIP's classes.
        numbers: "lip" or "atr".
        neck: With "atr", give the skin between face and clothes class 18, as IDM-VTON and
            OOTDiffusion do; else it is Face.

    Returns:
        uint8 (H, W). What the numbers cannot say: ATR has no coats (upper clothes), jumpsuits
        (dress), socks and gloves (the limb that they are on); LIP has no skin of the torso (face).
        ATR's belts and bags are never there.

    Raises:
        OptionError: The result has other classes, or there are no such numbers.
    """
    if parsing.labels.name not in ("cihp", "lip"):
        raise OptionError(
            f"the result has the classes of {parsing.labels.name}; "
            "the numbers of try-on code can be had from those of CIHP or LIP"
        )
    if numbers == "lip":
        table = np.arange(256, dtype=np.uint8)
        if "Torso-skin" in parsing.labels.names:
            table[parsing.labels.index("Torso-skin")] = parsing.labels.index("Face")
        return cv2.LUT(np.ascontiguousarray(parsing.label_map), table)
    if numbers != "atr":
        raise OptionError(f"numbers are {numbers!r}; choose lip or atr")
    return _in_atr(parsing, neck)


def _in_atr(parsing: Parsing, neck: bool) -> np.ndarray:
    names = parsing.labels.names
    table = np.zeros(256, np.uint8)
    for number, name in enumerate(names):
        table[number] = ATR.index(_TO_ATR.get(name, "Background"))
    if "Torso-skin" in names:
        table[names.index("Torso-skin")] = NECK if neck else ATR.index("Face")
    mapped = cv2.LUT(np.ascontiguousarray(parsing.label_map), table)
    for name, sides in _LIMBS.items():
        loose = parsing.label_map == names.index(name)
        if loose.any():
            mapped[loose] = _nearest_side(parsing, loose, sides)
    return mapped


def _nearest_side(parsing: Parsing, loose: np.ndarray, sides: tuple[str, str]) -> np.ndarray:
    """uint8 (n,): of each loose pixel, the ATR class of the limb of the same person that is
    nearest, the shoe included."""
    far = np.full(loose.shape, 1e6, np.float32)
    distances = []
    for side in sides:
        kin = {side, side.replace("leg", "shoe")} & set(parsing.labels.names)
        there = np.isin(parsing.label_map, [parsing.labels.index(one) for one in kin])
        distances.append(
            cv2.distanceTransform((~there).view(np.uint8), cv2.DIST_L2, 3) if there.any() else far
        )
    left = distances[0] <= distances[1]
    return np.where(left, ATR.index(sides[0]), ATR.index(sides[1])).astype(np.uint8)[loose]


def _classes(labels: LabelSet, kinds: Iterable[str]) -> list[int]:
    return [
        number for number, name in enumerate(labels.names) if number and kind_of(name) in set(kinds)
    ]


def _where(parsing: Parsing, kinds: Iterable[str]) -> np.ndarray:
    """bool (H, W): the pixels of these kinds of classes."""
    return class_pixels(parsing.label_map, _classes(parsing.labels, kinds))


def _height(person: Person) -> int:
    return person.box_xyxy[3] - person.box_xyxy[1]


def _hidden_shape(
    parsing: Parsing, wanted: np.ndarray, painted: set[str], body: np.ndarray, radius: float
) -> np.ndarray:
    """What is wanted, with the hull of its garments (limbs apart, which would fill the space
    between them) and around it all."""
    filled = wanted.view(np.uint8).copy()
    for kinds in ((UPPER | WHOLE | _CHEST) & painted, (LOWER | WHOLE | _LEGS) & painted):
        there = _where(parsing, kinds) & body
        points = cv2.findNonZero(_without_small(there, LIMB * there.sum()).view(np.uint8))
        if points is not None:
            cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return cv2.distanceTransform(1 - filled, cv2.DIST_L2, 5) <= max(1.0, radius)


def _without_small(dense: np.ndarray, least_px: float) -> np.ndarray:
    """bool (H, W): the connected components of at least so many pixels."""
    _, which, boxes, _ = cv2.connectedComponentsWithStats(dense.view(np.uint8), connectivity=8)
    large = boxes[:, cv2.CC_STAT_AREA] >= least_px
    large[0] = False
    return large[which]


def _hands(parsing: Parsing, person: Person, body: np.ndarray) -> np.ndarray:
    """bool (H, W): the ends of the person's arms, as long as their face is high, and their gloves.

    An arm ends where it is farthest from the face.
    """
    face = person.parts.get("Face")
    x0, y0, x1, y1 = face.box_xyxy if face else person.box_xyxy
    length = y1 - y0 if face else HAND_SHARE * _height(person)
    neck = np.array([(x0 + x1) / 2, y1 if face else y0])
    hands = _where(parsing, {"hand", "glove"}) & body
    for class_id in _classes(parsing.labels, {"arm", "lowerarm"}):
        ys, xs = np.nonzero((parsing.label_map == class_id) & body)
        if len(xs):
            points = np.stack([xs, ys], 1)
            tip = points[((points - neck) ** 2).sum(1).argmax()]
            near = ((points - tip) ** 2).sum(1) < length**2
            hands[ys[near], xs[near]] = True
    return hands
