"""``Conv -> Clip`` with uneven channels -> ``Conv -> depthwise 1x1 Conv -> Clip``.

With per-tensor weights, a channel with small weights gets few quantization levels, or none.  Before
a ReLU, channels can be rescaled with the next layer (:mod:`oq.refine.equalize`); before a Clip they
cannot, since its bound is the same for all channels.  An inserted depthwise convolution reverses
the scaling instead:

    w'[c] = w[c] / s[c],   b' = 0;    s[c], b[c]        k = floor(log2(R / r[c])), s[c] = ODD[k]

with r[c] the largest magnitude in channel c and R that of the tensor.  ``s`` is exactly
representable in int8, so this provides per-channel scales on hardware that has none, at the cost of
1 multiply-accumulate per value.  The bias is moved to the inserted convolution.
:mod:`oq.refine.rescale` later chooses s from data.

:data:`ODD` are multiples of 1/64 close to powers of two: exact powers of two would often leave
exactly half a step to be rounded, which the DPU always rounds up.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.ops import BOUNDED
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.numerics.weights import channel_reach
from oq.prepare.outcome import Outcome, finish

ODD = np.asarray([63, 31, 15, 7, 3, 3, 1]) / 64
"""A scale for each k = 0 .. 6, about 2**-k."""

SMALL = 1 / 4
"""A channel whose largest weight is below this fraction of the tensor's has lost two of seven
bits."""

SHARE = 0.25
"""Minimum fraction of small channels for which a layer gets an additional kernel."""

DEAD = 1e-6
"""Fraction of the largest weight below which a channel counts as dead (BatchNorm folding leaves
such channels)."""


def insert_rescale(graph: Graph) -> Outcome:
    """Insert a depthwise convolution after every uneven Conv that precedes a Clip."""
    view = graph.view()
    changed = 0
    for conv in view.nodes:
        if conv.op == "Conv" and _fits(view, conv):
            _insert(graph, view, conv)
            changed += 1
    return finish(graph, changed)


def uneven(weight: Array) -> bool:
    """Whether enough of the live channels (axis 0) use only a small part of the common range."""
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
