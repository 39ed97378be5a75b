"""The cost of a node in multiply-accumulate operations (MACs), from the shapes of its tensors.

With ``out`` the number of output values:

    Conv, QLinearConv    out * C_in / group * kh * kw      (the weight's axes but the first)
    ConvTranspose        in  * C_out / group * kh * kw     (the weight's axes but the first)
    Gemm, MatMul         out * K                           (K: the length of the summed axis)

A dynamic axis (the batch) counts as 1, so the figures are per sample; other ops count 0.
"""

import math
from collections.abc import Callable, Mapping

from oq.model.view import GraphView, NodeView

Sizes = tuple[int, ...]


def macs(view: GraphView, node: NodeView) -> int | None:
    """MACs of ``node`` for one sample; 0 for other ops; None if a shape is unknown."""
    row = _ROWS.get(node.op)
    return 0 if row is None else row(view, node)


def _convolution(weight: int, counted: str) -> Callable[[GraphView, NodeView], int | None]:
    def count(view: GraphView, node: NodeView) -> int | None:
        kernel = _sizes(view, node.inputs[weight])
        tensor = node.outputs[0] if counted == "output" else node.inputs[0]
        values = _sizes(view, tensor)
        return None if kernel is None or values is None else math.prod((*values, *kernel[1:]))

    return count


def _product(view: GraphView, node: NodeView) -> int | None:
    out, first = _sizes(view, node.outputs[0]), _sizes(view, node.inputs[0])
    if out is None:
        return None
    if first:
        return math.prod(out) * first[0 if node.attributes.get("transA") else -1]
    second = _sizes(view, node.inputs[1])
    if not second:
        return None
    return math.prod(out) * second[-1 if node.attributes.get("transB") else -min(2, len(second))]


_ROWS: Mapping[str, Callable[[GraphView, NodeView], int | None]] = {
    "Conv": _convolution(1, "output"),
    "ConvInteger": _convolution(1, "output"),
    "ConvTranspose": _convolution(1, "input"),
    "Gemm": _product,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QGemm": _product,
    "QLinearConv": _convolution(3, "output"),
    "QLinearMatMul": _product,
}


def _sizes(view: GraphView, tensor: str) -> Sizes | None:
    """The lengths of the axes of ``tensor``, free ones as 1; None when its rank is not known."""
    shape = view.shape(tensor)
    if shape is not None:
        return tuple(s if isinstance(s, int) else 1 for s in shape)
    return view.constants[tensor].shape if view.is_constant(tensor) else None
