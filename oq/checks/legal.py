"""The table of checks that define a legal Q/DQ graph.

Files written by ``emit`` must pass, and ``oq check`` applies the same rows to files of any tool.  A
check looks at a graph and yields findings; the rows named in :data:`ALWAYS` apply to every target,
the others to the targets that list them in ``Target.checks``.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from oq.checks.float16 import no_float16_scale, sides_differ, sum_overflows
from oq.checks.int32 import steps_overflow
from oq.checks.placement import (
    concat_grids,
    doubled_pair,
    half_quantized,
    int8_across_a_move,
    moved_into_a_body,
    pad_is_cut_off,
    residual_sides,
    shared_int8,
    weight_only,
)
from oq.model.ops import CLIPPING, WHOLE_AXIS, facts, has_weight, weight_axis, weight_input
from oq.model.qdq import DQ, Q, above_pair, constant, dequantized_by, pairs, scales
from oq.model.qoperators import BY_NAME, COMPUTING
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.planning.check import Check, Finding, Found
from oq.planning.target import Target

INTEGER_OPERATORS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulNBits",
        *BY_NAME,
    }
)


def check(view: GraphView, target: Target) -> tuple[Finding, ...]:
    """All findings of the checks of ``target``, in the order of the table."""
    rows = [CHECKS[c] if isinstance(c, str) else c for c in (*ALWAYS, *target.checks)]
    return tuple(
        Finding(row.name, row.severity, node, message, row.remedy)
        for row in rows
        for node, message in row.find(view)
    )


# -- what every target demands ---------------------------------------------------------------


def bad_scale(view: GraphView) -> Iterator[Found]:
    """Scales are finite, positive and normal."""
    for node in pairs(view):
        scale = constant(view, node, 1)
        if scale is None:
            yield node.name, f"scale {node.inputs[1]!r} is not a constant"
            continue
        if not (np.isfinite(scale).all() and (scale.astype(np.float64) > 0).all()):
            yield node.name, f"scale {node.inputs[1]!r} has values that are not finite and > 0"


def bad_axis(view: GraphView) -> Iterator[Found]:
    """The axis of a per-channel scale has the length of the scale."""
    for node, scale in scales(view):
        shape = view.shape(node.inputs[0])
        if shape is None or scale.ndim != 1 or scale.size == 1:
            continue
        axis = int(node.attributes.get("axis", 1))
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        if size is None or (isinstance(size, int) and size != scale.size):
            yield node.name, f"{scale.size} scales along axis {axis} of shape {list(shape)}"


def dangling(view: GraphView) -> Iterator[Found]:
    """A DequantizeLinear reads a QuantizeLinear, the output of an integer kernel, or a constant."""
    for node in view.nodes:
        if node.op == Q:
            readers = view.consumers(node.outputs[0])
            if not readers and node.outputs[0] not in view.outputs:
                yield node.name, "its output is not read"
        if node.op == DQ and view.producer(node.inputs[0]) is None:
            is_input = any(i.name == node.inputs[0] for i in view.inputs)
            if not view.is_constant(node.inputs[0]) and not is_input:
                yield node.name, f"its input {node.inputs[0]!r} has no producer"


def zero_point_missing(view: GraphView) -> Iterator[Found]:
    """Without a zero point, the type is uint8 in ONNX and int8 in TensorRT."""
    for node in pairs(view):
        if not node.input(2):
            yield node.name, "it has no zero point, and tools disagree on the default"


def pair_differs(view: GraphView) -> Iterator[Found]:
    """Q and DQ of a pair have the same scale and zero point."""
    for node in view.nodes:
        above = view.producer(node.inputs[0]) if node.op == DQ else None
        if above is None or above.op != Q:
            continue
        for slot, what in ((1, "scale"), (2, "zero point")):
            mine, theirs = constant(view, node, slot), constant(view, above, slot)
            if mine is not None and theirs is not None and not np.array_equal(mine, theirs):
                yield node.name, f"its {what} differs from that of {above.name!r}"


# -- what single targets demand --------------------------------------------------------------


def zero_point_not_zero(view: GraphView) -> Iterator[Found]:
    """Symmetric targets support only zero point 0."""
    for node in pairs(view):
        zero = constant(view, node, 2)
        if zero is not None and zero.any():
            yield node.name, f"zero point {zero.reshape(-1)[0]} where only 0 is accepted"


def uses_uint8(view: GraphView) -> Iterator[Found]:
    """The importer supports int8, not uint8."""
    for node in pairs(view):
        zero = constant(view, node, 2)
        if zero is not None and zero.dtype == np.uint8:
            yield node.name, "it is uint8 where only int8 is accepted"


def foreign_float8(view: GraphView) -> Iterator[Found]:
    """The only float8 type that the importer supports is E4M3FN."""
    for node in pairs(view):
        zero = constant(view, node, 2)
        kind = "" if zero is None else str(zero.dtype)
        if kind.startswith("float8") and kind != "float8_e4m3fn":
            yield node.name, f"it is {kind} where only float8_e4m3fn is accepted"


def int32_bias(view: GraphView) -> Iterator[Found]:
    """An int32 DequantizeLinear is rejected."""
    for node in view.nodes:
        info = view.tensors.get(node.inputs[0]) if node.op == DQ else None
        if info is not None and info.dtype == "int32":
            yield node.name, f"it dequantizes the int32 tensor {node.inputs[0]!r}"


def per_channel_activation(view: GraphView) -> Iterator[Found]:
    """Per-channel scales are for constants only."""
    for node in view.nodes:
        scale = constant(view, node, 1) if node.op == Q else None
        if scale is not None and scale.size > 1 and not view.is_constant(node.inputs[0]):
            yield node.name, f"activation {node.inputs[0]!r} has {scale.size} scales"


def wrong_weight_axis(view: GraphView) -> Iterator[Found]:
    """Weights are quantized along their output-channel axis (onnxruntime's MatMul silently accepts
    a wrong axis and computes wrong results)."""
    for node in view.nodes:
        weight = weight_input(node.op, node.inputs)
        source = view.producer(weight)
        scale = None if source is None or source.op != DQ else constant(view, source, 1)
        if source is None or scale is None or scale.size == 1:
            continue
        if source.attributes.get("block_size"):
            continue  # blocks lie along the inputs, and every output channel has its own
        # other tools write no type for what a DequantizeLinear makes, so ask its codes
        ranks = (view.rank(t) for t in (weight, source.inputs[0]))
        rank = next((r for r in ranks if r is not None), None)
        if rank is None:
            continue
        found = int(source.attributes.get("axis", 1)) % rank
        wanted = weight_axis(node.op, node.attributes, rank)
        if found != wanted:
            yield source.name, f"axis {found} of {node.op} {node.name!r}, whose axis is {wanted}"


def quantized_output(view: GraphView) -> Iterator[Found]:
    """Graph outputs are float."""
    for name in view.outputs:
        producer = view.producer(name)
        if producer is not None and producer.op == DQ:
            yield producer.name, f"graph output {name!r} is quantized"


def split_fusion(view: GraphView) -> Iterator[Found]:
    """No Q/DQ between a layer and its activation, which alone reads it."""
    for node in view.nodes:
        row = facts(node.op)
        fits = row is not None and row.kind == "activation" and node.op not in WHOLE_AXIS
        alone = fits and view.edges(node.inputs[0]) == 1
        above = above_pair(view, node.inputs[0]) if alone else None
        if above is not None and has_weight(above.op):
            yield node.name, f"there is a Q/DQ pair between {above.op} {above.name!r} and it"


def many_readers(view: GraphView) -> Iterator[Found]:
    """The float output of an integer kernel that ends in a QuantizeLinear has no other reader; that
    of a float node may have several."""
    for node in view.nodes:
        fused = view.producer(node.inputs[0]) if node.op in CLIPPING else None
        layer = node if fused is None else fused
        if layer.op not in COMPUTING or not _runs_on_codes(view, layer):
            continue
        for tensor in node.outputs:
            readers = view.consumers(tensor)
            if any(r.op == Q for r in readers) and view.edges(tensor) > 1:
                yield node.name, f"{tensor!r} is read by a QuantizeLinear and by others"


def quantized_anyway(view: GraphView) -> Iterator[Found]:
    """A layer with float weights between a DQ and a Q does not stay in float: onnxruntime gives it
    int8 weights, per tensor, when it loads the model (its WeightBiasQuantization)."""
    for node in view.nodes:
        row = facts(node.op)
        if row is None or row.bias is None or row.weight is None or not _reads_codes(view, node):
            continue
        weight = node.input(row.weight)
        readers = view.consumers(node.outputs[0])
        behind = [r for n in readers if n.op in CLIPPING for r in view.consumers(n.outputs[0])]
        if view.is_constant(weight) and any(r.op == Q for r in (*readers, *behind)):
            yield node.name, f"{node.op} has float weights between integer neighbours"


def integer_kernel(view: GraphView) -> Iterator[Found]:
    """Importers of Q/DQ graphs do not support onnxruntime's integer operators."""
    for node in view.nodes:
        if node.op in INTEGER_OPERATORS:
            yield node.name, f"operator {node.op} is not Q/DQ"


