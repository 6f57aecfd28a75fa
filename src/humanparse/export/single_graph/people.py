"""The decoding of postprocess/centres.py in ONNX's operators: network outputs → people → maps.

What needs connected components is left out (postprocess/cleanup.py, and telling apart several
people without a peak), and peaks are joined all at once, so that no operator needs a loop.

Person 0 stands for nobody everywhere here. So no list is ever empty, and "farther from everybody
than a person reaches" is just another person who may be nearest.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from humanparse.export.single_graph.builder import Builder, Value
from humanparse.labels import LabelSet
from humanparse.postprocess import CentreSettings
from humanparse.postprocess.centres import MAX_PEOPLE, STRIDE
from humanparse.postprocess.outfit import BANDS, REACH, OutfitReader
from humanparse.postprocess.probability import FAINTEST

FAR = 1e9  # cells: farther than anything


class Cells(NamedTuple):
    """What every cell of the maps says; there are rc cells.

    Attributes:
        xs: The cell's column, float32 (1, rc).
        ys: The cell's row, float32 (1, rc).
        vote_x: The column of its person's centre, in cells, float32 (1, rc).
        vote_y: The row of its person's centre, in cells, float32 (1, rc).
        inside: Whether the cell belongs to a person at all, bool (1, rc).
    """

    xs: Value
    ys: Value
    vote_x: Value
    vote_y: Value
    inside: Value


class Points(NamedTuple):
    """Centres of K people, behind nobody's, which is far away: float32 (K + 1,) each.

    Attributes:
        x: Columns, in cells.
        y: Rows, in cells.
        height: Heights of the peaks.
    """

    x: Value
    y: Value
    height: Value


class People(NamedTuple):
    """n people from left to right, with nobody as number 0, on r × c cells.

    Attributes:
        distance: Distance of each cell's vote from each person's centre, (1, n + 1, r, c).
        foreground: Positive where a person is, (1, 1, r, c).
        classes: Logits without the background, (1, C - 1, r, c).
        kept: 1 where a person may have a class, int64 ((n + 1) · C,).
        scores: (n,).
    """

    distance: Value
    foreground: Value
    classes: Value
    kept: Value
    scores: Value


class GraphMaps(NamedTuple):
    """The result at the photo's size.

    Attributes:
        labels: uint8 (1, H, W).
        people: uint8 (1, H, W).
        scores: float32 (n,).
    """

    labels: Value
    people: Value
    scores: Value


def find_people(
    op: Builder,
    outputs: dict[str, Value],
    resized_hw: Value,
    labels: LabelSet,
    settings: CentreSettings,
    min_score: float,
) -> People:
    """Find the people, as `parse_centres` does before it cleans them up and paints them.

    Args:
        op: The graph to add to.
        outputs: The network's outputs by name.
        resized_hw: Height and width of the resized photo, int64 (2,).
        labels: The label set.
        settings: The settings of the head.
        min_score: The lowest score of a person, and of a class on a person, that is kept.
    """
    num_classes = len(labels)
    size = op.Div(resized_hw + (STRIDE - 1), STRIDE)  # r, c
    classes, person, centre, offset = (
        op.cut(outputs[name], [0, 0], size, [2, 3])
        for name in ("classes", "person", "centre", "offset")
    )
    odds = op.Exp(classes - op.ReduceMax(classes, axes=[1]))  # (1, C, r, c)
    foreground = _foreground(op, odds, person, settings)  # (1, 1, r, c)
    cells = _cells(op, size, offset, foreground)
    points = _joined(op, _peaks(op, op.Sigmoid(centre), size, settings), cells, settings)
    sides = op.cast(size, np.float32)
    reach = op.Sqrt(op.ReduceSumSquare(sides, axes=[0])) * settings.stray  # (1,)
    share = op.ReduceProd(sides, axes=[0]) * settings.min_area  # (1,), in cells
    points = _with_stray(op, points, cells, reach, share, settings)
    distance = _distance(op, points, cells, reach)  # (K + 1, rc)
    numbers = op.range(op.Shape(points.x))  # (K + 1,)
    alive = _large_enough(op, distance, cells.inside, numbers, op.Max(share, 2.0))
    owner = op.cast(cells.inside, np.int64) * _nearest(op, distance, alive)  # (1, rc)

    score = _scores(op, points, owner, numbers, foreground)  # (K + 1,)
    good = alive & (score >= max(settings.person_score, min_score)) & (numbers > 0)
    order = _from_left(op, owner, numbers, good, cells)  # (n + 1,)
    order_of_people = op.cut(order, [1], [MAX_PEOPLE + 1], [0])  # (n,)
    someone = op.Gather(good, op.Reshape(owner, op.Shape(foreground)))
    foreground = op.Where(someone, foreground, op.Min(foreground, -1.0))
    logits = op.Reshape(op.cut(classes, [1], [num_classes], [1]), [num_classes - 1, -1])
    background = op.Reshape(op.cut(classes, [0], [1], [1]), [1, -1])  # (1, rc)

    def shares_of(parts: Value) -> Value:
        return op.Softmax(op.Concat(background, parts, axis=0), axis=0)  # (C, rc)

    if "wears" in outputs:
        wears = op.Reshape(op.cut(outputs["wears"], [0, 0], size, [2, 3]), [num_classes, -1])
        mine = op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32)  # (K + 1, rc)
        evidence = _evidence(op, shares_of(logits), wears, mine, cells.ys, settings, num_classes)
        evidence = op.Where(op.Unsqueeze(numbers, [1]) > 0, evidence, 0.0)
        rises = op.Transpose(op.Gather(evidence, op.Reshape(owner, [-1])))  # (C, rc)
        logits = logits + op.cut(rises, [1], [num_classes], [0])
    shares = op.cut(shares_of(logits), [1], [num_classes], [0])  # (C - 1, rc)
    kept = _classes_kept(
        op, shares, logits, op.Equal(op.Unsqueeze(order, [1]), owner), num_classes, min_score
    )
    theirs = op.Gather(distance, order_of_people)  # (n, rc)
    distance = op.Concat(
        op.Expand(FAR, op.Concat([1], op.Shape(cells.xs), axis=0)),
        op.Unsqueeze(theirs, [0]),
        axis=1,
    )
    as_map = op.Concat([1, -1], size, axis=0)
    return People(
        op.Reshape(distance, as_map),
        foreground,
        op.Reshape(logits, as_map),
        kept,
        op.Gather(score, order_of_people),
    )


def paint(
    op: Builder, people: People, num_classes: int, resized_hw: Value, photo_hw: Value
) -> GraphMaps:
    """Paint the people: maps at the network's resolution, then brought to the photo's size.

    Args:
        op: The graph to add to.
        people: What `find_people` returned.
        num_classes: The number of classes C, with the background.
        resized_hw: Height and width of the resized photo, int64 (2,).
        photo_hw: Height and width of the photo, int64 (2,).
    """

    def full(values: Value) -> Value:
        large = op.Resize(
            values,
            None,
            [1.0, 1.0, STRIDE, STRIDE],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
        return op.cut(large, [0, 0], resized_hw, [2, 3])

    def at_photo(values: Value) -> Value:
        sizes = op.Concat([1, 1], photo_hw, axis=0)
        exact = op.Resize(
            op.cast(values, np.uint8),
            None,
            None,
            sizes,
            mode="nearest",
            coordinate_transformation_mode="half_pixel",
            nearest_mode="round_prefer_floor",
        )
        return op.Squeeze(exact, [1])  # (1, H, W)

    inside = op.cast(full(people.foreground) > 0.0, np.int64)  # (1, 1, h, w)
    person = op.ArgMin(full(people.distance), axis=1) * inside
    label = (op.ArgMax(full(people.classes), axis=1) + 1) * inside
    label = label * op.Gather(people.kept, person * num_classes + label)
    return GraphMaps(at_photo(label), at_photo(person), people.scores)


def _foreground(op: Builder, odds: Value, person: Value, settings: CentreSettings) -> Value:
    """Positive where a person is: both maps' log odds, mixed."""
    any_part = op.Log(
        op.Max(op.ReduceSum(op.cut(odds, [1], [np.iinfo(np.int64).max], [1]), [1]), FAINTEST)
    )
    any_part = any_part - op.Log(op.Max(op.cut(odds, [0], [1], [1]), FAINTEST))
    threshold = float(np.log(settings.foreground / (1 - settings.foreground)))
    return person * settings.person_weight + any_part * (1 - settings.person_weight) - threshold


