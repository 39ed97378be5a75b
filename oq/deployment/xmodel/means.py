"""Pools and reductions, and the multipliers behind means."""

import math

from oq.deployment.xmodel.graph import Attribute
from oq.deployment.xmodel.layers import window
from oq.deployment.xmodel.placed import NHWC, Layout, Placed
from oq.deployment.xmodel.translation import Translation, refusal
from oq.dpu.mean_factors import LARGEST_SIDE, mean_gain
from oq.model.operands import is_padded
from oq.model.view import NodeView


def max_pool(t: Translation, node: NodeView) -> None:
    """MaxPool."""
    x, kernel = t.image(node, node.inputs[0]), node.attributes["kernel_shape"]
    if any(t.view.edges(tensor) for tensor in node.outputs[1:] if tensor):
        raise refusal(node, "its indices are used, which XIR's maxpool2d does not give")
    if len(kernel) != 2 or any(d != 1 for d in node.attributes.get("dilations", ())):
        raise refusal(node, "its windows are dilated, or not of two axes")
    attributes: dict[str, Attribute] = dict(window(node, kernel, x.dims[1:3]))
    del attributes["dilation"]
    attributes["global"] = False
    attributes["pad_mode"] = "CEIL" if node.attributes.get("ceil_mode") else "FLOOR"
    shape = t.shape(node, node.outputs[0])
    t.put(node.outputs[0], t.add(node, "maxpool2d", (x,), shape, NHWC, attributes))


def average_pool(t: Translation, node: NodeView) -> None:
    """AveragePool over whole windows."""
    x, kernel = t.image(node, node.inputs[0]), node.attributes["kernel_shape"]
    if node.attributes.get("ceil_mode"):
        raise refusal(node, "its windows may extend beyond the image (ceil_mode)")
    if len(kernel) != 2 or any(d != 1 for d in node.attributes.get("dilations", ())):
        raise refusal(node, "its windows are dilated, or not of two axes")
    attributes: dict[str, Attribute] = dict(window(node, kernel, x.dims[1:3]))
    del attributes["dilation"]
    counted = bool(node.attributes.get("count_include_pad")) or not is_padded(node.attributes)
    _average(
        t, node, x, math.prod(kernel), {**attributes, "count_include_pad": counted, "global": False}
    )


def global_average_pool(t: Translation, node: NodeView) -> None:
    """GlobalAveragePool: the window is the image."""
    x = t.image(node, node.inputs[0])
    whole: dict[str, Attribute] = {
        "kernel": (x.dims[2], x.dims[1]),
        "stride": (1, 1),
        "pad": (0, 0, 0, 0),
        "count_include_pad": True,
        "global": True,
    }
    _average(t, node, x, x.dims[1] * x.dims[2], whole)


def _average(
    t: Translation, node: NodeView, x: Placed, count: int, attributes: dict[str, Attribute]
) -> None:
    """The pool, and its multiplier; where zeros around the image do not count it is the CPU's."""
    kernel = attributes["kernel"]
    if isinstance(kernel, tuple) and max(map(int, kernel)) > LARGEST_SIDE:
        raise refusal(node, f"its window is longer than {LARGEST_SIDE}")
    exact = x.exact and bool(attributes["count_include_pad"])
    more = {**attributes, "pad_mode": "FLOOR", "count_include_invalid": True}
    shape = t.shape(node, node.outputs[0])
    pool = t.add(node, "avgpool2d", (x,), shape, NHWC, more, exact=exact)
    _put_mean(t, node, pool, count, always=True)


def _put_mean(t: Translation, node: NodeView, mean: Placed, count: int, always: bool) -> None:
    """``mean`` with the hardware's multiplier behind it, as AMD's quantizers write it."""
    gain = mean_gain(count)
    if not mean.exact or not (always or count & (count - 1)):
        t.put(node.outputs[0], mean)
        return
    found = t.scaled(node, mean, gain)
    t.put(node.outputs[0], Placed(found.op, found.dims, found.layout, exact=True, gain=gain))


def _reduction(
    t: Translation,
    node: NodeView,
    kind: str,
    exact: bool | None,
    given_data: Placed | None = None,
    wish: str = "",
) -> tuple[Placed, int]:
    """A reduction over constant axes, of what ``node`` reads or of ``given_data``, and how many
    values it takes together."""
    x = given_data or t.data(node, node.inputs[0])
    rank = len(x.shape)
    given = node.attributes.get("axes", t.constant(node, 1, "axes"))
    axes = sorted({int(a) % rank for a in (range(rank) if given is None else given)})
    keep = bool(node.attributes.get("keepdims", 1))
    layout, left = x.layout, [a for a in range(rank) if a not in axes]
    if not keep:
        if not left:
            raise refusal(node, "it leaves no axis")
        layout = tuple(left.index(a) for a in x.layout if a in left)
    shape = t.shape(node, node.outputs[0])
    where: Layout = tuple(i for i, a in enumerate(x.layout) if a in axes)
    reduced: dict[str, Attribute] = {"axis": where, "keep_dims": keep}
    made = t.add(node, kind, (x,), shape, layout, reduced, exact=exact, wish=wish)
    return made, math.prod(x.shape[a] for a in axes)


def reduce_mean(t: Translation, node: NodeView) -> None:
    """ReduceMean; its multiplier is 1 for a power of two, and not written."""
    mean, count = _reduction(t, node, "reduction_mean", None)
    _put_mean(t, node, mean, count, always=False)


def reduce_max(t: Translation, node: NodeView) -> None:
    """ReduceMax."""
    t.put(node.outputs[0], _reduction(t, node, "reduction_max", None)[0])


def reduce_sum(t: Translation, node: NodeView) -> None:
    """ReduceSum, on the CPU."""
    t.put(node.outputs[0], _reduction(t, node, "reduction_sum", False)[0])


def reduce_product(t: Translation, node: NodeView) -> None:
    """ReduceProd, on the CPU."""
    t.put(node.outputs[0], _reduction(t, node, "reduction_product", False)[0])


def reduce_min(t: Translation, node: NodeView) -> None:
    """ReduceMin, as the negative of the largest negative, on the CPU."""
    x, name = t.data(node, node.inputs[0]), node.name
    less = t.add(*(node, "neg", (x,), x.shape, x.layout), wish=f"{name}_neg", exact=False)
    most, _ = _reduction(t, node, "reduction_max", False, less, f"{name}_max")
    t.put(node.outputs[0], t.add(node, "neg", (most,), most.shape, most.layout, exact=False))
