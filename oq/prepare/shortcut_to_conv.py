"""``Pad(x[:, :, ::s, ::t])`` with zero channels before an Add -> 1x1 Conv, strides (s, t).

The parameter-free shortcut of He et al. 2016 ("Deep Residual Learning", option A) takes every
second pixel and appends zero channels.  No target pads channels in integers: the tensor would be
dequantized, padded and quantized again.  A convolution with one-hot weights,

    w[p + c, c, 0, 0] = 1        (p zero channels at the front)

gives the same values (finite ones: 0 * inf is NaN) in one integer kernel.  Its cost grows with the
number of channels, unlike that of requantization, so wide shortcuts are not rewritten.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome, finish

MOST_CHANNELS = 128
"""Maximum number of channels of x.  Measured on x86 with VNNI: an int8 1x1 convolution takes about
C / 150 ns per value, and DequantizeLinear, Pad and QuantizeLinear together 1.2 ns."""

FAR = 2**31 - 1
"""Exporters write this or more for "to the end"."""


def shortcut_to_conv(graph: Graph) -> Outcome:
    """Rewrite each Pad of channels that only Adds read, together with the Slices before it."""
    view = graph.view()
    changed, refusals = 0, []
    for pad in view.nodes:
        readers = view.consumers(pad.outputs[0]) if pad.op == "Pad" else ()
        if not readers or any(r.op != "Add" for r in readers) or _pads(view, pad) is None:
            continue
        source, strides = _unsliced(view, pad.inputs[0])
        channels = _channels(view, source)
        if channels is None or channels > MOST_CHANNELS:
            what = "unknown" if channels is None else f"{channels}, above {MOST_CHANNELS}"
            refusals.append(f"Pad {pad.name!r} is kept: the number of its channels is {what}")
            continue
        _rewrite(graph, view, pad, source, strides)
        changed += 1
    return finish(graph, changed, refusals)


def _rewrite(
    graph: Graph, view: GraphView, pad: NodeView, source: str, strides: tuple[int, int]
) -> None:
    channels, out = _channels(view, source), pad.outputs[0]
    before, after = _pads(view, pad) or (0, 0)
    weight = np.zeros((before + (channels or 0) + after, channels or 0, 1, 1), np.float32)
    weight[before : before + len(weight[0]), :, 0, 0] = np.eye(len(weight[0]))
    graph.take_over(
        pad.name,
        "Conv",
        (source, graph.add_constant(f"{out}_shortcut", weight)),
        name=f"{pad.name}_Conv",
        attributes={"kernel_shape": [1, 1], "strides": list(strides)},
    )


def _pads(view: GraphView, pad: NodeView) -> tuple[int, int] | None:
    """Zero channels in front and behind when ``pad`` adds those to float32 images, else None."""
    info = view.tensors.get(pad.inputs[0])
    if view.rank(pad.inputs[0]) != 4 or info is None or info.dtype != "float32":
        return None
    if pad.attributes.get("mode", "constant") != "constant":
        return None
    if any(t and not view.is_constant(t) for t in pad.inputs[1:]):
        return None
    value = pad.input(2)
    if value and view.constants[value].any():
        return None
    axes = view.constants[pad.inputs[3]] if pad.input(3) else range(4)
    amounts = np.zeros((2, 4), np.int64)
    amounts[:, [int(a) % 4 for a in axes]] = view.constants[pad.inputs[1]].reshape(2, -1)
    channels = amounts[:, 1].copy()
    amounts[:, 1] = 0
    if amounts.any() or (channels < 0).any() or not channels.any():
        return None
    return int(channels[0]), int(channels[1])


def _unsliced(view: GraphView, tensor: str) -> tuple[str, tuple[int, int]]:
    """The image that Slices with steps along its spatial axes made ``tensor`` of, and the steps."""
    strides = [1, 1]
    while (node := view.producer(tensor)) is not None and view.edges(tensor) == 1:
        steps = _steps(view, node)
        if steps is None:
            break
        strides = [a * b for a, b in zip(strides, steps, strict=True)]
        tensor = node.inputs[0]
    return tensor, (strides[0], strides[1])


def _steps(view: GraphView, node: NodeView) -> tuple[int, int] | None:
    """Steps along height and width when ``node`` is a Slice of whole axes with steps, else None."""
    if node.op != "Slice" or any(t and not view.is_constant(t) for t in node.inputs[1:]):
        return None
    starts, ends = view.constants[node.inputs[1]], view.constants[node.inputs[2]]
    axes = _values(view, node, 3, np.arange(len(starts))) % 4
    steps = _values(view, node, 4, np.ones(len(starts), np.int64))
    if starts.any() or (ends < FAR).any() or (steps < 1).any() or (steps[axes < 2] != 1).any():
        return None
    by_axis = dict(zip(axes.tolist(), steps.tolist(), strict=True))
    return by_axis.get(2, 1), by_axis.get(3, 1)


def _values(view: GraphView, node: NodeView, slot: int, default: Array) -> Array:
    name = node.input(slot)
    return view.constants[name] if name else default


def _channels(view: GraphView, tensor: str) -> int | None:
    shape = view.shape(tensor)
    if shape is None or len(shape) != 4:
        return None
    return shape[1] if isinstance(shape[1], int) else None
