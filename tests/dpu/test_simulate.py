"""Whole graphs: with onnxruntime's rounding, the integers are onnxruntime's literal reading."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from oq.dpu.fixed_point import DPU, NPU
from oq.dpu.simulate import Simulator
from oq.errors import ModelError
from oq.model.session import Session, Settings
from tests.dpu.shifts import ShiftNet
from tests.small import reference

SHAPE = ("n", 4, 8, 8)
BUILDS: dict[str, Callable[[], onnx.ModelProto]] = {}


def graph(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    BUILDS[getattr(build, "__name__", "")] = build
    return build


def conv(net: ShiftNet, x: str, name: str, *, group: int = 1, **attributes: object) -> str:
    weight = net.random_codes(f"w_{name}", 8, 4, 4 // group, 3, 3)
    names = [x, weight, net.random_codes(f"b_{name}", 6, 4)]
    return net.node("Conv", names, name, group=group, **attributes)


@graph
def convolutions() -> onnx.ModelProto:
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5)
    end = net.node("Relu", [conv(net, x, "a", pads=[1] * 4)], "ar")
    end = conv(net, net.pair(end, 4), "b", group=4, strides=[2, 2], pads=[1] * 4)
    end = conv(net, net.pair(end, 4), "c", group=2, dilations=[2, 1], pads=[2, 1, 2, 1])
    return net.model(net.pair(end, 3))


@graph
def residual() -> onnx.ModelProto:
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5)
    y = net.pair(conv(net, x, "a", pads=[1] * 4), 4)
    total = net.node("Relu", [net.node("Add", [x, y], "s")], "r")
    return net.model(net.pair(total, 4))


@graph
def transposed() -> onnx.ModelProto:
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5)
    names = [x, net.random_codes("w", 8, 4, 3, 2, 2), net.random_codes("b", 7, 3)]
    return net.model(net.pair(net.node("ConvTranspose", names, "t", strides=[2, 2]), 4))


@graph
def classifier() -> onnx.ModelProto:
    net = ShiftNet()
    end = net.node(
        "MaxPool", [net.pair(net.input("x", SHAPE), 5)], "m", kernel_shape=[2, 2], strides=[2, 2]
    )
    end = net.node("AveragePool", [net.pair(end, 5)], "p", kernel_shape=[2, 2], strides=[2, 2])
    end = net.pair(net.node("Flatten", [net.pair(end, 5)], "f"), 5)
    names = [end, net.random_codes("w", 8, 5, 16), net.random_codes("b", 7, 5)]
    end = net.pair(net.node("Gemm", names, "g", transB=1), 3)
    end = net.node("MatMul", [end, net.random_codes("v", 7, 5, 3)], "mm")
    return net.model(net.pair(end, 4))


@graph
def moves() -> onnx.ModelProto:
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5)
    net.constant("shape", [0, 2, 2, -1], np.int64)
    for name, value in {"starts": [1], "ends": [7], "axes": [2]}.items():
        net.constant(name, value, np.int64)
    net.constant("pads", [0, 0, 0, 1, 0, 0, 0, 2], np.int64)
    end = net.node("Transpose", [x], "t", perm=[0, 2, 1, 3])
    end = net.node("Slice", [end, "starts", "ends", "axes"], "s")
    end = net.node("Pad", [net.pair(end, 5), "pads"], "p")
    end = net.node("Concat", [end, end], "c", axis=2)
    return net.model(net.pair(net.node("Mul", [end, end], "y"), 5))


@graph
def unsigned() -> onnx.ModelProto:
    """Quark's legacy form: uint8 around 128."""
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5, np.uint8, 128)
    end = net.pair(conv(net, x, "a", pads=[1] * 4), 4, np.uint8, 128)
    return net.model(net.pair(net.node("Sub", [end, x], "s"), 4, np.uint8, 128))


@pytest.mark.parametrize("name", BUILDS)
def test_with_onnx_rounding_it_is_the_literal_reading_bit_for_bit(name: str) -> None:
    model = BUILDS[name]()
    x = np.random.default_rng(2).normal(0, 1.5, (16, 4, 8, 8)).astype(np.float32)
    expected = next(iter(reference(model, {"x": x}).values()))
    assert np.unique(expected).size > 20, "the example says nothing"
    simulator = Simulator(model, NPU)
    np.testing.assert_array_equal(simulator.run({"x": x})[0], expected)
    assert not simulator.floats


