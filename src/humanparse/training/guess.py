"""Guess class maps from lists: what a model says about each person, among what their list allows.

This is for photos with lists of what people wear (photos.py). Everyday people are looked at one by
one, enlarged, inside their hand-drawn outline; on tagged photos the model finds the person.
Whatever is on the list is found, if need be where it is least unlikely (a share of the pixels is
set aside for it, as in constrained networks, Pathak et al., arXiv 1506.03648), the main garment is
the largest, and left limbs lie where the list says that left is. Where the model is not sure, the
list alone counts (LISTED), or the side stays open (EITHER); see wears.py for these numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.parser import HumanParser
from humanparse.postprocess.centres import STRIDE
from humanparse.system.files import whole_file
from humanparse.training.photos import (
    Photo,
    is_learnt_everyday,
    load_everyday,
    load_tagged,
    outline_band,
)
from humanparse.training.wears import IGNORE, LISTED, Wears, either

MARGIN = 0.15  # around an everyday person, of the longer side of their box
# Scales of the model's input at which each person or photo is looked at, besides its mirror image.
SCALES = (0.67,)
SET_ASIDE = 0.008  # share of a person's pixels that a class on the list gets at least
LARGER = {
    "UpperClothes": 0.06,
    "Dress": 0.06,
    "Coat": 0.06,
    "Pants": 0.045,
    "Skirt": 0.045,
    "Hat": 0.016,
    "Socks": 0.015,
    "Scarf": 0.022,
    "Hair": 0.012,
    "Face": 0.012,
}  # the same by class name, where it is more
# In logits relative to the winner: where a class is less likely than this, no pixels are set aside.
IMPLAUSIBLE = -7.0
MAX_RAISE = 8.0  # logits: the main garment is raised by less than this
UNSURE = 0.5  # probability of the winner below which only the list counts
# In logits: where the background is this far ahead of all possible classes, the class is unknown.
LIKELY_BACKGROUND = 2.0
SIDE_LOGITS = 0.7  # below this the side of a limb is unknown
MIXED = 0.2  # a connected component of limbs has both sides if the lesser has more than this share


def guess(
    root: Path, out: Path, model: str | None = None, *, log: Callable[[str], None] = print
) -> int:
    """Write a class map for each training photo with a list.

    Args:
        root: The embedded model's data folder.
        out: The folder for the maps, `NAME.png`; existing files are kept.
        model: A model's name or .onnx file with the centre head; None takes the one inside the
            package.
        log: Called with the progress now and then.

    Returns:
        The number of maps in the folder.
    """
    parser, plain = HumanParser(model, flip=True, scales=SCALES), HumanParser(model)
    out.mkdir(parents=True, exist_ok=True)
    photos = [*load_everyday(root, is_learnt_everyday), *load_tagged(root, validation=False)]
    for number, photo in enumerate(photos, start=1):
        file = out / f"{photo.name}.png"
        if not file.exists() and any(photo.lists):
            guessed = (
                guess_everyday(parser, photo)
                if photo.labels is not None
                else guess_tagged(parser, plain, photo)
            )
            with whole_file(file) as part:
                part.write_bytes(cv2.imencode(".png", guessed)[1].tobytes())
        if number % 200 == 0:
            log(f"{number} of {len(photos)} photos")
    return len(list(out.glob("*.png")))


def guess_everyday(parser: HumanParser, photo: Photo) -> np.ndarray:
    """Guess the classes of the described people of an everyday photo.

    Args:
        parser: The model, averaging over views.
        photo: The photo, with people and lists.

    Returns:
        uint8 (H, W): classes, LISTED or EITHER on described people; 0 elsewhere.
    """
    labels, people = photo.maps
    guessed = np.where(labels == LISTED, LISTED, 0).astype(np.uint8)
    for number, wears in enumerate(photo.lists, start=1):
        body = (people == number) & (labels == LISTED)
        if wears and body.any():
            window = _around(body)
            logits = class_logits(parser, photo.pixels[window], body[window])
            guessed[window][body[window]] = constrained(logits, body[window], wears, parser.labels)
    return guessed


def guess_tagged(parser: HumanParser, plain: HumanParser, photo: Photo) -> np.ndarray:
    """Guess the classes of the one person that a tagged photo's list describes.

    Args:
        parser: The model, averaging over views.
        plain: The model without averaging, which finds the person.
        photo: The photo, with one list.

    Returns:
        uint8 (H, W): classes, LISTED or EITHER on the person; 0 on the background, 255 unknown.
    """
    (wears,) = filter(None, photo.lists)
    people = plain.parse(photo.pixels).person_map
    guessed = np.where(people > 0, IGNORE, 0).astype(np.uint8)
    if not people.any():
        return np.full(people.shape, IGNORE, np.uint8)
    body = people == np.bincount(people[people > 0]).argmax()
    guessed[outline_band(body)] = IGNORE
    body &= guessed != 0
    body &= ~outline_band(body)
    guessed[body] = constrained(
        class_logits(parser, photo.pixels, body), body, wears, parser.labels
    )
    return guessed


def class_logits(parser: HumanParser, pixels: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return the class logits of one person's pixels, with what the network says about the whole
    person.

    Args:
        parser: The model.
        pixels: The photo, uint8 (H, W, 3) RGB.
        body: The person's n pixels, bool (H, W).

    Returns:
        float32 (C, n).
    """
    outputs, geometry = parser.look(pixels)
    rows, columns = geometry.cells(STRIDE)
    height, width = pixels.shape[:2]

    def full(maps: np.ndarray) -> np.ndarray:
        return np.stack(
            [cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR)[body] for one in maps]
        )

    logits = full(outputs["classes"][0, :, :rows, :columns])
    if "wears" in outputs:
        whole = full(outputs["wears"][0, :, :rows, :columns]).mean(1)
        logits[1:] += whole[1:, None]
    return logits


