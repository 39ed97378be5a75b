"""``Conv -> Clip`` with uneven channels -> ``Conv -> depthwise 1x1 Conv -> Clip``.

Where weights have one scale per tensor, a channel with small weights gets few codes, or none.
Behind a ReLU such sizes can be traded with the next layer (:mod:`oq.refine.equalize`); behind a
Clip they cannot, since its bound is one for all channels.  A depthwise convolution of its own in
between takes them back:

    w'[c] = w[c] / s[c],   b' = 0;    s[c], b[c]        k = floor(log2(R / r[c])), s[c] = ODD[k]

with r[c] the largest magnitude in channel c and R that of the tensor.  ``s`` is exact on an int8
grid, so this is a scale per channel for hardware that has none; its price is 1 multiply-accumulate
per value.  The bias has its place behind the products it would have to be scaled with.
:mod:`oq.refine.rescale` chooses s from data later.

:data:`ODD` are multiples of 1/64 beside powers of two: a power of two would often leave exactly
half a step to be rounded, which the DPU always rounds up.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.ops import BOUNDED
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.numerics.weights import channel_reach
from oq.prepare.outcome import Outcome

ODD = np.asarray([63, 31, 15, 7, 3, 3, 1]) / 64
"""A scale for each k = 0 .. 6, about 2**-k."""

SMALL = 1 / 4
"""A channel that reaches no more of the tensor's largest weight has lost two of seven bits."""

SHARE = 0.25
"""Of small channels that make a layer worth a kernel of its own."""

DEAD = 1e-6
"""What a BatchNorm folded into a dead channel leaves, against the largest weight."""


def insert_rescale(graph: Graph) -> Outcome:
    """Put a depthwise convolution behind every uneven Conv in front of a Clip."""
    view = graph.view()
    changed = 0
    for conv in view.nodes:
        if conv.op == "Conv" and _fits(view, conv):
            _insert(graph, view, conv)
            changed += 1
    if changed:
        graph.cleanup()
    return Outcome(changed)


def uneven(weight: Array) -> bool:
    """Whether a share of the channels (axis 0) that live uses a small part of the one grid."""
    reach = channel_reach(weight, 0)
    live = reach > DEAD * reach.max(initial=0.0)
    return bool(live.any() and np.mean(reach[live] < SMALL * reach.max()) >= SHARE)


def _fits(view: GraphView, conv: NodeView) -> bool:
    output = conv.outputs[0]
    readers = view.consumers(output)
    if len(readers) != 1 or view.edges(output) != 1 or readers[0].op not in BOUNDED:
        return False
    if not all(view.is_constant(t) for t in conv.inputs[1:] if t):
        return False
    weight = view.constants[conv.inputs[1]]
    return weight.ndim == 4 and weight.dtype == np.float32 and uneven(weight)


def _insert(graph: Graph, view: GraphView, conv: NodeView) -> None:
    output, weight = conv.outputs[0], view.constants[conv.inputs[1]]
    reach = channel_reach(weight, 0)
    live = reach > DEAD * reach.max()
    steps = np.floor(np.log2(reach.max() / np.where(live, reach, reach.max())))
    scale = ODD[np.minimum(steps, len(ODD) - 1).astype(np.int64)]
    bias = conv.input(2)
    values = view.constants[bias] if bias else np.zeros(len(weight), np.float32)
    new = graph.split_output(output, f"{output}_scaled")
    graph.set_input(
        conv.name, 1, graph.add_constant(f"{conv.inputs[1]}_scaled", _divided(weight, scale))
    )
    graph.set_input(conv.name, 2, graph.add_constant(f"{conv.name}_bias", np.zeros_like(values)))
    rescaled = graph.add_node(
        "Conv",
        (
            new,
            graph.add_constant(f"{conv.name}_scale", scale.astype(np.float32).reshape(-1, 1, 1, 1)),
            graph.add_constant(f"{conv.name}_rescaled_bias", values),
        ),
        f"{output}_rescaled",
        name=f"{conv.name}_rescale",
        attributes={
            "group": len(weight),
            "kernel_shape": [1, 1],
            "strides": [1, 1],
            "pads": [0, 0, 0, 0],
            "dilations": [1, 1],
        },
        like=output,
        dtype="float32",
    )
    graph.give_output(output, rescaled)


def _divided(weight: Array, scale: Array) -> Array:
    return np.asarray((weight / scale.reshape(-1, 1, 1, 1)).astype(weight.dtype))