def _cells(op: Builder, size: Value, offset: Value, foreground: Value) -> Cells:
    rows, columns = (op.cut(size, [side], [side + 1], [0]) for side in (0, 1))
    ys = op.Reshape(op.Expand(op.Unsqueeze(op.range(rows, np.float32), [1]), size), [1, -1])
    xs = op.Reshape(op.Expand(op.Unsqueeze(op.range(columns, np.float32), [0]), size), [1, -1])
    way = op.Reshape(offset, [2, -1]) / float(STRIDE)
    vote_x, vote_y = xs + op.cut(way, [0], [1], [0]), ys + op.cut(way, [1], [2], [0])
    return Cells(xs, ys, vote_x, vote_y, op.Reshape(foreground, [1, -1]) > 0.0)


def _with_stray(
    op: Builder, points: Points, cells: Cells, reach: Value, share: Value, settings: CentreSettings
) -> Points:
    """Add a person where the cells that point far from everybody point, if there are many."""
    nearest = op.ArgMin(_distance(op, points, cells, reach), axis=0)  # (1, rc)
    far = op.cast(op.Equal(nearest, 0) & cells.inside, np.float32)
    count = op.ReduceSum(far, [1], keepdims=0)  # (1,)
    x, y = (
        op.ReduceSum(far * vote, [1], keepdims=0) / op.Max(count, 1.0)
        for vote in (cells.vote_x, cells.vote_y)
    )
    enough = op.cast(count >= share * 2.0, np.int64)
    added = (op.cut(one, [0], enough, [0]) for one in (x, y, count * 0.0 + settings.peak))
    merged = (op.Concat(old, new, axis=0) for old, new in zip(points, added, strict=True))
    return Points(*(op.cut(values, [0], [MAX_PEOPLE + 1], [0]) for values in merged))


