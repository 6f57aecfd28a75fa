"""postprocess/centres.py in ONNX's operators: network outputs → people → maps of the photo's size.

Person 0 stands for nobody everywhere here. So no list is ever empty, and "farther from everybody
than a person reaches" is just another person who may be nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from humanparse.export.graph import the_onnx_package
from humanparse.export.single_graph.builder import Builder, Value
from humanparse.labels import LabelSet
from humanparse.postprocess import CentreSettings
from humanparse.postprocess.centres import MAX_PEOPLE, STRIDE
from humanparse.postprocess.cleanup import LEAST_SHARE, PUSH
from humanparse.postprocess.probability import FAINTEST

if TYPE_CHECKING:
    import onnx

FAR = 1e9  # cells: farther than anything
MAX_PATCHES = 256  # bounds memory: each patch takes a map of the cells
BOOL, INT64 = 9, 7  # ONNX's numbers for these types


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


class Near(NamedTuple):
    """The neighbours of every cell: int64 (4 or 8, rc), its own number where there is none."""

    four: Value
    eight: Value


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
    """n people by falling score, with nobody as number 0, on r × c cells.

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
    """Find the people, as `parse_centres` does before it paints them.

    Here all patches are joined at once, there one after the other.

    Args:
        op: The graph to add to.
        outputs: The network's outputs by name.
        resized_hw: Height and width of the resized photo, int64 (2,).
        labels: The label set.
        settings: The settings of the head.
        min_score: The lowest score of a person, and of a class on a person, that is kept.
    """
    num_classes, garments = (
        len(labels),
        {c - 1: power for c, power in settings.giving_way(labels).items()},
    )
    size = op.Div(resized_hw + (STRIDE - 1), STRIDE)  # r, c
    classes, person, centre, offset = (
        op.cut(outputs[name], [0, 0], size, [2, 3])
        for name in ("classes", "person", "centre", "offset")
    )
    odds = op.Exp(classes - op.ReduceMax(classes, axes=[1]))  # (1, C, r, c)
    foreground = _foreground(op, odds, person, settings)  # (1, 1, r, c)
    cells, near = _cells(op, size, offset, foreground), _near(op, size)
    points = _joined(op, _peaks(op, op.Sigmoid(centre), size, settings), cells, settings)
    sides = op.cast(size, np.float32)
    reach = op.Sqrt(op.ReduceSumSquare(sides, axes=[0])) * settings.stray  # (1,)
    share = op.ReduceProd(sides, axes=[0]) * settings.min_area  # (1,), in cells
    points = _with_strays(op, points, cells, near, reach, share, settings)
    distance = _distance(op, points, cells, reach)  # (K + 1, rc)
    numbers = op.range(op.Shape(points.x))  # (K + 1,)
    alive = _large_enough(op, distance, cells.inside, numbers, op.Max(share, 2.0))
    owner = op.cast(cells.inside, np.int64) * _nearest(op, distance, alive)  # (1, rc)
    owner = _without_islands(op, owner, numbers, near, settings)

    score = _scores(op, points, owner, numbers, foreground)  # (K + 1,)
    good = alive & (score >= max(settings.person_score, min_score)) & (numbers > 0)
    order, scores = _by_score(op, score, good)  # (n + 1,), (n,)
    someone = op.Gather(good, op.Reshape(owner, op.Shape(foreground)))
    foreground = op.Where(someone, foreground, op.Min(foreground, -1.0))
    logits = op.Reshape(op.cut(classes, [1], [num_classes], [1]), [num_classes - 1, -1])
    if "wears" in outputs and settings.wears:
        wears = op.Reshape(
            op.cut(op.cut(outputs["wears"], [0, 0], size, [2, 3]), [1], [num_classes], [1]),
            [num_classes - 1, -1],
        )
        logits = _steered(op, logits, wears * settings.wears, owner, numbers)
    background = op.Reshape(op.cut(classes, [0], [1], [1]), [1, -1])  # (1, rc)
    # (C - 1, rc)
    shares = op.cut(
        op.Softmax(op.Concat(background, logits, axis=0), axis=0), [1], [num_classes], [0]
    )
    logits = _one_outfit(op, logits, shares, owner, numbers, garments)
    kept = _classes_kept(
        op, shares, logits, op.Equal(op.Unsqueeze(order, [1]), owner), num_classes, min_score
    )
    theirs = op.Gather(distance, op.cut(order, [1], [MAX_PEOPLE + 1], [0]))  # (n, rc)
    distance = op.Concat(
        op.Expand(FAR, op.Concat([1], op.Shape(cells.xs), axis=0)),
        op.Unsqueeze(theirs, [0]),
        axis=1,
    )
    cleaned = _without_specks(op, logits, owner, near, settings)
    cleaned = _without_faceless(op, cleaned, owner, numbers, near, labels)
    cleaned = _joined_patches(op, cleaned, owner, numbers, near, size, garments, settings)
    as_map = op.Concat([1, -1], size, axis=0)
    return People(
        op.Reshape(distance, as_map), foreground, op.Reshape(cleaned, as_map), kept, scores
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


def _near(op: Builder, size: Value) -> Near:
    numbers = op.Reshape(op.range(op.ReduceProd(size, axes=[0])), size)  # (r, c)
    padded = op.Pad(numbers, [1, 1, 1, 1], -1)
    around = []
    for down, across in ((0, 1), (1, 0), (1, 2), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
        there = op.cut(padded, [down, across], size + np.array([down, across]), [0, 1])
        around.append(op.Reshape(op.Where(there < 0, numbers, there), [1, -1]))
    return Near(op.Concat(*around[:4], axis=0), op.Concat(*around, axis=0))


def _components(op: Builder, key: Value, near: Value, name: str) -> tuple[Value, Value]:
    """The connected components of cells with the same key, int64 (1, rc).

    Returns, for each cell, the last cell of its component and the component's number of cells:
    int64 and float32 (rc,).
    """
    keys = op.Reshape(key, [-1])
    numbers = op.range(op.Shape(keys))
    same = op.Where(op.Equal(op.Gather(keys, near), key), near, numbers)  # (8, rc)
    body = Builder(f"{op.prefix}/{name}")

    def grow(trip: Value, last: Value) -> list[Value]:
        seen = body.Max(
            last, body.ReduceMax(body.Gather(last, body.seen(same)), axes=[0], keepdims=0)
        )
        # What its last cell knows is passed to the whole component, so that few trips are enough.
        farther = body.Gather(seen, seen)
        return [body.Gather(farther, farther)]

    (last,) = _loop(op, body, grow, trips=10_000, state=(numbers,), first=INT64, until_settled=True)
    ones = op.cast(op.Equal(numbers, numbers), np.float32)
    return last, _sums(op, ones, last, ones)


def _sums(op: Builder, values: Value, index: Value, places: Value) -> Value:
    """For each cell, the sum of the values of all cells with the same index.

    values: float32 (rc,); index: int64 (rc,); places: float32, one for each possible index.
    """
    return op.Gather(
        op.ScatterElements(places * 0.0, index, values, axis=0, reduction="add"), index
    )


def _with_strays(
    op: Builder,
    points: Points,
    cells: Cells,
    near: Near,
    reach: Value,
    share: Value,
    settings: CentreSettings,
) -> Points:
    """Add a person for each large component whose votes lie far from everybody: at their mean."""
    nearest = op.ArgMin(_distance(op, points, cells, reach), axis=0)
    far = op.Equal(nearest, 0) & cells.inside  # (1, rc)
    last, area = _components(op, op.cast(far, np.int64), near.four, "strays")
    large = op.Reshape(far, [-1]) & (area >= share * 2.0) & op.Equal(last, op.range(op.Shape(last)))
    component = op.cut(op.Reshape(op.NonZero(large), [-1]), [0], [MAX_PEOPLE], [0])  # (S,)
    members = op.cast(op.Equal(op.Unsqueeze(component, [1]), last), np.float32)  # (S, rc)
    count = op.ReduceSum(members, [1], keepdims=0)
    x, y = (
        op.ReduceSum(members * vote, [1], keepdims=0) / count
        for vote in (cells.vote_x, cells.vote_y)
    )
    heights = count * 0.0 + settings.peak
    added = (op.Concat(old, new, axis=0) for old, new in zip(points, (x, y, heights), strict=True))
    return Points(*(op.cut(values, [0], [MAX_PEOPLE + 1], [0]) for values in added))


def _without_islands(
    op: Builder, owner: Value, numbers: Value, near: Near, settings: CentreSettings
) -> Value:
    """The owners, int64 (1, rc), with small components of people unassigned."""
    _, area = _components(op, owner, near.eight, "islands")
    mine = op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32)
    largest = op.ReduceMax(mine * area, axes=[1], keepdims=0)
    return owner * op.cast(area >= op.Gather(largest, owner) * settings.island, np.int64)


def _steered(op: Builder, logits: Value, wears: Value, owner: Value, numbers: Value) -> Value:
    """The logits, (C - 1, rc), with those of each person's cells raised by the mean of `wears`,
    (C - 1, rc), over all cells of that person."""
    mine = op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32)  # (K + 1, rc)
    cells = op.Max(op.ReduceSum(mine, [1]), 1.0)  # (K + 1, 1)
    means = op.MatMul(mine, op.Transpose(wears)) / cells  # (K + 1, C - 1)
    means = op.Where(op.Unsqueeze(numbers, [1]) > 0, means, 0.0)
    return logits + op.Transpose(op.Gather(means, op.Reshape(owner, [-1])))