def relu_below_zero(view: GraphView) -> Iterator[Found]:
    """A fused ReLU needs a range without negative values: the zero point is the lowest integer."""
    for node in view.nodes:
        if node.op != "Relu":
            continue
        above = view.producer(node.inputs[0])
        row = None if above is None else facts(above.op)
        if above is None or row is None or row.kind != "compute" or not _reads_codes(view, above):
            continue
        for reader in view.consumers(node.outputs[0]):
            zero = constant(view, reader, 2) if reader.op == Q else None
            if zero is not None and int(zero.min()) != np.iinfo(zero.dtype).min:
                yield (
                    node.name,
                    f"zero point {int(zero.min())} leaves room for negative values, which ReLU "
                    "removes",
                )


def wrong_bias_scale(view: GraphView) -> Iterator[Found]:
    """An int32 bias has scale(data) * scale(weight)."""
    for node in view.nodes:
        row = facts(node.op)
        if row is None or row.bias is None or len(node.inputs) <= row.bias:
            continue
        slots = (row.data[0], row.weight, row.bias)
        found = [_scale_of(view, node.inputs[s]) for s in slots if s is not None]
        data, weight, bias = (*found, None, None, None)[:3]
        if data is None or weight is None or bias is None:
            continue
        product = data.astype(np.float64) * weight.astype(np.float64)
        fits = bias.size in {1, product.size} or product.size == 1
        if not fits or not np.allclose(bias, product, rtol=1e-5, atol=0):
            yield node.name, "the scale of its bias is not scale(data) * scale(weight)"


