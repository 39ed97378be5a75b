"""Predicates of rules: each looks at one match and returns None, or the reason not to quantize it.

These are shared by the targets; a predicate that only one target needs is in that target's file.
"""

import numpy as np

from oq.model.operands import bias_input, data_inputs, pads_zeros, weight_input
from oq.model.ops import averages, weight_axis
from oq.model.paths import branch_lengths
from oq.model.view import GraphView
from oq.planning.target import Match


def data_is_not_float(view: GraphView, match: Match) -> str | None:
    """Only float tensors are quantized; integer tensors are shapes and indices."""
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
    """int8 weights are computed offline, so the weight must be an initializer."""
    weight = weight_input(match.anchor)
    if weight is None or view.is_constant(weight):
        return None
    return f"weight {weight!r} is computed at run time, so it cannot be stored as int8"


def bias_is_not_constant(view: GraphView, match: Match) -> str | None:
    """An int32 bias is computed offline, so it must be an initializer, with one value per output
    channel."""
    bias, weight = bias_input(match.anchor), weight_input(match.anchor)
    if bias is None:
        return None
    if not view.is_constant(bias):
        return f"bias {bias!r} is computed at run time, so it cannot be stored as int32"
    if weight is None or not view.is_constant(weight):
        return None
    shape, of = view.constant_shape(bias), view.constant_shape(weight)
    axis = weight_axis(match.anchor.op, match.anchor.attributes, len(of))
    if axis is None:
        return None
    # the weight of a ConvTranspose has the output channels of one group
    groups = int(match.anchor.attributes.get("group", 1)) if axis == 1 and len(of) > 2 else 1
    if shape == (of[axis] * groups,):
        return None
    return f"bias {bias!r} has shape {list(shape)}, not one value per output channel"


def constant_is_not_finite(view: GraphView, match: Match) -> str | None:
    """Infinity and NaN cannot be quantized (an attention mask of -inf, a damaged weight)."""
    for node in match.members:
        for tensor in (*data_inputs(node), weight_input(node), bias_input(node)):
            if tensor is None or not view.is_constant(tensor):
                continue
            if not np.isfinite(view.constants[tensor]).all():
                return f"constant {tensor!r} holds NaN or infinite values"
    return None


def constant_is_empty(view: GraphView, match: Match) -> str | None:
    """A weight of a head that was cut off has no values, so no range."""
    for node in match.members:
        for tensor in (*data_inputs(node), weight_input(node), bias_input(node)):
            if tensor is not None and view.is_constant(tensor) and 0 in view.constant_shape(tensor):
                return f"constant {tensor!r} holds no values"
    return None


def computes_a_constant(view: GraphView, match: Match) -> str | None:
    """No value reaches it that was measured: folding left it, being too large or broken."""
    if all(view.is_constant(t) for t in match.anchor.inputs if t):
        return f"{match.anchor.name!r} reads constants alone"
    return None


ALWAYS = (constant_is_empty, constant_is_not_finite, computes_a_constant)
"""Of every rule of every target."""


def data_is_vector(view: GraphView, match: Match) -> str | None:
    """OpenVINO 2026.4 gives the quantized product of a vector and a matrix an axis of 1 in front,
    and does not load what reads it."""
    tensor = match.anchor.inputs[0]
    return f"its input {tensor!r} is a vector" if view.rank(tensor) == 1 else None


def gemm_is_scaled(_view: GraphView, match: Match) -> str | None:
    """Integer Gemm kernels take alpha = beta = 1 and a data operand that is not transposed."""
    attributes = match.anchor.attributes
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return f"{match.anchor.name!r} has alpha or beta other than 1"
    return f"{match.anchor.name!r} has transA=1" if attributes.get("transA") else None


def both_operands_vary(view: GraphView, match: Match) -> str | None:
    """Products of two activations (attention): neither operand is a weight."""
    if any(view.is_constant(t) for t in match.anchor.inputs[:2]):
        return None
    return (
        "product of two activations (attention): int8 costs accuracy in the softmax "
        "and saves little time"
    )


def scales_attention(view: GraphView, match: Match) -> str | None:
    """If attention products are float, so is their division by ``sqrt(d)``."""
    for tensor in data_inputs(match.anchor):
        node = view.producer(tensor)
        if node is not None and node.op == "MatMul" and not any(map(view.is_constant, node.inputs)):
            return f"it scales {tensor!r}, a product of two activations that stays in float"
    return None


def first_operand_is_constant(view: GraphView, match: Match) -> str | None:
    """The kernels take the weight as second operand."""
    tensor = match.anchor.inputs[0]
    return f"its first operand {tensor!r} is a constant" if view.is_constant(tensor) else None


def operand_is_constant(view: GraphView, match: Match) -> str | None:
    """For rules about two computed tensors (residual Add)."""
    for node in match.links:
        if len(node.inputs) == 2 and node.op in {"Add", "Mul", "Sub"}:
            for tensor in node.inputs:
                if view.is_constant(tensor):
                    return f"operand {tensor!r} of {node.name!r} is a constant"
    return None


def operand_varies(view: GraphView, match: Match) -> str | None:
    """For rules about a bias written as an Add: its other operand must be constant."""
    other = other_operand(match, 1)
    if other is None or not view.is_constant(other):
        return f"operand {other!r} of {match.links[1].name!r} is not a constant bias"
    return None


def pad_is_not_zero(view: GraphView, match: Match) -> str | None:
    """Zero is representable with any scale and zero point; other pad values are not."""
    node = match.anchor
    if node.attributes.get("mode", "constant") != "constant" or pads_zeros(view, node):
        return None
    return (
        f"{node.name!r} pads with a value other than 0, which the range of its input may "
        "not contain"
    )


def average_is_dilated(_view: GraphView, match: Match) -> str | None:
    """No integer kernel averages values that lie apart: onnxruntime does not even load its own."""
    node = next((n for n in match.links if averages(n.op)), None)
    if node is None or all(step == 1 for step in node.attributes.get("dilations", ())):
        return None
    return f"{node.name!r} averages values that lie apart (dilations)"


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
        f"{rival.name!r}, fuses the Add"
    )


def other_operand(match: Match, link: int) -> str | None:
    """The operand of the two-input node at ``link`` that does not come from inside the chain."""
    inside = {t for n in match.members for t in n.outputs}
    return next((t for t in match.links[link].inputs if t not in inside), None)
