"""Rows of operators that move values or compute shapes; most run on the host too."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from oq.numerics.values import Array
from oq.training.row import (
    TORCH,
    Node,
    Row,
    Value,
    axes_of,
    integer,
    integers,
    sizes_of,
    to_tensor,
)


def _on_host(values: list[Any]) -> Array:
    """Sizes as an array: of symbols where there are some."""
    plain = all(type(v) is int for v in values)
    return np.array(values, np.int64 if plain else object)


def _shape(node: Node, x: Tensor) -> Array:
    sizes = list(sizes_of(x))
    return _on_host(sizes[node.get("start", 0) : node.get("end", len(sizes))])


def _constant(node: Node) -> Value:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if name in node.attributes:
            return np.asarray(node.get(name), dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if name in node.attributes:
            return np.asarray(list(node.get(name)), dtype)
    raise node.refuse("a value that is not a number")


def _constant_of_shape(node: Node, shape: Array) -> Value:
    """Of numbers with a fraction a tensor, of others a shape or a mask."""
    value = node.get("value")
    filled = np.zeros(1, np.float32) if value is None else np.asarray(value.values).reshape(1)
    sizes = integers(shape)
    if filled.dtype.kind == "f":
        return torch.full(sizes, filled.item(), dtype=TORCH[filled.dtype.name])
    return np.full(sizes, filled.item(), filled.dtype)


def _range(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    first, last, step = (v.reshape(()).item() for v in (start, limit, delta))
    return np.arange(first, last, step, dtype=start.dtype)


def _reshape(node: Node, x: Tensor, shape: Array) -> Tensor:
    sizes = integers(shape)
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if type(s) is int and s == 0 else s for i, s in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 1 and x.ndim > 1:
        return x.flatten(1)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(tuple(node.get("perm", range(x.ndim)[::-1])))


def _squeezed(node: Node, shape: Any, axes: Array | None) -> list[Any]:
    chosen, rank = axes_of(node, axes, 13), len(shape)
    if chosen is None:
        return [s for s in shape if s != 1]
    gone = {a % rank for a in chosen}
    return [s for i, s in enumerate(shape) if i not in gone]


def _squeeze(node: Node, x: Value, axes: Array | None = None) -> Value:
    return x.reshape(tuple(_squeezed(node, x.shape, axes)))


def _unsqueeze(node: Node, x: Value, axes: Array | None = None) -> Value:
    chosen = axes_of(node, axes, 13) or []
    rank = len(x.shape) + len(chosen)
    new = {a % rank for a in chosen}
    rest = iter(x.shape)
    return x.reshape(tuple(1 if i in new else next(rest) for i in range(rank)))


def _concat(node: Node, *xs: Tensor) -> Tensor:
    return torch.cat(xs, node.get("axis"))


def _concat_host(node: Node, *xs: Array) -> Array:
    return np.concatenate(xs, node.get("axis"))


def _split(node: Node, x: Tensor, sizes: Array | None = None) -> tuple[Tensor, ...]:
    """In equal parts without sizes, the last one smaller where they do not fit."""
    axis = node.get("axis", 0)
    given = integers(sizes) if sizes is not None else node.get("split")
    if given is None:
        parts, whole = node.get("num_outputs", node.outputs), x.shape[axis]
        each = -(-whole // parts)
        given = [each] * (parts - 1) + [whole - each * (parts - 1)]
    return torch.split(x, list(given), axis)


def _slices(
    node: Node, rank: int, starts: Any, ends: Any, axes: Any, steps: Any
) -> list[tuple[int, slice]]:
    """(axis, slice) of every axis that is cut; attributes before opset 10."""
    if node.opset < 10:
        starts, ends, axes = node.get("starts"), node.get("ends"), node.get("axes")
    else:
        starts, ends = integers(starts), integers(ends)
        axes = None if axes is None else integers(axes)
    each = [1] * len(starts) if steps is None else integers(steps)
    chosen = range(len(starts)) if axes is None else axes
    return [
        (a % rank, slice(s, e, t)) for a, s, e, t in zip(chosen, starts, ends, each, strict=True)
    ]


def _slice(
    node: Node, x: Tensor, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Tensor:
    for axis, cut in _slices(node, x.ndim, starts, ends, axes, steps):
        if cut.step < 0:  # torch has no negative steps
            chosen = _backwards(cut, x.shape[axis])
            x = x.index_select(axis, torch.tensor(chosen, dtype=torch.int64, device=x.device))
        else:
            x = x[(slice(None),) * axis + (cut,)]
    return x


def _backwards(cut: slice, size: int) -> range:
    """The positions of a slice with a negative step: a start in front of all is the first one,
    which Python takes for nothing."""
    first, last = (n + size if n < 0 else n for n in (cut.start, cut.stop))
    return range(min(max(first, 0), size - 1), min(max(last, -1), size - 1), cut.step)


def _slice_host(
    node: Node, x: Array, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Array:
    for axis, cut in _slices(node, x.ndim, starts, ends, axes, steps):
        size = x.shape[axis]
        cut = slice(*cut.indices(size)) if cut.step > 0 else cut
        chosen = range(cut.start, cut.stop, cut.step) if cut.step > 0 else _backwards(cut, size)
        x = np.take(x, list(chosen), axis).astype(x.dtype)
    return x


PAD_MODES = frozenset({"constant", "edge", "reflect", "wrap"})


def _pad(
    node: Node, x: Tensor, pads: Any = None, value: Any = None, axes: Array | None = None
) -> Tensor:
    """Before opset 11 all but the data are attributes; ``mode`` repeats other values than one by
    their index."""
    sizes = [int(p) for p in node.get("pads")] if node.opset < 11 else integers(pads)
    fill = node.get("value", 0.0) if node.opset < 11 else 0 if value is None else value.item()
    chosen = list(range(x.ndim)) if axes is None else [a % x.ndim for a in integers(axes)]
    begin, end = [0] * x.ndim, [0] * x.ndim
    for slot, axis in enumerate(chosen):
        begin[axis], end[axis] = sizes[slot], sizes[slot + len(chosen)]
    mode = node.get("mode", "constant")
    if mode not in PAD_MODES:
        raise node.refuse(f"mode {mode!r}")
    if mode == "constant":
        both = [n for pair in zip(begin[::-1], end[::-1], strict=True) for n in pair]
        return F.pad(x, both, value=fill) if any(both) else x
    names = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
    for axis, (less, more) in enumerate(zip(begin, end, strict=True)):
        if less or more:
            where = np.arange(x.shape[axis])[max(0, -less) : x.shape[axis] - max(0, -more)]
            padded: Any = np.pad(where, (max(0, less), max(0, more)), mode=names[mode])  # type: ignore[call-overload]
            x = x.index_select(axis, torch.tensor(padded, device=x.device))
    return x


def _gather(node: Node, x: Tensor, indices: Value) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    if not isinstance(indices, Tensor) and indices.ndim == 0:
        return x.select(axis, integer(indices))
    at = to_tensor(indices, x.device).to(torch.int64)
    at = torch.where(at < 0, at + x.shape[axis], at)
    shape = (*x.shape[:axis], *at.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, at.reshape(-1)).reshape(shape)


def _gather_host(node: Node, x: Array, indices: Array) -> Array:
    return np.asarray(np.take(x, indices.astype(np.int64), node.get("axis", 0)), x.dtype)


def _gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices).long())


def _gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    if node.get("batch_dims", 0):
        raise node.refuse("batch_dims")
    at = indices.to(torch.int64)
    return x[tuple(at[..., i] for i in range(at.shape[-1]))]


def _scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    if node.get("reduction", "none") != "none":
        raise node.refuse("a reduction")
    at = indices.to(torch.int64)
    return x.index_put(tuple(at[..., i] for i in range(at.shape[-1])), updates)


def _scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    if node.get("reduction", "none") != "none":
        raise node.refuse("a reduction")
    axis = node.get("axis", 0)
    at = torch.where(indices < 0, indices + x.shape[axis], indices).to(torch.int64)
    return x.scatter(axis, at, updates)


def _one_hot(node: Node, indices: Tensor, depth: Array, values: Tensor) -> Tensor:
    count, axis = integer(depth), node.get("axis", -1)
    at = indices.to(torch.int64).unsqueeze(axis)
    at = torch.where(at < 0, at + count, at)
    alone = [1] * at.ndim
    alone[axis] = count
    steps = torch.arange(count, device=at.device).reshape(alone)
    return torch.where(at == steps, values[1], values[0])


def _expand(node: Node, x: Tensor, shape: Array) -> Tensor:
    sizes = integers(shape)
    rank = max(len(sizes), x.ndim)
    have = [1] * (rank - x.ndim) + list(x.shape)
    want = [1] * (rank - len(sizes)) + sizes
    made = [h if type(w) is int and w == 1 else w for h, w in zip(have, want, strict=True)]
    return x.expand(made)


def _blocks(node: Node, x: Tensor) -> tuple[int, int, int, int, int]:
    size = node.get("blocksize")
    return size, x.shape[0], x.shape[1], x.shape[2], x.shape[3]


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    b, n, c, h, w = _blocks(node, x)
    if node.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // (b * b), h * b, w * b)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    b, n, c, h, w = _blocks(node, x)
    order = (0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    parts = x.reshape(n, c, h // b, b, w // b, b).permute(order)
    return parts.reshape(n, c * b * b, h // b, w // b)


def _trilu(node: Node, x: Tensor, k: Array | None = None) -> Tensor:
    at = 0 if k is None else integer(k)
    return torch.triu(x, at) if node.get("upper", 1) else torch.tril(x, at)


def _reshape_host(node: Node, x: Array, shape: Array) -> Array:
    return x.reshape(integers(shape))


def _size(node: Node, x: Tensor) -> Array:
    return np.asarray(math.prod(x.shape))


def _eye(node: Node, x: Tensor) -> Tensor:
    dtype = node.get("dtype")
    kind = x.dtype if dtype is None else TORCH[onnx.helper.tensor_dtype_to_np_dtype(dtype).name]
    rows, columns = x.shape
    k = node.get("k", 0)
    at = torch.arange(columns).reshape(1, -1) - torch.arange(rows).reshape(-1, 1)
    found: Tensor = (at == k).to(kind)
    return found


ROWS: Mapping[str, Row] = {
    "Concat": Row(_concat, on_host=_concat_host),
    "Constant": Row(_constant, on_host=_constant),
    "ConstantOfShape": Row(_constant_of_shape, host=(0,)),
    "DepthToSpace": Row(_depth_to_space),
    "Expand": Row(_expand, host=(1,)),
    "EyeLike": Row(_eye),
    "Flatten": Row(_flatten),
    "Gather": Row(_gather, on_host=_gather_host),
    "GatherElements": Row(_gather_elements),
    "GatherND": Row(_gather_nd),
    "OneHot": Row(_one_hot, host=(1,), fixed=(2,)),
    "Pad": Row(_pad, host=(1, 2, 3)),
    "Range": Row(_range, host=(0, 1, 2), on_host=_range),
    "Reshape": Row(_reshape, host=(1,), on_host=_reshape_host),
    "ScatterElements": Row(_scatter_elements),
    "ScatterND": Row(_scatter_nd),
    "Shape": Row(_shape),
    "Size": Row(_size),
    "Slice": Row(_slice, host=(1, 2, 3, 4), on_host=_slice_host),
    "SpaceToDepth": Row(_space_to_depth),
    "Split": Row(_split, host=(1,)),
    "Squeeze": Row(_squeeze, host=(1,), on_host=_squeeze),
    "Tile": Row(lambda node, x, times: x.repeat(integers(times)), host=(1,)),
    "Transpose": Row(_transpose),
    "Trilu": Row(_trilu, host=(1,)),
    "Unsqueeze": Row(_unsqueeze, host=(1,), on_host=_unsqueeze),
}
