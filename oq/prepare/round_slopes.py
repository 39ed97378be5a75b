"""``LeakyRelu(alpha)`` -> ``LeakyRelu(k / 256)``: the slope that the DPU multiplies by.

This changes the model by less than int8 quantization does: 0.1 becomes 0.1015625.  It is done
before calibration, so that every range is measured with the actual slope.
"""

from collections.abc import Callable

from oq.model.graph import Graph
from oq.prepare.outcome import Outcome

EDGE = 26
"""In 256ths: the only slope of the edge DPU."""


def round_edge_slope(graph: Graph) -> Outcome:
    """Change slopes to 26/256 if that is the nearest 256th."""
    return _round(graph, lambda k: k == EDGE)


def round_slopes(graph: Graph) -> Outcome:
    """Change every slope to k/256."""
    return _round(graph, lambda k: k != 0)


def _round(graph: Graph, wanted: Callable[[int], bool]) -> Outcome:
    changed = 0
    for node in graph.view().nodes:
        if node.op != "LeakyRelu":
            continue
        alpha = float(node.attributes.get("alpha", 0.01))
        k = round(256 * alpha)
        if wanted(k) and k / 256 != alpha:
            graph.set_attribute(node.name, "alpha", k / 256)
            changed += 1
    return Outcome(changed)
