"""From the centre head to Maps.

People are the peaks of a heat map, and every pixel says where the centre of its person is. This
follows Panoptic-DeepLab (arXiv 1911.10194), with three additions: peaks that turn out to lie in the
same person are joined; a region whose pixels point far from every peak still becomes a person; and
so does a part of somebody that points to a place of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.labels import LabelSet
from humanparse.masks import Box
from humanparse.postprocess.assemble import Maps, left_to_right
from humanparse.postprocess.cleanup import (
    drop_faceless,
    drop_islands,
    join_patches,
    person_means,
    steered,
    window_of,
)
from humanparse.postprocess.outfit import OutfitReader, summaries
from humanparse.postprocess.paste import paste_winners
from humanparse.postprocess.probability import FAINTEST, sigmoid, winner
from humanparse.preprocess import Geometry

STRIDE = 4  # input pixels per cell of every output map
UNNAMED = LabelSet("unnamed", ())
Point = tuple[float, float, float]  # x and y in cells, and the height of the peak
ROUNDS = 2  # how often people are looked for among the cells of others
MAX_PEOPLE = 100  # in one photo, to limit work and memory; the faintest peaks are dropped


@dataclass(frozen=True)
class CentreSettings:
    """Thresholds, in input pixels and probabilities; a model file may carry its own.

    Attributes:
        person_weight: The weight of the person map in deciding what is foreground; the rest is the
            weight of the class map.
        foreground: A pixel is part of a person from this probability on.
        peak: A local maximum of the heat map is a centre from this height on.
        peak_radius_px: A peak nearer than this to a higher one is not a centre.
        join: Two peaks are one person if they are nearer to each other than this share of the
            person's diagonal.
        stray: A pixel that points farther past every centre than this share of the photo's diagonal
            belongs to nobody.
        elsewhere: Pixels of a person that point farther past their centre than this share of the
            person's diagonal may be somebody else.
        agreed: A connected region of such pixels is another person if at least this share of it
            points to the same place, which is
        same_place: a circle whose radius is this share of the region's diagonal,
        own_middle: if that place is no farther from the region's own middle than this share of its
            diagonal,
        second: and if the region is at least this share of the person that it is taken from.
        min_area: The area of the smallest person, as a share of the photo's area.
        person_score: People whose score is below this are dropped.
        island: A connected component of a person belongs to nobody if it is smaller than this share
            of the person's largest component.
        outfit_reader: The layers that say what each person wears (outfit.py), as text.
        worn: The weight of the log odds that they give for a class, where these are positive, in
            the logits of all the person's pixels.
        denied: The same where they are negative.
        wears: Without such layers: the weight of the network's own evidence that a whole person
            wears something, if the model gives any.
        patch: A connected component of a part becomes another part if it is smaller than this share
            of the person and that other part lies along most of its edge.
        garment_patch: The same for garments, which are confused more often.
        surrounded: What "most of its edge" means, as a share.
    """

    person_weight: float = 0.7
    foreground: float = 0.45
    peak: float = 0.2
    peak_radius_px: float = 16
    join: float = 0.12
    stray: float = 0.22
    elsewhere: float = 0.25
    agreed: float = 0.6
    same_place: float = 0.15
    own_middle: float = 0.3
    second: float = 0.15
    min_area: float = 0.0012
    person_score: float = 0.53
    island: float = 0.05
    outfit_reader: str = ""
    worn: float = 0.6
    denied: float = 1.6
    wears: float = 1.0
    patch: float = 0.005
    garment_patch: float = 0.03
    surrounded: float = 0.6


def parse_centres(
    outputs: dict[str, np.ndarray],
    geometry: Geometry,
    settings: CentreSettings,
    labels: LabelSet = UNNAMED,
) -> Maps:
    """Find the people in the outputs of the centre head.

    Args:
        outputs: classes (1, C, h, w), person (1, 1, h, w) and centre (1, 1, h, w), logits, and
            offset (1, 2, h, w) in input pixels, as CentreParser gives them
            (model/centre_parser.py); wears (1, C, h, w) where the model has it.
        geometry: Where the photo lies in the network's input.
        settings: The thresholds.
        labels: The label set, which says what is a garment or on a head. Without names, nothing is.

    Returns:
        The maps in the photo's size.
    """
    seen, odds, foreground, people = _decoded(outputs, geometry, settings)
    height, width = geometry.photo_hw
    maps = Maps(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16), [], {})
    if not people.heights:
        return maps
    scores = _person_scores(people, foreground)
    order = [
        index
        for index in left_to_right(_boxes(people.owner, len(scores)))
        if scores[index] >= settings.person_score
    ]
    if not order:
        return maps
    maps.person_scores = [float(scores[index]) for index in order]
    # From here on only the cells of people, and those beside them, are looked at.
    window = window_of(people.owner >= 0, margin=1)
    classes, odds, foreground = seen["classes"][:, *window], odds[:, *window], foreground[window]
    owner, persons = people.owner[window], -people.distance[order][:, *window]
    count = len(people.heights)
    # As rows of the maps without the background.
    heads, faces, garments = (
        {c - 1 for c in which} for which in (labels.heads, labels.faces, labels.garments)
    )
    if "wears" in seen:
        evidence = _evidence(odds / odds.sum(0), seen["wears"][:, *window], owner, count, settings)
        parts = steered(classes[1:], evidence[:, 1:], owner)
        odds = _odds(np.concatenate([classes[:1], parts]))
    else:
        parts = classes[1:].copy()
    probability = odds[1:] / odds.sum(0)
    part = winner(parts).astype(np.uint8)  # (h, w)
    maps.part_scores = _part_scores(probability, part, owner, order)
    painted = np.zeros(count + 1, bool)  # the last one is nobody
    painted[order] = True
    foreground = np.where(painted[owner], foreground, np.minimum(foreground, -1)).astype(np.float32)
    drop_faceless(parts, part, owner, count, heads, faces)
    join_patches(
        parts,
        part,
        owner,
        count,
        share=settings.patch,
        garment_share=settings.garment_patch,
        surrounded=settings.surrounded,
        garments=garments,
    )
    at = window[0].start, window[1].start
    maps.person_boxes = paste_winners(
        persons, foreground, geometry, STRIDE, maps.person_map, np.arange(1, len(order) + 1), at
    )
    maps.class_boxes = paste_winners(
        parts, foreground, geometry, STRIDE, maps.label_map, np.arange(1, len(classes)), at
    )
    return maps


@dataclass
class _People:
    """The people before they are scored.

    heights: of each person's peak. distance (K, h, w): from each cell's vote to each centre, in
    cells. owner (h, w): the index of each cell's person, -1 for nobody.
    """

    heights: list[float]
    distance: np.ndarray
    owner: np.ndarray


def people_summaries(
    outputs: dict[str, np.ndarray], geometry: Geometry, settings: CentreSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the people are, and what the outfit reader sees of them.

    Args:
        outputs: As for `parse_centres`, with wears.
        geometry: Where the photo lies in the network's input.
        settings: The thresholds.

    Returns:
        The person of each cell, int (h, w), -1 for nobody, and the summaries of the people,
        float32 (people, F).
    """
    seen, odds, _, people = _decoded(outputs, geometry, settings)
    return people.owner, summaries(
        odds / odds.sum(0), seen["wears"], people.owner, len(people.heights)
    )


