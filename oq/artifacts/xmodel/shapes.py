"""The shape of an op's tensor, from those it reads: XIR's shape inference, coded once more.

Activations are NHWC, weights OHWI; window attributes come as [w, h], pads as [left, right, top,
bottom].  Every function raises `ModelError` for operands that XIR's own constraints refuse.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from oq.artifacts.xmodel.file import Dims, Op
from oq.errors import ModelError

Operands = Mapping[str, Sequence[Dims]]
"""Argument -> the shapes of what it reads."""

Infer = Callable[[Op, Operands], Dims]


def own(op: Op, _given: Operands) -> Dims:
    """The attribute ``shape``."""
    dims = tuple(op.get("shape"))
    _insist(all(d >= 1 for d in dims) and bool(dims), op, f"shape {list(dims)}")
    return dims


def same(_op: Op, given: Operands) -> Dims:
    """That of the input."""
    return given["input"][0]


def broadcast(op: Op, given: Operands) -> Dims:
    """NumPy's broadcasting."""
    shapes = given["input"]
    _insist(len(shapes) > 1, op, "a single operand")
    rank = max(map(len, shapes))
    wide = [(1,) * (rank - len(s)) + s for s in shapes]
    for sizes in zip(*wide, strict=True):
        _insist(len({*sizes} - {1}) <= 1, op, f"shapes {[list(s) for s in shapes]}")
    return tuple(max(sizes) for sizes in zip(*wide, strict=True))


