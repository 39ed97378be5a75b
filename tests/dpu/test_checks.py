"""oq check on files for the DPU, whoever wrote them: each violation alone, and none elsewhere."""

from typing import Any

import numpy as np
import onnx
import pytest

from oq.checks.legal import check
from oq.model.graph import Graph
from oq.planning import registry
from tests.dpu.shifts import ShiftNet

SHAPE = ("n", 4, 8, 8)


def findings(model: onnx.ModelProto) -> list[tuple[str, str, str]]:
    found = check(Graph(model).view(), registry.target("dpu"))
    return [(f.check, f.node, f.message) for f in found]


def layer(
    positions: tuple[int, int, int, int] = (5, 7, 7, 4), act: str = "Relu", **more: Any
) -> onnx.ModelProto:
    """Conv with bias and an activation; positions of input, weight, bias and output."""
    ipos, wpos, bpos, opos = positions
    net = ShiftNet()
    for name, value in {"low": 0.0, "high": 6.0}.items():
        net.constant(name, value)
    names = [net.pair(net.input("x", SHAPE), ipos), net.random_codes("w", wpos, 4, 4, 3, 3)]
    end = net.node("Conv", [*names, net.random_codes("b", bpos, 4)], "c")
    end = net.node(act, [end, "low", "high"] if act == "Clip" else [end], "a", **more)
    return net.model(net.pair(end, opos))


def test_a_legal_file_has_no_findings() -> None:
    assert findings(layer()) == []
    assert findings(layer(act="Clip")) == []
    assert findings(layer(act="LeakyRelu", alpha=26 / 256)) == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (layer((5, 16, 7, 4)), "shift_cut: shift_cut = 16 + 5 - 4 = 17 is outside 0..16"),
        (layer((5, 7, 7, 13)), "shift_cut: shift_cut = 7 + 5 - 13 = -1 is outside 0..16"),
        (layer((5, 14, 3, 3)), "shift_bias: shift_bias = 14 + 5 - 3 = 16 is outside 0..15"),
        (
            layer((5, 7, 13, 4), "LeakyRelu", alpha=0.1),
            "shift_bias: shift_bias = 7 + 5 - 13 = -1 is outside 0..15",
        ),
        (
            layer((5, 7, 7, 3), "Clip"),
            "relu6: a ReLU6 at position 3: the DPU cuts it off at 12, not at 6",
        ),
    ],
)
def test_positions_are_seen_through_the_fused_activation(
    model: onnx.ModelProto, message: str
) -> None:
    assert findings(model) == [("positions", "n_c", message)]


def test_a_swish_is_known_with_pairs_between() -> None:
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5)
    gate = net.pair(net.node("HardSigmoid", [x], "h", alpha=1 / 6, beta=0.5), 7)
    model = net.model(net.pair(net.node("Mul", [x, gate], "y"), -4))
    message = "shift_swish: its shift 12 - -4 = 16 is outside 0..15"
    assert findings(model) == [("positions", "n_y", message)]


def test_other_gates_run_on_the_cpu_and_are_free() -> None:
    net = ShiftNet()
    end = net.node("HardSigmoid", [net.pair(net.input("x", SHAPE), 5)], "h", alpha=0.2, beta=0.5)
    assert findings(net.model(net.pair(end, 5))) == []


def test_concat_and_pool_are_aligned() -> None:
    net = ShiftNet()
    x, z = net.pair(net.input("x", SHAPE), 5), net.pair(net.input("z", SHAPE), 4)
    end = net.pair(net.node("Concat", [x, z], "c", axis=1), 4)
    pooled = net.node("MaxPool", [end], "p", kernel_shape=[2, 2])
    found = findings(net.model(net.pair(pooled, 3)))
    assert found == [
        ("positions", "n_c", "align: positions 5, 4, 4 around a Concat must be equal"),
        ("positions", "n_p", "align: positions 4, 3 around a MaxPool must be equal"),
    ]


