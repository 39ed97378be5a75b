"""Which outputs score classes, and along which axis.

An output with axes (sample, class) is known by its shape.  One with more axes (logits per token,
characters per frame, labels per pixel) is known by the node that computes it: a Softmax, whose axis
it is, or a product with a constant matrix, whose columns are the classes.  One that an ArgMax
computes, of whatever shape, holds classes itself.  Others (boxes, images, hidden states) have none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from oq.comparison.deviation import Votes, is_classifier
from oq.model.ops import (
    ADDING,
    BEST_OF,
    KEEPING,
    NORMALIZED,
    OUTPUT_AXIS,
    PERMUTING,
    SHAPE_OPS,
    STANDARD,
)
from oq.model.paths import Made, find_choice
from oq.numerics.values import Array

LAST_AXIS_SINCE = 13
"""The opset since which a Softmax is over one axis, by default the last one."""


def class_axis(values: Array, known: int | None) -> int | None:
    """The axis of the classes in a batch of an output; None without one of two at least.

    ``known``: the axis that :func:`class_axes` found for it.
    """
    if is_classifier(values):
        return 1
    if known is None or values.ndim < 3 or values.dtype.kind != "f":
        return None
    axis = known % values.ndim
    return axis if axis > 0 and values.shape[axis] >= 2 else None


def start_votes(values: Array, name: str, axes: Mapping[str, int | None]) -> Votes | None:
    """A counter for output ``name``, of which ``values`` are a batch; None if it has no classes.

    ``axes``: as :func:`class_axes` finds them.
    """
    if name in axes and axes[name] is None:
        return Votes(None)
    axis = class_axis(values, axes.get(name))
    return None if axis is None else Votes(axis)


def class_axes(
    model: onnx.ModelProto, tensors: Sequence[str] | None = None
) -> dict[str, int | None]:
    """Output (or one of ``tensors``) -> the axis of its classes (negative from the end), for those
    that a Softmax reads, or that a Softmax or a product with a constant computes, across a bias and
    moves of axes; None for those that an ArgMax computes, whose values are classes."""
    version = max((o.version for o in model.opset_import if o.domain in STANDARD), default=0)
    producers = {t: n for n in model.graph.node for t in n.output if t and n.domain in STANDARD}
    constants = {t.name for t in model.graph.initializer}
    constants |= {t for t, n in producers.items() if not n.input and n.op_type in SHAPE_OPS}
    facts = _Facts(producers, constants, version, _ranks(model))
    readers = {t: n for n in model.graph.node if n.op_type in NORMALIZED for t in n.input}
    found: dict[str, int | None] = {}
    for tensor in [o.name for o in model.graph.output] if tensors is None else tensors:
        if _is_chosen(tensor, producers):
            found[tensor] = None
            continue
        reader = readers.get(tensor)
        axis = _axis(tensor, facts) if reader is None else _own_axis(reader, facts)
        if axis is not None:
            found[tensor] = axis
    return found


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of a model: tensor -> its node; the constants; the opset; tensor -> its number of axes."""

    producers: Mapping[str, onnx.NodeProto]
    constants: set[str]
    version: int
    ranks: Mapping[str, int]


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    return {
        v.name: len(v.type.tensor_type.shape.dim)
        for v in (*graph.value_info, *graph.output)
        if v.type.tensor_type.HasField("shape")
    }


def _is_chosen(tensor: str, producers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether an ArgMax computes ``tensor``, across casts and moves."""

    def made(name: str) -> Made | None:
        node = producers.get(name)
        return None if node is None else (node.op_type, node.input)

    choice = find_choice(tensor, made)
    return choice is not None and choice[0] in BEST_OF


def _axis(tensor: str, facts: _Facts) -> int | None:
    producers = facts.producers
    moves: list[list[int]] = []
    node = producers.get(tensor)
    while node is not None and (node.op_type in KEEPING or node.op_type in PERMUTING):
        if node.op_type in PERMUTING:
            moves.append(list(_attributes(node).get("perm", ())))
        node = producers.get(node.input[0])
    if node is not None and node.op_type in ADDING:
        varying = [t for t in node.input if t not in facts.constants]
        node = producers.get(varying[0]) if len(varying) == 1 else None
    axis = None if node is None else _own_axis(node, facts)
    for perm in reversed(moves):
        if axis is None or not -len(perm) <= axis < len(perm):
            return None
        axis = perm.index(axis % len(perm))
    return axis


def _own_axis(node: onnx.NodeProto, facts: _Facts) -> int | None:
    """The axis of the classes in what ``node`` computes.  Before opset 13 a Softmax was over all
    axes from its own on, so that only the last one is known for sure."""
    if node.op_type in NORMALIZED:
        whole = facts.version >= LAST_AXIS_SINCE
        axis: int = _attributes(node).get("axis", -1 if whole else 1)
        return axis if whole or axis in (-1, facts.ranks.get(node.output[0], 0) - 1) else None
    reads_constant = len(node.input) > 1 and node.input[1] in facts.constants
    return -1 if reads_constant and OUTPUT_AXIS.get(node.op_type) == -1 else None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
