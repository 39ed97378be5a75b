"""Operators that change or compute shapes: Reshape, Transpose, Expand, Shape and their like."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from oq.deployment.coreml.library import MOST_AXES
from oq.deployment.coreml.net import Net, axes_of, is_size, narrowed, refusal
from oq.model.view import NodeView


def reshape(net: Net, node: NodeView) -> None:
    """Reshape; 0 keeps an axis, -1 takes what is left."""
    wanted = net.known(node.inputs[1])
    x, output = net.var(node.inputs[0]), node.outputs[0]
    x = net.merged.get(getattr(x, "name", ""), x)
    if wanted is None:
        net.put(output, "reshape", x=x, shape=net.var(node.inputs[1]))
        return
    shape = net.shape(node.inputs[0])
    sizes: list[Any] = [int(v) for v in wanted.reshape(-1)]
    if not node.attributes.get("allowzero", 0):
        sizes = [shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    net.put(output, "reshape", x=x, shape=_settled(net, node, shape, sizes))


def _settled(net: Net, node: NodeView, shape: Sequence[Any], sizes: list[Any]) -> Any:
    """``sizes`` with at most one -1 and no symbol; from the input's shape where that takes more."""
    free = [at for at, size in enumerate(sizes) if not is_size(size)]
    if not free:
        return sizes
    if -1 in sizes and len(free) == 1:
        inside = [s for s in shape if not is_size(s)]
        if inside == [sizes[free[0]]]:  # one free axis, which is kept: the rest is known
            known = prod(s for s in shape if is_size(s))
            others = prod(s for s in sizes if is_size(s) and s != -1)
            sizes = [known // others if size == -1 else size for size in sizes]
    if -1 not in sizes and len(free) == 1:
        return [size if is_size(size) else -1 for size in sizes]
    output = node.outputs[0]
    whole = net.step(output, "shape", x=net.var(node.inputs[0]))
    parts = [
        np.array([size], np.int32)
        if is_size(size)
        else net.step(
            output, "slice_by_index", x=whole, begin=[at], end=[at + 1]
        )  # a kept axis has its own place
        for at, size in enumerate(sizes)
    ]
    return net.step(output, "concat", values=parts, axis=0)


def flatten(net: Net, node: NodeView) -> None:
    """Flatten: the axes before and after ``axis`` as one each."""
    shape = net.shape(node.inputs[0])
    at = int(node.attributes.get("axis", 1))
    at = at + len(shape) if at < 0 else at
    sides = [shape[:at], shape[at:]]
    sizes = [prod(s) if all(is_size(a) for a in s) else -1 for s in sides]
    if sizes.count(-1) > 1:
        raise refusal(node, "free axes on both sides")
    net.put(node.outputs[0], "reshape", x=net.var(node.inputs[0]), shape=sizes)


def transpose(net: Net, node: NodeView) -> None:
    """Transpose."""
    rank = len(net.shape(node.inputs[0]))
    order = [int(a) for a in node.attributes.get("perm", range(rank)[::-1])]
    net.put(node.outputs[0], "transpose", x=net.var(node.inputs[0]), perm=order)
    if rank > MOST_AXES:
        _merge(net, node, order)


def _merge(net: Net, node: NodeView, order: Sequence[int]) -> None:
    """Behind a reshape to more axes than programs have: the transpose with axes that stay side by
    side as one, for the reshape that follows; coremltools does so where all sizes are fixed."""
    wide, output = net.var(node.inputs[0]), node.outputs[0]
    if getattr(getattr(wide, "op", None), "op_type", "") != "reshape":
        return
    groups: list[list[int]] = []
    for axis in order:
        if groups and axis == groups[-1][-1] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    lying = sorted(groups)
    sizes = [prod(d) if all(map(is_size, d := [wide.shape[a] for a in g])) else -1 for g in lying]
    if len(groups) > MOST_AXES or sizes.count(-1) > 1:
        return
    parted = net.step(output, "reshape", x=wide.op.x, shape=[int(s) for s in sizes])
    perm = [lying.index(group) for group in groups]
    net.merged[net.names[output]] = net.step(output, "transpose", x=parted, perm=perm)


def squeeze(net: Net, node: NodeView) -> None:
    """Squeeze: axes of size 1 removed."""
    axes = axes_of(net, node)
    given = {} if axes is None else {"axes": axes}
    net.put(node.outputs[0], "squeeze", x=net.var(node.inputs[0]), **given)


def unsqueeze(net: Net, node: NodeView) -> None:
    """Unsqueeze: axes of size 1 inserted."""
    axes = axes_of(net, node) or []
    rank = len(net.shape(node.inputs[0])) + len(axes)
    places = sorted(a % rank for a in axes)
    net.put(node.outputs[0], "expand_dims", x=net.var(node.inputs[0]), axes=places)


def concat(net: Net, node: NodeView) -> None:
    """Concat along one axis."""
    values = [net.var(t) for t in node.inputs]
    axis = int(node.attributes["axis"])
    net.put(node.outputs[0], "concat", values=values, axis=axis)


def shape(net: Net, node: NodeView) -> None:
    """Shape, or a part of it."""
    output, x = node.outputs[0], net.var(node.inputs[0])
    rank = len(net.shape(node.inputs[0]))
    start, end = (int(node.attributes.get(k, v)) for k, v in (("start", 0), ("end", rank)))
    if (start, end) == (0, rank):
        net.put(output, "shape", x=x)
        return
    begin, stop, _ = slice(start, end).indices(rank)
    whole = net.step(output, "shape", x=x)
    net.put(output, "slice_by_index", x=whole, begin=[begin], end=[stop])


def size(net: Net, node: NodeView) -> None:
    """Size: the product of a shape."""
    whole = net.step(node.outputs[0], "shape", x=net.var(node.inputs[0]))
    net.put(node.outputs[0], "reduce_prod", x=whole, axes=[0], keep_dims=False)


def constant_of_shape(net: Net, node: NodeView) -> None:
    """ConstantOfShape: one value everywhere."""
    given = node.attributes.get("value")
    value = (
        np.zeros(1, np.float32) if given is None else np.asarray(getattr(given, "values", given))
    )
    number = net.fitting(narrowed(value)).reshape(-1)[0]
    wanted = net.known(node.inputs[0])
    if wanted is not None:
        net.values[node.outputs[0]] = np.full([int(v) for v in wanted], number)
        return
    net.put(node.outputs[0], "fill", shape=net.var(node.inputs[0]), value=number)


def count(net: Net, node: NodeView) -> None:
    """Range: the numbers from the first to the second in steps of the third."""
    start, end, step = (net.var(t) for t in node.inputs)
    net.put(node.outputs[0], "range_1d", start=start, end=end, step=step)


def expand(net: Net, node: NodeView) -> None:
    """Expand: copies along axes of size 1, as NumPy broadcasts."""
    output, x = node.outputs[0], net.var(node.inputs[0])
    wanted, given = net.known(node.inputs[1]), net.shape(node.inputs[0])
    if wanted is None:
        if not net.is_float(node.inputs[0]):
            raise refusal(node, "integers in a shape that depends on the inputs")
        ones = net.step(output, "fill", shape=net.var(node.inputs[1]), value=np.float32(1))
        net.put(output, "mul", x=x, y=ones)
        return
    sizes = [int(v) for v in wanted.reshape(-1)]
    more = len(sizes) - len(given)
    if more > 0:
        x = net.step(output, "expand_dims", x=x, axes=list(range(more)))
    ends = [1] * max(more, 0) + list(given)
    sizes = [1] * max(-more, 0) + sizes
    copies = [s if is_size(e) and e == 1 else 1 for s, e in zip(sizes, ends, strict=True)]
    _copied(net, output, x, copies)


def tile(net: Net, node: NodeView) -> None:
    """Tile: the tensor again and again along its axes."""
    repeats = net.required(node, 1, "how often it repeats")
    _copied(net, node.outputs[0], net.var(node.inputs[0]), [int(r) for r in repeats])


def _copied(net: Net, output: str, x: Any, copies: Sequence[int]) -> None:
    if all(c == 1 for c in copies):
        net.put(output, "identity", x=x)
    else:
        net.put(output, "tile", x=x, reps=list(copies))


def depth_to_space(net: Net, node: NodeView) -> None:
    """DepthToSpace; in mode CRD it is MIL's ``pixel_shuffle``."""
    block, x = int(node.attributes["blocksize"]), net.var(node.inputs[0])
    if node.attributes.get("mode", "DCR") == "CRD":
        net.put(node.outputs[0], "pixel_shuffle", x=x, upscale_factor=block)
    else:
        net.put(node.outputs[0], "depth_to_space", x=x, block_size=block)


def space_to_depth(net: Net, node: NodeView) -> None:
    """SpaceToDepth."""
    block = int(node.attributes["blocksize"])
    net.put(node.outputs[0], "space_to_depth", x=net.var(node.inputs[0]), block_size=block)


def identity(net: Net, node: NodeView) -> None:
    """Identity, Dropout: the tensor itself, by its name where it is an output."""
    if any(node.outputs[1:]):
        raise refusal(node, "it gives its mask")
    source, output = node.inputs[0], node.outputs[0]
    if output in net.view.outputs or net.known(source) is None:
        net.put(output, "identity", x=net.var(source))
    else:
        net.values[output] = net.known(source)
