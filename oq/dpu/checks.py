"""The checks of target ``dpu`` for Q/DQ files from any tool.

Values may be int8 with zero point 0, or uint8 with zero point 128 (Quark's legacy form); a bias may
be int32 as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from oq.dpu.places import FUSED, find_places, is_fused
from oq.dpu.positions import LAYERS, violations
from oq.dpu.scales import position_of
from oq.model.operands import weight_input
from oq.model.qdq import before_pair, constant, dequantized_by, pairs, quantizers_of, scales
from oq.model.view import GraphView, NodeView
from oq.planning.check import Check, Found

CODES: Mapping[str, int] = {"int8": 0, "uint8": 128, "int32": 0}
"""Integer type -> its required zero point."""

BEFORE_ACTIVATION = LAYERS | {"Add", "AveragePool", "GlobalAveragePool", "MaxPool"}


def not_power_of_two(view: GraphView) -> Iterator[Found]:
    """Scales are powers of two, since the hardware requantizes by shifts."""
    for node, scale in scales(view):
        if scale.size == 1 and position_of(scale) is None:
            yield node.name, f"scale {float(scale.reshape(-1)[0]):.6g} is not a power of two"


def several_scales(view: GraphView) -> Iterator[Found]:
    """One scale per tensor, for weights too."""
    for node, scale in scales(view):
        if scale.size > 1:
            yield node.name, f"{scale.size} scales where the DPU supports one"


def not_int8(view: GraphView) -> Iterator[Found]:
    """Values are int8 with zero point 0 (or uint8 with zero point 128)."""
    for node in pairs(view):
        zero = constant(view, node, 2)
        if zero is None:
            continue
        wanted = CODES.get(zero.dtype.name)
        if wanted is None:
            yield node.name, f"its quantized type is {zero.dtype.name}"
        elif (zero != wanted).any():
            yield (
                node.name,
                f"{zero.dtype.name} with zero point {zero.reshape(-1)[0]}, not {wanted}",
            )


def illegal_positions(view: GraphView) -> Iterator[Found]:
    """The inequalities of :mod:`oq.dpu.positions` hold at every node whose positions are known."""
    grids = _Grids(view)
    for place in find_places(view, grids.read, grids.written):
        for name, violation in violations(place, grids.positions):
            yield place.node, f"{name}: {violation.message}"


def split_kernel(view: GraphView) -> Iterator[Found]:
    """No pair between a layer and an activation that is fused into it."""
    for node in view.nodes:
        dq = dequantized_by(view, node.inputs[0]) if node.op in FUSED else None
        source = None if dq is None else before_pair(view, node.inputs[0])
        above = None if source is None else view.producer(source)
        if dq is None or source is None or above is None or above.op not in BEFORE_ACTIVATION:
            continue
        alone = all(view.edges(t) == 1 for t in (source, dq.inputs[0], node.inputs[0]))
        if alone and is_fused(view, node) and _reads_codes(view, above):
            yield node.name, f"there is a Q/DQ pair between {above.op} {above.name!r} and it"


CHECKS = (
    Check("power-of-two", "error", not_power_of_two, "use the nearest power of two"),
    Check("one-scale", "error", several_scales, "quantize per tensor"),
    Check("int8-symmetric", "error", not_int8, "use int8 with zero point 0"),
    Check("positions", "error", illegal_positions, "move the scales (see oq quantize -t dpu)"),
    Check("kernel-is-whole", "warning", split_kernel, "put the pair after the activation"),
)
"""The checks of target ``dpu``."""


@dataclass(slots=True)
class _Grids:
    """The positions in a Q/DQ graph; a grid has the name of the tensor it is made of."""

    view: GraphView
    positions: dict[str, int] = field(default_factory=dict)

    def read(self, tensor: str, _node: str) -> str | None:
        """The grid of the DequantizeLinear that makes ``tensor``."""
        node = dequantized_by(self.view, tensor)
        return None if node is None else self._note(node)

    def written(self, tensor: str) -> str | None:
        """The grid of a QuantizeLinear that reads ``tensor``."""
        nodes = quantizers_of(self.view, tensor)
        return self._note(nodes[0]) if nodes else None

    def _note(self, node: NodeView) -> str | None:
        scale = constant(self.view, node, 1)
        position = None if scale is None else position_of(scale)
        if position is None:
            return None
        self.positions[node.name] = position
        return node.name


def _reads_codes(view: GraphView, node: NodeView) -> bool:
    """Whether data and weight of ``node`` come from DequantizeLinear nodes."""
    weight = weight_input(node)
    tensors = (node.inputs[0], *(() if weight is None else (weight,)))
    return all(dequantized_by(view, t) is not None for t in tensors)
