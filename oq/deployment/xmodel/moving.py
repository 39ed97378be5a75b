"""Ops that move values: most change only the layout of a tensor that stays where it is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from oq.deployment.xmodel.graph import Attribute
from oq.deployment.xmodel.placed import (
    NHWC,
    Placed,
    dims_in,
    flattened,
    gathered,
    plain,
    reshaped,
)
from oq.deployment.xmodel.translation import Translation, refusal
from oq.model.operands import weight_input
from oq.model.ops import PRODUCTS
from oq.model.qdq import PAIR
from oq.model.view import NodeView
from oq.numerics.values import Array


def reshape(t: Translation, node: NodeView) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: by the shape of the result."""
    source, made = node.inputs[0], node.outputs[0]
    shape = t.shape(node, made)
    constant = t.parameter(source)
    if constant is not None:
        t.parameters[made] = constant.arrange(lambda v: v.reshape(shape))
        return
    x = t.data(node, source)
    layout, columns = reshaped(x.shape, x.layout, shape), None
    if layout is None and len(shape) == 2 and shape[0] == 1 and _feeds_products(t, made):
        layout, columns = plain(2), flattened(x)
    if layout is None:
        x = t.moved(x, gathered(x.shape, x.layout, shape))
        layout = reshaped(x.shape, x.layout, shape)
    if layout is None:
        raise refusal(node, f"it makes {list(shape)} of {list(x.shape)}")
    dims = dims_in(shape, layout)
    if dims == x.dims:
        t.put(made, replace(x, layout=layout, columns=columns))
        return
    op = t.reshape(node.name, x.op, dims)
    t.put(made, replace(x, op=op, dims=dims, layout=layout, columns=columns, gain=1.0))


def _feeds_products(t: Translation, tensor: str) -> bool:
    """Whether all that reads ``tensor``, behind pairs, are products with a constant matrix."""
    if tensor in t.view.outputs:
        return False
    for node in t.view.consumers(tensor):
        if node.op in PAIR:
            if not _feeds_products(t, node.outputs[0]):
                return False
        elif not _is_product(t, node, tensor):
            return False
    return True


def _is_product(t: Translation, node: NodeView, tensor: str) -> bool:
    weight = weight_input(node)
    if node.op not in PRODUCTS or node.inputs[0] != tensor or weight is None:
        return False
    while (made := t.view.producer(weight)) is not None and made.op in PAIR:
        weight = made.inputs[0]  # codes, or a float constant that a whole pair rounds
    return t.view.is_constant(weight) and t.view.constants[weight].ndim == 2


def transpose(t: Translation, node: NodeView) -> None:
    """Transpose: another layout."""
    x = t.placed.get(node.inputs[0])
    rank = len(t.shape(node, node.inputs[0]))
    perm = tuple(node.attributes.get("perm", range(rank)[::-1]))
    if x is None:
        given = t.weight(node, 0)
        t.parameters[node.outputs[0]] = given.arrange(lambda v: v.transpose(perm))
    else:
        t.turn(node.outputs[0], x, perm)


def concat(t: Translation, node: NodeView) -> None:
    """Concat, in the layout of the first operand that is computed."""
    shape = t.shape(node, node.outputs[0])
    computed = [x for x in node.inputs if t.parameter(x) is None]
    if not computed:
        raise refusal(node, "all its operands are constants")
    layout = t.data(node, computed[0]).layout
    operands = []
    for i, tensor in enumerate(node.inputs):
        given = t.parameter(tensor)
        if given is None:
            operands.append(t.moved(t.data(node, tensor), layout))
            continue
        lying = given.arrange(lambda v: v.transpose(layout))
        op, known = t.hold(lying), t.weight(node, i).position is not None
        operands.append(Placed(op, lying.values.shape, layout, exact=known))
    axis = layout.index(int(node.attributes["axis"]) % len(shape))
    t.put(node.outputs[0], t.add(node, "concat", operands, shape, layout, {"axis": axis}))


def cut(
    t: Translation, node: NodeView, x: Placed, made: str, cuts: dict[int, tuple[int, int, int]]
) -> None:
    """``strided_slice`` of ``x`` by (begin, end, stride) along some axes of the ONNX tensor."""
    rows = [cuts.get(a, (0, x.shape[a], 1)) for a in x.layout]
    begin, end, strides = (tuple(int(r[i]) for r in rows) for i in range(3))
    shape = tuple(len(range(*cuts[a])) if a in cuts else d for a, d in enumerate(x.shape))
    bounds = {"begin": begin, "end": end, "strides": strides}
    found = t.add(node, "strided_slice", (x,), shape, x.layout, bounds)
    t.put(made, found)