def _evidence(
    op: Builder,
    probability: Value,
    wears: Value,
    mine: Value,
    ys: Value,
    settings: CentreSettings,
    num_classes: int,
) -> Value:
    """By how much to raise each class of each person, (K + 1, C): see postprocess/outfit.py.

    probability, wears: (C, rc). mine: (K + 1, rc), 1 where a cell is the person's. ys: (1, rc).
    """

    def means(maps: Value, where: Value) -> Value:
        return op.MatMul(where, op.Transpose(maps)) / op.Max(op.ReduceSum(where, [1]), 1.0)

    if not settings.outfit_reader:
        return means(wears, mine) * settings.wears
    reader = OutfitReader.from_text(settings.outfit_reader, num_classes)
    here = mine > 0.0
    top = op.ReduceMin(op.Where(here, ys, FAR), axes=[1])  # (K + 1, 1)
    bottom = op.ReduceMax(op.Where(here, ys, -1.0), axes=[1])
    band = op.Floor((ys - top) * float(BANDS) / op.Max(bottom - top + 1.0, 1.0))  # (K + 1, rc)
    highest = [
        op.ReduceMax(mine * op.cut(probability, [c], [c + 1], [0]), axes=[1])
        for c in range(num_classes)
    ]
    bands = [
        means(probability, mine * op.cast(op.Equal(band, float(number)), np.float32))
        for number in range(BANDS)
    ]
    summary = op.Concat(means(probability, mine), *highest, *bands, means(wears, mine), axis=1)
    seen = op.Clip((summary - reader.middle) * reader.scale, -REACH, REACH)
    hidden = op.Relu(op.MatMul(seen, reader.first[0]) + reader.first[1])
    odds = op.MatMul(hidden, reader.second[0]) + reader.second[1]
    odds = odds * np.array([0.0] + [1.0] * (num_classes - 1), np.float32)
    return odds * op.Where(odds > 0.0, float(settings.worn), float(settings.denied))