def _decoded(
    outputs: dict[str, np.ndarray], geometry: Geometry, settings: CentreSettings
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, _People]:
    """Return what of the outputs sees the photo, the odds of the classes, and the people.

    The maps by name, (C, h, w) each; the odds, (C, h, w), 1 where a class wins; the foreground,
    (h, w), positive inside; and the people, before they are scored.
    """
    rows, columns = geometry.cells(STRIDE)
    seen = {name: maps[0, :, :rows, :columns] for name, maps in outputs.items()}
    classes = seen["classes"]
    odds = _odds(classes)
    foreground = _foreground(odds, classes[0] - classes.max(0), seen["person"][0], settings)
    votes = _votes(seen["offset"])  # (2, h, w), cell coordinates x, y
    return (
        seen,
        odds,
        foreground,
        _people(sigmoid(seen["centre"][0]), votes, foreground > 0, settings),
    )


def _evidence(
    probability: np.ndarray,
    wears: np.ndarray,
    owner: np.ndarray,
    count: int,
    settings: CentreSettings,
) -> np.ndarray:
    """Return by how much to raise the logits of each person's pixels, (people, C)."""
    if not settings.outfit_reader:
        return settings.wears * person_means(wears, owner, count)
    reader = OutfitReader.from_text(settings.outfit_reader, len(probability))
    odds = reader(summaries(probability, wears, owner, count))
    return np.where(odds > 0, settings.worn, settings.denied).astype(np.float32) * odds


