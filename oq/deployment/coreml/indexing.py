"""Operators that take parts: Slice, Split, Gather, Pad and their like."""

from typing import Any

import numpy as np

from oq.deployment.coreml.net import Net, axes_of, is_size, refusal
from oq.model.view import NodeView


def cut(net: Net, node: NodeView) -> None:
    """Slice, with constant axes and steps."""
    rank = len(net.shape(node.inputs[0]))
    front, back = (net.known(node.inputs[slot]) for slot in (1, 2))
    axes = axes_of(net, node, 3) or list(range(_count(net, node)))
    steps = axes_of(net, node, 4, "steps") or [1] * len(axes)
    if front is None or back is None:
        _cut_computed(net, node, [a % rank for a in axes], steps)
        return
    starts, ends = ([int(v) for v in values.reshape(-1)] for values in (front, back))
    begin, end, stride = [0] * rank, [0] * rank, [1] * rank
    from_first, to_last = [True] * rank, [True] * rank
    sizes = net.shape(node.inputs[0])
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis % rank
        size = sizes[at]
        stride[at] = step
        if is_size(size):
            first, last, _ = slice(start, stop, step).indices(int(size))
            begin[at], end[at] = first, max(last, 0)
            from_first[at], to_last[at] = False, last < 0
        elif step < 0:
            raise refusal(node, "a free axis is reversed")
        else:
            begin[at], from_first[at] = start, start == 0
            end[at], to_last[at] = stop, stop >= np.iinfo(np.int32).max
    net.put(
        node.outputs[0],
        "slice_by_index",
        x=net.var(node.inputs[0]),
        begin=begin,
        end=end,
        stride=stride,
        begin_mask=from_first,
        end_mask=to_last,
    )


def _count(net: Net, node: NodeView) -> int:
    """How many axes a Slice cuts."""
    sizes = [net.shape(node.inputs[slot]) for slot in (1, 2)]
    found = next((s[0] for s in sizes if is_size(s[0])), None)
    if found is None:
        raise refusal(node, "it cuts a number of axes that depends on the inputs")
    return int(found)


def _cut_computed(net: Net, node: NodeView, axes: list[int], steps: list[int]) -> None:
    """A Slice whose places are computed: counted from the front and inside the axis, as ONNX clamps
    them."""
    if min(steps) < 0:
        raise refusal(node, "it goes backwards from places that are computed")
    output, x = node.outputs[0], net.var(node.inputs[0])
    rank = len(net.shape(node.inputs[0]))
    sizes = net.step(output, "gather", x=net.step(output, "shape", x=x),
                     indices=np.array(axes, np.int32), axis=0, validate_indices=False)  # fmt: skip
    zero = np.int32(0)
    limits = []
    for slot in (1, 2):
        at = net.var(node.inputs[slot])
        known = isinstance(at, np.ndarray)
        at = np.reshape(at, -1) if known else net.step(output, "reshape", x=at, shape=[-1])
        behind = net.step(output, "less", x=at, y=zero)
        moved = net.step(output, "add", x=_bounded(net, output, at), y=sizes)
        at = net.step(output, "select", cond=behind, a=moved, b=at)
        at = net.step(output, "minimum", x=net.step(output, "maximum", x=at, y=zero), y=sizes)
        limits.append(_by_axis(net, output, at, axes, rank))
    others = [axis not in axes for axis in range(rank)]
    stride = [steps[axes.index(axis)] if axis in axes else 1 for axis in range(rank)]
    net.put(output, "slice_by_index", x=x, begin=limits[0], end=limits[1], stride=stride,
            begin_mask=others, end_mask=others)  # fmt: skip


def _bounded(net: Net, output: str, at: Any) -> Any:
    """Places to which a size can be added without overflow: what is not below 0 is not used."""
    return net.step(output, "minimum", x=at, y=np.int32(0))


def _by_axis(net: Net, output: str, at: Any, axes: list[int], rank: int) -> Any:
    """The numbers ``at`` of ``axes`` at the places of all axes, 0 elsewhere."""
    if axes == list(range(rank)):
        return at
    parts = [
        net.step(output, "slice_by_index", x=at, begin=[axes.index(axis)],
                 end=[axes.index(axis) + 1])
        if axis in axes
        else np.zeros(1, np.int32)
        for axis in range(rank)
    ]  # fmt: skip
    return net.step(output, "concat", values=parts, axis=0)