def _peaks(op: Builder, heat: Value, size: Value, settings: CentreSettings) -> Points:
    """The local maxima of the heat map (1, 1, r, c), highest first."""
    around = [
        op.MaxPool(
            heat, kernel_shape=[2 * down + 1, 2 * across + 1], pads=[down, across, down, across]
        )
        for down, across in rectangles(max(1, round(settings.peak_radius_px / STRIDE)))
    ]
    is_peak = (heat >= op.Max(*around)) & (heat >= settings.peak)
    heights = op.Reshape(op.Where(is_peak, heat, 0.0), [-1])
    heights, places = op.TopK(heights, op.Min(op.Shape(heights), [MAX_PEOPLE]), axis=0, outputs=2)
    found = op.ReduceSum(op.cast(heights > 0.0, np.int64), [0])
    places, heights = (op.cut(values, [0], found, [0]) for values in (places, heights))
    columns = op.cut(size, [1], [2], [0])
    x, y = (
        op.cast(op.Mod(places, columns), np.float32),
        op.cast(op.Div(places, columns), np.float32),
    )
    return Points(
        op.Concat([-FAR], x, axis=0),
        op.Concat([-FAR], y, axis=0),
        op.Concat([0.0], heights, axis=0),
    )


def rectangles(radius: int) -> list[tuple[int, int]]:
    """Return rectangles about one centre that together are OpenCV's disc of that radius.

    Returns:
        Pairs of half the height and half the width.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Of the rows from the middle down, which get narrower.
    widths = [int(row.sum()) // 2 for row in disc[radius:]]
    return [
        (row, width) for row, width in enumerate(widths) if row == radius or widths[row + 1] < width
    ]


def _distance(op: Builder, points: Points, cells: Cells, nobody: Value | None = None) -> Value:
    """(K + 1, rc): how far each cell's vote lies from each point.

    nobody: (1,), the distance of point 0 from everything.
    """
    far_x = cells.vote_x - op.Unsqueeze(points.x, [1])
    far_y = cells.vote_y - op.Unsqueeze(points.y, [1])
    distance = op.Sqrt(far_x * far_x + far_y * far_y)
    if nobody is None:
        return distance
    constant = op.Expand(nobody, op.Shape(cells.xs))
    return op.Concat(constant, op.cut(distance, [1], [MAX_PEOPLE + 1], [0]), axis=0)


def _nearest(op: Builder, distance: Value, alive: Value) -> Value:
    """int64 (1, rc): of the people alive, the one whose centre is nearest to each cell's vote."""
    return op.ArgMin(op.Where(op.Unsqueeze(alive, [1]), distance, FAR), axis=0)


def _joined(op: Builder, points: Points, cells: Cells, settings: CentreSettings) -> Points:
    """Without the points that are too near to a higher one.

    How near is too near depends on the size of the person that the two together would be. All are
    compared at once, also with higher ones that are joined themselves.
    """
    numbers = op.range(op.Shape(points.x))
    owner = op.ArgMin(_distance(op, points, cells), axis=0)
    mine = op.Equal(owner, op.Unsqueeze(numbers, [1])) & cells.inside
    diagonal = 0.0
    apart = 0.0
    for values, middle in ((cells.xs, points.x), (cells.ys, points.y)):
        first, last = _ends(op, mine, values)
        side = op.Max(op.Max(last, op.Transpose(last)) - op.Min(first, op.Transpose(first)), 0.0)
        gap = op.Unsqueeze(middle, [1]) - op.Unsqueeze(middle, [0])
        diagonal, apart = side * side + diagonal, gap * gap + apart  # (K + 1, K + 1)
    near = op.Sqrt(apart) < op.Sqrt(diagonal) * settings.join
    near = near & (op.Unsqueeze(numbers, [1]) > op.Unsqueeze(numbers, [0]))
    near = near & (op.Unsqueeze(numbers, [0]) > 0)  # nobody takes no one
    joins = op.ReduceMax(op.cast(near, np.float32), axes=[1], keepdims=0)
    index = op.Reshape(op.NonZero(joins < 0.5), [-1])
    return Points(*(op.Gather(values, index) for values in points))


