"""Calls of functions, written out, compute what onnxruntime computes of the calls."""

import onnx
import pytest
from onnx import helper

import oq
from oq.errors import ModelError
from oq.model.functions import without_functions
from tests.small import assert_same_outputs, normal, ops, small

WEIGHTS = {"w": normal(8, 8), "v": normal(4, 8, seed=1)}


def calling(*functions: onnx.FunctionProto, opset: int = 17) -> onnx.ModelProto:
    """``x -> F -> MatMul``, twice, the second with other attributes."""
    text = """net (float[n,8] x) => (float[n,4] y) {
        wt = com.example.F(w) a = MatMul(x, wt) r = Relu(a)
        vt = com.example.F <gain = 2.0> (v) y = MatMul(r, vt)
    }"""
    model = small(text, WEIGHTS, opset=opset)
    model.functions.extend(functions)
    return model


def scaled(opset: int = 17) -> onnx.FunctionProto:
    """The transpose times ``gain``, which is 0.5 unless a call says otherwise."""
    gain = helper.make_node("Constant", [], ["g"])
    gain.attribute.add(name="value_float", ref_attr_name="gain", type=onnx.AttributeProto.FLOAT)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        gain,
        helper.make_node("Mul", ["t", "g"], ["y"]),
    ]
    made = helper.make_function(
        "com.example", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", opset)]
    )
    made.attribute_proto.append(helper.make_attribute("gain", 0.5))
    return made


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_defaults_and_opsets_of_a_function_are_its_own(opset: int) -> None:
    model = calling(scaled(opset))
    plain = without_functions(model)
    assert not plain.functions and len(model.functions) == 1
    assert ops(plain).count("Transpose") == 2
    assert_same_outputs(model, plain)
    assert len(oq.make_plan(model, "ort").groups) >= 2


def test_an_operator_of_another_opset_is_refused() -> None:
    old = scaled(12)
    old.node.insert(0, helper.make_node("Squeeze", ["x"], ["s"], axes=[2]))
    with pytest.raises(ModelError, match="'F' is of opset 12, in which Squeeze is another op"):
        oq.make_plan(calling(old), "ort")


def test_a_model_without_functions_is_itself() -> None:
    plain = small("net (float[n] x) => (float[n] y) { y = Relu(x) }")
    assert without_functions(plain) is plain


def test_an_argument_left_out_leaves_no_empty_end() -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    linear = helper.make_function(
        *("com.example", "L", ["x", "w", "b"], ["y"], [node]), [helper.make_opsetid("", 17)]
    )
    text = 'net (float[n,8] x) => (float[n,8] y) { y = com.example.L(x, w, "") }'
    model = small(text.replace('""', ""), {"w": WEIGHTS["w"]})
    model.functions.append(linear)
    (gemm,) = without_functions(model).graph.node
    assert list(gemm.input) == ["x", "w"]


def test_functions_of_one_name_differ_by_overload() -> None:
    model = calling(scaled())
    other = helper.make_function(
        *("com.example", "F", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])]),
        [helper.make_opsetid("", 17)],
        overload="negative",
    )
    model.functions.append(other)
    model.ir_version = 10
    model.graph.node[0].overload = "negative"
    assert oq.make_plan(model, "ort").groups
    assert ops(without_functions(model)).count("Neg") == 1


def test_q_dq_in_a_function_is_quantized_already() -> None:
    model = calling(scaled())
    model.functions[0].node.insert(
        0, helper.make_node("DequantizeLinear", ["x", "s"], ["d"], name="inner")
    )
    with pytest.raises(ModelError, match=r"quantized already: node '.*' is a DequantizeLinear"):
        oq.make_plan(model, "ort")
