"""Where pairs stand: each row on a graph that offends and on its repaired form."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from models.digits import BUNDLED
from oq import pipeline
from oq.checks.legal import CHECKS
from oq.model.graph import Graph
from oq.model.optimizer_faults import KEEP_INT8, MIXED_INT8
from oq.model.session import Session, Settings, optimized_ops, run
from tests.emission.test_keep_float import behind_a_move
from tests.graphs import Net
from tests.pairs import conv, dequantize, pair, quantize, stored
from tests.small import normal

PLACEMENT = {
    *{"residual", "concat", "pad", "half", "double-pair", "weight-only", "shared-int8", "loads"},
    *{"loads-by-option", "loads-bodies"},
}


def found(name: str, model: onnx.ModelProto) -> list[tuple[str, str]]:
    return list(CHECKS[name].find(Graph(model).view()))


def residual(layer: bool, skip: bool, *, projected: bool = False) -> onnx.ModelProto:
    """``conv(x) + x`` with a pair on the layer's side, on the skip's, on both or on neither."""
    net = Net()
    x = pair(net, net.input("x"), "x", "int8")
    left = conv(net, x, "c")
    right = conv(net, x, "e") if projected else net.node("Erf", [x], "e")
    left = pair(net, left, "c", "int8") if layer else left
    right = pair(net, right, "e", "int8") if skip else right
    return net.model(net.node("Add", [left, right], "s"))


def test_a_residual_add_has_its_pair_on_the_skip() -> None:
    assert found("residual", residual(layer=False, skip=True)) == []
    assert found("residual", residual(layer=False, skip=False)) == []
    assert found("residual", residual(layer=True, skip=True)) == [
        ("n_s", "both operands are quantized, so it cannot fuse into 'n_c'")
    ]
    assert found("residual", residual(layer=True, skip=False)) == [
        ("n_s", "the pair is on the branch of 'n_c', and the skip connection is float")
    ]


def test_of_two_layers_either_may_be_the_skip() -> None:
    assert found("residual", residual(layer=True, skip=False, projected=True)) == []
    assert found("residual", residual(layer=False, skip=True, projected=True)) == []
    assert len(found("residual", residual(layer=True, skip=True, projected=True))) == 1


def test_a_bias_is_no_residual() -> None:
    net = Net()
    c = pair(net, conv(net, pair(net, net.input("x"), "x", "int8"), "c"), "c", "int8")
    assert found("residual", net.model(net.node("Add", [c, stored(net, "b", 1)], "s"))) == []


@pytest.mark.parametrize("scales", [(0.05, 0.05, 0.05), (0.05, 0.1, 0.05), (0.05, 0.05, 0.1)])
def test_one_grid_around_a_concat(scales: tuple[float, float, float]) -> None:
    net = Net()
    sides = [pair(net, net.input(n), n, "int8", s) for n, s in zip("ab", scales, strict=False)]
    made = net.node("Concat", sides, "c", axis=1)
    said = found("concat", net.model(pair(net, made, "c", "int8", scales[2])))
    other = "n_d_b" if scales[1] != scales[0] else "n_q_c"
    expected = [("n_c", f"scale or zero point of 'n_d_a' and {other!r} around it differ")]
    assert said == ([] if len(set(scales)) == 1 else expected)


@pytest.mark.parametrize("quantized", [True, False])
def test_a_concat_with_a_float_operand_and_result_stays_in_float(quantized: bool) -> None:
    net = Net()
    sides = [pair(net, net.input(n), n, "int8", s) for n, s in (("a", 0.05), ("b", 0.1))]
    end = net.node("Concat", [*sides, net.input("f")], "c", axis=1)
    model = net.model(pair(net, end, "c", "int8", 0.1) if quantized else end)
    assert len(found("concat", model)) == quantized


@pytest.mark.parametrize(("mode", "value"), [("constant", 0), ("constant", 1), ("reflect", 0)])
def test_a_zero_pad_stands_next_to_its_convolution(mode: str, value: float) -> None:
    net = Net()
    amounts = net.constant("amounts", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    padded = net.node("Pad", [net.input("x"), amounts, net.constant("v", value)], "p", mode=mode)
    said = found("pad", net.model(conv(net, pair(net, padded, "p", "int8"), "c")))
    wrong = mode == "constant" and value == 0
    assert said == ([("n_c", "there is a Q/DQ pair between Pad 'n_p' and it")] if wrong else [])


def test_a_layer_is_quantized_whole() -> None:
    net = Net()
    data = pair(net, net.input("x"), "x", "int8")
    conv(net, data, "a")
    net.conv(data, "b")
    net.conv("x", "c")
    assert found("half", net.model("a", "b", "c")) == [
        ("n_b", "its data is quantized and its weight 'w_b' is float")
    ]


def doubled(second: float = 0.1, *, read: bool = False) -> onnx.ModelProto:
    net = Net()
    first = pair(net, net.input("x"), "x")
    made = conv(net, pair(net, first, "again", scale=second), "c")
    outputs = [pair(net, made, "c"), *([net.node("Erf", [first], "e")] if read else [])]
    return net.model(*outputs)


def test_a_doubled_pair() -> None:
    assert found("double-pair", doubled()) == [
        ("n_q_again", "it only requantizes the output of 'n_q_x'")
    ]
    assert found("double-pair", doubled(second=0.05)) == []
    assert found("double-pair", doubled(read=True)) == []


@pytest.mark.parametrize("read", [False, True])
def test_onnxruntime_collapses_a_doubled_pair(read: bool) -> None:
    """The trap is real: one pair less runs than is written, and the numbers are others."""
    model, feeds = doubled(read=read), {"x": normal(2, 4, 8, 8)}
    deployed = run(model, feeds)["d_c"]
    literal = run(model, feeds, settings=Settings("literal"))["d_c"]
    assert np.array_equal(deployed, literal) == read
    assert (optimized_ops(model)["QuantizeLinear"] == 1) != read


def test_integer_weights_under_float_data() -> None:
    net = Net()
    x = net.input("x", ("n", 8))
    net.node("MatMul", [x, stored(net, "w", 8, 8)], "a")
    net.node("MatMul", [pair(net, x, "x"), stored(net, "v", 8, 8)], "b")
    net.node("MatMul", [x, net.weight("f", 8, 8)], "c")
    model = net.model("a", "b", "c")
    assert found("weight-only", model) == [("n_a", "its weight is integer and its data is float")]
    alone = Net()
    data = alone.input("x", ("n", 8))
    alone.node("MatMul", [data, stored(alone, "w", 8, 16)], "a")
    assert optimized_ops(alone.model("a"))["MatMulNBits"] == 1


@pytest.mark.parametrize("grid", ["uint8", "int8"])
def test_int8_with_several_readers(grid: str) -> None:
    net = Net()
    data = pair(net, net.input("x"), "x", grid)
    outputs = [pair(net, conv(net, data, n), n, grid) for n in "ab"]
    model = net.model(*outputs)
    expected = [("n_q_x", "the int8 tensor 'x' has several readers")]
    assert found("shared-int8", model) == (expected if grid == "int8" else [])
    assert optimized_ops(model)["QLinearConv"] == (0 if grid == "int8" else 2)


def test_two_readers_by_two_dequantizers() -> None:
    net = Net()
    codes = quantize(net, net.input("x"), "x", "int8")
    for n in "ab":
        conv(net, dequantize(net, codes, "x", f"d_{n}"), n)
    assert len(found("shared-int8", net.model("a", "b"))) == 1


@pytest.mark.parametrize("grid", ["uint8", "int8"])
@pytest.mark.parametrize("opset", [20, 21])
def test_int8_across_a_move_does_not_load(grid: str, opset: int) -> None:
    """When this fails because the file loads, onnxruntime has been repaired: drop the check."""
    net = Net()
    pool = net.node("MaxPool", [pair(net, net.input("x"), "x", grid)], "m", kernel_shape=[2, 2])
    model = net.model(pair(net, conv(net, pool, "c"), "c", grid), opset=opset)
    wrong = grid == "int8" and opset == 21
    expected = [("n_m", "it is between an int8 DequantizeLinear and a layer")]
    assert found("loads", model) == (expected if wrong else [])
    assert found("loads-by-option", model) == found("loads", model)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if wrong:
        with pytest.raises(Exception, match=MIXED_INT8):
            ort.InferenceSession(model.SerializeToString(), options)
    Session(model)  # with the option
    options.add_session_config_entry(KEEP_INT8, "1")
    ort.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize("name", ["residual", "separable", "transformer"])
def test_what_oq_writes_offends_against_none(name: str, target: str) -> None:
    made = pipeline.quantize(BUNDLED / f"{name}.onnx", target, "random", samples=4, verify=False)
    assert pipeline.check(made.model, target) == ()


def test_bodies_read_no_tensor_that_is_moved_behind_a_pair() -> None:
    plain, guarded = behind_a_move(guarded=False), behind_a_move(guarded=True)
    assert found("loads-bodies", guarded) == []
    assert found("loads-bodies", plain) == [
        ("If_z", "its bodies read 'm', which is moved behind a pair")
    ]
