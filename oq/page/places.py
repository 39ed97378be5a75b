"""The quantized tensors of a solved plan, or of a Q/DQ file from any tool."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from oq.emission.solve import Solution
from oq.model.ops import facts
from oq.model.qdq import DQ, PAIR, Q, codes_dtype, constant
from oq.model.view import GraphView, NodeView
from oq.numerics.grid import Grid, dequantize
from oq.numerics.values import Array, QType
from oq.planning.spec import Own, Plan, Role, key


@dataclass(frozen=True, slots=True)
class Place:
    """The grid (scale, zero point) of ``tensor`` for ``consumers`` (empty: every reader).

    ``source``: the name of the tensor in the float model.  ``values``: the real values of a
    constant. ``calibrator``: the one that chose the range, "" if unknown or not calibrated.
    """

    tensor: str
    source: str
    consumers: tuple[str, ...]
    role: Role
    grid: Grid
    values: Array | None = None
    calibrator: str = ""


def planned(
    plan: Plan,
    view: GraphView,
    solution: Solution,
    default: str,
    changed: Mapping[str, Array],
) -> tuple[Place, ...]:
    """The sites of ``plan`` with the grids of ``solution``; ``default`` is the calibrator of those
    that name none, ``changed`` are the constants that refinement replaced."""
    found = []
    for site in plan.sites:
        fixed = view.is_constant(site.tensor)
        own = site.spec if isinstance(site.spec, Own) and not fixed else None
        name = "" if own is None else own.calibrator or default
        values = None
        if fixed:
            held = changed.get(site.tensor)
            values = view.constants[site.tensor] if held is None else held
        grid = solution.grids[key(site)]
        found.append(Place(site.tensor, site.tensor, site.consumers, site.role, grid, values, name))
    return tuple(found)


def written(view: GraphView, known: frozenset[str]) -> tuple[Place, ...]:
    """The grids of the Q/DQ graph ``view``, under the tensor names of :func:`without_pairs`;
    ``known`` are the names of the float model's tensors."""
    found = []
    for node in view.nodes:
        grid = _grid(view, node) if node.op == DQ else None
        if grid is None:
            continue
        real = node.outputs[0]
        readers = tuple(n.name for n in view.consumers(real))
        codes, above = constant(view, node, 0), view.producer(node.inputs[0])
        if codes is not None:
            values = dequantize(codes, grid)
            found.append(Place(real, "", readers, _role(view, real), grid, values))
        elif above is not None and above.op == Q:
            held = constant(view, above, 0)
            if held is not None:
                found.append(Place(real, "", readers, _role(view, real), grid, held))
                continue
            tensor = above.inputs[0]
            name = next((t for t in (tensor, real) if t in known), "")
            found.append(Place(name or tensor, name, readers, "activation", grid))
    return tuple(found)


def without_pairs(view: GraphView, known: frozenset[str]) -> GraphView:
    """``view`` without its Q/DQ pairs: every reader of a pair reads the input of the pair, under
    its name in the float model (tensors ``known``).  A dequantized constant has no producer."""
    above: dict[str, str] = {}
    names: dict[str, str] = {}
    for node in view.nodes:
        producer = view.producer(node.inputs[0]) if node.op == DQ else None
        if producer is None or producer.op != Q or view.is_constant(producer.inputs[0]):
            continue
        tensor, copy = producer.inputs[0], node.outputs[0]
        above[copy] = above.get(tensor, tensor)
        if tensor not in known and copy in known:
            names[tensor] = copy

    def name(tensor: str) -> str:
        held = above.get(tensor, tensor)
        return names.get(held, held)

    nodes = tuple(
        replace(n, inputs=tuple(map(name, n.inputs)), outputs=tuple(map(name, n.outputs)))
        for n in view.nodes
        if n.op not in PAIR
    )
    outputs = tuple(map(name, view.outputs))
    return GraphView(nodes, view.inputs, outputs, view.tensors, view.constants, view.opset)


def _role(view: GraphView, tensor: str) -> Role:
    """Whether the first reader of a constant uses it as weight or bias."""
    for node in view.consumers(tensor):
        row = facts(node.op)
        if row is not None and row.bias is not None and row.bias < len(node.inputs):
            return "bias" if node.inputs[row.bias] == tensor else "weight"
    return "weight"


def _grid(view: GraphView, dq: NodeView) -> Grid | None:
    """The grid of ``dq``; None if its scale is computed at run time, or if it is blockwise or
    4-bit."""
    scale, zero = constant(view, dq, 1), constant(view, dq, 2)
    dtype = codes_dtype(view, dq)
    limits = {"float8_e4m3fn": (-448, 448)}.get(dtype)
    if scale is None or scale.ndim > 1 or (limits is None and np.dtype(dtype).kind not in "iu"):
        return None
    if limits is None:
        limits = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if zero is None:
        zero = np.zeros(scale.shape, dtype)
    symmetric = not zero.astype(np.float64).any() and limits[0] < 0
    axis = dq.attributes.get("axis", 1) if scale.size > 1 else None
    scale = scale.astype(np.float32)
    if axis is None:
        scale, zero = scale.reshape(()), zero.reshape(())
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        return None
    return Grid(QType(dtype, *limits, symmetric), scale, zero, axis)