def _ends(op: Builder, mine: Value, values: Value) -> tuple[Value, Value]:
    """The least and the greatest value over each person's cells, (K + 1, 1) each.

    mine: bool (K + 1, rc); values: (1, rc).
    """
    return (
        op.ReduceMin(op.Where(mine, values, FAR), axes=[1]),
        op.ReduceMax(op.Where(mine, values, -FAR), axes=[1]),
    )


def _large_enough(
    op: Builder, distance: Value, inside: Value, numbers: Value, least: Value
) -> Value:
    """bool (K + 1,): the people with at least `least` cells, and nobody."""
    nearest = op.ArgMin(distance, axis=0)
    mine = op.Equal(nearest, op.Unsqueeze(numbers, [1])) & inside
    count = op.ReduceSum(op.cast(mine, np.float32), [1], keepdims=0)
    return (count >= least) | (numbers < 1)


def _scores(op: Builder, points: Points, owner: Value, numbers: Value, foreground: Value) -> Value:
    """(K + 1,): the mean of the peak's height and of the cells' mean probability of a person."""
    mine = op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32)
    sure = op.Sigmoid(op.Reshape(foreground, [1, -1]))
    certainty = op.ReduceSum(mine * sure, [1], keepdims=0) / op.Max(
        op.ReduceSum(mine, [1], keepdims=0), 1.0
    )
    return (points.height + certainty) * 0.5


def _from_left(op: Builder, owner: Value, numbers: Value, good: Value, cells: Cells) -> Value:
    """int64 (n + 1,): nobody's number, then those of the good people from left to right.

    By the middles of their boxes, as `left_to_right` in postprocess/assemble.py.
    """
    mine = op.Equal(owner, op.Unsqueeze(numbers, [1]))
    (left, right), (top, bottom) = (_ends(op, mine, values) for values in (cells.xs, cells.ys))
    # Whole numbers, and below them what decides between equals.
    place = op.Squeeze(left + right + (top + bottom) / 4096.0, [1])
    place = op.Where(good, place, FAR)
    _, order = op.TopK(place, op.Shape(place), axis=0, largest=0, outputs=2)
    count = op.ReduceSum(op.cast(good, np.int64), [0])
    return op.Concat([0], op.cut(order, [0], count, [0]), axis=0)


def _classes_kept(
    op: Builder, shares: Value, logits: Value, theirs: Value, num_classes: int, min_score: float
) -> Value:
    """`People.kept`: by the mean probability of a class over the person's cells where it wins.

    shares: (C - 1, rc), the classes' probabilities; theirs: bool (n + 1, rc).
    """
    winner = op.ArgMax(logits, axis=0)  # (1, rc)
    wins = op.cast(op.Equal(winner, np.arange(num_classes - 1)[:, None]), np.float32)  # (C - 1, rc)
    theirs = op.cast(theirs, np.float32)
    count = op.MatMul(theirs, op.Transpose(wins))  # (n + 1, C - 1)
    mean = op.MatMul(theirs, op.Transpose(shares * wins)) / op.Max(count, 1.0)
    # A part so thin that it wins between cells but at none of them is kept.
    kept = op.cast((mean >= min_score) | (count < 0.5), np.float32)
    return op.cast(op.Reshape(op.Pad(kept, [0, 1, 0, 0]), [-1]), np.int64)
