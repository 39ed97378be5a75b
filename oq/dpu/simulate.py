"""Simulates a Q/DQ graph on the DPU: in integers, with its shifts and its rounding.

A DequantizeLinear creates :class:`~oq.dpu.fixed_point.FixedPoint` values, kernels
(:mod:`oq.dpu.kernels`) compute on those without rounding, and the QuantizeLinear that ends a kernel
rounds once, as the hardware does.  Ops that only move values move integers.  All other nodes
(Softmax, LayerNormalization, ...) would run on the CPU: onnxruntime computes them in float from the
dequantized values, and :attr:`Simulator.floats` lists them with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from oq.dpu.fixed_point import DPU, Arithmetic, FixedPoint, hold, rounded
from oq.dpu.kernels import KERNELS, Call, Value
from oq.dpu.scales import position_of
from oq.errors import ModelError
from oq.model.bodies import make_piece, reads_of, sizes
from oq.model.graph import Graph
from oq.model.operands import weight_input
from oq.model.ops import SHAPE_OPS, only_moves
from oq.model.session import Session, Settings
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

NO_KERNEL = "the DPU has no kernel for {op}"


@dataclass(frozen=True, slots=True)
class Codes:
    """The parameters of a QuantizeLinear or DequantizeLinear: position and zero point."""

    position: int
    zero: int
    dtype: np.dtype[Any]

    @property
    def bounds(self) -> tuple[int, int]:
        """Lowest and highest integer, relative to the zero point."""
        info = np.iinfo(self.dtype)
        return int(info.min) - self.zero, int(info.max) - self.zero


class Simulator:
    """A Q/DQ model as computed by the DPU.

    ``floats`` maps the name of a node that ran in float to the reason, ``computed`` that of a node
    that a DPU kernel computed to its op; both are complete after a run.  ``positions`` maps a
    quantized output to its position.  ``view`` and ``constants`` are those of the graph.

    Raises:
        ModelError: a scale is not one constant power of two.
    """

    def __init__(self, model: onnx.ModelProto, arithmetic: Arithmetic = DPU) -> None:
        self.arithmetic = arithmetic
        self.floats: dict[str, str] = {}
        self.computed: dict[str, str] = {}
        self.positions: dict[str, int] = {}
        self.view = Graph(model).view()
        self._alone = _Alone(model, self.view)
        self.constants = {n: np.asarray(v) for n, v in self.view.constants.items()}
        self._readers = _count_readers(self.view)
        self._grids = {n.name: self._grid(n) for n in self.view.nodes if n.op in SPECIAL}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""
        return self.view.outputs

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all if ``outputs`` is None) for one batch, as real values."""
        left_out = dict.fromkeys((i.name for i in self.view.inputs), None)
        values: dict[str, Value] = {"": None, **left_out, **self.constants, **feeds}
        left = dict(self._readers)
        for node in self.view.nodes:
            found = self.compute(node, values)
            values.update(zip((t for t in node.outputs if t), found, strict=True))
            for tensor in {*node.inputs, *node.captured} & left.keys():
                left[tensor] -= 1
                if not left[tensor] and tensor not in self.constants:
                    del values[tensor]
        names = self.outputs if outputs is None else outputs
        ends = {n: values[n] for n in names}
        self.positions.update({n: v.position for n, v in ends.items() if isinstance(v, FixedPoint)})
        return [real(v) for v in ends.values()]

    def compute(self, node: NodeView, values: Mapping[str, Value]) -> Sequence[Value]:
        """The outputs of ``node``, given at least what it reads."""
        inputs = tuple(values[t] for t in node.inputs)
        if node.name in self._grids:
            return [SPECIAL[node.op](inputs[0], self._grids[node.name], self.arithmetic)]
        if not any(isinstance(v, FixedPoint) for v in inputs):
            if _is_float_work(node, inputs):
                self.floats.setdefault(node.name, _why_float(node))
            return self._alone.run(node, values)
        row = KERNELS.get(node.op)
        if row is None:
            if isinstance(inputs[0], FixedPoint) and _moves_codes(node, inputs):
                codes = self._alone.run(node, {**values, node.inputs[0]: inputs[0].numerator})
                return [inputs[0].with_codes(c) for c in codes]
            reason: str | FixedPoint = NO_KERNEL.format(op=node.op)
        else:
            slots = range(len(inputs)) if row.slots is None else row.slots
            floating = [node.inputs[s] for s in slots if _lacks_grid(inputs, s)]
            call = Call(node.attributes, inputs, self.arithmetic)
            if floating:
                reason = f"its input {floating[0]!r} is float"
            elif self._computes_weight(node):
                reason = "its weight is computed at run time"
            else:
                reason = row.kernel(call)
        if isinstance(reason, FixedPoint):
            self.computed[node.name] = node.op
            return [reason]
        self.floats.setdefault(node.name, reason)
        return self._alone.run(node, values)

    def _computes_weight(self, node: NodeView) -> bool:
        weight = weight_input(node)
        source = None if weight is None else self.view.producer(weight)
        return source is not None and not self.view.is_constant(source.inputs[0])

    def _grid(self, node: NodeView) -> Codes:
        arrays = [self.constants.get(t) for t in node.inputs[1:3]]
        scale = arrays[0]
        position = None if scale is None else position_of(scale)
        if position is None:
            shown = "not a constant" if scale is None else f"{scale.reshape(-1)[0]:.6g}"
            many = "" if scale is None or scale.size == 1 else f" and {scale.size - 1} more"
            raise ModelError(
                f"the scale of {node.name!r} is {shown}{many}; the DPU requantizes by shifts, "
                "so it needs one power of two per tensor (oq check --target dpu lists every such "
                "node)"
            )
        zero = arrays[1] if len(arrays) > 1 else np.zeros((), np.uint8)
        if zero is None or np.unique(zero).size != 1:
            raise ModelError(f"the zero point of {node.name!r} is not one constant per tensor")
        return Codes(position, int(zero.reshape(-1)[0]), zero.dtype)