def constrained(logits: np.ndarray, body: np.ndarray, wears: Wears, labels: LabelSet) -> np.ndarray:
    """Return the class of each pixel of a person, among those that the list allows.

    Args:
        logits: float32 (C, n), of the pixels where `body` is true.
        body: bool (h, w).
        wears: The person's list.
        labels: The classes.

    Returns:
        uint8 (n,): classes, or numbers that stand for several (LISTED, EITHER).
    """
    kinds = _kinds(wears, labels)
    if not kinds:
        return np.full(logits.shape[1], LISTED, np.uint8)
    of_kinds = [np.logaddexp.reduce(logits[list(kind.classes)], axis=0) for kind in kinds]
    scores = _with_main_garment(np.stack(of_kinds), kinds, wears)  # (K, n)
    won, kept = _with_what_is_listed(scores, kinds)
    odds = np.exp(scores - scores.max(0))
    unsure = odds[won, np.arange(odds.shape[1])] / odds.sum(0) < UNSURE
    unsure |= logits[0] - scores.max(0) > LIKELY_BACKGROUND
    codes = np.array([kind.classes[0] for kind in kinds], np.uint8)[won]
    for index, kind in enumerate(kinds):
        if len(kind.classes) == 2:
            codes[won == index] = _sides(logits, body, won == index, kind, wears)
    codes[unsure & ~kept] = LISTED
    return codes


@dataclass(frozen=True)
class _Kind:
    """One class, or two that differ only in their side.

    either: the number that stands for an unknown side. share: the share of the person's pixels that
    is set aside, 0 if it need not be there. garment: whether it may be the main one.
    """

    classes: tuple[int, ...]
    either: int
    share: float
    garment: bool


