"""Adds a bias to a layer without one: as its bias input, or as an Add after it."""

from oq.model.graph import Graph
from oq.model.ops import bias_slot
from oq.numerics.values import Array
from oq.planning.layers import Layer


def add_bias(graph: Graph, layer: Layer, values: Array) -> tuple[str, str | None]:
    """Give ``layer`` the float32 bias ``values`` (channels,); returns the names of the constant and
    of the Add if the op has no bias input.  The output of the layer keeps its name."""
    bias = graph.add_constant(f"{layer.node}_bias", values)
    node = graph.node(layer.node)
    slot = bias_slot(layer.op)
    if slot is not None:
        graph.set_input(layer.node, slot, bias)
        return bias, None
    output = node.outputs[0]
    product = graph.split_output(output, f"{output}_product")
    made = graph.add_node(
        "Add",
        (product, bias),
        f"{output}_biased",
        name=f"{layer.node}_Add",
        like=output,
        dtype="float32",
    )
    graph.give_output(output, made)
    return bias, graph.maker(output)
