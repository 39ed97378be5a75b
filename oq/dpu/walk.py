"""Runs a Q/DQ graph from one tensor to the next as the DPU computes it, each node once.

:class:`oq.refine.layerwise.Walk` in the arithmetic of :mod:`oq.dpu.simulate`: what is kept between
two tensors are fixed-point numbers, so that a kernel is rounded where the hardware rounds it.
Constants are fixed-point too, if their grid is known, and need no pairs in the graph.
"""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from oq.dpu.fixed_point import FixedPoint, hold
from oq.dpu.kernels import Value
from oq.dpu.scales import position_of
from oq.dpu.simulate import Simulator, real
from oq.model.view import NodeView
from oq.numerics.grid import Grid
from oq.numerics.values import Array
from oq.parallel import parallel_map


class DeviceWalk:
    """One pass through ``model`` over ``samples`` (input name -> values, per batch).

    Raises:
        ModelError: a scale is not one constant power of two.
    """

    def __init__(self, model: onnx.ModelProto, samples: Sequence[Mapping[str, Array]]) -> None:
        self._simulator = Simulator(model)
        self._view = self._simulator.view
        self._constants: dict[str, Value] = {"": None, **self._simulator.constants}
        self._order = {n.name: i for i, n in enumerate(self._view.nodes)}
        self._done: set[str] = set()
        self._here: list[dict[str, Value]] = [dict(s) for s in samples]

    def output(self, node: str) -> str:
        """The first output of the node called ``node``."""
        return self._view.node(node).outputs[0]

    def input(self, node: str, slot: int = 0) -> str:
        """Input ``slot`` of the node called ``node``."""
        return self._view.node(node).inputs[slot]

    def at(self, tensor: str) -> tuple[Array, ...]:
        """The real values of ``tensor``, per batch; runs the nodes that are needed and have not
        run."""
        if tensor not in self._here[0]:
            self._run(tensor)
        return tuple(parallel_map(lambda values: real(values[tensor]), self._here))

    def shift(self, tensor: str, by: Array) -> None:
        """Add ``by``, which broadcasts to it, to ``tensor`` for the nodes that have not run; to
        fixed-point numbers as a bias is added: what is finer is truncated."""
        moved = parallel_map(lambda values: _shifted(values[tensor], by), self._here)
        for values, there in zip(self._here, moved, strict=True):
            values[tensor] = there

    def peek(self, tensor: str, shifted: str, by: Array) -> tuple[Array, ...]:
        """The values that ``tensor`` would have if ``by`` was added to ``shifted``."""
        piece = [] if tensor == shifted else self._ancestors(tensor)

        def look(values: dict[str, Value]) -> Array:
            tried = {**values, shifted: _shifted(values[shifted], by)}
            self._compute(piece, tried)
            return real(tried[tensor])

        return tuple(parallel_map(look, self._here))

    def set_constant(self, tensor: str, values: Array, grid: Grid | None = None) -> None:
        """Replace a constant, whose values lie on ``grid``, for the nodes that have not run."""
        self._constants[tensor] = _fixed(values, grid)

    def _run(self, tensor: str) -> None:
        piece = self._ancestors(tensor)
        parallel_map(lambda values: self._compute(piece, values), self._here)
        self._done.update(n.name for n in piece)
        for values in self._here:
            for name in [t for t in values if t != tensor and not self._is_read_later(t)]:
                del values[name]

    def _compute(self, piece: Sequence[NodeView], values: dict[str, Value]) -> None:
        known = ChainMap(values, self._constants)
        for node in piece:
            found = self._simulator.compute(node, known)
            values.update(zip((t for t in node.outputs if t), found, strict=True))

    def _ancestors(self, tensor: str) -> list[NodeView]:
        """The nodes between what is here and ``tensor``, in order."""
        needed: dict[str, NodeView] = {}
        open_ = [tensor]
        while open_:
            name = open_.pop()
            if name in self._here[0] or name in self._constants:
                continue
            node = self._view.producer(name)
            if node is None or node.name in self._done:
                raise KeyError(name)
            if node.name not in needed:
                needed[node.name] = node
                open_.extend((*node.inputs, *node.captured))
        return sorted(needed.values(), key=lambda n: self._order[n.name])

    def _is_read_later(self, tensor: str) -> bool:
        return any(n.name not in self._done for n in self._view.consumers(tensor))


def _fixed(values: Array, grid: Grid | None) -> Value:
    """``values`` in fixed point; as they are without a grid whose scale is a power of two."""
    position = None if grid is None else position_of(grid.scale)
    if position is None:
        return values
    codes = np.rint(np.ldexp(values.astype(np.float64), position))
    reach = float(np.abs(codes).max(initial=1.0))
    return FixedPoint(hold(codes, reach), position, reach) if np.isfinite(reach) else values


def _shifted(value: Value, by: Array) -> Value:
    if not isinstance(value, FixedPoint):
        return (np.asarray(value) + by).astype(np.asarray(value).dtype)
    steps = np.floor(np.ldexp(by.astype(np.float64), value.position))
    reach = value.reach + float(np.abs(steps).max(initial=0.0))
    moved = hold(value.numerator, reach) + hold(steps, reach)
    return replace(value, numerator=moved, reach=reach)
