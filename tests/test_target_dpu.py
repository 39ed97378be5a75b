"""Golden plans of the DPU: pairs on all sides of what it runs, behind what is fused, per tensor."""

from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.dpu.scales import position_of
from oq.dpu.simulate import Simulator
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.planning import registry
from oq.planning.islands import ALONE
from oq.planning.plan import plan
from oq.planning.target import Target, with_options
from tests import golden_images, golden_layers
from tests.golden import EXAMPLES, Golden, floats, kernels, sites
from tests.graphs import Net

assert golden_images and golden_layers  # they fill EXAMPLES

ATTENTION = (
    "product of two activations (attention): int8 costs accuracy in the softmax and "
    "saves little time"
)
SOFTMAX = "the CPU or a separate engine runs it"
SIGMOID = (
    "the CPU runs it; --set sigmoid=hard replaces it by a HardSigmoid, which changes the function"
)


def golden(
    layers: str, grids: str, found: str, left: dict[str, str] | None = None, **more: str
) -> Golden:
    """Convolutions ``layers`` have int8 weights and biases, per tensor; ``grids`` are activations
    with an int8 grid of their own for every reader, ``more`` (tensor, its grid) the others."""
    parameters = {f"{p}_{c} > {c}": "int8" for c in layers for p in "wb"}
    own = {f"{t} > *": "int8" for t in grids.split()}
    shared = {f"{t} > *": f"= {source}" for t, source in more.items()}
    return Golden(parameters | own | shared, set(found.split(", ")), left or {})


def reading(tensor: str, *readers: str) -> dict[str, str]:
    return {f"{tensor} > {' '.join(readers)}": "int8"}


def with_sites(base: Golden, *extra: dict[str, str]) -> Golden:
    merged = dict(base.sites)
    for sites_ in extra:
        merged |= sites_
    return Golden(merged, base.kernels, base.floats)


X = reading("x", "c")
GOLDEN = {
    "conv_relu": with_sites(golden("c", "r", "c r"), X),
    "conv_clip": with_sites(golden("cd", "r d", "c r, d"), X),
    # Every kernel ends in a grid: both operands of the Add, and the Add with its ReLU.
    "residual": with_sites(golden("cdf", "r e f o", "c r, d e, f, a o"), X),
    "residual_with_downsample": with_sites(golden("cdfg", "r e f g o", "c r, d e, f, g, a o"), X),
    # One position for the Concat and both its inputs.
    "concat": with_sites(golden("abc", "k c", "a, b, k, c", a="k", b="k"), reading("x", "a", "b")),
    "depthwise": with_sites(golden("cd", "r d", "c r, d"), X),
    # Pools and moves keep the position, and have pairs on both sides all the same.
    "pooled_head": with_sites(golden("cg", "r g", "c r, p, f, g", p="r", f="p"), X),
    "pooling_at_the_end": with_sites(golden("c", "r", "c r, p", p="r"), X),
    "maxpool": with_sites(golden("cd", "r d", "c r, m, d", m="r"), X),
    "maxpool_beside_a_convolution": with_sites(golden("cde", "r d e", "c r, m, d, e", m="r"), X),
    "a_chain_of_moves": with_sites(golden("cg", "r g", "c r, m, f, g", m="r", f="m"), X),
    "reshapes_before_a_convolution": with_sites(
        golden("c", "c", "s, t, c", s="x", t="s"), reading("x", "s")
    ),
    "moves_nobody_wants_in_integers": Golden({}, set(), {"s": SOFTMAX, "t": ALONE}),
    # A MatMul and an Add are two ops to the DPU; torch writes linear layers as Gemm.
    "matmul_with_bias": with_sites(
        golden("", "m b o", "m, b, o"),
        *(reading("x", "m"), reading("w", "m"), reading("k", "b"), reading("v", "o")),
    ),
    "moves_between_products": with_sites(
        golden("", "a b", "a, s, t, b", s="a", t="s"),
        *(reading("x", "a"), reading("w", "a"), reading("v", "b")),
    ),
    "shared_weight": with_sites(
        golden("", "a b", "a, b"), reading("x", "a", "b"), reading("w", "a", "b")
    ),
    # Sigmoid runs on the CPU, on real values, so its output is quantized for its reader.
    "sigmoid": with_sites(golden("cd", "c d", "c, d", {"s": SIGMOID}), X, reading("s", "d")),
    "silu": with_sites(golden("cd", "c m d", "c, m, d", {"s": SIGMOID}), X, reading("s", "m")),
    "attention": with_sites(
        golden("", "q k", "q, k, t", {"a": ATTENTION, "s": SOFTMAX, "o": ATTENTION}, t="k"),
        *(reading("x", "k", "q"), reading("w", "q"), reading("v", "k")),
    ),
    "layer_norm": with_sites(
        golden("", "m", "m", {"l": "the CPU runs it"}), reading("l", "m"), reading("w", "m")
    ),
    "conv_transpose": with_sites(golden("c", "c t", "c, t"), X, reading("w", "t")),
    "relu_read_by_two_layers": with_sites(golden("cde", "r d e", "c r, d, e"), X),
    # A ReLU that cannot be fused is an op of its own.
    "a_convolution_read_by_two_nodes": with_sites(
        golden("cd", "c r d", "c, r, d", {"e": "target dpu does not support Exp in int8"}), X
    ),
    # The Sigmoid on the CPU parts the Add from the convolution.
    "add_of_a_constant": with_sites(golden("c", "c", "c", {"s": SIGMOID, "a": ALONE}), X),
    "no_layer_is_near": Golden({}, set(), {"s": SIGMOID, "a": ALONE}),
    "nearest_resize": with_sites(golden("cd", "c d", "c, u, d", u="c"), X),
}