@pytest.mark.parametrize("name", BUILDS)
def test_rounding_half_up_differs_by_ties_only(name: str) -> None:
    model = BUILDS[name]()
    x = np.random.default_rng(2).normal(0, 1.5, (16, 4, 8, 8)).astype(np.float32)
    simulator = Simulator(model, DPU)
    found = simulator.run({"x": x})[0]
    step = 2.0 ** -simulator.positions[model.graph.output[0].name]
    other = Simulator(model, NPU).run({"x": x})[0]
    assert np.abs(found - other).max() <= 32 * step
    assert np.mean(found != other) < 0.5


def test_the_answer_does_not_depend_on_the_batch() -> None:
    model = BUILDS["residual"]()
    x = np.random.default_rng(0).normal(0, 1, (6, 4, 8, 8)).astype(np.float32)
    simulator = Simulator(model)
    whole = simulator.run({"x": x})[0]
    parts = [simulator.run({"x": x[i : i + 2]})[0] for i in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_what_the_dpu_does_not_run_is_float_and_listed() -> None:
    net = ShiftNet()
    x = net.pair(net.input("x", ("n", 5)), 4)
    soft = net.node("Softmax", [x], "s")
    end = net.node("Relu", [net.node("Mul", [soft, net.constant("k", 3.0)], "m")], "y")
    model = net.model(end)
    values = np.random.default_rng(0).normal(0, 2, (3, 5)).astype(np.float32)
    simulator = Simulator(model)
    found = simulator.run({"x": values})[0]
    rounded = np.floor(values * 16 + 0.5).clip(-128, 127) / 16
    exponent = np.exp(rounded - rounded.max(axis=1, keepdims=True))
    expected = 3 * exponent / exponent.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert simulator.floats == {
        "n_s": "the DPU has no kernel for Softmax",
        "n_m": "its inputs are float",
        "n_y": "its inputs are float",
    }
    assert simulator.positions == {}


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}, "only alpha = 1/6, beta = 0.5"),
        (
            "AveragePool",
            {"kernel_shape": [3, 3], "pads": [1] * 4},
            "its windows at the edge average fewer values",
        ),
        ("AveragePool", {"kernel_shape": [3, 3], "ceil_mode": 1}, "ceil_mode"),
    ],
)
def test_forms_that_are_not_in_hardware(
    op: str, attributes: dict[str, object], reason: str
) -> None:
    net = ShiftNet()
    net.node(op, [net.pair(net.input("x", SHAPE), 4)], "y", **attributes)
    model = net.model(net.pair("y", 7))
    x = np.random.default_rng(0).normal(0, 1, (2, 4, 8, 8)).astype(np.float32)
    simulator = Simulator(model, NPU)
    found = simulator.run({"x": x})[0]
    np.testing.assert_array_equal(found, next(iter(reference(model, {"x": x}).values())))
    assert list(simulator.floats) == ["n_y"] and reason in simulator.floats["n_y"]


def test_a_float_bias_keeps_its_layer_in_float() -> None:
    net = ShiftNet()
    x = net.pair(net.input("x", SHAPE), 5)
    names = [x, net.random_codes("w", 8, 4, 4, 3, 3), net.weight("b", 4)]
    model = net.model(net.pair(net.node("Conv", names, "c"), 4))
    simulator = Simulator(model)
    simulator.run({"x": np.zeros((1, 4, 8, 8), np.float32)})
    assert simulator.floats == {"n_c": "its bias is float"}


def test_scales_that_are_no_power_of_two_are_refused() -> None:
    net = ShiftNet()
    net.pair(net.input("x", SHAPE), 4)
    net.constants["x_scale"] = np.asarray(0.03, np.float32)
    with pytest.raises(ModelError, match=r"'n_x_q' is 0\.03; the DPU requantizes by shifts"):
        Simulator(net.model("x_dq"))


def test_float_nodes_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of sessions of one node each, whose idle threads spin, hold each other up."""
    opened = []

    def note(model: onnx.ModelProto, settings: Settings) -> Session:
        opened.append(settings)
        return Session(model, settings)

    monkeypatch.setattr("oq.dpu.simulate.Session", note)
    net = ShiftNet()
    model = net.model(net.node("Sin", [net.pair(net.input("x", SHAPE), 5)], "s"))
    Simulator(model).run({"x": np.zeros((1, *SHAPE[1:]), np.float32)})
    assert opened and not any(settings.spin for settings in opened)
