"""MACs of single nodes by hand, and of whole networks against the figures of their papers."""

import numpy as np
import onnx
import pytest

from oq.model.cost import macs
from oq.model.graph import Graph
from oq.prepare.order import prepare
from tests.graphs import Net
from tests.light import light
from tests.real import CIFAR, needs_real


def count(model: onnx.ModelProto, node: str) -> int | None:
    view = Graph(model).view()
    return macs(view, view.node(node))


@pytest.mark.parametrize(
    ("op", "weight", "attributes", "expected"),
    [
        ("Conv", (6, 4, 3, 3), {"pads": [1, 1, 1, 1]}, 6 * 4 * 9 * 64),
        ("Conv", (6, 4, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}, 6 * 4 * 9 * 16),
        ("Conv", (4, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 4}, 4 * 9 * 64),
        ("ConvTranspose", (4, 6, 2, 2), {"strides": [2, 2]}, 4 * 6 * 4 * 64),
    ],
)
def test_convolutions(
    op: str, weight: tuple[int, ...], attributes: dict[str, int], expected: int
) -> None:
    net = Net()
    net.node(op, [net.input("x"), net.weight("w", *weight)], "y", **attributes)
    assert count(net.model("y"), "n_y") == expected


@pytest.mark.parametrize(
    ("op", "shape", "weight", "attributes", "expected"),
    [
        ("MatMul", ("n", 5, 8), (8, 3), {}, 5 * 8 * 3),
        ("Gemm", ("n", 8), (8, 3), {}, 8 * 3),
        ("Gemm", ("n", 8), (3, 8), {"transB": 1}, 8 * 3),
        ("Gemm", (8, 5), (8, 3), {"transA": 1}, 5 * 8 * 3),
        ("Gemm", None, (3, 8), {"transB": 1}, 8 * 3),
        ("Gemm", None, (8, 3), {}, 8 * 3),
    ],
)
def test_products(
    op: str,
    shape: tuple[int | str, ...] | None,
    weight: tuple[int, ...],
    attributes: dict[str, int],
    expected: int,
) -> None:
    net = Net()
    net.node(op, [net.input("x", shape), net.weight("w", *weight)], "y", **attributes)
    model = net.model("y")
    if shape is None:
        model.graph.value_info.clear()
        model.graph.output[0].CopyFrom(
            onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])
        )
    assert count(model, "n_y") == expected


def test_others_cost_nothing_and_the_unknown_is_unknown() -> None:
    net = Net()
    net.node("Relu", [net.input("x", None)], "r")
    net.node("Conv", ["r", net.constant("w", np.ones((4, 4, 1, 1)))], "y")
    model = net.model("y")
    assert (count(model, "n_r"), count(model, "n_y")) == (0, None)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("squeezenet", 349),  # version 1.1: 2.4 times less than 1.0's 837 (Iandola et al.)
        pytest.param("resnet50", 4089, marks=pytest.mark.slow),  # version 1.5, torchvision: 4.09e9
        ("inception_v1", 1432),  # Szegedy et al. 2014: 1.5e9
        pytest.param("densenet121", 2834, marks=pytest.mark.slow),  # Huang et al. 2017: 2.9e9
    ],
)
def test_networks_cost_what_their_papers_say(name: str, millions: int) -> None:
    assert total(onnx.load(light(name))) == pytest.approx(millions * 1e6, rel=0.02)


@needs_real
def test_resnet20_costs_41_million() -> None:
    """He et al. 2015, table 6; counted as 40.8 M by the common counters."""
    assert total(onnx.load(CIFAR / "resnet20.onnx")) == pytest.approx(40.8e6, rel=0.01)


def total(model: onnx.ModelProto) -> int:
    view = prepare(model, 13).graph.view()
    return sum(macs(view, node) or 0 for node in view.nodes)