def _one_outfit(
    op: Builder,
    logits: Value,
    shares: Value,
    owner: Value,
    numbers: Value,
    garments: Mapping[int, float],
) -> Value:
    """The logits, (C - 1, rc), with those of each person's lesser garments lowered.

    They are lowered by how much less there is of them than of the main garment.
    shares: (C - 1, rc), probabilities. garments: their rows, with the power to which their share of
    the main garment is raised.
    """
    if not any(garments.values()):
        return logits
    rows = sorted(garments)
    powers = np.array([garments[row] for row in rows], np.float32)
    mine = op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32)  # (K + 1, rc)
    # (K + 1, garments)
    amounts = op.MatMul(mine, op.Transpose(op.Gather(shares, np.array(rows))))
    part = op.Max(amounts / op.Max(op.ReduceMax(amounts, axes=[1]), FAINTEST), LEAST_SHARE)
    part = op.Where(op.Unsqueeze(numbers, [1]) > 0, part, 1.0)
    lower = op.Log(op.Gather(part, op.Reshape(owner, [-1]))) * powers
    lower = op.Transpose(lower)  # (garments, rc)
    return op.ScatterElements(
        logits, op.Expand(np.array(rows)[:, None], op.Shape(lower)), lower, axis=0, reduction="add"
    )


