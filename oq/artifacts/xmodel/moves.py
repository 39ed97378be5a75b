"""Kernels that only move values, so that exact numbers stay exact."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from oq.artifacts.xmodel.file import Op
from oq.artifacts.xmodel.values import Call, Exact, Value, floats, like, numbers
from oq.errors import ModelError
from oq.numerics.values import Array

PAD_MODES: Mapping[str, Literal["constant", "reflect", "symmetric"]] = {
    "CONSTANT": "constant",
    "REFLECT": "reflect",
    "SYMMETRIC": "symmetric",
}


def _moved(call: Call, work: Callable[[Array], Array]) -> Value:
    x = call.values[0]
    return like(x, np.ascontiguousarray(work(numbers(x))))


def reshape(call: Call) -> Value:
    """The same values in order, in the op's shape."""
    return _moved(call, lambda x: x.reshape(call.op.dims))


def transpose(call: Call) -> Value:
    """Axis i is axis ``order[i]``."""
    return _moved(call, lambda x: x.transpose(call.op.get("order")))


def stack(call: Call) -> Value:
    """Along a new ``axis``."""
    return np.stack(call.floats(), call.op.get("axis"))


def strided_slice(call: Call) -> Value:
    """``x[begin:end:strides]``."""
    rows = (call.op.get(name) for name in ("begin", "end", "strides"))
    cuts = tuple(slice(*cut) for cut in zip(*rows, strict=True))
    return _moved(call, lambda x: x[cuts])


def concat(call: Call) -> Value:
    """Along ``axis``, at the finest position of the operands."""
    found, axis = call.exact(), call.op.get("axis")
    if not found:
        return np.concatenate(call.floats(), axis)
    return Exact(np.concatenate([x.real for x in found], axis), max(x.position for x in found))


def pad(call: Call) -> Value:
    """``paddings`` values around; other constants than zero are float."""
    wide, mode = call.op.get("paddings"), call.op.get("mode")
    if mode not in PAD_MODES:
        raise ModelError(f"op {call.op.name!r} (pad) has mode {mode!r}")
    pairs = list(zip(wide[::2], wide[1::2], strict=True))
    filler = set(call.op.get("constant_values", ()))
    if PAD_MODES[mode] != "constant":
        return _moved(call, lambda x: np.pad(x, pairs, PAD_MODES[mode]))
    if filler <= {0.0}:
        return _moved(call, lambda x: np.pad(x, pairs))
    value = filler.pop()
    return np.pad(floats(call.values[0]), pairs, constant_values=np.float32(value))


def pixel_shuffle(call: Call) -> Value:
    """Channel ``(c, i, j)`` to place (i, j) of a ``scale`` times larger image."""
    side = call.op.get("scale")

    def work(x: Array) -> Array:
        n, h, w, channels = x.shape
        split = x.reshape(n, h, w, channels // side**2, side, side)
        return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * side, w * side, -1)

    return _moved(call, work)


def gstiling(call: Call) -> Value:
    """Channel ``(i, j, c)`` to place (i, j) of a ``stride`` times larger image."""
    side = call.op.get("stride")

    def work(x: Array) -> Array:
        n, h, w, channels = x.shape
        split = x.reshape(n, h, w, side, side, channels // side**2)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * side, w * side, -1)

    return _moved(call, work)


def resize(call: Call) -> Value:
    """NEAREST picks values; BILINEAR weighs four, in float."""
    op, image = call.op, call.values[0]
    before = numbers(image).shape[1:3]
    places = [_places(op, a, b) for a, b in zip(before, op.dims[1:3], strict=True)]
    if op.get("mode") == "NEAREST":
        near = np.round if op.get("align_corners", False) else np.floor
        rows, columns = (
            np.clip(near(p), 0, size - 1).astype(int)
            for p, size in zip(places, before, strict=True)
        )
        return _moved(call, lambda x: x[:, rows][:, :, columns])
    if op.get("mode") != "BILINEAR":
        raise ModelError(f"op {op.name!r} (resize) has mode {op.get('mode')!r}")
    real = floats(image)
    return _lerp(_lerp(real, places[0], 1), places[1], 2)


def _places(op: Op, before: int, after: int) -> Array:
    """Where in the input every place of the output lies."""
    at = np.arange(after, dtype=np.float64)
    if op.get("align_corners", False):
        return at * ((before - 1) / (after - 1)) if after > 1 else at * 0.0
    if op.get("half_pixel_centers", False):
        return (at + 0.5) * (before / after) - 0.5
    return at * (before / after)


def _lerp(x: Array, places: Sequence[float] | Array, axis: int) -> Array:
    last = x.shape[axis] - 1
    at = np.clip(np.asarray(places), 0, last)
    low = np.floor(at).astype(int)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (at - low).astype(np.float32).reshape(shape)
    high = np.minimum(low + 1, last)
    found: Array = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return found
