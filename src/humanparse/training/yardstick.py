"""The yardstick: what the embedded model is judged by, on photos held out of training.

single, composite   labelled street photos as they are, and their people pasted together,
                    see validate.py
everyday            outlined people of at least 0.6 % of the photo: whether they are found and
                    outlined, and what they wear
tagged              street photos with a list of what the one person wears
steady              everyday photos mirrored, and at JPEG quality 90: what changes although it
                    should not
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from humanparse.evaluation.mean_iou import IGNORE, MeanIoU
from humanparse.evaluation.outfits import OutfitScore
from humanparse.evaluation.person_pq import PersonPQ
from humanparse.masks import box_iou
from humanparse.parser import HumanParser
from humanparse.result import Parsing, Person
from humanparse.training.photos import UNKNOWN_PERSON, Photo, Photos
from humanparse.training.scenes import mirrored_classes

MIN_PERSON = 0.006  # share of the photo; smaller people do not count
FOUND_IOU = 0.5  # of boxes
STEADY_PHOTOS = 60  # photos on which steadiness is measured
JPEG_QUALITY = 90


@dataclass
class Everyday:
    """Figures of everyday photos.

    Attributes:
        outfits: What the described people wear.
        people: Of the person maps.
        person: Of people against the background.
    """

    outfits: OutfitScore
    people: PersonPQ = field(default_factory=PersonPQ)
    person: MeanIoU = field(default_factory=lambda: MeanIoU(2))

    def add(self, photo: Photo, parsing: Parsing) -> None:
        """Count how well a result agrees with a photo's outlines and lists."""
        _, people = photo.maps
        truth = people.copy()
        pixels = np.bincount(truth[truth > 0], minlength=len(photo.lists) + 1)
        small = pixels < MIN_PERSON * truth.size
        truth[(truth > 0) & small[np.maximum(truth, 0)]] = UNKNOWN_PERSON
        self.people.add(truth, parsing.person_map)
        asked = np.where(truth < 0, IGNORE, truth > 0).astype(np.uint8)
        self.person.add(asked, (parsing.person_map > 0).astype(np.uint8))
        for number, wears in enumerate(photo.lists, start=1):
            if wears and not small[number]:
                found = _person_at(parsing, people == number)
                shares = _shares(parsing, found) if found else None
                self.outfits.add(shares, wears.wears, wears.unsure, wears.main)


@dataclass
class Steady:
    """What one change to a photo changes in its result.

    Attributes:
        changed: Pixels of the foreground whose class changes.
        foreground: Pixels of the foreground, before or after.
        photos: The number of photos.
        recounted: In how many of them the number of people changes.
    """

    changed: int = 0
    foreground: int = 0
    photos: int = 0
    recounted: int = 0

    def add(self, before: Parsing, labels: np.ndarray, num_people: int) -> None:
        """Compare two results.

        Args:
            before: The result for the photo.
            labels: The label map after the change, mapped back to the photo, uint8 (H, W).
            num_people: The number of people after the change.
        """
        either = (before.label_map > 0) | (labels > 0)
        self.changed += int((before.label_map != labels)[either].sum())
        self.foreground += int(either.sum())
        self.photos += 1
        self.recounted += num_people != len(before.people)

    @property
    def share(self) -> float:
        """The share of the foreground whose class changes."""
        return self.changed / max(self.foreground, 1)


@dataclass(frozen=True)
class Lists:
    """The figures of photos with outlines and lists.

    Attributes:
        everyday: Of everyday photos.
        tagged: Of tagged photos.
        steady: By change, see Steady.
    """

    everyday: Everyday
    tagged: OutfitScore
    steady: dict[str, Steady]


def measure_lists(parser: HumanParser, photos: Photos) -> Lists:
    """Return all figures of the held-out photos with lists.

    Args:
        parser: The model.
        photos: The validation split, see photos.py.
    """
    return Lists(
        everyday(parser, photos.everyday),
        tagged(parser, photos.tagged),
        steady(parser, for_steadiness(photos.everyday)),
    )


def everyday(parser: HumanParser, photos: Iterable[Photo]) -> Everyday:
    """Return the figures of everyday photos, which have people and lists."""
    score = Everyday(OutfitScore(parser.labels))
    for photo in photos:
        score.add(photo, parser.parse(photo.pixels))
    return score


