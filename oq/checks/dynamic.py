"""Kernels that quantize their data when they run: integer products behind a DynamicQuantizeLinear.

Tools write them as ``Mul(Cast(MatMulInteger(...)), Mul(scales))``, with or without an Add.
"""

from collections.abc import Iterator, Mapping

from oq.model.ops import CASTING, RANGES_AT_RUN_TIME, RANGING, SCALING
from oq.model.view import GraphView, NodeView


def dynamic_kernels(view: GraphView) -> Mapping[str, tuple[str, ...]]:
    """Integer node -> the nodes around it that only quantize, convert and scale."""
    return {n.name: tuple(_around(view, n)) for n in view.nodes if n.op in RANGES_AT_RUN_TIME}


def _around(view: GraphView, node: NodeView) -> Iterator[str]:
    above = view.producer(node.inputs[0])
    if above is not None and above.op in RANGING:
        yield above.name
    for cast in view.consumers(node.outputs[0]):
        if cast.op not in CASTING:
            continue
        yield cast.name
        for scaling in view.consumers(cast.outputs[0]):
            if scaling.op not in SCALING:
                continue
            yield scaling.name
            others = (view.producer(t) for t in scaling.inputs if t != cast.outputs[0])
            yield from (n.name for n in others if n is not None and n.op in SCALING)
