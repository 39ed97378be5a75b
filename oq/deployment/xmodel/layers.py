"""Layers with weights: convolutions over images, and matrix products."""

from collections.abc import Sequence

import numpy as np

from oq.deployment.xmodel.graph import Attribute
from oq.deployment.xmodel.placed import NHWC, Parameter, plain
from oq.deployment.xmodel.translation import Translation, refusal
from oq.model.view import NodeView
from oq.numerics.values import Array


def window(
    node: NodeView, kernel: Sequence[int], sizes: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Kernel, stride, dilation as [w, h] and pad as [left, right, top, bottom]."""
    strides = tuple(node.attributes.get("strides", (1, 1)))
    dilations = tuple(node.attributes.get("dilations", (1, 1)))
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    auto = str(node.attributes.get("auto_pad", "NOTSET"))
    if auto == "VALID":
        top = left = bottom = right = 0
    elif auto.startswith("SAME"):
        (top, bottom), (left, right) = (
            _same(auto, *row) for row in zip(sizes, kernel, strides, dilations, strict=True)
        )
    return {
        "kernel": (int(kernel[1]), int(kernel[0])),
        "stride": (int(strides[1]), int(strides[0])),
        "dilation": (int(dilations[1]), int(dilations[0])),
        "pad": (int(left), int(right), int(top), int(bottom)),
    }


def _same(auto: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    needed = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    small, large = needed // 2, needed - needed // 2
    return (large, small) if auto == "SAME_LOWER" else (small, large)


def conv(t: Translation, node: NodeView) -> None:
    """Conv: ``conv2d``, or ``depthwise-conv2d`` where every channel has its own window."""
    x, w = t.image(node, node.inputs[0]), t.weight(node, 1)
    if w.values.ndim != 4:
        raise refusal(node, f"its weights have {w.values.ndim} axes; oq writes 2-D convolutions")
    group, channels, outputs = int(node.attributes.get("group", 1)), x.dims[3], w.values.shape[0]
    if group == channels == outputs and group > 1:
        kind, order, more = "depthwise-conv2d", (1, 2, 3, 0), dict[str, Attribute]()
    else:
        kind, order, more = "conv2d", (0, 2, 3, 1), {"group": group}
    attributes = window(node, w.values.shape[2:], x.dims[1:3])
    _finish(t, node, kind, w.arrange(lambda v: v.transpose(order)), {**attributes, **more})


def conv_transpose(t: Translation, node: NodeView) -> None:
    """ConvTranspose: weights turned by 180 degrees, since XIR slides them over a spread image."""
    x, w = t.image(node, node.inputs[0]), t.weight(node, 1)
    if w.values.ndim != 4:
        raise refusal(node, f"its weights have {w.values.ndim} axes; oq writes 2-D convolutions")
    group, (inputs, outputs) = int(node.attributes.get("group", 1)), w.values.shape[:2]
    if any(node.attributes.get("output_padding", ())):
        raise refusal(node, "it has an output padding, which XIR has no attribute for")
    if group > 1 and not (group == inputs and outputs == 1):
        raise refusal(node, f"it has {group} groups, which XIR's transposed convolutions have not")
    implicit = node.attributes.get("auto_pad", "NOTSET") != "NOTSET"
    if implicit or "output_shape" in node.attributes:
        raise refusal(node, "its padding is implicit (auto_pad or output_shape)")
    kind = "transposed-depthwise-conv2d" if group > 1 else "transposed-conv2d"

    def turn(values: Array) -> Array:
        return values.transpose(1, 2, 3, 0)[:, ::-1, ::-1, :]

    attributes = window(node, w.values.shape[2:], x.dims[1:3])
    _finish(t, node, kind, w.arrange(turn), dict(attributes))


def _finish(
    t: Translation, node: NodeView, kind: str, w: Parameter, attributes: dict[str, Attribute]
) -> None:
    x, made = t.image(node, node.inputs[0]), node.outputs[0]
    operands = {"weights": [t.hold(w)]}
    exact = x.exact and w.position is not None
    if node.input(2):
        bias = t.weight(node, 2)
        operands["bias"] = [t.hold(bias)]
        exact = exact and bias.position is not None
    shape = t.shape(node, made)
    t.put(
        made,
        t.add(
            *(node, kind, (x,), shape, NHWC, {**attributes, "pad_mode": "FLOOR"}),
            exact=exact,
            more=operands,
        ),
    )


def gemm(t: Translation, node: NodeView) -> None:
    """Gemm: ``matmul`` with weights [out, in], their columns as the data's features lie."""
    if any(float(node.attributes.get(k, 1.0)) != 1.0 for k in ("alpha", "beta")):
        raise refusal(node, "its alpha or beta is not 1")
    if node.attributes.get("transA"):
        raise refusal(node, "its data is transposed (transA)")
    w = t.weight(node, 1)
    if not node.attributes.get("transB"):
        w = w.arrange(np.transpose)
    bias = t.weight(node, 2) if node.input(2) else None
    _product(t, node, w, bias)


def matmul(t: Translation, node: NodeView) -> None:
    """MatMul: a constant matrix as Gemm's; else two operands as they are."""
    if t.parameter(node.inputs[0]) is not None:
        raise refusal(node, "its first operand is a constant")
    w = t.parameter(node.inputs[1])
    if w is not None and w.values.ndim == 2:
        _product(t, node, w.arrange(np.transpose), None)
        return
    first, second = (t.ordered(node, tensor) for tensor in node.inputs)
    if min(len(first.dims), len(second.dims)) < 2:
        raise refusal(node, "one of its operands is a vector")
    shape = t.shape(node, node.outputs[0])
    operands, flags = (first, second), {"transpose_a": False, "transpose_b": False}
    t.put(node.outputs[0], t.add(node, "matmul", operands, shape, plain(len(shape)), flags))


def _product(t: Translation, node: NodeView, w: Parameter, bias: Parameter | None) -> None:
    """Data times ``w`` [out, in]."""
    x = t.data(node, node.inputs[0])
    columns = x.columns
    if columns is None:
        x = t.ordered(node, node.inputs[0])
    else:
        w = w.arrange(lambda v: v[:, columns])
    if len(x.dims) < 2:
        raise refusal(node, "its data is a vector")
    operands, exact = dict[str, Sequence[str]](), x.exact and w.position is not None
    held = t.hold(w)
    if bias is not None:
        row = (w.values.shape[0],)
        if bias.values.size not in (1, *row):
            raise refusal(node, f"its bias has the shape {list(bias.values.shape)}")
        operands["bias"] = [t.hold(bias.arrange(lambda v: np.broadcast_to(v.reshape(-1), row)))]
        exact = exact and bias.position is not None
    shape = t.shape(node, node.outputs[0])
    arguments = {"input": (x.op, held), **operands}
    t.put(
        node.outputs[0],
        t.add(
            *(node, "matmul", (x,), shape, plain(len(shape))),
            {"transpose_a": False, "transpose_b": True},
            exact=exact,
            more=arguments,
        ),
    )
