"""Reasons to decline: each predicate looks at one match and returns None or a sentence.

Shared by the targets; a predicate that only one target needs lives in that target's file.
"""

from collections import deque
from collections.abc import Mapping

import numpy as np

from oq.ops import facts, weight_axis
from oq.target import Match
from oq.view import GraphView, NodeView


def data_is_not_float(view: GraphView, match: Match) -> str | None:
    """Grids are for real values; integer tensors carry shapes and indices."""
    for tensor in data_inputs(match.anchor):
        if not view.is_float(tensor):
            info = view.tensors.get(tensor)
            found = None if info is None else info.dtype
            return f"input {tensor!r} is {found or 'of unknown type'}, not a float tensor"
        dtype = view.tensors[tensor].dtype
        if dtype != "float32":
            return f"input {tensor!r} is {dtype}, and oq writes Q/DQ for float32 only"
    return None


def weight_is_not_constant(view: GraphView, match: Match) -> str | None:
    """Per-channel int8 weights are made here, so their values must be in the file."""
    weight = weight_input(match.anchor)
    if weight is None or view.is_constant(weight):
        return None
    return f"weight {weight!r} is computed at run time, so it has no int8 form in the file"


def bias_is_not_constant(view: GraphView, match: Match) -> str | None:
    """An int32 bias is made here, so its values must be in the file, one per output channel."""
    bias, weight = bias_input(match.anchor), weight_input(match.anchor)
    if bias is None:
        return None
    if not view.is_constant(bias):
        return f"bias {bias!r} is computed at run time, so it has no int32 form in the file"
    if weight is None or not view.is_constant(weight):
        return None
    shape, of = view.constants[bias].shape, view.constants[weight].shape
    axis = weight_axis(match.anchor.op, match.anchor.attributes, len(of))
    if axis is None or shape == (of[axis],):
        return None
    return f"bias {bias!r} has shape {list(shape)}, not one value per output channel"


def constant_is_not_finite(view: GraphView, match: Match) -> str | None:
    """No grid holds infinity or NaN (an attention mask of -inf, a damaged weight)."""
    for node in match.members:
        for tensor in (*data_inputs(node), weight_input(node), bias_input(node)):
            if tensor is None or not view.is_constant(tensor):
                continue
            if not np.isfinite(view.constants[tensor]).all():
                return f"constant {tensor!r} holds NaN or infinite values"
    return None


def gemm_is_scaled(_view: GraphView, match: Match) -> str | None:
    """Integer Gemm kernels take alpha = beta = 1 and a data operand that is not transposed."""
    attributes = match.anchor.attributes
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return f"{match.anchor.name!r} has alpha or beta other than 1"
    return f"{match.anchor.name!r} has transA=1" if attributes.get("transA") else None


def both_operands_vary(view: GraphView, match: Match) -> str | None:
    """Attention products: neither operand is a weight."""
    if any(view.is_constant(t) for t in match.anchor.inputs[:2]):
        return None
    return (
        "product of two activations (attention): its int8 form costs accuracy in the softmax "
        "and wins little"
    )


def scales_attention(view: GraphView, match: Match) -> str | None:
    """Where attention products are float, so is their division by ``sqrt(d)``."""
    for tensor in data_inputs(match.anchor):
        node = view.producer(tensor)
        if node is not None and node.op == "MatMul" and not any(map(view.is_constant, node.inputs)):
            return f"it scales {tensor!r}, a product of two activations, which is float"
    return None


def first_operand_is_constant(view: GraphView, match: Match) -> str | None:
    """Weights are the second operand of the kernels."""
    tensor = match.anchor.inputs[0]
    return f"its first operand {tensor!r} is a constant" if view.is_constant(tensor) else None


def operand_is_constant(view: GraphView, match: Match) -> str | None:
    """For rows about two computed tensors (residual Add)."""
    for node in match.links:
        if len(node.inputs) == 2 and node.op in {"Add", "Mul", "Sub"}:
            for tensor in node.inputs:
                if view.is_constant(tensor):
                    return f"operand {tensor!r} of {node.name!r} is a constant"
    return None