def _odds(classes: np.ndarray) -> np.ndarray:
    """Return how likely each class is compared with the likeliest one, (C, h, w), from logits."""
    odds = classes - classes.max(0)
    return np.exp(odds, out=odds)


def _foreground(
    odds: np.ndarray, background: np.ndarray, person: np.ndarray, settings: CentreSettings
) -> np.ndarray:
    """Mix the log odds of both maps: float32 (h, w), positive where a person is.

    odds, background: relative to the likeliest class; that of the background as a logarithm.
    """
    any_part = np.log(np.maximum(odds[1:].sum(0), FAINTEST)) - background
    mixed = settings.person_weight * person + (1 - settings.person_weight) * any_part
    return mixed - np.log(settings.foreground / (1 - settings.foreground))


def _votes(offset: np.ndarray) -> np.ndarray:
    """Return the x and y of the centre that each cell points to, (2, h, w), in cells."""
    _, height, width = offset.shape
    votes = offset / np.float32(STRIDE)
    votes[0] += np.arange(width, dtype=np.float32)
    votes[1] += np.arange(height, dtype=np.float32)[:, None]
    return votes


def _people(
    heat: np.ndarray, votes: np.ndarray, inside: np.ndarray, settings: CentreSettings
) -> _People:
    """Find the peaks and each cell's nearest; join peaks, add strays and others, drop people who
    are too small.
    """
    ys, xs = _peaks(heat, settings)
    points = [(float(x), float(y), float(heat[y, x])) for y, x in zip(ys, xs, strict=True)]
    # (K, h, w)
    distance = _distance(points, votes)
    joined = _join(points, distance, inside, settings)
    points, distance = [points[index] for index in joined], distance[joined]
    strays = _strays(points, distance, votes, inside, settings)
    points, distance = points + strays, np.concatenate([distance, _distance(strays, votes)])
    for _ in range(ROUNDS):
        others = _others(points, distance, votes, inside, settings)
        if not others:
            break
        points, distance = points + others, np.concatenate([distance, _distance(others, votes)])
    min_cells = max(2.0, settings.min_area * inside.size)
    while points:
        owner = np.where(inside, winner(-distance), -1)
        owner[distance.min(0) > settings.stray * np.hypot(*inside.shape)] = -1
        cells = np.bincount(owner[owner >= 0], minlength=len(points))
        kept = np.flatnonzero(cells >= min_cells)
        if len(kept) == len(points):
            drop_islands(owner, len(points), settings.island)
            return _People([height for _, _, height in points], distance, owner)
        points, distance = [points[index] for index in kept], distance[kept]
    return _People([], distance, np.full(inside.shape, -1))


