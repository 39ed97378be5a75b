"""``Sigmoid(x)`` -> ``HardSigmoid(x, alpha = 1/6, beta = 1/2)``, which the DPU supports.

This changes the function, by up to 0.075, and a SiLU becomes a HardSwish.  Only on request: a model
that was not trained with it loses accuracy.
"""

from oq.model.graph import Graph
from oq.prepare.outcome import Outcome, finish


def harden_sigmoid(graph: Graph) -> Outcome:
    """Replace every Sigmoid."""
    nodes = [n for n in graph.view().nodes if n.op == "Sigmoid"]
    for node in nodes:
        graph.take_over(
            node.name,
            "HardSigmoid",
            node.inputs[:1],
            name=f"{node.name}_HardSigmoid",
            attributes={"alpha": 1 / 6, "beta": 0.5},
        )
    return finish(graph, len(nodes))
