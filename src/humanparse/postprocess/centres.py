"""Centre head → Maps: people are the peaks of a heat map, and every pixel says where its person's centre is.

After Panoptic-DeepLab (arXiv 1911.10194), with two additions: peaks that turn out to lie in one person are joined, and
a region whose pixels all point to a place where no peak was found still becomes a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.paste import paste_winners
from humanparse.postprocess.probability import sigmoid, softmax
from humanparse.preprocess import Geometry

STRIDE = 4  # input pixels a cell of every output map
PUSH_DOWN = 30.0  # logits: a class brought down by this much wins nowhere
MAX_PEOPLE = 100  # of one photo: a limit on work and memory, peaks beyond it are the faintest


@dataclass(frozen=True)
class CentreSettings:
    """Thresholds, in input pixels and probabilities; a model file may carry its own.

    person_weight:  share of the person map in deciding what is foreground; the rest is the class map's
    foreground:     probability from which a pixel is a person
    peak:           height from which a place is a centre
    peak_radius_px: peaks nearer than this to a higher one are not peaks
    join:           two peaks nearer than this share of the person's diagonal are one person
    stray:          a pixel that points farther than this share of the photo's diagonal past every centre is nobody's
    min_area:       smallest person, as a share of the photo's area
    person_score:   people less sure than this are nobody
    island:         a piece of a person smaller than this share of their largest piece is nobody's
    speck:          the same for the pieces of a part: the next best class takes their place
    """

    person_weight: float = 0.7
    foreground: float = 0.55
    peak: float = 0.2
    peak_radius_px: float = 16
    join: float = 0.12
    stray: float = 0.22
    min_area: float = 0.0012
    person_score: float = 0.45
    island: float = 0.05
    speck: float = 0.1


def parse_centres(outputs: dict[str, np.ndarray], geometry: Geometry, settings: CentreSettings) -> Maps:
    """outputs: classes (1, C, h, w), person (1, 1, h, w), centre (1, 1, h, w) logits and offset (1, 2, h, w) in input
    pixels, as CentreParser gives them. Source of the maps' meaning: model/centre_parser.py."""
    rows, columns = geometry.cells(STRIDE)
    classes, person, centre, offset = (outputs[name][0, :, :rows, :columns] for name in ("classes", "person", "centre", "offset"))
    foreground = _foreground(classes, person[0], settings)                 # (h, w), positive inside
    votes = _votes(offset)                                                 # (2, h, w), cell coordinates x, y
    people = _people(sigmoid(centre[0]), votes, foreground > 0, settings)
    height, width = geometry.photo_hw
    maps = Maps(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16), [], {})
    if not people.heights:
        return maps
    scores = np.array([_person_score(people, index, foreground) for index in range(len(people.heights))])
    order = [index for index in np.argsort(-scores, kind="stable") if scores[index] >= settings.person_score]
    maps.person_scores = [float(scores[index]) for index in order]
    maps.part_scores = _part_scores(classes, people.owner, order)
    foreground = np.where(np.isin(people.owner, order), foreground, np.minimum(foreground, -1.0)).astype(np.float32)
    if order:
        parts = _without_specks(classes[1:], people.owner, settings.speck)
        paste_winners(-people.distance[order], foreground, geometry, STRIDE, maps.person_map, np.arange(1, len(order) + 1))
        paste_winners(parts, foreground, geometry, STRIDE, maps.label_map, np.arange(1, len(classes)))
    return maps


@dataclass
class _People:
    """heights: of each person's peak. distance (K, h, w): of each cell's vote from each centre, in cells.
    owner (h, w): index of each cell's person, -1 nobody."""

    heights: list[float]
    distance: np.ndarray
    owner: np.ndarray


def _foreground(classes: np.ndarray, person: np.ndarray, settings: CentreSettings) -> np.ndarray:
    """float32 (h, w), positive where a person is: both maps' log odds, mixed."""
    top = classes[1:].max(0)
    any_part = top + np.log(np.exp(classes[1:] - top).sum(0)) - classes[0]
    mixed = settings.person_weight * person + (1 - settings.person_weight) * any_part
    return mixed - np.log(settings.foreground / (1 - settings.foreground))


def _votes(offset: np.ndarray) -> np.ndarray:
    """(2, h, w): the x and y of the centre that each cell points to, in cells."""
    _, height, width = offset.shape
    ys, xs = np.mgrid[:height, :width]
    return np.stack([xs + offset[0] / STRIDE, ys + offset[1] / STRIDE]).astype(np.float32)


def _people(heat: np.ndarray, votes: np.ndarray, inside: np.ndarray, settings: CentreSettings) -> _People:
    """Peaks, each cell to the nearest; then join, adopt strays, and drop people too small."""
    ys, xs = _peaks(heat, settings)
    points = [(float(x), float(y), float(heat[y, x])) for y, x in zip(ys, xs, strict=True)]
    points = _join(points, votes, inside, settings)
    points += _strays(points, votes, inside, settings)
    min_cells = max(2.0, settings.min_area * inside.size)
    while True:
        distance = _distance(points, votes)
        owner = np.where(inside, distance.argmin(0), -1) if points else np.full(inside.shape, -1)
        if points:
            owner[distance.min(0) > settings.stray * np.hypot(*inside.shape)] = -1
        cells = np.bincount(owner[owner >= 0], minlength=len(points))
        if (cells >= min_cells).all():
            _drop_islands(owner, len(points), settings.island)
            return _People([height for _, _, height in points], distance, owner)
        points = [point for point, count in zip(points, cells, strict=True) if count >= min_cells]


