"""``LeakyRelu(alpha)`` -> ``LeakyRelu(k / 256)``: the slope that the DPU multiplies by.

Changes the model by less than its int8 codes do: 0.1 becomes 0.1015625.  Written here, ahead of
calibration, so that every range is measured with the slope that will run.
"""

from collections.abc import Callable

from oq.model.graph import Graph
from oq.prepare.outcome import Outcome

EDGE = 26
"""256ths: the only slope of the edge DPU."""


def round_edge_slope(graph: Graph) -> Outcome:
    """Write 26/256 where that is the nearest 256th."""
    return _round(graph, lambda k: k == EDGE)


def round_slopes(graph: Graph) -> Outcome:
    """Write every slope as k/256."""
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
