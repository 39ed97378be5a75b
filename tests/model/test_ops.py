"""The op table says what ONNX says: its schemas are the reference."""

import onnx.defs
import pytest

from oq.model.ops import (
    COMPOSITES,
    OPS,
    SHAPE_OPS,
    TRANSPOSED_WEIGHT,
    anchor,
    facts,
    only_moves,
    weight_axis,
)


def test_a_kernel_is_called_after_its_node_with_a_weight() -> None:
    assert anchor(("m", "c", "r"), ("Mul", "Conv", "Relu")) == "c"
    assert anchor(("a", "r"), ("Add", "Relu")) == "a"


@pytest.mark.parametrize(("op", "moves"), [("MaxPool", True), ("Add", False), ("Nonsense", False)])
def test_what_only_moves_is_a_copy_op(op: str, moves: bool) -> None:
    assert only_moves(op) is moves


def test_rows_are_sorted_so_that_a_new_one_has_one_place() -> None:
    assert list(OPS) == sorted(OPS)


@pytest.mark.parametrize("op", sorted(set(OPS) - set(COMPOSITES)))
def test_every_op_and_its_slots_exist_in_onnx(op: str) -> None:
    schema, row = onnx.defs.get_schema(op), OPS[op]
    slots = [s for s in (*row.data, row.weight, row.bias) if s is not None]
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    assert schema.inputs[-1].option == variadic or max(slots, default=0) < len(schema.inputs)
    assert (row.weight is None) == (row.weight_axis is None)
    # Data and parameters never share a slot.
    assert row.weight not in row.data and row.bias not in row.data


@pytest.mark.parametrize("op", sorted(op for op, row in OPS.items() if row.bias is not None))
def test_a_bias_is_an_optional_input(op: str) -> None:
    formal = onnx.defs.get_schema(op).inputs[OPS[op].bias or 0]
    assert formal.option == onnx.defs.OpSchema.FormalParameterOption.Optional


@pytest.mark.parametrize(
    ("op", "attributes", "rank", "axis"),
    [
        ("Conv", {}, 4, 0),
        ("Conv", {}, 3, 0),
        ("ConvTranspose", {}, 4, 1),
        ("Gemm", {}, 2, 1),
        ("Gemm", {"transB": 0}, 2, 1),
        ("Gemm", {"transB": 1}, 2, 0),
        ("MatMul", {}, 2, 1),
        ("MatMul", {}, 3, 2),
        ("Add", {}, 4, None),
    ],
)
def test_output_channel_axis(
    op: str, attributes: dict[str, int], rank: int, axis: int | None
) -> None:
    assert weight_axis(op, attributes, rank) == axis


def test_an_unknown_op_has_no_facts() -> None:
    assert facts("NoSuchOp") is None
    assert facts("Conv") is OPS["Conv"]


def test_composites_and_flags_refer_to_rows() -> None:
    for name, (first, last) in COMPOSITES.items():
        assert OPS[name].kind == "activation"
        assert OPS[first].kind == "activation" and last in OPS
    for op, (flag, _) in TRANSPOSED_WEIGHT.items():
        assert flag in onnx.defs.get_schema(op).attributes


def test_shape_ops_are_not_quantized() -> None:
    assert not SHAPE_OPS & set(OPS)


def test_a_scalar_weight_has_no_channels() -> None:
    assert weight_axis("Conv", {}, 0) is None