def decide(model: onnx.ModelProto, target: Target | None = None) -> Any:
    return plan(Graph(model).view(), registry.target("dpu") if target is None else target)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    found = decide(EXAMPLES[name].build())
    assert sites(found) == dict(GOLDEN[name].sites)
    assert kernels(found) == GOLDEN[name].kernels
    assert floats(found) == dict(GOLDEN[name].floats)


def activation(op: str, **attributes: Any) -> onnx.ModelProto:
    net = Net()
    return net.model(net.node(op, [net.conv(net.input("x"), "c")], "a", **attributes))


def test_the_pair_stands_before_a_hard_swish_and_behind_a_leaky_relu() -> None:
    assert kernels(decide(activation("HardSwish"))) == {"c", "a"}
    assert kernels(decide(activation("LeakyRelu", alpha=0.1))) == {"c a"}
    assert kernels(decide(activation("HardSigmoid", alpha=1 / 6))) == {"c", "a"}
    found = decide(activation("HardSigmoid", alpha=0.2))
    assert floats(found) == {"a": "'n_a' is not a HardSigmoid with alpha = 1/6, beta = 1/2"}


def test_slopes() -> None:
    model = activation("LeakyRelu", alpha=0.2)
    found = decide(model)
    assert kernels(found) == {"c"}
    assert "slope 0.2; the edge DPU supports only 26/256" in floats(found)["a"]
    npu = with_options(registry.target("dpu"), {"device": "npu"})
    assert kernels(decide(model, npu)) == {"c a"}
    found = decide(activation("LeakyRelu", alpha=0.006), npu)
    assert floats(found) == {"a": "'n_a' has slope 0.006, which no k/256 approximates"}


def test_clips() -> None:
    for high, found in {6.0: {"c a"}, 1.0: {"c a"}, 5.0: {"c"}}.items():
        net = Net()
        bounds = [net.constant("low", 0.0), net.constant("high", high)]
        model = net.model(net.node("Clip", [net.conv(net.input("x"), "c"), *bounds], "a"))
        assert kernels(decide(model)) == found


def conv(of: tuple[int, ...], channels: int, **attributes: Any) -> onnx.ModelProto:
    net = Net()
    x = net.input("x", ("n", channels, 32, 32))
    return net.model(net.node("Conv", [x, net.weight("w", *of)], "c", **attributes))


@pytest.mark.parametrize(
    ("of", "channels", "attributes", "reason"),
    [
        ((8, 4, 3, 3), 8, {"group": 2}, "has 2 groups; the DPU supports 1 group or depthwise"),
        ((4, 4, 17, 3), 4, {}, "has a kernel of 17; the limit is 16"),
        ((4, 4, 3, 3), 4, {"strides": [9, 1]}, "has a stride of 9; the limit is 8"),
        ((4, 2049, 1, 1), 2049, {"dilations": [2, 2]}, "dilation * input channels = 4098"),
        ((4097, 4, 1, 1), 4, {}, "has 4097 output channels; the limit is 4096"),
        ((4, 257, 11, 11), 257, {}, "needs 2057 rows of a weight bank, which has 2048"),
    ],
)
def test_sizes_beyond_the_hardware(
    of: tuple[int, ...], channels: int, attributes: dict[str, Any], reason: str
) -> None:
    found = floats(decide(conv(of, channels, **attributes)))["c"]
    assert reason in found and found.endswith("so it runs on the CPU")
    npu = with_options(registry.target("dpu"), {"device": "npu"})
    assert kernels(decide(conv(of, channels, **attributes), npu)) == {"c"}


def test_depthwise_kernels_differ_by_device() -> None:
    model = conv((8, 1, 7, 7), 8, group=8)
    assert kernels(decide(model)) == {"c"}
    other = with_options(registry.target("dpu"), {"device": "DPUCVDX8H"})
    assert "has a depthwise kernel of 7; the limit is 5" in floats(decide(model, other))["c"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"kernel_shape": [3, 3], "pads": [1] * 4}, "averages fewer values at the edge"),
        ({"kernel_shape": [3, 3], "ceil_mode": 1}, "extend beyond the image"),
        ({"kernel_shape": [32, 17]}, "averages 544 values; the DPU averages at most 512"),
    ],
)
def test_means_that_are_not_in_hardware(attributes: dict[str, Any], reason: str) -> None:
    net = Net()
    x = net.input("x", ("n", 4, 32, 32))
    found = decide(net.model(net.node("AveragePool", [x], "p", **attributes)))
    assert reason in floats(found)["p"]


