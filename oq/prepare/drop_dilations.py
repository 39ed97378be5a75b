"""Dilations of 1, which are the default, leave an AveragePool.

onnxruntime copies the attribute to the QLinearAveragePool that it makes of one between Q/DQ pairs,
which knows no dilations, and refuses the file.
"""

from oq.model.graph import Graph
from oq.model.ops import averages
from oq.prepare.outcome import Outcome


def drop_dilations(graph: Graph) -> Outcome:
    """Remove ``dilations`` of nothing but 1 from averages."""
    found = [
        n.name
        for n in graph.view().nodes
        if averages(n.op) and set(n.attributes.get("dilations", ())) == {1}
    ]
    for name in found:
        graph.drop_attribute(name, "dilations")
    return Outcome(len(found), ())
