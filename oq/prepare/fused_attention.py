"""onnxruntime's Attention and MultiHeadAttention as products, Softmax and what lies between.

    softmax(Q K' * scale + masks) V

per head (Vaswani et al. 2017, arXiv:1706.03762), with the masks as numbers that are added, as
onnxruntime's CPU kernel has them.  A cache of past keys and values, rotary positions, and forms
whose shape is not known stay as they are.
"""

from collections.abc import Sequence

import numpy as np

from oq.prepare.standard_nodes import Writer

FLOAT = 1
"""ONNX's number of float32."""

MASKED = -10000.0
"""What is added where a mask hides a position, unless ``mask_filter_value`` says otherwise."""


def attention(writer: Writer) -> bool:
    """Q, K and V are one product of the input; the mask says which positions count."""
    weight, others = writer.constants.get(writer.input(1)), (4, 6)
    if weight is None or any(map(writer.input, others)) or any(map(writer.output, (1, 2))):
        return False
    if writer.attributes.get("do_rotary", 0):
        return False
    thirds = [int(weight.dims[1]) // 3] * 3
    sizes = [int(s) for s in writer.attributes.get("qkv_hidden_sizes", thirds)]
    mask = _padding(writer, writer.input(3), writer.input(0))
    if mask is None:
        return False
    made = writer.add("MatMul", [writer.input(0), writer.input(1)])
    if writer.input(2):
        made = writer.add("Add", [made, writer.input(2)])
    q, k, v = _split(writer, made, sizes)
    return _attend(writer, (q, k, v), sizes, [mask, writer.input(5)])


def multi_head_attention(writer: Writer) -> bool:
    """Q, K and V are inputs, with one bias for the three."""
    three = [writer.input(slot) for slot in range(3)]
    if not all(three) or any(map(writer.input, range(6, 10))):
        return False
    if any(map(writer.output, (1, 2, 3))) or any(writer.rank(t) != 3 for t in three):
        return False
    sizes = [_size(writer, t) for t in three]
    known = [s for s in sizes if s is not None]
    mask = _padding(writer, writer.input(4), three[1])
    if len(known) < 3 or mask is None:
        return False
    if writer.input(3):
        parts = _split(writer, writer.input(3), known)
        three = [writer.add("Add", [t, b]) for t, b in zip(three, parts, strict=True)]
    return _attend(writer, (three[0], three[1], three[2]), known, [mask, writer.input(5)])


def _attend(
    writer: Writer, three: tuple[str, str, str], sizes: Sequence[int], masks: Sequence[str]
) -> bool:
    heads = int(writer.attributes["num_heads"])
    widths = [size // heads for size in sizes]
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    q, k, v = (
        writer.add("Transpose", [_reshaped(writer, t, [0, 0, heads, width])], perm=order)
        for t, width, order in zip(three, widths, orders, strict=True)
    )
    scale = float(writer.attributes.get("scale", 0.0)) or 1 / np.sqrt(widths[0])
    scores = writer.scaled(writer.add("MatMul", [q, k]), float(scale))
    if writer.attributes.get("unidirectional", 0):
        masks = [*masks, _causal(writer, scores)]
    for mask in filter(None, masks):
        scores = writer.add("Add", [scores, mask])
    shares = writer.add("Softmax", [scores], axis=-1)
    joined = writer.add("Transpose", [writer.add("MatMul", [shares, v])], perm=[0, 2, 1, 3])
    writer.finish(_reshaped(writer, joined, [0, 0, sizes[2]]))
    return True


def _reshaped(writer: Writer, tensor: str, shape: Sequence[int]) -> str:
    return writer.add("Reshape", [tensor, writer.constant(shape, np.int64)])


def _split(writer: Writer, tensor: str, sizes: Sequence[int]) -> list[str]:
    """Parts of ``tensor`` along its last axis."""
    ends = np.cumsum([0, *sizes])
    axis = writer.constant([-1], np.int64)
    return [
        writer.add(
            "Slice", [tensor, *(writer.constant([at], np.int64) for at in ends[i:][:2]), axis]
        )
        for i in range(len(sizes))
    ]


def _size(writer: Writer, tensor: str) -> int | None:
    """The length of the last axis."""
    shape = writer.shape(tensor)
    return shape[-1] if shape and isinstance(shape[-1], int) else None


def _hidden(writer: Writer, flags: str) -> str:
    """What is added to the scores: :data:`MASKED` where ``flags`` (float32, 1 or 0) are 0."""
    away = writer.add("Sub", [writer.constant(1.0), flags])
    return writer.add("Mul", [away, writer.constant(_masked(writer))])


def _masked(writer: Writer) -> float:
    return float(writer.attributes.get("mask_filter_value", MASKED))


def _padding(writer: Writer, mask: str, keys: str) -> str | None:
    """The mask of positions (batch, keys), (batch, queries, keys) or lengths (batch), as it is
    added to the scores (batch, heads, queries, keys); "" if there is none, None if it is not
    known what it means."""
    if not mask:
        return ""
    shape, read = writer.shape(mask), writer.shape(keys)
    if shape is None or read is None or len(shape) not in {1, 2, 3}:
        return None
    if len(shape) == 1:
        if shape[0] is None or shape[0] != read[0]:
            return None  # starts and ends, or cumulated lengths
        places = _count(writer, keys, 1)
        length = writer.add("Unsqueeze", [writer.add("Cast", [mask], to=7), _axes(writer, [1])])
        flags = writer.add("Less", [places, length])
    else:
        flags = mask
    flags = writer.add("Cast", [flags], to=FLOAT)
    axes = [1] if len(shape) == 3 else [1, 2]
    return _hidden(writer, writer.add("Unsqueeze", [flags, _axes(writer, axes)]))


def _causal(writer: Writer, scores: str) -> str:
    """Nothing is added up to a query's own position, counted from the end, and :data:`MASKED`
    behind it."""
    queries, keys = (_count(writer, scores, axis) for axis in (2, 3))
    later = writer.add("Greater", [keys, writer.add("Unsqueeze", [queries, _axes(writer, [1])])])
    flags = writer.add("Cast", [later], to=FLOAT)
    return writer.add("Mul", [flags, writer.constant(_masked(writer))])


def _count(writer: Writer, tensor: str, axis: int) -> str:
    """0, 1, ... along ``axis`` of ``tensor``."""
    size = writer.add("Gather", [writer.add("Shape", [tensor]), writer.constant(axis, np.int64)])
    return writer.add("Range", [writer.constant(0, np.int64), size, writer.constant(1, np.int64)])


def _axes(writer: Writer, axes: Sequence[int]) -> str:
    return writer.constant(axes, np.int64)