def images(seed: int = 1, count: int = 16) -> Any:
    return np.random.default_rng(seed).normal(size=(count, 4, 8, 8)).astype(np.float32)


def arrays(model: onnx.ModelProto) -> dict[str, Any]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def test_all_scales_are_powers_of_two_and_attributes_are_written_out() -> None:
    net = Net()
    relu = net.node("LeakyRelu", [net.conv(net.input("x"), "c")], "r", alpha=0.1)
    model = net.model(net.gemm(net.node("Flatten", [relu], "f"), "g", features=256))
    made = oq.quantize(model, "dpu", images(), verify=False).model
    held = arrays(made)
    scales = {k: v for k, v in held.items() if k.endswith("_scale")}
    assert len(scales) == 7, "input, ReLU = Flatten, output, two weights and two biases"
    assert all(v.shape == () and position_of(v) is not None for v in scales.values())
    assert {v.dtype.name for k, v in held.items() if k.endswith("_quantized")} == {"int8"}
    by_op = {n.op_type: n for n in made.graph.node}
    written = {a.name: onnx.helper.get_attribute_value(a) for a in by_op["Conv"].attribute}
    assert written == {
        **{"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1]},
        **{"pads": [1, 1, 1, 1], "group": 1},
    }
    assert by_op["LeakyRelu"].attribute[0].f == 26 / 256


def test_a_weight_that_moves_is_quantized_on_its_final_grid() -> None:
    """Weights of 2**-18 want position 24; with the input at 5 that is 29 - opos above 16."""
    net = Net()
    net.constant("w", np.full((4, 4, 1, 1), 2.0**-18))
    net.constant("b", [1.0, -1.0, 0.5, 2.0])
    model = net.model(net.node("Conv", [net.input("x"), "w", "b"], "c"))
    result = oq.quantize(model, "dpu", images(), verify=False)
    held = arrays(result.model)
    position = position_of(held["w_scale"])
    assert position is not None and position < 24
    expected = np.rint(np.full((4, 4, 1, 1), 2.0 ** (position - 18))).clip(-128, 127)
    np.testing.assert_array_equal(held["w_quantized"], expected)
    assert any(note.startswith("shift_") for note in result.report.notes)
    assert not oq.check(result.model, "dpu")


def test_a_relu6_is_put_where_the_hardware_cuts_it_off_at_6() -> None:
    """Added to a branch up to 40, whose shared grid is position 1, it still gets 4."""
    net = Net()
    bounds = [net.constant("low", 0.0), net.constant("high", 6.0)]
    clipped = net.node("Clip", [net.conv(net.input("x"), "c"), *bounds], "r")
    wide = net.node("Mul", [net.conv("x", "d"), net.constant("k", 40.0)], "m")
    model = net.model(net.node("Concat", [clipped, wide], "y", axis=1))
    made = oq.quantize(model, "dpu", images() * 5, verify=False).model
    assert not oq.check(made, "dpu")
    scales = {n.input[1] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    held = arrays(made)
    position = position_of(held[next(s for s in scales if s.startswith("r_"))])
    assert position is not None and position >= 4


def test_sigmoid_is_hardened_on_request_only() -> None:
    model = activation("Sigmoid")
    for value, ops in {"float": "Sigmoid", "hard": "HardSigmoid"}.items():
        made = oq.quantize(model, "dpu", images(), settings={"sigmoid": value}, verify=False).model
        assert ops in {n.op_type for n in made.graph.node}
        simulator = Simulator(made)
        simulator.run({"x": images(2)})
        assert list(simulator.floats.values()) == (
            ["the DPU has no kernel for Sigmoid"] if value == "float" else []
        )
    with pytest.raises(OptionError, match="target dpu takes float, hard"):
        oq.quantize(model, "dpu", images(), settings={"sigmoid": "soft"})


@pytest.mark.parametrize("name", [name for name, golden in GOLDEN.items() if golden.kernels])
def test_what_is_planned_runs_in_integers(name: str) -> None:
    """The simulator finds in float what the plan says, and nothing else."""
    model = EXAMPLES[name].build()
    shapes = {
        i.name: [d.dim_value or 2 for d in i.type.tensor_type.shape.dim] for i in model.graph.input
    }
    random = np.random.default_rng(0)
    data = [{k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}]
    made = oq.quantize(model, "dpu", data * 2, batch_size=2, verify=False)
    assert not oq.check(made.model, "dpu")
    simulator = Simulator(made.model)
    simulator.run(data[0])
    assert set(simulator.floats) == {s.node for s in made.report.plan.skips}


@pytest.mark.parametrize(
    ("settings", "inserts"),
    [
        ({}, True),
        ({"device": "npu"}, True),
        ({"device": "DPUCVDX8H"}, False),  # no depthwise 1x1 kernel
        ({"device": "DPUCAHX8H"}, False),
        ({"rescale": "off"}, False),
    ],
)
def test_who_gets_rescaling_convolutions(settings: dict[str, str], inserts: bool) -> None:
    assert ("insert_rescale" in with_options(registry.target("dpu"), settings).passes) == inserts
