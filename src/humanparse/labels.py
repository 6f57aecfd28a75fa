"""Label sets: what the numbers of a label map mean, which are left and right, and their colours.

Left and right are the person's. Names follow the data sets: LIP (Gong et al. 2017), CIHP (Gong et
al. 2018), PASCAL-Person-Part (Chen et al. 2014), MHP-v2 (Zhao et al. 2018).
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from humanparse.errors import OptionError
from humanparse.vocabulary import PALETTES

Colour = tuple[int, int, int]  # RGB, 0–255
# names of classes, in lower case and without hyphens
_GARMENTS = {
    "upperclothes",
    "dress",
    "coat",
    "pants",
    "skirt",
    "jumpsuits",
    "jumpsuit",
    "shorts",
    "robe",
}
_FACES = {"face"}
EYEWEAR = {"sunglasses", "glasses", "eyewear"}
_ON_HEADS = _FACES | EYEWEAR | {"hair", "hat"}


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model.

    Attributes:
        name: What the set is called.
        names: `names[i]` is class i; class 0 is the background.
        clear_colours: Hand-picked colours that are clear on photos; generated if empty.
        classic_colours: Colours of the data set's own tools; PASCAL VOC's if empty.

    Raises:
        OptionError: For two classes of one name, a class without a name, and a left side without
            its right one.
    """

    name: str
    names: tuple[str, ...]
    clear_colours: tuple[Colour, ...] = ()
    classic_colours: tuple[Colour, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def left_right_pairs(self) -> tuple[tuple[int, int], ...]:
        """(left class, right class) of every pair: what mirroring a photo exchanges."""
        index = {name: i for i, name in enumerate(self.names)}
        return tuple(
            (i, index[name.replace("Left-", "Right-")])
            for name, i in index.items()
            if name.startswith("Left-")
        )

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """What each class is called in a mirrored photo: that of the other side, or itself."""
        sides = dict(self.left_right_pairs) | {right: left for left, right in self.left_right_pairs}
        return tuple(sides.get(number, number) for number in range(len(self)))

    @cached_property
    def garments(self) -> frozenset[int]:
        """The classes of clothes for the body, which are easily mistaken for each other.

        Hats, shoes and scarves are not among them.
        """
        return self._called(_GARMENTS)

    @cached_property
    def faces(self) -> frozenset[int]:
        """The classes of faces."""
        return self._called(_FACES)

    @cached_property
    def eyewear(self) -> frozenset[int]:
        """The classes of glasses, behind which the eyes of a face are."""
        return self._called(EYEWEAR)

    @cached_property
    def heads(self) -> frozenset[int]:
        """The classes on a head: the face, and what is connected to it."""
        return self._called(_ON_HEADS)

    def _called(self, names: set[str]) -> frozenset[int]:
        return frozenset(
            i for i, name in enumerate(self.names) if name.lower().replace("-", "") in names
        )

    def palette(self, name: str = "clear") -> tuple[Colour, ...]:
        """Return one RGB colour for each class; class 0 is black.

        Args:
            name: "clear": strong on photos, and the two sides of a pair differ in lightness, so
                that colour-blind people can tell them apart. "classic": the colours of the data
                sets' own tools.

        Raises:
            OptionError: For another name.
        """
        check_palette(name)
        if name == "clear":
            return self.clear_colours or _generated(self.names)
        return self.classic_colours or _pascal_voc(len(self))

    def name_beside(self, usual: str) -> str:
        """Return a name beside the classes for something that is not one, such as a whole person.

        Args:
            usual: The wanted name. If a class has it, "whole-" is put before it.
        """
        taken = {name.casefold() for name in self.names}
        while usual.casefold() in taken:
            usual = f"whole-{usual}"
        return usual

    def index(self, name: str) -> int:
        """Return the number of the class of that name.

        Raises:
            OptionError: If no class has that name.
        """
        if name not in self.names:
            raise OptionError(
                f"{self.name} has no class {name!r}; its classes are {', '.join(self.names)}"
            )
        return self.names.index(name)


def _check_names(names: tuple[str, ...]) -> None:
    """Raise OptionError for names by which classes cannot be distinguished, or mirrored."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        if not name.strip():
            raise OptionError(f"class {number} has no name; give each class a name")
        # files are named after classes, and some systems ignore capitals in names
        before = seen.setdefault(name.casefold(), number)
        if before != number:
            raise OptionError(
                f"classes {before} and {number} are both called {name!r}; "
                "give each class a different name"
            )
    for name in names:
        for side, other in (("Left-", "Right-"), ("Right-", "Left-")):
            mirrored = name.replace(side, other, 1)
            if name.startswith(side) and mirrored not in names:
                raise OptionError(
                    f"there is a class {name!r} but no {mirrored!r}, which it becomes in a mirror; "
                    f"name both, or call the one {name.removeprefix(side)!r}"
                )


def difference(one: LabelSet, other: LabelSet, whose: str) -> str:
    """Return in words how the classes of one set differ from those of another.

    Args:
        one: The first set.
        other: The second set.
        whose: Whose classes the second set has, such as "the model's".

    Returns:
        "20 classes and the model's 59", or for the first class that differs "class 10 'Face' and
        the model's is 'Hat'"; "" if they are the same.
    """
    if len(one) != len(other):
        return f"{len(one)} classes and {whose} {len(other)}"
    pairs = enumerate(zip(one.names, other.names, strict=True))
    return next(
        (
            f"class {i} {mine!r} and {whose} is {theirs!r}"
            for i, (mine, theirs) in pairs
            if mine != theirs
        ),
        "",
    )


def check_palette(name: str) -> None:
    """Raise OptionError for a name that is not one of PALETTES."""
    if name not in PALETTES:
        raise OptionError(f"there is no palette {name!r}; choose one of {', '.join(PALETTES)}")


def label_set(name: str) -> LabelSet:
    """Return the label set of a name.

    Args:
        name: "cihp", "lip", "pascal-person-part" or "mhp-v2".

    Raises:
        OptionError: For another name.
    """
    sets: Sequence[LabelSet] = (CIHP, LIP, PASCAL_PERSON_PART, MHP_V2)
    for one in sets:
        if one.name == name:
            return one
    raise OptionError(
        f"there is no label set {name!r}; choose one of {', '.join(one.name for one in sets)}"
    )


def _pascal_voc(count: int) -> tuple[Colour, ...]:
    """PASCAL VOC's colours: the class number's bits dealt out to R, G and B, highest first."""

    def colour(number: int) -> Colour:
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        return rgb[0], rgb[1], rgb[2]

    return tuple(colour(number) for number in range(count))


def _generated(names: tuple[str, ...]) -> tuple[Colour, ...]:
    """Hues a golden section apart; of a pair, which shares one, left is light and right dark."""
    hues = {name: 0.618 * number % 1 for number, name in enumerate(names)}

    def colour(number: int, name: str) -> Colour:
        hue = hues[name.replace("Right-", "Left-")]
        lightness = (0.35, 0.55, 0.75)[number % 3]
        if name.startswith(("Left-", "Right-")):
            lightness = 0.8 if name.startswith("Left-") else 0.3
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.75)
        return round(255 * red), round(255 * green), round(255 * blue)

    return ((0, 0, 0), *(colour(number, name) for number, name in enumerate(names) if number))


_LIP_NAMES = (
    "Background",
    "Hat",
    "Hair",
    "Glove",
    "Sunglasses",
    "UpperClothes",
    "Dress",
    "Coat",
    "Socks",
    "Pants",
    "Jumpsuits",
    "Scarf",
    "Skirt",
    "Face",
    "Left-arm",
    "Right-arm",
    "Left-leg",
    "Right-leg",
    "Left-shoe",
    "Right-shoe",
)
# Warm skin, cool legs, strong clothes, each left side lighter than its right. Found by a search:
# the two closest are 24 apart in CIELAB, and 16 as seen by colour-blind people of any of the three
# kinds (Machado et al. 2009, severity 1).
_LIP_CLEAR = (
    (0, 0, 0),
    (76, 12, 141),
    (153, 86, 68),
    (254, 237, 30),
    (12, 49, 105),
    (108, 147, 247),
    (234, 102, 194),
    (50, 182, 136),
    (166, 235, 95),
    (4, 90, 244),
    (195, 132, 77),
    (208, 75, 18),
    (109, 79, 167),
    (252, 200, 144),
    (253, 132, 9),
    (117, 31, 4),
    (86, 208, 255),
    (4, 106, 132),
    (217, 227, 223),
    (112, 122, 123),
)
_LIP_CLASSIC = (
    (0, 0, 0),
    (128, 0, 0),
    (255, 0, 0),
    (0, 85, 0),
    (170, 0, 51),
    (255, 85, 0),
    (0, 0, 85),
    (0, 119, 221),
    (85, 85, 0),
    (0, 85, 85),
    (85, 51, 0),
    (52, 86, 128),
    (0, 128, 0),
    (0, 0, 255),
    (51, 170, 221),
    (0, 255, 255),
    (85, 255, 170),
    (170, 255, 85),
    (255, 255, 0),
    (255, 170, 0),
)

LIP = LabelSet("lip", _LIP_NAMES, _LIP_CLEAR, _LIP_CLASSIC)
CIHP = LabelSet(
    "cihp", (*_LIP_NAMES[:10], "Torso-skin", *_LIP_NAMES[11:]), _LIP_CLEAR, _LIP_CLASSIC
)
PASCAL_PERSON_PART = LabelSet(
    "pascal-person-part",
    # in the order of M2FP's checkpoints and of the data set as they store it; single-person tools
    # begin with Head, Torso
    ("Background", "Lower-arm", "Head", "Upper-leg", "Torso", "Lower-leg", "Upper-arm"),
    # head as face, torso as clothes, upper as left, lower as right
    tuple(_LIP_CLEAR[i] for i in (0, 15, 13, 16, 5, 17, 14)),
)
MHP_V2 = LabelSet(
    "mhp-v2",
    (
        "Background",
        "Cap/hat",
        "Helmet",
        "Face",
        "Hair",
        "Left-arm",
        "Right-arm",
        "Left-hand",
        "Right-hand",
        "Protector",
        "Bikini/bra",
        "Jacket/windbreaker/hoodie",
        "Tee-shirt",
        "Polo-shirt",
        "Sweater",
        "Singlet",
        "Torso-skin",
        "Pants",
        "Shorts/swim-shorts",
        "Skirt",
        "Stockings",
        "Socks",
        "Left-boot",
        "Right-boot",
        "Left-shoe",
        "Right-shoe",
        "Left-highheel",
        "Right-highheel",
        "Left-sandal",
        "Right-sandal",
        "Left-leg",
        "Right-leg",
        "Left-foot",
        "Right-foot",
        "Coat",
        "Dress",
        "Robe",
        "Jumpsuit",
        "Other-full-body-clothes",
        "Headwear",
        "Backpack",
        "Ball",
        "Bats",
        "Belt",
        "Bottle",
        "Carrybag",
        "Cases",
        "Sunglasses",
        "Eyewear",
        "Glove",
        "Scarf",
        "Umbrella",
        "Wallet/purse",
        "Watch",
        "Wristband",
        "Tie",
        "Other-accessary",
        "Other-upper-body-clothes",
        "Other-lower-body-clothes",
    ),
)