def _without_specks(
    op: Builder, logits: Value, owner: Value, near: Near, settings: CentreSettings
) -> Value:
    """The logits, (C - 1, rc), with a class lowered where it wins only a speck of a person."""
    winner = op.ArgMax(logits, axis=0)  # (1, rc)
    someone = op.cast(owner > 0, np.int64)
    key = (winner + 1) * someone
    last, area = _components(op, key, near.eight, "specks")
    flat = op.Reshape(key, [-1])
    is_last = (flat > 0) & op.Equal(last, op.range(op.Shape(last)))
    components = op.Reshape(op.NonZero(is_last), [-1])  # (P,)
    owners = op.Gather(op.Reshape(owner, [-1]), components)
    whose = op.Gather(flat, components) * (MAX_PEOPLE + 1) + owners
    areas = op.Gather(area, components)
    # One more column, of zeros, for pictures without any component.
    table = op.Where(op.Equal(op.Unsqueeze(whose, [1]), whose), areas, 0.0)  # (P, P)
    largest = op.ReduceMax(op.Pad(table, [0, 0, 0, 1]), axes=[1], keepdims=0)
    is_speck = op.cast(areas < largest * settings.speck, np.float32)
    specks = op.ScatterElements(area * 0.0, components, is_speck, axis=0)
    push = op.Gather(specks, last) * op.cast(someone, np.float32) * PUSH  # (1, rc)
    classes = op.Unsqueeze(op.range(op.cut(op.Shape(logits), [0], [1], [0])), [1])
    return logits - op.cast(op.Equal(winner, classes), np.float32) * push


def _without_faceless(
    op: Builder, logits: Value, owner: Value, numbers: Value, near: Near, labels: LabelSet
) -> Value:
    """The logits, (C - 1, rc), with hair, hats and glasses lowered where they are not connected to
    a face, on people who have a face."""
    if not labels.faces:
        return logits
    heads, faces = (  # (C - 1,)
        np.isin(np.arange(1, len(labels)), list(which)) for which in (labels.heads, labels.faces)
    )
    winner = op.ArgMax(logits, axis=0)  # (1, rc)
    someone = op.cast(owner > 0, np.float32)
    on_head, face = (
        op.Gather(which.astype(np.float32), winner) * someone for which in (heads, faces)
    )
    last, _ = _components(op, owner * op.cast(on_head, np.int64), near.eight, "heads")
    face = op.Reshape(face, [-1])
    # Numbers of face cells, (rc,).
    in_component = _sums(op, face, last, face)
    in_person = _sums(op, face, op.Reshape(owner, [-1]), op.cast(numbers, np.float32))
    faceless = on_head * op.cast(op.Equal(in_component, 0.0) & (in_person > 0.0), np.float32)
    return logits - faceless * heads.astype(np.float32)[:, None] * PUSH