def _peaks(heat: np.ndarray, settings: CentreSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the local maxima of the heat map, highest first."""
    radius = max(1, round(settings.peak_radius_px / STRIDE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    ys, xs = np.nonzero((heat >= cv2.dilate(heat, disc)) & (heat >= settings.peak))
    order = np.argsort(-heat[ys, xs])[:MAX_PEOPLE]
    return ys[order], xs[order]


def _join(
    points: list[Point], distance: np.ndarray, inside: np.ndarray, settings: CentreSettings
) -> list[int]:
    """Return the indices of the peaks that are not too near a higher one for a person of that
    size.
    """
    if len(points) < 2:
        return list(range(len(points)))
    owner = np.where(inside, winner(-distance), -1)
    kept: list[int] = []
    for index, (x, y, _) in enumerate(points):
        for other in kept:
            apart = np.hypot(x - points[other][0], y - points[other][1])
            # Too far apart for a person of any size.
            if apart >= settings.join * np.hypot(*inside.shape):
                continue
            _, _, width, height = cv2.boundingRect(
                ((owner == index) | (owner == other)).view(np.uint8)
            )
            if apart < settings.join * np.hypot(max(0, width - 1), max(0, height - 1)):
                owner[owner == index] = other
                break
        else:
            kept.append(index)
    return kept


def _strays(
    points: list[Point],
    distance: np.ndarray,
    votes: np.ndarray,
    inside: np.ndarray,
    settings: CentreSettings,
) -> list[Point]:
    """Make a person of each large connected region that points to none of the peaks.

    Returns the places where the regions point.
    """
    far = inside.copy()
    if points:
        far &= distance.min(0) > settings.stray * np.hypot(*inside.shape)
    least = 2 * settings.min_area * inside.size
    if np.count_nonzero(far) < least:
        return []
    count, regions = cv2.connectedComponents(far.astype(np.uint8), connectivity=4)
    found: list[Point] = []
    for region in range(1, count):
        here = regions == region
        if here.sum() >= least and len(points) + len(found) < MAX_PEOPLE:
            found.append(
                (float(votes[0][here].mean()), float(votes[1][here].mean()), settings.peak)
            )
    return found


def _others(
    points: list[Point],
    distance: np.ndarray,
    votes: np.ndarray,
    inside: np.ndarray,
    settings: CentreSettings,
) -> list[Point]:
    """Make a person of each large connected part of somebody that points to one other place.

    It finds people whose own peak is too faint beside that of whoever they touch. Returns the
    places where the parts point.
    """
    if not points:
        return []
    owner, nearest = np.where(inside, winner(-distance), -1), distance.min(0)
    fewest = settings.min_area * inside.size
    found: list[Point] = []
    for index in range(len(points)):
        mine = owner == index
        window = window_of(mine)
        cells = np.count_nonzero(mine)
        away = mine[window] & (nearest[window] > settings.elsewhere * np.hypot(*mine[window].shape))
        least = max(settings.second * cells, fewest)
        if np.count_nonzero(away) < least:
            continue
        there = votes[:, *window]
        count, regions, boxes, middles = cv2.connectedComponentsWithStats(
            away.astype(np.uint8), connectivity=4
        )
        for region in range(1, count):
            _, _, width, height, area = boxes[region]
            if area < least or len(points) + len(found) >= MAX_PEOPLE:
                continue
            x, y = there[:, regions == region]
            place = float(np.median(x)), float(np.median(y))
            diagonal = np.hypot(width, height)
            middle = middles[region] + (window[1].start, window[0].start)
            if np.hypot(*(middle - place)) > settings.own_middle * diagonal:
                continue
            same = np.hypot(x - place[0], y - place[1]) < settings.same_place * diagonal
            if same.mean() >= settings.agreed:
                found.append((*place, settings.peak))
    return found


def _distance(points: list[Point], votes: np.ndarray) -> np.ndarray:
    """Return how far each cell's vote lies from each point, float32 (K, h, w), in cells."""
    centres = np.array([(x, y) for x, y, _ in points], np.float32).reshape(-1, 2, 1, 1)
    # Ten times as fast as np.hypot.
    return np.sqrt((votes[0] - centres[:, 0]) ** 2 + (votes[1] - centres[:, 1]) ** 2)


def _person_scores(people: _People, foreground: np.ndarray) -> np.ndarray:
    """Return the score of each person, (K,).

    It is the mean of the peak's height and of the mean probability that the person's cells are
    foreground.
    """
    mine = people.owner >= 0
    whose, heights = people.owner[mine], np.array(people.heights)
    cells = np.bincount(whose, minlength=len(heights))
    certainty = np.bincount(whose, sigmoid(foreground[mine]), minlength=len(heights)) / cells
    return (heights + certainty) / 2


def _boxes(owner: np.ndarray, count: int) -> Iterator[Box]:
    """Yield the box of each person's cells, half-open."""
    for index in range(count):
        x, y, width, height = cv2.boundingRect((owner == index).view(np.uint8))
        yield x, y, x + width, y + height


def _part_scores(
    probability: np.ndarray, part: np.ndarray, owner: np.ndarray, order: list[int]
) -> dict[tuple[int, int], float]:
    """Return (person number, class) → the mean probability of the class over the cells where it
    wins.

    probability: (C - 1, h, w), without the background; part, owner: (h, w), the class that wins,
    and the person whose cell it is.
    """
    scores: dict[tuple[int, int], float] = {}
    for number, index in enumerate(order, start=1):
        mine = owner == index
        window = window_of(mine)
        mine, values = mine[window], probability[:, *window]  # values: (C - 1, h', w')
        wins, here = part[window][mine], np.nonzero(mine)
        cells = np.bincount(wins, minlength=len(values))
        total = np.bincount(wins, values[wins, *here], minlength=len(values))
        score, thin = total / np.maximum(cells, 1), cells == 0
        # A part that is so thin that it wins only between cells has the score of its best cell.
        score[thin] = (values[thin] * mine).max((1, 2))
        scores |= {(number, c): float(one) for c, one in enumerate(score, start=1)}
    return scores
