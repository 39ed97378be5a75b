"""Where the mean of a layer's output is set right: behind the residual Add that it goes into.

A device that rounds halves up adds a fraction of a step in every Add.  The branch of a residual
block cannot see that, but its bias can take it back, before it adds up over the blocks.
"""

from collections.abc import Mapping, Sequence

from oq.model.ops import ADDING
from oq.model.view import GraphView
from oq.planning.layers import Layer, find_layers
from oq.refine.subject import Subject


def find_ends(subject: Subject) -> Mapping[str, str]:
    """The layers (by node) whose mean is set right behind another node than their last, with that
    node: an Add of two tensors of one shape, to which nothing that is not settled by then leads.

    Empty where the engine computes what the Q/DQ say: its rounding has no mean.
    """
    if not subject.rounds:
        return {}
    layers = list(find_layers(subject.view, subject.plan))
    latest = _latest(subject.view, layers)
    found = {}
    for i, layer in enumerate(layers):
        add = _joined(subject.view, layer)
        if add is not None and max(latest.get(t, -1) for t in subject.view.node(add).inputs) == i:
            found[layer.node] = add
    return found


def _joined(view: GraphView, layer: Layer) -> str | None:
    if layer.bias is None or layer.bias_site is None:
        return None
    output = view.node(layer.last).outputs[0]
    readers = view.consumers(output)
    if len(readers) != 1 or view.edges(output) != 1 or readers[0].op not in ADDING:
        return None
    shapes = [view.shape(t) for t in (*readers[0].inputs, readers[0].outputs[0])]
    alike = shapes[0] is not None and all(s == shapes[0] for s in shapes)
    varies = not any(view.is_constant(t) for t in readers[0].inputs)
    return readers[0].name if alike and varies else None


def _latest(view: GraphView, layers: Sequence[Layer]) -> dict[str, int]:
    """What a node computes -> the index of the last layer that leads to it, -1 for none."""
    order = {layer.node: i for i, layer in enumerate(layers)}
    found: dict[str, int] = {}
    for node in view.nodes:
        reads = (*node.inputs, *node.captured)
        last = max((found.get(t, -1) for t in reads), default=-1)
        found.update(dict.fromkeys(node.outputs, max(last, order.get(node.name, -1))))
    return found