def _joined_patches(
    op: Builder,
    logits: Value,
    owner: Value,
    numbers: Value,
    near: Near,
    size: Value,
    garments: Collection[int],
    settings: CentreSettings,
) -> Value:
    """The logits, (C - 1, rc), with every patch given to the part that has most of its edge.

    garments: their rows.
    """
    winner = op.ArgMax(logits, axis=0)  # (1, rc)
    classes = op.Unsqueeze(op.range(op.cut(op.Shape(logits), [0], [1], [0])), [1])  # (C - 1, 1)
    wins = op.cast(op.Equal(winner, classes), np.float32)  # (C - 1, rc)
    someone = owner > 0
    key = (winner * (MAX_PEOPLE + 1) + owner) * op.cast(someone, np.int64)
    last, area = _components(op, key, near.eight, "patches")
    cells = op.ReduceSum(
        op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32), [1], keepdims=0
    )
    is_garment = op.Equal(winner, np.array(sorted(garments) or [-1])[:, None])
    is_garment = op.ReduceMax(op.cast(is_garment, np.float32), axes=[0])  # (1, rc)
    shares = is_garment * (settings.garment_patch - settings.patch) + settings.patch
    small = (
        someone
        & (area < op.Gather(cells, owner) * shares)
        & op.Equal(last, op.range(op.Shape(last)))
    )
    patches = op.Reshape(op.NonZero(op.Reshape(small, [-1])), [-1])
    patches = op.cut(patches, [0], [MAX_PATCHES], [0])  # (P,)

    patch = op.cast(op.Equal(op.Unsqueeze(patches, [1]), last), np.float32)  # (P, rc)
    # A row of zeros after all patches, so that there is always something to pool.
    patch = op.Pad(patch, [0, 0, 1, 0])  # (P + 1, rc)
    spread = op.MaxPool(
        op.Unsqueeze(op.Reshape(patch, op.Concat([-1], size, axis=0)), [0]),
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
    )
    spread = op.Reshape(spread, op.Shape(patch))
    whose = op.Concat(op.Gather(op.Reshape(owner, [-1]), patches), [0], axis=0)
    theirs = op.cast(op.Equal(op.Unsqueeze(whose, [1]), owner), np.float32)
    edge = (spread - patch) * theirs  # (P + 1, rc)
    along = op.MatMul(edge, op.Transpose(wins))  # (P + 1, C - 1)
    most = op.ReduceMax(along, axes=[1])
    around = op.ReduceSum(along, [1])
    joins = op.cast((most > 0.0) & (most >= around * settings.surrounded), np.float32)  # (P + 1, 1)
    to = op.cast(op.ArgMax(along, axis=1), np.float32) + 1.0
    # (1, rc), -1 where nothing changes
    other = op.cast(op.ReduceSum(patch * joins * to, [0]), np.int64) - 1
    changed = op.cast(other >= 0, np.float32)
    joined = op.Where(op.Equal(other, classes), op.ReduceMax(logits, axes=[0]), logits)
    return joined - wins * changed * PUSH


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

    How near is too near depends on the size of the person that the two together would be.
    """
    numbers = op.range(op.Shape(points.x))
    owner = op.ArgMin(_distance(op, points, cells), axis=0)
    mine = op.Equal(owner, op.Unsqueeze(numbers, [1])) & cells.inside
    first = [
        op.ReduceMin(op.Where(mine, values, FAR), axes=[1], keepdims=0)
        for values in (cells.xs, cells.ys)
    ]
    last = [
        op.ReduceMax(op.Where(mine, values, -FAR), axes=[1], keepdims=0)
        for values in (cells.xs, cells.ys)
    ]
    body = Builder(f"{op.prefix}/join")
    nobody = numbers < 0
    kept, *_ = _loop(
        op,
        body,
        lambda trip, *state: _join_one(body, trip, numbers, points, settings.join, state),
        trips=op.Squeeze(op.Shape(points.x) - 1, [0]),
        state=(nobody, *first, *last),
        first=BOOL,
        until_settled=False,
    )
    index = op.Concat([0], op.Reshape(op.NonZero(kept), [-1]), axis=0)
    return Points(*(op.Gather(values, index) for values in points))


def _join_one(
    op: Builder, trip: Value, numbers: Value, points: Points, share: float, state: Sequence[Value]
) -> list[Value]:
    """Join a point to the first higher one that it is too near to, whose box grows, or keep it."""
    kept, left, top, right, bottom = state
    numbers, x, y = (op.seen(values) for values in (numbers, points.x, points.y))
    here = op.Reshape(trip + 1, [1])

    def at_here(values: Value) -> Value:
        return op.Gather(values, here)

    wide = [op.Min(one, at_here(one)) for one in (left, top)] + [
        op.Max(one, at_here(one)) for one in (right, bottom)
    ]
    width, height = op.Max(wide[2] - wide[0], 0.0), op.Max(wide[3] - wide[1], 0.0)
    far_x, far_y = x - at_here(x), y - at_here(y)
    near = op.Sqrt(far_x * far_x + far_y * far_y) < op.Sqrt(width * width + height * height) * share
    near = op.cast(near & kept, np.float32)
    joins = op.ReduceMax(near, axes=[0]) > 0.5
    into = op.Equal(numbers, op.ArgMax(near, axis=0)) & joins
    grown = [
        op.Where(into, new, old) for new, old in zip(wide, (left, top, right, bottom), strict=True)
    ]
    return [kept | (op.Equal(numbers, here) & ~joins), *grown]


def _large_enough(
    op: Builder, distance: Value, inside: Value, numbers: Value, least: Value
) -> Value:
    """bool (K + 1,): the people who are left once those with fewer than `least` cells are dropped.

    The cells of dropped people go to others.
    """
    body = Builder(f"{op.prefix}/large")

    def drop(trip: Value, alive: Value) -> list[Value]:
        ids, cells = body.seen(numbers), body.seen(inside)
        mine = (
            body.Equal(_nearest(body, body.seen(distance), alive), body.Unsqueeze(ids, [1])) & cells
        )
        count = body.ReduceSum(body.cast(mine, np.float32), [1], keepdims=0)
        return [alive & ((count >= body.seen(least)) | (ids < 1))]

    (alive,) = _loop(
        op, body, drop, trips=MAX_PEOPLE, state=(numbers >= 0,), first=BOOL, until_settled=True
    )
    return alive


def _loop(
    op: Builder,
    body: Builder,
    step: Callable[..., list[Value]],
    trips: Value | int,
    state: Sequence[Value],
    first: int,
    until_settled: bool,
) -> tuple[Value, ...]:
    """Add ONNX's Loop.

    step: (trip, *state) → state; it writes into `body`. The state is one array of bools or
    integers, or one of bools and others of float32. until_settled: end when a trip leaves the first
    as it was.
    """
    helper, types = the_onnx_package().helper, the_onnx_package().TensorProto
    kinds = [first] + [types.FLOAT] * (len(state) - 1)

    def declared(end: str) -> list[onnx.ValueInfoProto]:
        values = [
            (f"{body.prefix}/{end}_{index}", kind, ["points"]) for index, kind in enumerate(kinds)
        ]
        return [helper.make_tensor_value_info(*one) for one in values]

    def scalar(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(f"{body.prefix}/{name}", kind, [])

    trip, go_on, begin = (
        scalar("trip", types.INT64),
        scalar("go_on", types.BOOL),
        declared("begin"),
    )
    old = [Value(body, one.name) for one in begin]
    new = step(Value(body, trip.name), *old)
    again = Value(body, go_on.name)
    if until_settled:
        changed = ~body.Equal(old[0], new[0])
        again = body.ReduceMax(body.cast(changed, np.float32), axes=[0], keepdims=0) > 0.5
    ends = [scalar("again", types.BOOL), *declared("end")]
    graph = body.subgraph(
        f"{body.prefix}_body", [trip, go_on, *begin], list(zip([again, *new], ends, strict=True))
    )
    found = op.Loop(trips, True, *state, body=graph, outputs=len(state))
    return found if len(state) > 1 else (found,)


def _scores(op: Builder, points: Points, owner: Value, numbers: Value, foreground: Value) -> Value:
    """(K + 1,): the mean of the peak's height and of the cells' mean probability of a person."""
    mine = op.cast(op.Equal(owner, op.Unsqueeze(numbers, [1])), np.float32)
    sure = op.Sigmoid(op.Reshape(foreground, [1, -1]))
    certainty = op.ReduceSum(mine * sure, [1], keepdims=0) / op.Max(
        op.ReduceSum(mine, [1], keepdims=0), 1.0
    )
    return (points.height + certainty) * 0.5


def _by_score(op: Builder, score: Value, good: Value) -> tuple[Value, Value]:
    """The numbers of the good people by falling score, after nobody's, and their scores.

    int64 (n + 1,) and float32 (n,).
    """
    score = op.Where(good, score, -1.0)
    scores, order = op.TopK(score, op.Shape(score), axis=0, outputs=2)
    count = op.ReduceSum(op.cast(good, np.int64), [0])
    return op.Concat([0], op.cut(order, [0], count, [0]), axis=0), op.cut(scores, [0], count, [0])


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
