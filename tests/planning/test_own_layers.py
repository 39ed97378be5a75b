"""Which weighted nodes of a prepared graph are the model's layers, and which oq made."""

import numpy as np
import onnx

import oq
from oq.planning.explain import own_layers, weighted_layers
from oq.planning.own_layers import made_layers
from tests.graphs import Net

GIVEN = {"a": "Conv", "a_b": "MatMul", "bn": "BatchNormalization", "p": "Pad", "e": "Einsum"}


def test_what_a_pass_makes_of_no_layer_is_not_the_models() -> None:
    nodes = [("a", "Conv"), ("p_Conv", "Conv"), ("bn_Conv", "Conv"), ("bn_Relu", "Relu")]
    assert made_layers(nodes, GIVEN) == ("p_Conv", "bn_Conv")


def test_a_layer_in_another_form_is_the_models() -> None:
    assert made_layers([("e_MatMul", "MatMul"), ("a_b_Gemm", "Gemm")], GIVEN) == ()
    assert made_layers([("fused/qkv", "MatMul")], GIVEN) == ()


def test_of_a_layer_in_parts_one_is_the_models() -> None:
    assert made_layers([("a_0", "Conv"), ("a_1", "Conv")], GIVEN) == ("a_1",)
    assert made_layers([("a_rescale", "Conv"), ("a", "Conv")], GIVEN) == ("a_rescale",)


def padded_shortcut() -> onnx.ModelProto:
    """A convolution, and a shortcut that pads channels."""
    net = Net()
    x = net.input("x", (1, 4, 6, 6))
    weight = np.ones((8, 4, 1, 1), np.float32)
    conv = net.node("Conv", [x, net.constant("w", weight)], "c")
    pads = net.constant("pads", np.array([0, 2, 0, 0, 0, 2, 0, 0], np.int64), np.int64)
    return net.model(net.node("Add", [conv, net.node("Pad", [x, pads], "p")], "y"))


def test_a_padded_shortcut_is_no_layer_more() -> None:
    plan = oq.make_plan(padded_shortcut(), "ort")
    assert len(plan.made) == 1 and plan.made[0].endswith("_Conv")
    assert own_layers(plan) == (1, 1) and weighted_layers(plan) == (2, 2)
    assert "1 of 1 weighted layers (+1 made by oq) quantized" in str(plan)


def test_core_ml_pads_in_float_and_says_why() -> None:
    plan = oq.make_plan(padded_shortcut(), "coreml")
    (left,) = plan.skips
    assert left.op == "Pad" and "takes float values only" in left.reason
    assert plan.made == ()
