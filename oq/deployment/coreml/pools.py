"""Pools: MaxPool, AveragePool, and those over all of height and width."""

from typing import Any

from oq.deployment.coreml.layers import PAD_TYPES, interleave, ints
from oq.deployment.coreml.net import Net, is_size, refusal
from oq.model.view import NodeView


def max_pool(net: Net, node: NodeView) -> None:
    """MaxPool; the places of the maxima are not computed."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise refusal(node, "it gives the places of its maxima")
    net.put(node.outputs[0], "max_pool", x=net.var(node.inputs[0]), **_window(net, node))


def average_pool(net: Net, node: NodeView) -> None:
    """AveragePool, with or without the padding in its averages."""
    counted = bool(node.attributes.get("count_include_pad", 0))
    found = _window(net, node)
    if counted and found.pop("stretched", False):
        raise refusal(node, "it counts its padding and rounds its size up (ceil_mode)")
    net.put(
        node.outputs[0],
        "avg_pool",
        x=net.var(node.inputs[0]),
        exclude_padding_from_average=not counted,
        **{k: v for k, v in found.items() if k != "stretched"},
    )


def _window(net: Net, node: NodeView) -> dict[str, Any]:
    given = node.attributes
    kernel = ints(given["kernel_shape"], ())
    axes = len(kernel)
    if any(d != 1 for d in ints(given.get("dilations"), [1] * axes)):
        raise refusal(node, "its window is dilated")
    strides = ints(given.get("strides"), [1] * axes)
    found: dict[str, Any] = {"kernel_sizes": kernel, "strides": strides}
    auto = given.get("auto_pad", "NOTSET")
    if auto in PAD_TYPES:
        return found | {"pad_type": PAD_TYPES[auto]}
    pads = ints(given.get("pads"), [0] * 2 * axes)
    stretched = False
    if given.get("ceil_mode", 0):
        sizes = net.shape(node.inputs[0])[2:]
        if not all(is_size(s) for s in sizes):
            raise refusal(node, "it rounds its size up (ceil_mode), and height or width is free")
        for at, (size, k, s) in enumerate(zip(sizes, kernel, strides, strict=True)):
            more = _stretch(size, k, s, pads[at], pads[axes + at])
            pads[axes + at] += more
            stretched = stretched or more > 0
    found |= {"pad_type": "custom", "pad": interleave(pads)}
    return found | {"stretched": True} if stretched and "count_include_pad" in given else found


def _stretch(size: int, kernel: int, stride: int, begin: int, end: int) -> int:
    """The padding at the end that makes a size rounded down one rounded up.

    A window that would start in the padding at the end is none, as in onnxruntime.
    """
    room = size + begin + end - kernel
    windows = -(-room // stride) + 1
    if (windows - 1) * stride >= size + begin:
        windows -= 1
    return max(0, (windows - 1) * stride + kernel - size - begin - end)


def global_average(net: Net, node: NodeView) -> None:
    """GlobalAveragePool: the mean of all positions of a channel."""
    _over_positions(net, node, "reduce_mean")


def global_max(net: Net, node: NodeView) -> None:
    """GlobalMaxPool: the largest of all positions of a channel."""
    _over_positions(net, node, "reduce_max")


def _over_positions(net: Net, node: NodeView, op: str) -> None:
    x = net.var(node.inputs[0])
    axes = list(range(2, len(net.shape(node.inputs[0]))))
    net.put(node.outputs[0], op, x=x, axes=axes, keep_dims=True)