def _peaks(heat: np.ndarray, settings: CentreSettings) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the local maxima of the heat map, highest first."""
    radius = max(1, round(settings.peak_radius_px / STRIDE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    ys, xs = np.nonzero((heat >= cv2.dilate(heat, disc)) & (heat >= settings.peak))
    order = np.argsort(-heat[ys, xs])[:MAX_PEOPLE]
    return ys[order], xs[order]


def _join(points, votes: np.ndarray, inside: np.ndarray, settings: CentreSettings):
    """Leave out every peak that lies too near a higher one for the size of the person that the two would be."""
    if len(points) < 2:
        return points
    owner = np.where(inside, _distance(points, votes).argmin(0), -1)
    kept: list[int] = []
    for index, (x, y, _) in enumerate(points):
        for other in kept:
            ys, xs = np.nonzero((owner == index) | (owner == other))
            size = np.hypot(np.ptp(xs), np.ptp(ys)) if len(ys) else 0.0
            if np.hypot(x - points[other][0], y - points[other][1]) < settings.join * size:
                owner[owner == index] = other
                break
        else:
            kept.append(index)
    return [points[index] for index in kept]


def _strays(points, votes: np.ndarray, inside: np.ndarray, settings: CentreSettings):
    """A person for each large connected region that points to none of the peaks: (x, y, height) of where it points."""
    far = inside.copy()
    if points:
        far &= _distance(points, votes).min(0) > settings.stray * np.hypot(*inside.shape)
    count, regions = cv2.connectedComponents(far.astype(np.uint8), connectivity=4)
    found = []
    for region in range(1, count):
        here = regions == region
        if here.sum() >= 2 * settings.min_area * inside.size and len(points) + len(found) < MAX_PEOPLE:
            found.append((float(votes[0][here].mean()), float(votes[1][here].mean()), settings.peak))
    return found


def _drop_islands(owner: np.ndarray, count: int, share: float) -> None:
    """Give small pieces that hang together with nothing else of their person to nobody, in place."""
    for index in range(count):
        mine = (owner == index).astype(np.uint8)
        pieces, regions, stats, _ = cv2.connectedComponentsWithStats(mine, connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        areas[0] = 0
        small = np.flatnonzero((areas < share * areas.max()) & (areas > 0)) if pieces > 2 else []
        if len(small):
            owner[np.isin(regions, small)] = -1


def _without_specks(parts: np.ndarray, owner: np.ndarray, share: float) -> np.ndarray:
    """parts: float32 (C, h, w), class maps; owner: (h, w). The maps, with a class pushed down where it wins only a speck."""
    winner = np.where(owner >= 0, parts.argmax(0), -1)
    cleaned = parts.copy()
    for c in np.unique(winner[winner >= 0]):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((winner == c).astype(np.uint8), connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        someone = np.zeros(len(areas), int)
        someone[regions.ravel()] = owner.ravel()                       # whose piece it is; of two people's, either's
        largest = np.zeros(owner.max() + 1, int)
        np.maximum.at(largest, someone[1:], areas[1:])
        specks = np.flatnonzero(areas[1:] < share * largest[someone[1:]]) + 1
        if len(specks):
            cleaned[c][np.isin(regions, specks)] -= PUSH_DOWN
    return cleaned


def _distance(points, votes: np.ndarray) -> np.ndarray:
    """float32 (K, h, w): how far each cell's vote lies from each point, in cells."""
    centres = np.array([(x, y) for x, y, _ in points], np.float32).reshape(-1, 2, 1, 1)
    return np.hypot(votes[0] - centres[:, 0], votes[1] - centres[:, 1])


def _person_score(people: _People, index: int, foreground: np.ndarray) -> float:
    """Mean of the peak's height and of the mean probability that the person's cells are a person at all."""
    certainty = sigmoid(foreground[people.owner == index]).mean()
    return float(people.heights[index] + certainty) / 2


def _part_scores(classes: np.ndarray, owner: np.ndarray, order: list[int]) -> dict[tuple[int, int], float]:
    """(person number, class) → the mean probability of the class over the person's cells where it wins."""
    probability = softmax(classes, axis=0)[1:]                             # (C - 1, h, w), without the background
    winner = probability.argmax(0)
    scores = {}
    for number, index in enumerate(order, start=1):
        mine = owner == index
        for c in range(len(probability)):
            values = probability[c][mine & (winner == c)]
            # A part so thin that it wins at no cell, only between them, is as sure as its best cell.
            scores[number, c + 1] = float(values.mean() if values.size else probability[c][mine].max())
    return scores