def operand_varies(view: GraphView, match: Match) -> str | None:
    """For rows about a bias written as an Add: its other operand must be constant."""
    other = other_operand(match, 1)
    if other is None or not view.is_constant(other):
        return f"operand {other!r} of {match.links[1].name!r} is not a constant bias"
    return None


def pads_zeros(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` is a Pad that adds zeros."""
    if node.op != "Pad" or node.attributes.get("mode", "constant") != "constant":
        return False
    value = node.input(2)
    return not value or (view.is_constant(value) and not view.constants[value].any())


def pad_is_not_zero(view: GraphView, match: Match) -> str | None:
    """Only a zero pad lies on every grid."""
    node = match.anchor
    if node.attributes.get("mode", "constant") != "constant" or pads_zeros(view, node):
        return None
    return f"{node.name!r} pads with a value other than 0, which its input's grid may not hold"


def resize_is_not_nearest(_view: GraphView, match: Match) -> str | None:
    """Only nearest-neighbour resizing moves values without mixing them."""
    mode = match.anchor.attributes.get("mode", "nearest")
    return None if mode == "nearest" else f"{match.anchor.name!r} interpolates ({mode})"


def is_shorter_branch(view: GraphView, match: Match) -> str | None:
    """A residual Add is fused into the longer branch; the shorter one is the skip branch.

    Length counts nodes from the lowest common ancestor of the two operands; a tie goes to the
    branch at input 1, and so does an Add whose operands have no ancestor in common.  NVIDIA's
    rule (Working with Quantized Types, recommendation 4; ModelOpt
    ``build_non_residual_input_map``): in a fused Conv+Add the other operand decides the
    precision of the output, so that operand is the one to quantize.
    """
    add = next(n for n in match.links if n.op == "Add")
    if add.inputs[0] == add.inputs[1]:
        return f"both operands of {add.name!r} are the same tensor"
    inside = {t for n in match.members for t in n.outputs}
    mine = 0 if add.inputs[0] in inside else 1
    found = branch_lengths(view, add.inputs[0], add.inputs[1])
    lengths = (0, 0) if found is None else found  # of two inputs: a tie
    other = 1 - mine
    if lengths[mine] > lengths[other] or (lengths[mine] == lengths[other] and mine == 1):
        return None
    rival = view.producer(add.inputs[other])
    if rival is None or rival.op != match.anchor.op or view.edges(add.inputs[other]) != 1:
        return None  # it cannot take the Add itself
    return (
        f"{match.anchor.name!r} is the shorter branch into {add.name!r}; the longer one, "
        f"{rival.name!r}, takes the Add into its kernel"
    )


def factor_of(view: GraphView, node: NodeView) -> tuple[str, float] | None:
    """(x, c) where ``node`` computes ``x * c`` for one constant c > 0, or None.

    A negative c would turn the codes round, which no kernel with zero point 0 holds; several values
    would need a scale each.
    """
    constant = [t for t in node.inputs if view.is_constant(t)]
    varying = [t for t in node.inputs if not view.is_constant(t)]
    if node.op != "Mul" or len(constant) != 1 or view.constants[constant[0]].size != 1:
        return None
    factor = float(view.constants[constant[0]].reshape(()))
    return (varying[0], factor) if 0 < factor < np.inf else None


def is_never_negative(view: GraphView, tensor: str) -> bool:
    """Whether the graph alone proves it: behind a ReLU, a sigmoid, a Clip from 0 or more, and what
    only moves, averages, adds or multiplies such values."""
    seen, queue = {tensor}, [tensor]
    while queue:
        here = queue.pop()
        if view.is_constant(here):
            if (view.constants[here] < 0).any():
                return False
            continue
        producer = view.producer(here)
        row = None if producer is None else facts(producer.op)
        if producer is None or row is None:
            return False
        if row.sign == "positive" or _clips_at_zero(view, producer):
            continue
        if row.sign == "any":
            return False
        queue += [t for t in data_inputs(producer) if t not in seen]
        seen.update(queue)
    return True


def _clips_at_zero(view: GraphView, node: NodeView) -> bool:
    least = clip_bounds(view, node)[0] if node.op == "Clip" else None
    return least is not None and least >= 0


def branch_lengths(view: GraphView, first: str, second: str) -> tuple[int, int] | None:
    """Nodes from the lowest common ancestor of two tensors to each of them; None without one."""
    near, far = distances(view, first), distances(view, second)
    both = [t for t in near if t in far and not view.is_constant(t)]
    common = [(near[t] + far[t], near[t], far[t]) for t in both]
    if not common:
        return None
    _, mine, other = min(common)
    return mine, other


def distances(view: GraphView, tensor: str) -> dict[str, int]:
    """Nodes between each tensor that ``tensor`` is computed from and itself, the shortest way."""
    seen, queue = {tensor: 0}, deque([tensor])
    while queue:
        here = queue.popleft()
        producer = view.producer(here)
        for source in () if producer is None else producer.inputs:
            if source and source not in seen:
                seen[source] = seen[here] + 1
                queue.append(source)
    return seen


def pads_by_size(attributes: Mapping[str, object]) -> bool:
    """Whether a window's padding follows from the size of its input (``auto_pad``: SAME_UPPER,
    SAME_LOWER)."""
    return str(attributes.get("auto_pad", "")).startswith("SAME")


def is_padded(attributes: Mapping[str, object]) -> bool:
    """Whether a window may reach beyond its input; with ``auto_pad`` VALID ``pads`` count for
    nothing."""
    if attributes.get("auto_pad") == "VALID":
        return False
    pads = attributes.get("pads")
    return pads_by_size(attributes) or (isinstance(pads, list | tuple) and any(pads))


def clip_bounds(view: GraphView, node: NodeView) -> tuple[float | None, float | None]:
    """The constant bounds of a Clip node, attributes or inputs; None where there is none."""
    found: list[float | None] = []
    for slot, name in ((1, "min"), (2, "max")):
        tensor = _at(node, slot)
        value = view.constants[tensor] if tensor is not None and view.is_constant(tensor) else None
        value = node.attributes.get(name) if value is None else value.reshape(-1)[0]
        found.append(None if value is None else float(value))
    return found[0], found[1]


def constant_limits(view: GraphView, node: NodeView) -> tuple[float, float] | None:
    """The bounds of a Clip node, infinite where there is none; None where one is computed."""
    if any(name and not view.is_constant(name) for name in node.inputs[1:3]):
        return None
    low, high = clip_bounds(view, node)
    return -np.inf if low is None else low, np.inf if high is None else high


def data_inputs(node: NodeView) -> tuple[str, ...]:
    """The tensors at the data slots of ``node``."""
    row = facts(node.op)
    if row is None:
        return ()
    slots = row.data or range(len(node.inputs))
    return tuple(tensor for s in slots if (tensor := node.input(s)))


def weight_input(node: NodeView) -> str | None:
    """The tensor at the weight slot of ``node``."""
    row = facts(node.op)
    return None if row is None else _at(node, row.weight)


def bias_input(node: NodeView) -> str | None:
    """The tensor at the bias slot of ``node``."""
    row = facts(node.op)
    return None if row is None else _at(node, row.bias)


def added_row(view: GraphView, node: NodeView) -> tuple[NodeView, str] | None:
    """The Add that alone reads the MatMul ``node``, and its constant bias (out,), where all axes of
    the MatMul's data are fixed and more than two: onnxruntime makes a Gemm of the two."""
    readers = view.consumers(node.outputs[0])
    if node.op != "MatMul" or view.edges(node.outputs[0]) != 1 or len(readers) != 1:
        return None
    info = view.tensors.get(node.inputs[0])
    shape = (None,) if info is None or info.shape is None else info.shape
    if readers[0].op != "Add" or len(shape) < 3 or not all(isinstance(s, int) for s in shape):
        return None
    bias = next((t for t in readers[0].inputs if t != node.outputs[0]), "")
    is_row = view.is_constant(bias) and view.constants[bias].ndim == 1
    return (readers[0], bias) if is_row else None


def other_operand(match: Match, link: int) -> str | None:
    """The operand of the two-input node at ``link`` that does not come from inside the chain."""
    inside = {t for n in match.members for t in n.outputs}
    return next((t for t in match.links[link].inputs if t not in inside), None)


def _at(node: NodeView, slot: int | None) -> str | None:
    return None if slot is None else node.input(slot) or None
