"""Constants that are outputs of the model, apart from the layers that read them.

A layer's weight is rounded, and refinement chooses others; an output of that name is the float
constant of the user (a table of embeddings beside the scores).
"""

from oq.model.graph import Graph
from oq.prepare.outcome import Outcome


def outputs_apart(graph: Graph) -> Outcome:
    """Give the nodes that read an output's constant a constant of their own, with its values."""
    view, changed = graph.view(), 0
    for name in dict.fromkeys(view.outputs):
        readers = view.consumers(name)
        if not view.is_constant(name) or not readers:
            continue
        own = graph.add_constant(f"{name}_read", view.constants[name])
        for node in readers:
            graph.replace_reads(node.name, name, own)
        changed += 1
    return Outcome(changed)
