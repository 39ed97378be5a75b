"""1-D convolutions -> 2-D ones over images of height 1.

    Conv(x, w) -> Squeeze(Conv(Unsqueeze(x), w'))        w' (out, in / group, 1, k)

AMD's DPU convolves images only, and its compilers take a sequence as one of height 1; Unsqueeze and
Squeeze move codes.  An activation that alone reads the result stays directly behind the
convolution, so that the two are one kernel, and so do convolutions in a row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from oq.model.graph import Graph
from oq.model.ops import CONVOLUTIONS, PIECEWISE
from oq.model.view import GraphView, NodeView
from oq.numerics.values import TensorInfo
from oq.prepare.outcome import Outcome, finish

HEIGHT = 2
"""The axis of length 1 in (samples, channels, height, width)."""

BESIDE: Mapping[str, int] = {"dilations": 1, "kernel_shape": 1, "output_padding": 0, "strides": 1}
"""Attributes with one value per spatial axis -> that of the height."""


def line_to_image(graph: Graph) -> Outcome:
    """Rewrite every 1-D convolution with constant weights."""
    view, changed = graph.view(), 0
    images: dict[str, str] = {}
    for node in view.nodes:
        if node.op in CONVOLUTIONS and _fits(view, node):
            _rewrite(graph, view, node, images)
            changed += 1
    return finish(graph, changed)


def _fits(view: GraphView, node: NodeView) -> bool:
    weight = node.inputs[1]
    if not view.is_constant(weight) or "output_shape" in node.attributes:
        return False
    values = view.constants[weight]
    return values.ndim == 3 and values.dtype == np.float32


def _rewrite(graph: Graph, view: GraphView, node: NodeView, images: dict[str, str]) -> None:
    axes = graph.add_constant(f"{node.name}.axes", np.asarray([HEIGHT], np.int64))
    data = node.inputs[0]
    if data not in images:
        images[data] = graph.add_node(
            *("Unsqueeze", (data, axes), f"{data}_image"),
            name=f"{node.name}_Unsqueeze",
            dtype="float32",
            before=node.name,
        )
        _set_shape(graph, view, images[data], data)
    weight = view.constants[node.inputs[1]]
    wide = graph.add_constant(f"{node.inputs[1]}_image", np.expand_dims(weight, HEIGHT))
    graph.set_input(node.name, 0, images[data])
    graph.set_input(node.name, 1, wide)
    for name, value in _attributes(node).items():
        graph.set_attribute(node.name, name, value)
    out, end = node.outputs[0], node
    readers = view.consumers(out)
    alone = view.edges(out) == 1 and readers and readers[0].inputs[0] == out
    if alone and readers[0].op in PIECEWISE:
        _set_shape(graph, view, out, out)
        out, end = readers[0].outputs[0], readers[0]
    image = graph.split_output(out, f"{out}_image")
    _set_shape(graph, view, image, out)
    images[out] = image
    line = graph.add_node(
        *("Squeeze", (image, axes), f"{out}_line"),
        name=f"{end.name}_Squeeze",
        like=out,
        dtype="float32",
    )
    graph.give_output(out, line)


def _set_shape(graph: Graph, view: GraphView, image: str, line: str) -> None:
    """The shape of ``image``: that of ``line`` with a height of 1."""
    shape = view.shape(line)
    if shape is not None:
        shape = (*shape[:HEIGHT], 1, *shape[HEIGHT:])
    graph.set_types({image: TensorInfo(image, "float32", shape)})


def _attributes(node: NodeView) -> dict[str, Any]:
    """The attributes of ``node`` with a value per spatial axis, for two of them."""
    given = node.attributes
    made = {name: [value, *given[name]] for name, value in BESIDE.items() if name in given}
    if "pads" in given:
        first, last = given["pads"]
        made["pads"] = [0, first, 0, last]
    return made