def window_steps(op: Op, size: int, axis: int) -> int:
    """The number of windows along ``axis`` (0 width, 1 height) of ``size`` values:

    FLOOR, CEIL: (size + pads - dilation (k - 1) - 1 + s) / s, rounded down or up; SAME:
    ceil((size + pads) / s); VALID: ceil((size + pads - dilation (k - 1)) / s)."""
    kernel, stride = op.get("kernel")[axis], op.get("stride")[axis]
    reach = op.get("dilation", (1, 1))[axis] * (kernel - 1)
    wide = size + sum(op.get("pad", (0, 0, 0, 0))[2 * axis : 2 * axis + 2])
    rules: Mapping[str, Callable[[], int]] = {
        "FLOOR": lambda: (wide - reach - 1 + stride) // stride,
        "CEIL": lambda: -(-(wide - reach - 1 + stride) // stride),
        "SAME": lambda: -(-wide // stride),
        "VALID": lambda: -(-(wide - reach) // stride),
    }
    mode = op.get("pad_mode")
    _insist(mode in rules, op, f"pad_mode {mode!r}")
    return rules[mode]()


def _image(op: Op, given: Operands) -> Dims:
    image = given["input"][0]
    _insist(len(image) == 4, op, f"an input of {len(image)} axes")
    return image


def _filter(op: Op, given: Operands, outputs: int) -> Dims:
    """The weights' shape; their window and the bias fit ``op``."""
    weights = given["weights"][0]
    _insist(len(weights) == 4, op, f"weights of {len(weights)} axes")
    kernel = op.get("kernel")
    _insist(list(weights[1:3]) == [kernel[1], kernel[0]], op, f"weights {list(weights)}")
    for bias in given.get("bias", ()):
        _insist(bias == (outputs,), op, f"a bias of {list(bias)}")
    return weights


def conv(op: Op, given: Operands) -> Dims:
    """conv2d: weights [O, h, w, I / group]."""
    n, h, w, channels = _image(op, given)
    group, outputs = op.get("group", 1), given["weights"][0][0]
    weights = _filter(op, given, outputs)
    fits = channels % group == 0 and outputs % group == 0 and weights[3] == channels // group
    _insist(fits, op, f"weights {list(weights)} over {channels} channels")
    return n, window_steps(op, h, 1), window_steps(op, w, 0), outputs


def depthwise(op: Op, given: Operands) -> Dims:
    """depthwise-conv2d: weights [1, h, w, C]."""
    n, h, w, channels = _image(op, given)
    outputs = given["weights"][0][0] * channels
    weights = _filter(op, given, outputs)
    _insist(weights[3] == channels, op, f"weights {list(weights)} over {channels} channels")
    return n, window_steps(op, h, 1), window_steps(op, w, 0), outputs


def _widened(op: Op, size: int, axis: int) -> int:
    mode, stride, kernel = op.get("pad_mode"), op.get("stride")[axis], op.get("kernel")[axis]
    _insist(mode in {"FLOOR", "CEIL"}, op, f"pad_mode {mode!r}, which oq does not read here")
    pads = sum(op.get("pad", (0, 0, 0, 0))[2 * axis : 2 * axis + 2])
    return int((size - 1) * stride + op.get("dilation", (1, 1))[axis] * (kernel - 1) + 1 - pads)


def transposed(op: Op, given: Operands) -> Dims:
    """transposed-conv2d: (in - 1) s + dilation (k - 1) + 1 - pads."""
    n, h, w, channels = _image(op, given)
    outputs = given["weights"][0][0]
    weights = _filter(op, given, outputs)
    _insist(weights[3] == channels, op, f"weights {list(weights)} over {channels} channels")
    return n, _widened(op, h, 1), _widened(op, w, 0), outputs


def transposed_depthwise(op: Op, given: Operands) -> Dims:
    """transposed-depthwise-conv2d: weights [1, h, w, C]."""
    n, h, w, channels = _image(op, given)
    weights = _filter(op, given, channels)
    _insist(weights[3] == channels, op, f"weights {list(weights)} over {channels} channels")
    return n, _widened(op, h, 1), _widened(op, w, 0), channels


def pool(op: Op, given: Operands) -> Dims:
    """maxpool2d, avgpool2d; ``global``: one position."""
    n, h, w, channels = _image(op, given)
    if op.get("global", False):
        return n, 1, 1, channels
    return n, window_steps(op, h, 1), window_steps(op, w, 0), channels


def matmul(op: Op, given: Operands) -> Dims:
    """[..., a, b] times [..., b, c]."""
    shapes = given["input"]
    _insist(len(shapes) == 2 and min(map(len, shapes)) > 1, op, f"{len(shapes)} operands")
    flags = ("transpose_a", "transpose_b")
    left, right = (_turned(s, op.get(f)) for s, f in zip(shapes, flags, strict=True))
    _insist(left[-1] == right[-2], op, f"shapes {list(left)} and {list(right)}")
    rank = max(len(left), len(right)) - 2
    stacks = [(1,) * (rank - len(s) + 2) + s[:-2] for s in (left, right)]
    for sizes in zip(*stacks, strict=True):
        _insist(len({*sizes} - {1}) <= 1, op, f"stacks {[list(s) for s in stacks]}")
    for bias in given.get("bias", ()):
        _insist(bias == (right[-1],), op, f"a bias of {list(bias)}")
    return (*(max(sizes) for sizes in zip(*stacks, strict=True)), left[-2], right[-1])


def _turned(shape: Dims, flag: bool) -> Dims:
    return (*shape[:-2], shape[-1], shape[-2]) if flag else shape


def reduce(op: Op, given: Operands) -> Dims:
    """reduction_*: one value along every axis of ``axis``."""
    shape = given["input"][0]
    axes = {_axis(op, a, len(shape)) for a in op.get("axis")}
    if op.get("keep_dims"):
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes) or (1,)


def along_axis(op: Op, given: Operands) -> Dims:
    """That of the input, whose ``axis`` exists."""
    _axis(op, op.get("axis"), len(given["input"][0]))
    return given["input"][0]


def concat(op: Op, given: Operands) -> Dims:
    """Sizes along ``axis`` added up."""
    shapes = given["input"]
    at = _axis(op, op.get("axis"), len(shapes[0]))
    rest = {(*s[:at], *s[at + 1 :]) for s in shapes}
    _insist(len(rest) == 1, op, f"shapes {[list(s) for s in shapes]} along axis {at}")
    return (*shapes[0][:at], sum(s[at] for s in shapes), *shapes[0][at + 1 :])


def reshape(op: Op, given: Operands) -> Dims:
    """The attribute ``shape``, of as many values; the stored shape where an op computes it, as in
    files of AMD's quantizer."""
    dims = op.dims if given.get("shape") else tuple(op.get("shape", ()))
    before = given["input"][0]
    _insist(
        math.prod(dims) == math.prod(before) and bool(dims),
        *(op, f"shape {list(dims)} of a tensor of {list(before)}"),
    )
    return dims


def stack(op: Op, given: Operands) -> Dims:
    """A new axis over equal shapes."""
    shapes = given["input"]
    _insist(len(set(shapes)) == 1, op, f"shapes {[list(s) for s in shapes]}")
    at = _axis(op, op.get("axis"), len(shapes[0]) + 1)
    return (*shapes[0][:at], len(shapes), *shapes[0][at:])


def transpose(op: Op, given: Operands) -> Dims:
    """Axis i is axis ``order[i]`` of the input."""
    shape, order = given["input"][0], op.get("order")
    _insist(sorted(order) == [*range(len(shape))], op, f"order {list(order)}")
    return tuple(shape[a] for a in order)


def strided_slice(op: Op, given: Operands) -> Dims:
    """``begin:end:strides`` per axis, as NumPy's."""
    shape = given["input"][0]
    rows = [op.get(name) for name in ("begin", "end", "strides")]
    _insist(all(len(r) == len(shape) for r in rows), op, "bounds of another rank")
    cuts = (slice(*cut) for cut in zip(*rows, strict=True))
    dims = tuple(len(range(*c.indices(d))) for c, d in zip(cuts, shape, strict=True))
    _insist(all(dims), op, f"nothing left: {list(dims)}")
    return dims


def pad(op: Op, given: Operands) -> Dims:
    """``paddings`` [before, after] per axis."""
    shape, wide = given["input"][0], op.get("paddings")
    _insist(len(wide) == 2 * len(shape) and min(wide) >= 0, op, f"paddings {list(wide)}")
    return tuple(d + wide[2 * i] + wide[2 * i + 1] for i, d in enumerate(shape))


def resize(op: Op, given: Operands) -> Dims:
    """``scale`` [w, h] = out / in."""
    n, h, w, channels = _image(op, given)
    scale = op.get("scale", ())
    _insist(len(scale) == 2, op, f"scale {list(scale)}")
    return n, round(h * scale[1]), round(w * scale[0]), channels


def shuffle(op: Op, given: Operands) -> Dims:
    """pixel-shuffle by ``scale``, gstiling by ``stride``, both towards larger images."""
    n, h, w, channels = _image(op, given)
    side = op.get("scale") or op.get("stride")
    grows = bool(op.get("upscale") or op.get("reverse"))
    _insist(grows and channels % side**2 == 0, op, f"{channels} channels")
    return n, h * side, w * side, channels // side**2


def _axis(op: Op, axis: int, rank: int) -> int:
    _insist(-rank <= axis < rank, op, f"axis {axis} of {rank}")
    return axis % rank


def _insist(holds: bool, op: Op, found: str) -> None:
    if not holds:
        raise ModelError(f"op {op.name!r} ({op.type}) has {found}")
