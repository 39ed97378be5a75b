"""Gelu as it is written out with a tanh keeps its argument in float."""

import numpy as np
import onnx
import pytest

import oq
from oq.planning import registry
from oq.planning.saturation import FEW, powers
from tests.small import normal, small, view

CUBE = {
    "products": "a = Mul(x2, x2) b = Mul(a, x2)",
    "power": "b = Pow(x2, three)",
    "factor first": "a = Mul(k, x2) a2 = Mul(x2, a) b = Mul(x2, a2)",
}


def gelu(cube: str) -> onnx.ModelProto:
    """A layer, a Gelu over values up to 30, a layer."""
    constants = {
        "w": normal(8, 8) * 6,
        "v": normal(8, 4, seed=1),
        "bias": normal(8, seed=2),
        **{"k": np.array(0.044715, np.float32), "c": np.array(np.sqrt(2 / np.pi), np.float32)},
        **{"one": np.array(1, np.float32), "half": np.array(0.5, np.float32)},
        "three": np.array(3, np.float32),
    }
    text = f"""net (float[n,8] x) => (float[n,4] y) {{
        m = MatMul(x, w) x2 = Add(m, bias) {cube} d = Mul(b, k) e = Add(x2, d) f = Mul(e, c)
        t = Tanh(f) g = Add(t, one) h = Mul(x2, g) i = Mul(h, half) y = MatMul(i, v)
    }}"""
    return small(text, constants)


@pytest.mark.parametrize("cube", CUBE)
def test_what_lies_between_the_cube_and_the_tanh(cube: str) -> None:
    found = powers(view(gelu(CUBE[cube])))
    made = [n.name for n in view(gelu(CUBE[cube])).nodes if n.outputs[0] in ("a", "a2", "b")]
    assert found == dict.fromkeys([*made, "Mul_d", "Add_e", "Mul_f"], FEW.format("Tanh_t"))


@pytest.mark.parametrize("target", registry.names("targets"))
def test_it_is_as_accurate_as_its_layers(target: str) -> None:
    made = oq.quantize(gelu(CUBE["products"]), target, {"x": normal(256, 8)}, refine="none")
    found = made.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 25


def test_a_sigmoid_of_a_plain_argument_is_not_concerned() -> None:
    model = small(
        "net (float[n,8] x) => (float[n,8] y) { m = MatMul(x, w) s = Sigmoid(m) y = Mul(m, s) }",
        {"w": normal(8, 8)},
    )
    assert not powers(view(model))