def _reads_codes(view: GraphView, node: NodeView) -> bool:
    return bool(node.inputs) and dequantized_by(view, node.inputs[0]) is not None


def _runs_on_codes(view: GraphView, node: NodeView) -> bool:
    """Whether data comes from a DequantizeLinear, and the weight, if there is one, is stored."""
    weight = weight_input(node.op, node.inputs)
    kept = not weight or view.is_constant(weight) or dequantized_by(view, weight) is not None
    return kept and _reads_codes(view, node)


def _scale_of(view: GraphView, tensor: str) -> Array | None:
    dq = dequantized_by(view, tensor)
    return None if dq is None else constant(view, dq, 1)


def _table(rows: Iterable[Check]) -> Mapping[str, Check]:
    return {row.name: row for row in rows}


CHECKS = _table(
    (
        Check("scale", "error", bad_scale, "write a positive, finite float constant"),
        Check("axis", "error", bad_axis, "name the axis whose length is the number of scales"),
        Check("ends", "error", dangling, "remove the node or connect it"),
        Check("zero-point-present", "warning", zero_point_missing, "add an explicit zero point"),
        Check("pair", "error", pair_differs, "let both nodes read the same initializers"),
        Check("zero-point-is-zero", "error", zero_point_not_zero, "quantize symmetrically"),
        Check("no-uint8", "error", uses_uint8, "use int8"),
        Check("float8-kind", "error", foreign_float8, "quantize to float8_e4m3fn"),
        Check("no-int32-bias", "error", int32_bias, "leave the bias in float"),
        Check(
            "activations-per-tensor", "error", per_channel_activation, "use one scale per tensor"
        ),
        Check("weight-axis", "error", wrong_weight_axis, "scale along the output channels"),
        Check(
            "output-is-float", "warning", quantized_output, "make the float tensor the graph output"
        ),
        Check("fusion-is-whole", "warning", split_fusion, "put the pair after the activation"),
        Check(
            "one-reader", "warning", many_readers, "let the other readers read the DequantizeLinear"
        ),
        Check(
            "relu-grid", "warning", relu_below_zero, "use affine quantization with zero point qmin"
        ),
        Check("bias-scale", "error", wrong_bias_scale, "recompute the int32 bias"),
        Check(
            "stays-float",
            "warning",
            quantized_anyway,
            "keep a neighbour in float too, or load with session.disable_quant_qdq=1",
        ),
        Check(
            "residual",
            "warning",
            residual_sides,
            "quantize the skip connection, not the output of the layer",
        ),
        Check(
            "concat", "warning", concat_grids, "use the same scale and zero point for all of them"
        ),
        Check("pad", "warning", pad_is_cut_off, "put the pair before the Pad"),
        Check("half", "warning", half_quantized, "quantize both, or neither"),
        Check(
            "double-pair",
            "warning",
            doubled_pair,
            "use one scale and zero point for both, or load with "
            "session.disable_double_qdq_remover=1",
        ),
        Check(
            "weight-only",
            "warning",
            weight_only,
            "quantize its data, or load with session.qdq_matmulnbits_accuracy_level=0",
        ),
        Check("shared-int8", "warning", shared_int8, "quantize activations to uint8"),
        Check(
            "loads",
            "error",
            int8_across_a_move,
            "put the pair after it, use uint8, or write opset 20",
        ),
        Check(
            "loads-by-option",
            "warning",
            int8_across_a_move,
            "to run the file in onnxruntime, load it with session.qdqisint8allowed=1",
        ),
        Check(
            "loads-bodies",
            "error",
            moved_into_a_body,
            "let the bodies read a copy (Max with one input)",
        ),
        Check(
            "steps-in-int32",
            "warning",
            steps_overflow,
            "calibrate on real data, or keep it in float",
        ),
        Check("float16-scale", "error", no_float16_scale, "use the nearest normal float16"),
        Check("sum-in-float16", "warning", sum_overflows, "use larger scales for both operands"),
        Check("sides", "error", sides_differ, "use the same scale and zero point on both sides"),
        Check("only-qdq", "error", integer_kernel, "write the model in Q/DQ form"),
    )
)

ALWAYS = ("scale", "axis", "ends", "zero-point-present", "pair")
"""Checks that apply to every target."""
