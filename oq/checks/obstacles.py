"""Reasons why a kernel runs in float although its inputs and output are quantized.

Each function looks at one match in a Q/DQ graph and returns None or the reason; the counterpart of
:mod:`oq.planning.predicates`, which looks at float graphs before placement.
"""

import numpy as np

from oq.model.operands import bias_input, data_inputs, gemm_sum, weight_input
from oq.model.ops import CLIPPING, PICKING
from oq.model.qdq import Q, block_size, codes_dtype, constant, dequantized_by, stored
from oq.model.view import GraphView, NodeView
from oq.planning.target import Place


def clip_differs_from_range(place: Place) -> str | None:
    """A ReLU or Clip fuses if the QuantizeLinear after it saturates at its bounds (onnxruntime,
    ClipQuantFusion and ReluQuantFusion)."""
    view, last = place.view, place.match.links[-1]
    if len(place.match.links) == 1 or last.op not in CLIPPING:
        return None
    low, high = (0.0, np.inf) if last.op == "Relu" else _bounds(view, last)
    for q in place.sinks:
        scale, zero = constant(view, q, 1), constant(view, q, 2)
        if scale is None or zero is None:
            return f"scale or zero point after {last.name!r} is computed at run time"
        codes, step, offset = np.iinfo(zero.dtype), float(scale.flat[0]), int(zero.flat[0])
        cuts_low = np.rint(low / step) + offset > codes.min
        if cuts_low or np.rint(high / step) + offset < codes.max:
            return (
                f"the range after {last.op} {last.name!r} contains values that it clips, so "
                "the two cannot be fused"
            )
    return None


def signs_differ(place: Place) -> str | None:
    """int8 activations need int8 weights."""
    weight = weight_input(place.match.anchor)
    dq = None if weight is None else dequantized_by(place.view, weight)
    data = {codes_dtype(place.view, source) for source in place.sources}
    if dq is None or data != {"int8"} or codes_dtype(place.view, dq) != "uint8":
        return None
    return "its data is int8 and its weight is uint8"


def float_output_without_int32_bias(place: Place) -> str | None:
    """A Gemm with float output needs an int32 bias or none; before a QuantizeLinear any bias
    works."""
    if place.match.anchor.op != "Gemm" or place.sinks:
        return None
    bias = bias_input(place.match.anchor)
    dq = None if bias is None else dequantized_by(place.view, bias)
    if bias is None or (dq is not None and codes_dtype(place.view, dq) == "int32"):
        return None
    return "its output is float, for which the integer kernel needs an int32 bias"


def sum_makes_a_gemm(place: Place) -> str | None:
    """onnxruntime fuses a MatMul and an Add of certain shapes into a Gemm before anything is
    quantized, and a Gemm whose bias is not int32 runs in float (:func:`gemm_sum`)."""
    found = gemm_sum(place.view, place.match.anchor) if place.sources else None
    if found is None:  # of float data too: weights in blocks have a kernel of their own
        return None
    add, operand = found
    dq = dequantized_by(place.view, operand)
    if dq is not None and codes_dtype(place.view, dq) == "int32":
        return None
    said = f"onnxruntime fuses it and {add.name!r} into a Gemm, which reads {operand!r} in float"
    if place.view.rank(place.match.anchor.inputs[0]) != 2:
        return f"{said}; with shape (1, out) it stays a MatMul"
    return f"{said}; with a Sum in place of the Add it stays a MatMul"


def int8_is_shared(place: Place) -> str | None:
    """On x86 onnxruntime converts int8 pairs to uint8 and supports no other int8 activations; it
    converts only pairs of one DequantizeLinear with one reader (probed with 1.31; not so on ARM,
    where ``session.qdqisint8allowed`` is 1)."""
    view = place.view
    if place.match.anchor.op == "Gemm" and not place.sinks:
        return None  # the one kernel that reads int8 and writes float
    above = [view.producer(dq.inputs[0]) for dq in place.sources]
    for q in (*above, *place.sinks):
        if q is None or q.op != Q or codes_dtype(view, q) != "int8":
            continue
        readers = view.consumers(q.outputs[0])
        if sum(view.edges(dq.outputs[0]) for dq in readers if dq.outputs) > 1:
            return (
                f"the int8 tensor {q.inputs[0]!r} has several readers, and onnxruntime on x86 "
                "supports shared activations only in uint8"
            )
    return None


def int8_operand_is_stored(place: Place) -> str | None:
    """The counterpart for constants: they stay int8 while the activations become uint8, and
    elementwise kernels need equal types (probed with onnxruntime 1.31 on x86)."""
    for node in place.match.links:
        for tensor in data_inputs(node):
            dq = dequantized_by(place.view, tensor)
            if dq is not None and stored(place.view, dq) and codes_dtype(place.view, dq) == "int8":
                return (
                    f"its constant operand {tensor!r} is int8, which onnxruntime on x86 does not "
                    "convert to uint8, unlike the other operand"
                )
    return None


def blocks_are_shared(place: Place) -> str | None:
    """onnxruntime fuses a blockwise DequantizeLinear only if it has one reader and nothing else
    reads its constants (probed with onnxruntime 1.32)."""
    weight = weight_input(place.match.anchor)
    dq = None if weight is None else dequantized_by(place.view, weight)
    if weight is None or dq is None or block_size(dq) is None:
        return None
    shared = next((t for t in (weight, *dq.inputs) if t and place.view.edges(t) > 1), None)
    if shared is None:
        return None
    return f"several nodes read {shared!r}, so onnxruntime dequantizes the weight on every run"


def table_is_dequantized_whole(place: Place) -> str | None:
    """onnxruntime does not move a DequantizeLinear of a constant behind the Gather that reads
    it (probed with onnxruntime 1.32)."""
    node = place.match.anchor
    dq = dequantized_by(place.view, node.inputs[0]) if node.op in PICKING else None
    if dq is None or not stored(place.view, dq):
        return None
    return (
        f"onnxruntime dequantizes the whole table {dq.inputs[0]!r} on every run; put the "
        "DequantizeLinear behind it"
    )


def _bounds(view: GraphView, clip: NodeView) -> tuple[float, float]:
    """What ``clip`` lets through."""
    bounds = [-np.inf, np.inf]
    for slot in (1, 2):
        value = constant(view, clip, slot)
        if value is None and slot < len(clip.inputs) and clip.inputs[slot]:
            dq = dequantized_by(view, clip.inputs[slot])
            codes = None if dq is None else constant(view, dq, 0)
            scale = None if dq is None else constant(view, dq, 1)
            zero = None if dq is None else constant(view, dq, 2)
            if codes is not None and scale is not None:
                value = (codes.astype(np.int64) - (0 if zero is None else zero)) * scale
        if value is not None:
            bounds[slot - 1] = float(value.reshape(-1)[0])
    return bounds[0], bounds[1]