def test_a_factor_that_quark_writes_is_part_of_its_pool() -> None:
    net = ShiftNet()
    end = net.node("GlobalAveragePool", [net.pair(net.input("x", ("n", 4, 7, 7)), 5)], "p")
    end = net.node("Mul", [end, net.constant("gain", 1.0048828)], "m")
    found = findings(net.model(net.pair(end, 4)))
    assert [(c, n) for c, n, _ in found] == [("positions", "n_p")]


def test_scales_are_single_powers_of_two() -> None:
    net = ShiftNet()
    end = net.pair(net.input("x", SHAPE), 5)
    net.constants["x_scale"] = np.asarray(0.03, np.float32)
    found = findings(net.model(end))
    assert found == [
        ("power-of-two", "n_x_q", "scale 0.03 is not a power of two"),
        ("power-of-two", "n_x_dq", "scale 0.03 is not a power of two"),
    ]


def test_weights_have_one_scale() -> None:
    model = layer()
    for tensor in model.graph.initializer:
        if tensor.name == "w_scale":
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(np.full(4, 2.0**-7, np.float32), "w_scale")
            )
        if tensor.name == "w_zero":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(4, np.int8), "w_zero"))
    node = next(n for n in model.graph.node if n.name == "n_w")
    node.attribute.append(onnx.helper.make_attribute("axis", 0))
    assert findings(model) == [("one-scale", "n_w", "4 scales where the DPU supports one")]


@pytest.mark.parametrize(
    ("dtype", "zero", "message"),
    [
        (np.uint8, 128, None),  # Quark's legacy form
        (np.uint8, 0, "uint8 with zero point 0, not 128"),
        (np.int8, 3, "int8 with zero point 3, not 0"),
        (np.int16, 0, "its quantized type is int16"),
    ],
)
def test_codes(dtype: Any, zero: int, message: str | None) -> None:
    net = ShiftNet()
    found = findings(net.model(net.pair(net.input("x", SHAPE), 5, dtype, zero)))
    wanted = (
        [] if message is None else [("int8-symmetric", n, message) for n in ("n_x_q", "n_x_dq")]
    )
    assert found == wanted


@pytest.mark.parametrize(
    ("act", "attributes", "fused"),
    [
        ("Relu", {}, True),
        ("LeakyRelu", {"alpha": 0.1}, True),
        ("LeakyRelu", {"alpha": 0.2}, False),  # the edge DPU has no such slope, the CPU runs it
        ("HardSigmoid", {}, False),
    ],
)
def test_no_pair_before_what_is_fused(act: str, attributes: dict[str, float], fused: bool) -> None:
    net = ShiftNet()
    names = [net.pair(net.input("x", SHAPE), 5), net.random_codes("w", 7, 4, 4, 3, 3)]
    middle = net.pair(net.node("Conv", names, "c"), 4)
    end = net.node(act, [middle], "a", **attributes)
    found = findings(net.model(net.pair(end, 4)))
    wanted = [("kernel-is-whole", "n_a", "there is a Q/DQ pair between Conv 'n_c' and it")]
    assert found == (wanted if fused else [])


@pytest.mark.parametrize("in_codes", [True, False])
def test_a_prelu_is_fused_where_its_slopes_are_codes(in_codes: bool) -> None:
    net = ShiftNet()
    names = [net.pair(net.input("x", SHAPE), 5), net.random_codes("w", 7, 4, 4, 3, 3)]
    middle = net.pair(net.node("Conv", names, "c"), 4)
    slopes = net.random_codes("s", 7, 4, 1, 1)
    if not in_codes:
        slopes = net.constant("f", np.full((4, 1, 1), 0.25, np.float32))
    found = findings(net.model(net.pair(net.node("PRelu", [middle, slopes], "a"), 4)))
    assert [check for check, *_ in found] == (["kernel-is-whole"] if in_codes else [])
