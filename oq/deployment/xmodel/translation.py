"""The XIR graph of a Q/DQ graph in the making: what a row of :mod:`oq.deployment.xmodel.rows`
reads and adds to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from oq.deployment.xmodel.graph import Attribute, XirBuilder
from oq.deployment.xmodel.placed import (
    NHWC,
    Layout,
    Parameter,
    Placed,
    dims_in,
    filled,
    plain,
    turned,
    usual,
)
from oq.errors import ModelError
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array


def refusal(node: NodeView, why: str) -> ModelError:
    """The error that names what cannot be written."""
    return ModelError(f"--to xmodel cannot write {node.op} {node.name!r}: {why}")


@dataclass(frozen=True, slots=True)
class Written:
    """A parameter in the file: the ``fix`` op (or ``const``, in float) that holds it."""

    op: str
    parameter: Parameter


@dataclass(slots=True)
class Translation:
    """``placed``: tensor -> where it stands; ``parameters``: the constants that are no op yet;
    ``fixed``: (op, position) -> the ``fix`` behind it."""

    view: GraphView
    builder: XirBuilder = field(default_factory=XirBuilder)
    placed: dict[str, Placed] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    fixed: dict[tuple[str, int], str] = field(default_factory=dict)
    _moved: dict[tuple[str, Layout], Placed] = field(default_factory=dict)

    # -- reading ---------------------------------------------------------------------------------

    def shape(self, node: NodeView, tensor: str) -> tuple[int, ...]:
        """The shape of ``tensor``.

        Raises:
            ModelError: it has an axis of free size, or none that is known.
        """
        found = self.view.shape(tensor)
        if found is None or not all(isinstance(s, int) and s > 0 for s in found):
            raise refusal(node, f"the shape of {tensor!r} is not known before it is run")
        return tuple(s for s in found if isinstance(s, int))

    def constant(self, node: NodeView, slot: int, what: str) -> Array | None:
        """The constant at ``slot``; None where the slot is empty."""
        name = node.input(slot)
        if not name:
            return None
        if not self.view.is_constant(name):
            raise refusal(node, f"its {what} {name!r} is computed at run time")
        return np.asarray(self.view.constants[name])

    def parameter(self, tensor: str) -> Parameter | None:
        """The constant ``tensor``, on its grid or in float; None for what is computed."""
        if tensor in self.parameters:
            return self.parameters[tensor]
        if not self.view.is_constant(tensor):
            return None
        values = np.asarray(self.view.constants[tensor])
        index = np.arange(values.size).reshape(values.shape)
        return Parameter(tensor, values, None, index)

    def weight(self, node: NodeView, slot: int) -> Parameter:
        """The constant operand at ``slot``."""
        found = self.parameter(node.inputs[slot])
        if found is None:
            raise refusal(node, f"its operand {node.inputs[slot]!r} is computed at run time")
        return found

    def data(self, node: NodeView, tensor: str) -> Placed:
        """Where ``tensor`` stands; a constant becomes an op."""
        if tensor not in self.placed:
            constant = self.parameter(tensor)
            if constant is None:
                raise refusal(node, f"its input {tensor!r} is not a tensor of numbers")
            layout = usual(constant.values.ndim)
            op = self.hold(constant.arrange(lambda v: v.transpose(layout)))
            exact = constant.position is not None
            dims = dims_in(constant.values.shape, layout) or (1,)
            return Placed(op, dims, layout or (0,), exact=exact, position=constant.position)
        return self.placed[tensor]

    def image(self, node: NodeView, tensor: str) -> Placed:
        """``tensor`` in NHWC."""
        found = self.data(node, tensor)
        if len(found.dims) != len(NHWC):
            raise refusal(node, f"its input {tensor!r} has {len(found.dims)} axes, an image four")
        return self.moved(found, NHWC)

    def ordered(self, node: NodeView, tensor: str) -> Placed:
        """``tensor`` with its axes in ONNX's order."""
        found = self.data(node, tensor)
        return self.moved(found, plain(len(found.dims)))

    def moved(self, placed: Placed, layout: Layout) -> Placed:
        """``placed`` in ``layout``, by an op where its values must move."""
        if placed.layout == layout:
            return placed
        key = (placed.op, layout)
        if key not in self._moved:
            shape = placed.shape
            dims = dims_in(shape, layout)
            source = {"input": (placed.op,)}
            if filled(shape, placed.layout) == filled(shape, layout):
                op = self.reshape(f"{placed.op}_reshape", placed.op, dims)
            else:
                order = tuple(placed.layout.index(a) for a in layout)
                wish = f"{placed.op}_transpose"
                op = self.builder.add("transpose", wish, dims, source, {"order": order})
            self._moved[key] = replace(placed, op=op, dims=dims, layout=layout)
        return self._moved[key]

    # -- writing ---------------------------------------------------------------------------------

    def hold(self, parameter: Parameter) -> str:
        """The op that holds ``parameter``: ``const``, with a ``fix`` behind it where it has a
        grid."""
        op = self.builder.const(parameter.tensor, parameter.values)
        if parameter.position is not None:
            dims = parameter.values.shape or (1,)
            op = self.builder.fix(f"{op}_fix", op, dims, parameter.position)
        self.written.append(Written(op, parameter))
        return op

    def add(
        self,
        node: NodeView,
        kind: str,
        inputs: Sequence[Placed],
        shape: Sequence[int],
        layout: Layout,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        wish: str = "",
        exact: bool | None = None,
        more: Mapping[str, Sequence[str]] | None = None,
    ) -> Placed:
        """An op of ``node`` that computes a tensor of ``shape``, exact where its operands are."""
        dims = dims_in(shape, layout)
        arguments: dict[str, Any] = {"input": tuple(p.op for p in inputs), **(more or {})}
        op = self.builder.add(kind, wish or node.name, dims, arguments, attributes or {})
        known = all(p.exact for p in inputs) if exact is None else exact
        return Placed(op, dims, layout, exact=known)

    def scaled(self, node: NodeView, source: Placed, factor: float) -> Placed:
        """``mul`` by a constant of one value in float, the DPU's multiplier behind ``source``."""
        factor = float(np.float32(factor))
        constant = self.builder.const(f"{source.op}_factor", np.asarray([factor], np.float32))
        operand = Placed(constant, (1,), (0,), exact=True)
        return self.add(
            *(node, "mul", (source, operand), source.shape, source.layout),
            wish=f"{source.op}_mul",
        )

    def reshape(self, wish: str, source: str, dims: Sequence[int]) -> str:
        """A ``reshape`` of the op ``source`` to ``dims``."""
        whole = tuple(map(int, dims))
        return self.builder.add("reshape", wish, whole, {"input": (source,)}, {"shape": whole})

    def put(self, tensor: str, placed: Placed) -> None:
        """``tensor`` stands there."""
        self.placed[tensor] = placed

    def turn(self, tensor: str, placed: Placed, perm: Sequence[int]) -> None:
        """``tensor`` is ``Transpose(perm)`` of ``placed``."""
        self.put(tensor, replace(placed, layout=turned(placed.layout, perm)))