def slice_(t: Translation, node: NodeView) -> None:
    """Slice by constant bounds, forward."""
    x = t.data(node, node.inputs[0])
    starts, ends = (t.constant(node, s, "bounds") for s in (1, 2))
    if starts is None or ends is None:
        raise refusal(node, "its bounds are attributes (before opset 10)")
    axes, steps = t.constant(node, 3, "axes"), t.constant(node, 4, "steps")
    axes = np.arange(starts.size) if axes is None else axes
    steps = np.ones_like(starts) if steps is None else steps
    cuts = {}
    for axis, *bounds in zip(
        axes.ravel(), starts.ravel(), ends.ravel(), steps.ravel(), strict=True
    ):
        at = int(axis) % len(x.shape)
        if bounds[2] < 1:
            raise refusal(node, "it runs backwards")
        cuts[at] = slice(*map(int, bounds)).indices(x.shape[at])
    cut(t, node, x, node.outputs[0], cuts)


def split(t: Translation, node: NodeView) -> None:
    """Split: one ``strided_slice`` per output."""
    x = t.data(node, node.inputs[0])
    axis = int(node.attributes.get("axis", 0)) % len(x.shape)
    begin = 0
    for made in node.outputs:
        size = t.shape(node, made)[axis] if made else 0
        if made and (made in t.view.outputs or t.view.consumers(made)):
            cut(t, node, x, made, {axis: (begin, begin + size, 1)})
        begin += size


def gather(t: Translation, node: NodeView) -> None:
    """Gather of one constant index: ``strided_slice``, without the axis where it is a scalar."""
    x, index = t.data(node, node.inputs[0]), t.constant(node, 1, "index")
    if index is None or index.size != 1:
        raise refusal(node, "it gathers several indices; XIR cuts out one range")
    axis = int(node.attributes.get("axis", 0)) % len(x.shape)
    at = int(index.reshape(-1)[0]) % x.shape[axis]
    cut(t, node, x, node.outputs[0], {axis: (at, at + 1, 1)})
    if index.ndim == 0:
        found = t.placed[node.outputs[0]]
        layout = tuple(a - (a > axis) for a in found.layout if a != axis)
        shape = t.shape(node, node.outputs[0])
        dims = dims_in(shape, layout)
        op = t.reshape(f"{found.op}_reshape", found.op, dims)
        t.put(node.outputs[0], replace(found, op=op, dims=dims, layout=layout))


PAD_MODES = {"constant": "CONSTANT", "reflect": "REFLECT"}


def pad(t: Translation, node: NodeView) -> None:
    """Pad with a constant or by reflection."""
    x, mode = t.data(node, node.inputs[0]), str(node.attributes.get("mode", "constant"))
    if mode not in PAD_MODES:
        raise refusal(node, f"XIR does not pad by mode {mode!r}")
    wide, value, axes = (
        t.constant(node, s, what) for s, what in ((1, "pads"), (2, "value"), (3, "axes"))
    )
    if wide is None:
        raise refusal(node, "its pads are attributes (before opset 11)")
    rank = len(x.shape)
    where = [int(a) % rank for a in (np.arange(rank) if axes is None else axes.ravel())]
    around = dict.fromkeys(range(rank), (0, 0))
    around.update(zip(where, zip(*map(list, np.split(wide, 2)), strict=True), strict=True))
    if any(p < 0 for pair in around.values() for p in pair):
        raise refusal(node, "it cuts off values (negative pads)")
    filler = 0.0 if value is None else float(np.float32(value.reshape(-1)[0]))
    shape = tuple(d + sum(map(int, around[a])) for a, d in enumerate(x.shape))
    attributes: dict[str, Attribute] = {
        "paddings": tuple(int(p) for a in x.layout for p in around[a]),
        "mode": PAD_MODES[mode],
    }
    if mode == "constant":
        attributes["constant_values"] = (filler,) * (2 * rank)
    exact = x.exact and filler == 0.0
    found = t.add(node, "pad", (x,), shape, x.layout, attributes, exact=exact)
    t.put(node.outputs[0], found)