def split(net: Net, node: NodeView) -> None:
    """Split into parts of constant sizes."""
    axis, pieces = int(node.attributes.get("axis", 0)), len(node.outputs)
    size = net.shape(node.inputs[0])[axis]
    if "split" in node.attributes or node.input(1):
        sizes = axes_of(net, node, 1, "split")
    elif is_size(size):
        part = -(-int(size) // pieces)
        sizes = [part] * (pieces - 1) + [int(size) - part * (pieces - 1)]
    else:
        raise refusal(node, "a free axis is split")
    net.put_all(node.outputs, "split", x=net.var(node.inputs[0]), split_sizes=sizes, axis=axis)


def gather(net: Net, node: NodeView) -> None:
    """Gather along one axis; constant places counted from the end become those from the start."""
    _gather(net, node, "gather")


def gather_elements(net: Net, node: NodeView) -> None:
    """GatherElements along one axis."""
    _gather(net, node, "gather_along_axis")


def _gather(net: Net, node: NodeView, op: str) -> None:
    axis = int(node.attributes.get("axis", 0))
    net.put(
        node.outputs[0],
        op,
        x=net.var(node.inputs[0]),
        indices=_places(net, node, axis),
        axis=axis,
        validate_indices=False,
    )


def _places(net: Net, node: NodeView, axis: int) -> Any:
    """The indices; below 0 they are moved by the size of the axis."""
    known, size = net.known(node.inputs[1]), net.shape(node.inputs[0])[axis]
    if known is None:
        return net.var(node.inputs[1])
    if (known < 0).any():
        if not is_size(size):
            raise refusal(node, "places counted from the end of a free axis")
        known = np.where(known < 0, known + size, known)
    return known.astype(np.int32)


def gather_nd(net: Net, node: NodeView) -> None:
    """GatherND."""
    net.put(
        node.outputs[0],
        "gather_nd",
        x=net.var(node.inputs[0]),
        indices=net.var(node.inputs[1]),
        batch_dims=int(node.attributes.get("batch_dims", 0)),
        validate_indices=False,
    )


def scatter_nd(net: Net, node: NodeView) -> None:
    """ScatterND, where written places replace what was there."""
    if node.attributes.get("reduction", "none") != "none":
        raise refusal(node, f"reduction {node.attributes['reduction']!r}")
    data, places, updates = (net.var(t) for t in node.inputs)
    net.put(
        node.outputs[0],
        "scatter_nd",
        data=data,
        indices=places,
        updates=updates,
        mode="update",
        validate_indices=False,
    )


REDUCTIONS = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}
"""ONNX's reductions -> MIL's modes."""


def scatter_elements(net: Net, node: NodeView) -> None:
    """ScatterElements along one axis."""
    sizes, given = net.shape(node.inputs[0]), net.shape(node.inputs[1])
    axis = int(node.attributes.get("axis", 0)) % len(sizes)
    if any(a != b for at, (a, b) in enumerate(zip(sizes, given, strict=True)) if at != axis):
        raise refusal(node, "it writes to a part of the axes that it does not scatter along")
    net.put(
        node.outputs[0],
        "scatter_along_axis",
        data=net.var(node.inputs[0]),
        indices=_places(net, node, axis),
        updates=net.var(node.inputs[2]),
        axis=axis,
        mode=REDUCTIONS[str(node.attributes.get("reduction", "none"))],
        validate_indices=False,
    )


def non_zero(net: Net, node: NodeView) -> None:
    """NonZero: the places of what is not 0, a row per axis."""
    where = net.step(node.outputs[0], "non_zero", x=net.var(node.inputs[0]))
    net.put(node.outputs[0], "transpose", x=where, perm=[1, 0])


PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
"""ONNX's modes of Pad -> MIL's."""


def pad(net: Net, node: NodeView) -> None:
    """Pad, by constant sizes that are 0 or more."""
    rank = len(net.shape(node.inputs[0]))
    mode = PADDING.get(str(node.attributes.get("mode", "constant")))
    if mode is None:
        raise refusal(node, f"mode {node.attributes['mode']!r}")
    given = [int(v) for v in net.required(node, 1, "its padding").reshape(-1)]
    axes = [a % rank for a in axes_of(net, node, 3) or range(rank)]
    sides = [[0, 0] for _ in range(rank)]
    for at, axis in enumerate(axes):
        sides[axis] = [given[at], given[at + len(axes)]]
    if min(given) < 0:
        raise refusal(node, "a padding below 0")
    if mode != "constant" and any(any(side) for side in sides[:-2]):
        raise refusal(node, f"mode {node.attributes['mode']!r} on others than the last two axes")
    value = net.known(node.input(2)) if node.input(2) else None
    number = np.float32(0 if value is None else value.reshape(-1)[0])
    used = sides if mode == "constant" else sides[-2:]
    net.put(
        node.outputs[0],
        "pad",
        x=net.var(node.inputs[0]),
        pad=[edge for side in used for edge in side],
        mode=mode,
        **({"constant_val": number} if mode == "constant" else {}),
    )


def one_hot(net: Net, node: NodeView) -> None:
    """OneHot, with a constant depth and constant values."""
    depth = net.required(node, 1, "its depth").reshape(-1)
    off, on = net.required(node, 2, "its values").reshape(-1)
    net.put(
        node.outputs[0],
        "one_hot",
        indices=net.var(node.inputs[0]),
        one_hot_vector_size=int(depth[0]),
        axis=int(node.attributes.get("axis", -1)),
        on_value=on,
        off_value=off,
    )


def triangle(net: Net, node: NodeView) -> None:
    """Trilu: the entries on one side of a diagonal, 0 elsewhere."""
    shift = net.known(node.input(1)) if node.input(1) else None
    if shift is not None and int(shift.reshape(-1)[0]) != 0:
        raise refusal(node, "another diagonal than the main one")
    upper = bool(node.attributes.get("upper", 1))
    net.put(
        node.outputs[0],
        "band_part",
        x=net.var(node.inputs[0]),
        lower=0 if upper else -1,
        upper=-1 if upper else 0,
    )
