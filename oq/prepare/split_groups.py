"""``Conv(x, w, group = g)`` -> g plain Convs of slices of x, and a Concat.

    y = Concat(Conv(x[:, 0:c], w[0:m]), Conv(x[:, c:2c], w[m:2m]), ...)

with c input and m output channels per group.  AMD's DPU supports one group or depthwise and leaves
other convolutions to the CPU (UG1414: split it into g convolutions and a Concat).  An activation
that is the only reader of y moves into every branch, so that each branch is one kernel.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.ops import PIECEWISE
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome, finish

CHANNELS = 1
"""The channel axis of x and y."""


def split_groups(graph: Graph) -> Outcome:
    """Split every grouped, not depthwise, 2-D Conv with constant weights."""
    view = graph.view()
    changed, refusals = 0, []
    for conv in view.nodes:
        group = int(conv.attributes.get("group", 1)) if conv.op == "Conv" else 1
        if group == 1:
            continue
        loose = next((t for t in conv.inputs[1:] if t and not view.is_constant(t)), None)
        if loose is not None:
            refusals.append(f"Conv {conv.name!r} keeps its groups: {loose!r} is not a constant")
            continue
        shape = view.constants[conv.inputs[1]].shape
        if len(shape) == 4 and not group * shape[1] == shape[0] == group:
            _split(graph, view, conv, group)
            changed += 1
    return finish(graph, changed, refusals)


def _split(graph: Graph, view: GraphView, conv: NodeView, group: int) -> None:
    out = conv.outputs[0]
    readers = view.consumers(out)
    last = readers[0] if view.edges(out) == 1 and readers and readers[0].op in PIECEWISE else None
    end = conv if last is None else last
    axes = graph.add_constant(f"{conv.name}.axes", np.asarray([CHANNELS], np.int64))
    parts = [_branch(graph, view, conv, last, i, group, axes) for i in range(group)]
    axis = {"axis": CHANNELS}
    graph.take_over(end.name, "Concat", parts, name=f"{conv.name}_Concat", attributes=axis)


def _branch(
    graph: Graph,
    view: GraphView,
    conv: NodeView,
    last: NodeView | None,
    index: int,
    group: int,
    axes: str,
) -> str:
    """The output of one group."""
    weight = view.constants[conv.inputs[1]]
    wide, high = weight.shape[1], len(weight) // group
    name, own = f"{conv.name}_{index}", slice(index * high, (index + 1) * high)
    ends = [
        graph.add_constant(f"{name}.{what}", np.asarray([at * wide], np.int64))
        for what, at in (("start", index), ("end", index + 1))
    ]
    sliced = _add(graph, "Slice", (conv.inputs[0], *ends, axes), f"{name}_Slice", {}, conv)
    inputs = [sliced, graph.add_constant(f"{name}.weight", weight[own])]
    if conv.input(2):
        inputs.append(graph.add_constant(f"{name}.bias", view.constants[conv.input(2)][own]))
    made = _add(graph, "Conv", inputs, name, {**conv.attributes, "group": 1}, conv)
    if last is None:
        return made
    rest = (made, *last.inputs[1:])
    return _add(graph, last.op, rest, f"{last.name}_{index}", last.attributes, conv)


def _add(
    graph: Graph,
    op: str,
    inputs: list[str] | tuple[str, ...],
    name: str,
    attributes: object,
    conv: NodeView,
) -> str:
    return graph.add_node(
        op,
        inputs,
        f"{name}_out",
        name=name,
        attributes=dict(attributes),  # type: ignore[call-overload]
        dtype="float32",
        before=conv.name,
    )