def tagged(parser: HumanParser, photos: Iterable[Photo]) -> OutfitScore:
    """Return the figures of photos with one person's list: for the largest person found."""
    score = OutfitScore(parser.labels)
    for photo in photos:
        parsing = parser.parse(photo.pixels)
        largest = max(parsing.people, key=lambda person: person.area, default=None)
        (wears,) = filter(None, photo.lists)
        score.add(_shares(parsing, largest) if largest else None, wears.wears, wears.unsure)
    return score


def steady(parser: HumanParser, photos: Iterable[Photo]) -> dict[str, Steady]:
    """Return what mirroring and JPEG compression change, by the name of the change."""
    mirrored, jpeg = Steady(), Steady()
    sides = mirrored_classes(parser.labels)
    for photo in photos:
        before = parser.parse(photo.pixels)
        after = parser.parse(np.ascontiguousarray(photo.pixels[:, ::-1]))
        mirrored.add(before, sides[after.label_map[:, ::-1]], len(after.people))
        _, data = cv2.imencode(
            ".jpg", photo.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded just above
        after = parser.parse(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
        jpeg.add(before, after.label_map, len(after.people))
    return {"mirrored": mirrored, "JPEG 90": jpeg}


def for_steadiness(photos: Iterable[Photo]) -> list[Photo]:
    """Return the first STEADY_PHOTOS photos with a person who is large enough."""
    return [photo for photo in photos if _has_large_person(photo)][:STEADY_PHOTOS]


def _has_large_person(photo: Photo) -> bool:
    _, people = photo.maps
    return bool((np.bincount(people[people > 0]) >= MIN_PERSON * people.size).any())


def report_lists(lists: Lists) -> str:
    """Return the figures as a text table."""
    every, tags, changes = lists.everyday, lists.tagged, lists.steady
    outfits, people = every.outfits, every.people
    kinds = {name: (value, tags.f1_per_kind[name]) for name, value in outfits.f1_per_kind.items()}
    lines = [
        f"{'':28}{'everyday':>10}{'tagged':>10}",
        f"{'person PQ':28}{people.pq:10.3f}",
        f"{'person IoU':28}{every.person.per_class[1]:10.3f}",
        f"{'people found, missed, false':28}{people.found:10d}{people.missed:6d}{people.false:6d}",
        f"{'described people':28}{outfits.people:10d}{tags.people:10d}",
        f"{'found (box IoU > 0.5)':28}{outfits.found:10d}{tags.found:10d}",
        f"{'main garment right, of all':28}{outfits.mains_right:10.3f}",
        f"{'outfit exactly right':28}{outfits.outfits_right:10.3f}{tags.outfits_right:10.3f}",
        f"{'garment F1':28}{outfits.f1:10.3f}{tags.f1:10.3f}",
        f"{'mean F1 over kinds':28}{outfits.mean_f1:10.3f}{tags.mean_f1:10.3f}",
        *(f"  {name:26}{one:10.3f}{other:10.3f}" for name, (one, other) in kinds.items()),
    ]
    lines += [
        f"{name + ': class changes':28}{one.share:10.3f}   "
        f"people change in {one.recounted} of {one.photos} photos"
        for name, one in changes.items()
    ]
    return "\n".join(lines)


def _shares(parsing: Parsing, person: Person) -> np.ndarray:
    """float (C,): the share of each class among a person's pixels."""
    counts = np.bincount(
        parsing.label_map[parsing.person_map == person.id], minlength=len(parsing.labels)
    )
    return counts / max(counts.sum(), 1)


def _person_at(parsing: Parsing, body: np.ndarray) -> Person | None:
    """The person whose box overlaps that of `body`, bool (H, W), most; at least by FOUND_IOU."""
    x, y, width, height = cv2.boundingRect(body.view(np.uint8))
    wanted = (x, y, x + width, y + height)
    best = max(parsing.people, key=lambda person: box_iou(person.box_xyxy, wanted), default=None)
    return best if best and box_iou(best.box_xyxy, wanted) > FOUND_IOU else None
