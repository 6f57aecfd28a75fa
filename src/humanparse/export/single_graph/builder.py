"""Build an ONNX graph by writing arithmetic: `op.Exp(a - b)` adds two nodes and returns a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from humanparse.export.graph import the_onnx_package

if TYPE_CHECKING:
    import onnx

# A Value, a number, an array or a list; Python's floats become float32, its integers int64.
Like = Any


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that the graph will compute."""

    op: Builder
    name: str

    def __add__(self, other: Like) -> Value:
        return self.op.Add(self, other)

    def __sub__(self, other: Like) -> Value:
        return self.op.Sub(self, other)

    def __mul__(self, other: Like) -> Value:
        return self.op.Mul(self, other)

    def __truediv__(self, other: Like) -> Value:
        return self.op.Div(self, other)

    def __gt__(self, other: Like) -> Value:
        return self.op.Greater(self, other)

    def __lt__(self, other: Like) -> Value:
        return self.op.Less(self, other)

    def __ge__(self, other: Like) -> Value:
        return self.op.GreaterOrEqual(self, other)

    def __and__(self, other: Like) -> Value:
        return self.op.And(self, other)

    def __or__(self, other: Like) -> Value:
        return self.op.Or(self, other)


class Builder:
    """The nodes and constants of one graph.

    `op.Name(*inputs, **attributes)` adds ONNX's node Name and returns its output as a Value; with
    `outputs=n` it returns a tuple of n Values. An input of None is left empty.

    Attributes:
        prefix: What the names of all values begin with.
        nodes: The nodes so far.
        constants: Constants so far by type, shape and bytes, so that equal ones are stored once.
    """

    def __init__(self, prefix: str):
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple, tuple[str, onnx.TensorProto]] = {}
        self._count = 0

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        if operator.startswith("_"):
            raise AttributeError(operator)

        def add(*inputs: Like, outputs: int = 1, **attributes: Any) -> Any:
            made = [Value(self, self.fresh(operator)) for _ in range(outputs)]
            names = ["" if one is None else self.name_of(one) for one in inputs]
            node = the_onnx_package().helper.make_node(
                operator, names, [one.name for one in made], **attributes
            )
            self.nodes.append(node)
            return made[0] if outputs == 1 else tuple(made)

        return add

    def fresh(self, what: str) -> str:
        """Return a name that no other value has."""
        self._count += 1
        return f"{self.prefix}/{what}_{self._count}"

    def name_of(self, value: Like) -> str:
        """Return the name of a Value; anything else becomes a constant of the graph first."""
        if isinstance(value, Value):
            return value.name
        array = value if isinstance(value, np.ndarray | np.generic) else np.array(value)
        if not isinstance(value, np.ndarray | np.generic):
            array = array.astype({"f": np.float32, "i": np.int64, "b": bool}[array.dtype.kind])
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = self.fresh("constant")
            self.constants[key] = name, the_onnx_package().numpy_helper.from_array(array, name)
        return self.constants[key][0]

    # Short forms of what takes several nodes, or awkward ones

    def cast(self, value: Like, kind: type) -> Value:
        """Convert to another NumPy type."""
        return self.Cast(
            value, to=the_onnx_package().helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        )

    def cut(self, value: Value, starts: Sequence[int], ends: Like, axes: Sequence[int]) -> Value:
        """Return value[starts:ends] along some axes."""
        return self.Slice(value, list(starts), ends, list(axes))

    def range(self, length: Value, kind: type = np.int64) -> Value:
        """Return 0, 1, … length - 1, for a length that is int64 (1,)."""
        numbers = self.Range(0, self.Squeeze(length, [0]), 1)
        return numbers if kind is np.int64 else self.cast(numbers, kind)
