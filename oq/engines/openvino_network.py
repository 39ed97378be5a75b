"""OpenVINO's reading of an ONNX file in the form that its transformations expect.

OpenVINO reads QuantizeLinear and DequantizeLinear as FakeQuantize to codes, two Converts, Subtract
and Multiply.  Its low-precision transformations are made for another form, that of its own
quantizer: one FakeQuantize whose output limits are its input limits (docs.openvino.ai, "Low
Precision Transformations": "FakeQuantize operations", "quantize and dequantize in one").  In the
first form 2026.4 rounds int8 operands of a Concat to 16 levels; in the second they are exact.

The values are those of the file in both.  This module does not import openvino: it is handed the
operation set.
"""

from collections.abc import Iterator
from typing import Any

LEVELS = 256
"""Codes of 8 bits; wider ones are left as they are."""

CLOSE = 1e-5
"""How far the limits before and behind a pair may be apart, as a share of the wider one: what the
rounding of float32 makes of one scale."""


def join_pairs(network: Any, ops: Any) -> int:
    """Put one FakeQuantize in place of each quantization to 8 bits and its dequantization on the
    same grid, in place; returns their number."""
    count = 0
    for rounding in list(network.get_ordered_ops()):
        if _kind(rounding) != "FakeQuantize" or rounding.get_attributes()["levels"] != LEVELS:
            continue
        limits = [rounding.input_value(slot) for slot in (1, 2)]
        ends = [last for last in _dequantized(rounding) if _is_one_grid(rounding, last)]
        if not ends or _kind(rounding.input_value(0).get_node()) == "Constant":
            continue
        source = rounding.input_value(0)
        joined = ops.fake_quantize(source, *limits, *limits, LEVELS).output(0)
        joined.get_node().set_friendly_name(ends[0].get_friendly_name())
        joined.get_tensor().set_names({n for last in ends for n in last.output(0).get_names()})
        for reader in [r for last in ends for r in last.output(0).get_target_inputs()]:
            reader.replace_source_output(joined)
        count += 1
    network.validate_nodes_and_infer_types()
    return count


def fix_reshapes(network: Any, ops: Any) -> int:
    """Store the target of each Reshape whose result has one known shape, in place; returns their
    number.

    The bias of a convolution is spread by a shape that is worked out from the convolution's own.
    Where the model asks for its batch too, OpenVINO asks the convolution for it, which then has
    two readers, and the bias is lost (2026.4; the patches of a vision transformer)."""
    count = 0
    for node in network.get_ordered_ops():
        if _kind(node) != "Reshape" or _kind(node.input_value(1).get_node()) == "Constant":
            continue
        if node.output(0).get_partial_shape().is_static:
            shape = ops.constant(list(node.output(0).get_shape()), dtype="int64")
            node.input(1).replace_source_output(shape.output(0))
            count += 1
    network.validate_nodes_and_infer_types()
    return count


def _dequantized(rounding: Any) -> Iterator[Any]:
    """The Multiplies that end FakeQuantize -> Convert -> Convert (-> Subtract) -> Multiply."""
    for codes in _readers(rounding, "Convert"):
        for wide in _readers(codes, "Convert"):
            for less in (wide, *_readers(wide, "Subtract")):
                yield from _readers(less, "Multiply")


def _is_one_grid(rounding: Any, last: Any) -> bool:
    """Whether dequantization up to ``last`` gives the limits that ``rounding`` starts from."""
    before = last.input_value(0).get_node()
    zero = _value(before.input_value(1)) if _kind(before) == "Subtract" else 0.0
    scale = _value(last.input_value(1))
    low, high, least, most = (_value(rounding.input_value(slot)) for slot in (1, 2, 3, 4))
    if zero is None or scale is None or None in (low, high, least, most):
        return False
    near = CLOSE * max(abs(low), abs(high))
    ends = ((least, low), (most, high))
    return all(abs((code - zero) * scale - limit) <= near for code, limit in ends)


def _value(output: Any) -> Any:
    """The value of a constant that has one, behind Converts and Reshapes; else None."""
    node = output.get_node()
    while _kind(node) in {"Convert", "Reshape"}:
        node = node.input_value(0).get_node()
    held = node.get_data() if _kind(node) == "Constant" else None
    return float(held.item()) if held is not None and held.size == 1 else None


def _readers(node: Any, kind: str) -> list[Any]:
    found = [reader.get_node() for reader in node.output(0).get_target_inputs()]
    return [reader for reader in found if _kind(reader) == kind]


def _kind(node: Any) -> str:
    return str(node.get_type_name())
