"""M2FP's deformable attention in the form that OpenVINO computes fastest.

The graph is changed while it is loaded; the file is not.

In the file the attention is, level by level, grid_sample, a product with the weights and a sum.
Every runtime knows these, but they write each sampled point to memory three times. Here it is one
EmbeddingBag over a table of all cells, with one row for each cell and head: every query and head
takes the rows around its points, four for each point, times their weights. The table is the output
of the value projection as it is, and the sum is the input of the output projection as it is:
nothing is transposed. The positions of the points are computed in fp32 even for bf16, which would
misplace them by up to half a cell. Queries are processed in blocks of CHUNK, which keeps
intermediate results in the processor's caches; OpenVINO also has to know the number of bags
beforehand.

As in the model (model/pixel_decoder.py), the queries are the cells themselves, level by level, row
by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from openvino import Model, Node, Output
from openvino import opset13 as ops
from openvino.op import tensor_iterator

CHUNK = 2048  # queries in a block

Linear = tuple[np.ndarray, np.ndarray]  # weight (in, out), bias (out,)


@dataclass(frozen=True)
class Attention:
    """One layer as found in the graph.

    The batch is one photo. S is the number of cells of all levels, and of queries.
    """

    value: Output  # (1, S, heads·head_dim)
    query: Output  # (1, S, dim)
    offsets: Linear  # dim → heads·levels·points·2, x before y
    weights: Linear  # dim → heads·levels·points, before the softmax
    level_shapes: list[Output]  # for each level the four numbers heads, head_dim, h, w
    heads: int
    head_dim: int
    points: int
    total: Output  # (heads, head_dim, S): the sum
    turned: Output  # (1, S, heads·head_dim): the same, as the output projection takes it


def fuse(model: Model) -> int:
    """Rewrite every deformable attention of the model that looks as it does in our files.

    Args:
        model: The network; changed in place. Other networks are left as they are.

    Returns:
        How many there were.
    """
    found = [attention for total in _totals(model) if (attention := _recognise(total))]
    for attention in found:
        _replace(attention)
    if found:
        model.validate_nodes_and_infer_types()
        _name(model)
    return len(found)


def _name(model: Model) -> None:
    """Give new nodes names that are the same each time, unlike OpenVINO's, which count up.

    Compiled models are found again by the names.
    """
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"deformable_attention_{number}")
            if node.get_type_name() in ("Parameter", "Result"):
                node.output(0).get_tensor().set_names({f"deformable_attention_{number}"})


# ---- finding -------------------------------------------------------------------------------


def _totals(model: Model) -> list[Output]:
    """The sums over levels, each of a sum over weighted samples."""
    sums = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Add" and _products(node)
    ]
    parts = {source.get_node().get_name() for node in sums for source in node.input_values()}
    return [node.output(0) for node in sums if node.get_name() not in parts]


def _products(node: Node) -> list[Node]:
    """The products with a GridSample whose sum this node is, in order.

    Empty if anything else is in the sum.
    """
    if node.get_type_name() == "Add":
        parts = [_products(source.get_node()) for source in node.input_values()]
        return [*parts[0], *parts[1]] if all(parts) else []
    if node.get_type_name() == "ReduceSum":
        product = node.input_value(0).get_node()
        if product.get_type_name() == "Multiply" and _kinds(product).count("GridSample") == 1:
            return [product]
    return []


def _recognise(total: Output) -> Attention | None:
    products = _products(total.get_node())
    where = [_kinds(product).index("GridSample") for product in products]
    samples = [
        product.input_value(at).get_node() for product, at in zip(products, where, strict=True)
    ]
    try:
        maps = [sample.input_value(0) for sample in samples]
        softmax = _above(products[0].input_value(1 - where[0]), "Softmax")
        query, offsets = _linear(_above(samples[0].input_value(1), "Transpose").input_value(0))
        _, weights = _linear(_above(softmax.input_value(0), "Add").output(0))
        attention = Attention(
            value=_above(maps[0], "Transpose").input_value(0),
            query=query,
            offsets=offsets,
            weights=weights,
            level_shapes=[one.get_node().input_value(1) for one in maps],
            heads=maps[0].get_partial_shape()[0].get_length(),
            head_dim=maps[0].get_partial_shape()[1].get_length(),
            points=samples[0].output(0).get_partial_shape()[2].get_length(),
            total=total,
            turned=_below(total, "Transpose").output(0),
        )
    # another network, or the graph of another exporter, stays as it is
    except (LookupError, ValueError, RuntimeError):
        return None
    columns = attention.heads * len(maps) * attention.points
    fits = offsets[0].shape[1] == 2 * columns and weights[0].shape[1] == columns
    return attention if fits and attention.value.get_partial_shape()[0] == 1 else None


def _above(output: Output, kind: str) -> Node:
    """The nearest node of that kind among those that this is computed from, first input first.

    Raises LookupError if there is none.
    """
    waiting, seen = [output.get_node()], set()
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == kind:
            return node
        if node.get_type_name() != "ShapeOf" and node.get_name() not in seen:
            seen.add(node.get_name())
            waiting += [source.get_node() for source in reversed(node.input_values())]
    raise LookupError(kind)


def _below(output: Output, kind: str) -> Node:
    """The nearest node of that kind that is computed from this alone.

    Raises ValueError where the path forks.
    """
    node = output.get_node()
    while node.get_type_name() != kind:
        (only,) = node.output(0).get_target_inputs()
        node = only.get_node()
    return node


def _linear(output: Output) -> tuple[Output, Linear]:
    """Input, weight and bias of a linear layer.

    Raises LookupError if its weights are computed, as those of int8 are.
    """
    add = output.get_node()
    at = _kinds(add).index("MatMul")
    product = add.input_value(at).get_node()
    return product.input_value(0), (
        _constant(product.input_value(1)),
        _constant(add.input_value(1 - at)).reshape(-1),
    )


def _constant(output: Output) -> np.ndarray:
    node = output.get_node()
    if node.get_type_name() == "Convert":  # fp16 in the file
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        raise LookupError("Constant")
    return node.data.astype(np.float32)


def _kinds(node: Node) -> list[str]:
    return [source.get_node().get_type_name() for source in node.input_values()]


# ---- replacing -----------------------------------------------------------------------------


def _replace(attention: Attention) -> None:
    dim, width = attention.offsets[0].shape[0], attention.heads * attention.head_dim
    sizes = ops.convert(
        ops.concat(
            [ops.gather(shape, _i64([[2, 3]]), _i64(0)) for shape in attention.level_shapes], 0
        ),
        "i32",
    )
    count = ops.gather(ops.shape_of(attention.query), _i64([1]), _i64(0))  # (1,)
    whole = ops.multiply(
        ops.divide(ops.add(count, _i64([CHUNK - 1])), _i64([CHUNK])), _i64([CHUNK])
    )
    missing = ops.concat([ops.subtract(whole, count), _i64([0])], 0)
    query = ops.pad(
        ops.reshape(attention.query, _i64([-1, dim]), False),
        _i64([0, 0]),
        missing,
        "constant",
        np.float32(0),
    )
    numbers = ops.range(
        np.int32(0), ops.convert(ops.squeeze(whole, _i64([0])), "i32"), np.int32(1), "i32"
    )
    # (S·heads, head_dim)
    table = ops.reshape(attention.value, _i64([-1, attention.head_dim]), False)

    inside = [
        ops.parameter([CHUNK, dim], np.float32),
        ops.parameter([CHUNK, 1], np.int32),
        ops.parameter([-1, attention.head_dim], np.float32),
        ops.parameter([len(attention.level_shapes), 2], np.int32),
    ]
    chunk = _attend(attention, *inside)
    loop = tensor_iterator()
    body = Model([chunk], inside, "deformable_attention")
    _name(body)
    loop.set_body(body)
    for own, given in zip(inside[:2], (query, ops.unsqueeze(numbers, _i64(1))), strict=True):
        loop.set_sliced_input(own, given.output(0), 0, CHUNK, CHUNK, -1, 0)
    for own, given in zip(inside[2:], (table, sizes), strict=True):
        loop.set_invariant_input(own, given.output(0))
    rows = loop.get_concatenated_slices(chunk.output(0), 0, CHUNK, CHUNK, -1, 0)
    result = ops.reshape(
        ops.slice(rows, _i64([0]), count, _i64([1]), _i64([0])), _i64([1, -1, width]), False
    )

    # In int8 each value of the sum is rounded on its way to the output projection; that rounding
    # stays in between.
    reshape = attention.turned.get_node().input_value(0).get_node()
    rounded = reshape.input_value(0)
    plain = rounded.get_node().get_name() == attention.total.get_node().get_name()
    attention.turned.replace(result.output(0) if plain else rounded)
    if not plain:
        attention.total.replace(result.output(0))


def _attend(attention: Attention, query: Node, number: Node, table: Node, sizes: Node) -> Node:
    """The attention of a block of C queries → (C, heads·head_dim).

    query: (C, dim). number: i32 (C, 1), of each query among all. table: (S·heads, head_dim).
    sizes: i32 (levels, 2), h and w. Columns below are heads·levels·points. Cells are counted with
    floats, which are exact up to 2^24.
    """
    heads, levels, points = attention.heads, len(attention.level_shapes), attention.points
    columns = heads * levels * points
    # the level and head of each column
    level = np.tile(np.repeat(np.arange(levels), points), heads)
    head = np.repeat(np.arange(heads, dtype=np.float32), levels * points)

    (to_offsets, offsets_bias), (to_weights, weights_bias) = attention.offsets, attention.weights
    x_then_y = np.arange(2 * columns).reshape(columns, 2).T.reshape(-1)
    both = (
        np.concatenate([to_offsets[:, x_then_y], to_weights], 1),
        np.concatenate([offsets_bias[x_then_y], weights_bias]),
    )
    x_off, y_off, logits = ops.split(
        ops.add(ops.matmul(query, both[0], False, False), both[1]), _i64(1), 3
    ).outputs()
    weight = ops.softmax(ops.reshape(logits, _i64([0, heads, levels * points]), True), 2)
    weight = ops.reshape(weight, _i64([0, columns]), True)  # (C, columns)

    # each (levels,)
    h, w = (ops.gather(ops.convert(sizes, "f32"), _i64(axis), _i64(1)) for axis in (0, 1))
    # the number of each level's first cell
    first = ops.cum_sum(ops.multiply(h, w), _i64(0), True)
    number = ops.convert(number, "f32")
    own = ops.reduce_sum(ops.convert(ops.greater_equal(number, first), "i32"), _i64([1]), True)
    own = ops.subtract(own, np.int32(1))  # (C, 1), the query's level
    own_h, own_w, own_first = (ops.gather(one, own, _i64(0)) for one in (h, w, first))
    cell = ops.subtract(number, own_first)
    row = ops.floor(ops.divide(ops.add(cell, _half()), own_w))
    column = ops.subtract(cell, ops.multiply(row, own_w))

    # each (columns,)
    w, h, first = (ops.gather(one, level, _i64(0)) for one in (w, h, first))
    left, right, x, to_right = _corners(x_off, column, own_w, w)
    upper, lower, y, to_lower = _corners(y_off, row, own_h, h)
    upper_left = ops.multiply(ops.add(ops.add(ops.multiply(y, w), x), first), np.float32(heads))
    upper_left = ops.add(upper_left, head)  # a row of the table
    to_right, to_lower = (
        ops.multiply(to_right, np.float32(heads)),
        ops.multiply(ops.multiply(to_lower, w), np.float32(heads)),
    )
    lower_left = ops.add(upper_left, to_lower)
    upper, lower = ops.multiply(weight, upper), ops.multiply(weight, lower)

    def bags(corners: list[Node]) -> Node:
        return ops.concat(
            [ops.reshape(corner, _i64([-1, levels * points]), False) for corner in corners], 1
        )

    rows = bags(
        [upper_left, ops.add(upper_left, to_right), lower_left, ops.add(lower_left, to_right)]
    )
    shares = bags(
        [
            ops.multiply(*pair)
            for pair in ((upper, left), (upper, right), (lower, left), (lower, right))
        ]
    )
    # (C·heads, head_dim)
    total = ops.embedding_bag_packed_sum(table, ops.convert(rows, "i32"), shares)
    return ops.reshape(total, _i64([-1, heads * attention.head_dim]), False)


def _corners(
    offset: Output, place: Node, own_size: Node, size: Node
) -> tuple[Node, Node, Node, Node]:
    """Along one axis: the shares of two neighbouring cells, the nearer one, the step to the other.

    offset: (C, columns), in cells of the sampled level. place: (C, 1), the query's cell in its own
    level of `own_size` (C, 1) cells. size: (columns,). Outside the map is zero: both cells always
    lie inside, and one that is a cell or more away has no share.
    """
    one, zero = np.float32(1), np.float32(0)
    last = ops.subtract(size, one)
    step = ops.minimum(last, one)  # 0 if there is only one cell
    centre = ops.subtract(
        ops.multiply(ops.divide(ops.add(place, _half()), own_size), size), _half()
    )
    at = ops.add(offset, centre)
    cell = ops.maximum(ops.minimum(ops.floor(at), ops.subtract(last, step)), zero)
    away = ops.subtract(at, cell)
    near = ops.relu(ops.subtract(one, ops.abs(away)))
    far = ops.relu(ops.subtract(step, ops.abs(ops.subtract(away, step))))
    return near, far, cell, step


def _half() -> np.float32:
    return np.float32(0.5)


def _i64(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.int64)