def _kinds(wears: Wears, labels: LabelSet) -> list[_Kind]:
    allowed = wears.wears | wears.unsure
    sided = {c for pair in labels.left_right_pairs for c in pair}
    groups: list[tuple[tuple[int, ...], int]] = [
        ((c,), IGNORE) for c in range(1, len(labels)) if c not in sided
    ]
    groups += [(pair, code) for code, pair in either(labels).items()]
    kinds = []
    for classes, code in groups:
        possible = tuple(c for c in classes if c in allowed)
        if possible:
            share = (
                LARGER.get(labels.names[classes[0]], SET_ASIDE)
                if wears.wears & set(possible)
                else 0.0
            )
            kinds.append(_Kind(possible, code, share, bool(set(classes) & labels.garments)))
    return kinds


def _with_main_garment(scores: np.ndarray, kinds: list[_Kind], wears: Wears) -> np.ndarray:
    """The scores, with the list's main garment raised until it is the largest garment."""
    if wears.main not in {kind.classes[0] for kind in kinds}:
        return scores
    main = [kind.classes[0] for kind in kinds].index(wears.main)
    others = [index for index, kind in enumerate(kinds) if kind.garment and index != main]
    raised = scores.copy()
    for rise in np.arange(0, MAX_RAISE, 0.5):
        raised[main] = scores[main] + rise
        cells = np.bincount(raised.argmax(0), minlength=len(kinds))
        if not others or cells[main] >= 1.05 * cells[others].max():
            break
    return raised


def _with_what_is_listed(scores: np.ndarray, kinds: list[_Kind]) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each pixel, int (n,), and whether it was set aside for that kind, bool (n,)."""
    won, kept = scores.argmax(0), np.zeros(scores.shape[1], bool)
    # Small things come last, since they lie on top.
    for index in sorted(range(len(kinds)), key=lambda index: -kinds[index].share):
        wanted = round(kinds[index].share * len(won))
        if (won == index).sum() >= wanted:
            continue
        behind = scores[index] - np.delete(scores, index, 0).max(0, initial=-np.inf)
        best = np.argsort(-behind, kind="stable")[:wanted]
        best = best[behind[best] > IMPLAUSIBLE]
        won[best], kept[best] = index, True
    return won, kept


def _sides(
    logits: np.ndarray, body: np.ndarray, mine: np.ndarray, kind: _Kind, wears: Wears
) -> np.ndarray:
    """The left or right class of each pixel in `mine`, or the number for either: uint8.

    kind: the kind of limb.
    """
    left, right = kind.classes
    limb, margin = np.zeros(body.shape, np.uint8), np.zeros(body.shape, np.float32)
    limb[body], margin[body] = mine, logits[left] - logits[right]
    codes = np.full(body.shape, kind.either, np.uint8)
    count, components = cv2.connectedComponents(limb, connectivity=8)
    xs = np.nonzero(body)[1]
    middle, width = np.median(xs), max(1, np.ptp(xs))
    towards = {"right": 1.0, "left": -1.0}.get(wears.left_at or "", 0.0)
    for component in range(1, count):
        here = components == component
        across = np.nonzero(here)[1]
        to_left = margin[here] > 0
        if min(to_left.mean(), 1 - to_left.mean()) > MIXED:
            apart = across[to_left].mean() - across[~to_left].mean()
            if towards * apart >= 0:  # the list agrees, or does not say
                codes[here] = np.where(to_left, left, right)
            continue
        place = np.clip((across.mean() - middle) / width / 0.3, -1, 1) * 2 * towards
        score = float(np.clip(margin[here].mean(), -4, 4) + place)
        if abs(score) > SIDE_LOGITS:
            codes[here] = left if score > 0 else right
    return codes[body][mine]


def _around(body: np.ndarray) -> tuple[slice, slice]:
    """The window of a person, with a margin of MARGIN."""
    x, y, width, height = cv2.boundingRect(body.view(np.uint8))
    more = round(MARGIN * max(width, height)) + 4
    return np.s_[max(0, y - more) : y + height + more, max(0, x - more) : x + width + more]