def _quantize(value: Value, grid: Codes, arithmetic: Arithmetic) -> Array:
    low, high = grid.bounds
    if not isinstance(value, FixedPoint):
        reals = np.asarray(value, np.float64)
        value = FixedPoint(reals, 0, 1.0)
    codes = rounded(value, grid.position, low, high, arithmetic)
    with np.errstate(invalid="ignore"):  # NaN has no code, and the comparison tells of it
        return (codes + grid.zero if grid.zero else codes).astype(grid.dtype)


def _dequantize(value: Value, grid: Codes, _arithmetic: Arithmetic) -> FixedPoint:
    codes, (low, high) = np.asarray(value), grid.bounds
    reach = float(max(-low, high))
    wide = codes.astype(np.float32 if codes.dtype.itemsize < 4 else np.float64)
    return FixedPoint(hold(wide - grid.zero if grid.zero else wide, reach), grid.position, reach)


SPECIAL: Mapping[str, Callable[[Value, Codes, Arithmetic], Value]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}


def real(value: Value) -> Array:
    """``value`` as real numbers."""
    return value.real() if isinstance(value, FixedPoint) else np.asarray(value)


def _lacks_grid(inputs: Sequence[Value], slot: int) -> bool:
    return (
        slot < len(inputs) and inputs[slot] is not None and not isinstance(inputs[slot], FixedPoint)
    )


def _moves_codes(node: NodeView, inputs: Sequence[Value]) -> bool:
    """Whether ``node`` moves codes: a copy op, nearest Resize among them, that adds zeros only."""
    if node.op in NEAREST:
        return bool(node.attributes.get("mode", "nearest") == "nearest")
    value = inputs[2] if node.op in PADDED and len(inputs) > 2 else None
    if value is not None and np.count_nonzero(real(value)):
        return False
    return only_moves(node.op)


PADDED, NEAREST = frozenset({"Pad"}), frozenset({"Resize"})


def _is_float_work(node: NodeView, inputs: Sequence[Value]) -> bool:
    """Whether a node without fixed-point inputs computes on real values."""
    floating = any(isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in inputs)
    return floating and node.op not in SHAPE_OPS and not only_moves(node.op)


def _why_float(node: NodeView) -> str:
    return "its inputs are float" if node.op in KERNELS else NO_KERNEL.format(op=node.op)


def _count_readers(view: GraphView) -> dict[str, int]:
    """Tensor -> how many nodes read it; graph outputs are left out, and so never freed."""
    counts: dict[str, int] = {}
    for node in view.nodes:
        for tensor in {*node.inputs, *node.captured} - {""}:
            counts[tensor] = counts.get(tensor, 0) + 1
    return {t: n for t, n in counts.items() if t not in view.outputs}


@dataclass(slots=True)
class _Alone:
    """Runs single nodes in onnxruntime, each as a model of its own."""

    model: onnx.ModelProto
    view: GraphView
    sessions: dict[tuple[str, ...], Session] = field(default_factory=dict)
    protos: dict[str, onnx.NodeProto] = field(init=False)

    def __post_init__(self) -> None:
        made = {t: n for n in self.model.graph.node for t in n.output if t}
        self.protos = {
            n.name: made[next(t for t in n.outputs if t)] for n in self.view.nodes if any(n.outputs)
        }

    def run(self, node: NodeView, values: Mapping[str, Value]) -> list[Array]:
        names = list(dict.fromkeys(t for t in (*node.inputs, *node.captured) if t))
        here = {t: v for t in names if (v := values[t]) is not None}
        feeds = {t: v if isinstance(v, list) else real(v) for t, v in here.items()}
        given = {t: [v[0].dtype] if isinstance(v, list) else v for t, v in feeds.items()}
        kinds = (v if isinstance(v, list) else f"{v.dtype} {sizes(v)}" for v in given.values())
        slot = (node.name, *map(str, kinds))
        if slot not in self.sessions:
            proto = self.protos[node.name]
            inner = set(reads_of(proto)) - given.keys()  # weights that only its bodies read
            held = [t for t in self.model.graph.initializer if t.name in inner]
            piece = make_piece(self.model, [proto], given, filter(None, proto.output), held)
            self.sessions[slot] = Session(piece, Settings(reading="literal", spin=False))
        return self.sessions[slot].run(feeds)