def depth_to_space(t: Translation, node: NodeView) -> None:
    """DepthToSpace: channels (c, i, j) by ``pixel-shuffle``, (i, j, c) by ``gstiling``."""
    x, side = t.image(node, node.inputs[0]), int(node.attributes["blocksize"])
    shape = t.shape(node, node.outputs[0])
    if node.attributes.get("mode", "DCR") == "CRD":
        found = t.add(node, "pixel-shuffle", (x,), shape, NHWC, {"scale": side, "upscale": True})
    else:
        found = t.add(node, "gstiling", (x,), shape, NHWC, {"reverse": True, "stride": side})
    t.put(node.outputs[0], found)


Places = Callable[[Array, float, int, int], Array]
"""(places of the output, out / in, size before, size after) -> places in the input."""

COORDINATES: dict[str, Places] = {
    "half_pixel": lambda i, s, _a, _b: (i + 0.5) / s - 0.5,
    "pytorch_half_pixel": lambda i, s, _a, b: (i + 0.5) / s - 0.5 if b > 1 else i * 0.0,
    "asymmetric": lambda i, s, _a, _b: i / s,
    "align_corners": lambda i, _s, a, b: i * ((a - 1) / (b - 1)) if b > 1 else i * 0.0,
}
NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
CENTERS = {
    "asymmetric": {"align_corners": False, "half_pixel_centers": False},
    "half_pixel": {"align_corners": False, "half_pixel_centers": True},
    "pytorch_half_pixel": {"align_corners": False, "half_pixel_centers": True},
    "align_corners": {"align_corners": True, "half_pixel_centers": False},
}
"""ONNX's way to place pixels -> XIR's flags."""


def _picks(mode: str, near: Callable[[Array], Array], before: int, after: int) -> list[int]:
    """The pixel of the input for every one of the output."""
    places = COORDINATES[mode](np.arange(after, dtype=float), after / before, before, after)
    return [int(p) for p in np.clip(near(places), 0, before - 1)]


def resize(t: Translation, node: NodeView) -> None:
    """Resize of an image, to the nearest pixel or between four."""
    x, shape = t.image(node, node.inputs[0]), t.shape(node, node.outputs[0])
    how = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    kind = {"nearest": "NEAREST", "linear": "BILINEAR"}.get(
        str(node.attributes.get("mode", "nearest"))
    )
    if kind is None or how not in COORDINATES or shape[:2] != x.shape[:2]:
        raise refusal(node, f"mode {node.attributes.get('mode')!r}, {how!r} is none of XIR's")
    sizes = list(zip(x.shape[2:], shape[2:], strict=True))
    _check_scales(t, node, sizes)
    flags = CENTERS[how] if kind == "BILINEAR" else _nearest(node, how, sizes)
    scale = tuple(float(np.float32(b / a)) for a, b in sizes[::-1])
    attributes: dict[str, Attribute] = {"mode": kind, "scale": scale, **flags}
    exact = None if kind == "NEAREST" else False
    found = t.add(node, "resize", (x,), shape, NHWC, attributes, exact=exact)
    t.put(node.outputs[0], found)


def _check_scales(t: Translation, node: NodeView, sizes: Sequence[tuple[int, int]]) -> None:
    scales = t.constant(node, 2, "scales")
    if scales is None or not scales.size:
        return
    if not all(
        math.isclose(s, b / a, rel_tol=1e-6) for s, (a, b) in zip(scales[2:], sizes, strict=True)
    ):
        raise refusal(node, f"its scales {scales[2:].tolist()} are not those of its sizes")


def _nearest(node: NodeView, how: str, sizes: Sequence[tuple[int, int]]) -> dict[str, bool]:
    """The flags by which XIR picks the same pixels."""
    near = NEAREST[str(node.attributes.get("nearest_mode", "round_prefer_floor"))]
    for candidate in ("asymmetric", "half_pixel", "align_corners"):
        by_xir = NEAREST["round_prefer_ceil" if candidate == "align_corners" else "floor"]
        if all(_picks(how, near, *s) == _picks(candidate, by_xir, *s) for s in sizes):
            return CENTERS[candidate]
    raise refusal(node, f"no way of XIR picks the pixels that {how!r} picks")
