"""Mul, Div, Add and Sub by constants per channel join the layer in front of them."""

import numpy as np
import onnx
import pytest

from oq.model.graph import Graph
from oq.prepare.fold_scaling import fold_scaling
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS = {
    "w": normal(4, 3, 3, 3),
    "up": normal(4, 2, 3, 3, seed=1),
    "matrix": normal(4, 3, seed=2),
    "bias": normal(4, seed=3),
    "channel": normal(4, 1, 1, seed=5) + 2,
    "four": normal(1, 4, 1, 1, seed=6),
    "row": normal(4, seed=7) + 2,
    "scalar": np.array(0.5, np.float32),
    "single": normal(1, seed=8) + 2,
    "zero": np.array(0, np.float32),
    "map": normal(1, 1, 5, 5, seed=9),
}


def folded(model: onnx.ModelProto) -> tuple[int, onnx.ModelProto]:
    """How many nodes the pass takes in, and what it leaves."""
    graph = Graph(model)
    infer_types(graph)
    return fold_scaling(graph).changed, graph.to_model()


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ("y = Mul(c, single)", []),
        ("t = Mul(channel, c)\n y = Add(t, four)", []),
        ("t = Sub(c, scalar)\n y = Div(t, channel)", []),
        ("t = Mul(c, zero)\n y = Add(t, single)", []),
        ("t = Mul(c, single)\n r = Relu(t)\n y = Add(r, channel)", ["Relu", "Add"]),
        ("y = Sub(scalar, c)", ["Sub"]),
        ("y = Div(scalar, c)", ["Div"]),
        ("y = Div(c, zero)", ["Div"]),
        ("y = Mul(c, map)", ["Mul"]),
        ("y = Mul(c, c)", ["Mul"]),
        ("t = Mul(c, single)\n y = Add(t, c)", ["Mul", "Add"]),
    ],
)
@pytest.mark.parametrize("inputs", ["x, w", "x, w, bias"])
def test_folded_into_a_convolution(inputs: str, steps: str, left: list[str]) -> None:
    model = small(
        f"""net (float[2,3,5,5] x) => (float[2,4,5,5] y) {{
            c = Conv <pads=[1,1,1,1]> ({inputs})
            {steps}
        }}""",
        CONSTANTS,
    )
    changed, made = folded(model)
    assert ops(made) == ["Conv", *left]
    assert changed == len(ops(model)) - 1 - len(left)
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "layer", "factor"),
    [
        (("2,4,5,5", "2,4,7,7"), "ConvTranspose <group=2> (x, up, bias)", "channel"),
        (("2,3", "2,4"), "Gemm <transB=1> (x, matrix, bias)", "row"),
        (("2,4", "2,3"), "Gemm(x, matrix)", "single"),
    ],
)
def test_folded_into_other_layers(shapes: tuple[str, str], layer: str, factor: str) -> None:
    model = small(
        f"""net (float[{shapes[0]}] x) => (float[{shapes[1]}] y) {{
            c = {layer}
            t = Mul(c, {factor})
            y = Sub(t, {factor})
        }}""",
        CONSTANTS,
    )
    changed, made = folded(model)
    assert changed == 2
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_what_comes_out_of_the_model_stays() -> None:
    model = small(
        """net (float[2,3,5,5] x) => (float[2,4,3,3] y, float[2,4,3,3] c) {
            c = Conv(x, w)
            y = Mul(c, scalar)
        }""",
        CONSTANTS,
    )
    assert folded(model)[0] == 0


def test_a_weight_with_two_readers_keeps_its_values() -> None:
    model = small(
        """net (float[2,3,5,5] x) => (float[2,4,3,3] y, float[2,4,3,3] z) {
            c = Conv(x, w)
            y = Mul(c, scalar)
            z = Conv(x, w)
        }""",
        CONSTANTS,
    )
    changed, made = folded(model)
    assert changed == 1
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)
